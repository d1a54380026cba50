#![no_main]
//! The host has put back what can be: the configuration, and a log that was cut. What was discarded is gone, and the
//! runner says so; there is nothing that a step could add but what the service is left with.

use countersign_sdk::{files, log};
use full_log_directory::{Arguments, level};

countersign_sdk::rollback!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    let level = level(&config).map_or("not set", |(level, _)| level);
    log::warn!("the log level is {level} again: the file system fills as before");
    Ok(())
});
