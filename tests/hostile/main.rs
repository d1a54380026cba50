//! Hostile guests in the text format, each beside the exact outcome that it must have: in `steps.rs` of one step in a real worker
//! process, in `refused.rs` of bytes that are never compiled, in `runs.rs` of a whole run through the binary.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod guest;
#[path = "../worker/guests.rs"]
mod guests;
mod refused;
mod runs;
mod steps;
#[path = "../support/mod.rs"]
mod support;
