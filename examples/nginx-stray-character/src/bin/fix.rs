#![no_main]
//! Takes out the stray character and has nginx reload.

use countersign_sdk::files;
use countersign_sdk::process::{self, Selector, Signal};
use nginx_stray_character::{Arguments, without};

countersign_sdk::fix!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    let fixed = without(&config, arguments.line, &arguments.stray)?;
    files::replace(&arguments.config, fixed)?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
