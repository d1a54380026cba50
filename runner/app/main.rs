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
mod hints;
mod output;
mod papers;
mod progress;
mod render;
mod signing;
mod template;
mod time;
mod toolchain;
mod wrap;

fn main() -> std::process::ExitCode {
    // Without such a thread each step is given one of its own.
    countersign_sandbox::with_room(cli::main).unwrap_or_else(|_| cli::main())
}
