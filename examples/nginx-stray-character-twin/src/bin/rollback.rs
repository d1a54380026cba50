#![no_main]
//! Has nginx reload the configuration that the host has put back.

use countersign_sdk::process::{self, Selector, Signal};
use nginx_stray_character_twin::Arguments;

countersign_sdk::rollback!(|arguments: Arguments| {
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
