#![no_main]
//! Healthy means: the file system has room, and goes on having it.

use countersign_sdk::{Verdict, files};
use full_log_directory::{Arguments, used};

countersign_sdk::check!(|arguments: Arguments| {
    let used = used(&files::usage(&arguments.directory)?);
    Ok(if used <= arguments.most_used {
        Verdict::Healthy
    } else {
        Verdict::Unhealthy(format!("{used} % of the file system are in use, more than {} %", arguments.most_used))
    })
});
