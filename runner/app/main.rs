//! Runs fixes that agents write and people countersign.

#![forbid(unsafe_code)]

mod agent;
mod cli;
mod commands;
mod componentize;
mod config;
#[cfg(test)]
mod docs;
mod environment;
mod files;
mod hardware;
mod hints;
mod hung;
mod notify;
mod output;
mod papers;
mod policy_file;
mod progress;
mod render;
mod signals;
mod signing;
mod template;
mod time;
mod toolchain;
mod wrap;

fn main() -> std::process::ExitCode {
    if countersign_worker::is_worker(std::env::args_os().next().as_deref()) {
        return countersign_worker::serve(&environment::registry());
    }
    cli::main()
}
