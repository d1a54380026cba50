#![no_main]
//! Stops what fills the file system, and then makes room: the other way around it would fill again at once.

use countersign_sdk::files;
use full_log_directory::{Arguments, KEPT, quiet};

countersign_sdk::fix!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    files::replace(&arguments.config, quiet(&config)?)?;
    if files::stat(&arguments.offender)?.size <= KEPT {
        files::truncate(&arguments.offender, 0)?;
    } else {
        files::discard(&arguments.offender)?;
    }
    Ok(())
});
