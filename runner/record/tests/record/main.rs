//! The record through its public API, with real files, databases, threads and processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may fail like tests, and children talk to their parent on stdout"
)]

mod audit;
mod clock;
mod directory;
mod disk;
mod documents;
mod glass;
mod holds;
mod images;
mod journal;
mod lineage;
#[path = "../../../../tests/support/mount.rs"]
mod mount;
mod outcomes;
mod policies;
mod power;
mod processes;
mod reserve;
mod resolutions;
mod scratch;
mod standing;
mod support;
mod told;
mod waiting;
