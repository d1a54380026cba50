#![no_main]
//! Wrong: so little is cut off that the file system stays as good as full.

use countersign_sdk::files;
use full_log_directory_twin::{Arguments, TOO_LITTLE, quiet};

countersign_sdk::fix!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    files::replace(&arguments.config, quiet(&config)?)?;
    let size = files::stat(&arguments.offender)?.size;
    files::truncate(&arguments.offender, size.saturating_sub(TOO_LITTLE))?;
    Ok(())
});
