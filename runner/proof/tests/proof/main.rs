//! Logs that `countersign-tlog` wrote, verified and bent.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bent;
mod notes;
mod proofs;
mod support;
mod witness;
