//! The table of bad input: each row through the binary, with its message, its exit code, what to do next, and nothing
//! changed. What the crates refuse is tested in the crates; here it is what a person sees.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says why it was skipped"
)]

#[path = "../support/mod.rs"]
mod support;

mod bundles;
mod clock;
mod configuration;
mod documents;
mod files;
mod output;
mod row;
mod runs;
mod signatures;
mod state;
mod steps;
mod targets;
mod typed;
mod words;
