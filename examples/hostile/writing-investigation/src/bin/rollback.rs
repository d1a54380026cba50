#![no_main]
//! Has the service reload the configuration that the host has put back.

use countersign_sdk::process::{self, Selector, Signal};
use writing_investigation::Arguments;

countersign_sdk::rollback!(|arguments: Arguments| {
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
