#![no_main]
//! The host has put the file back; the process must read it once more.

use countersign_sdk::process::{self, Selector, Signal};

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Arguments {
    executable: String,
    pid_file: String,
}

countersign_sdk::rollback!(|arguments: Arguments| {
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
