//! Attacks on approvals and on the record of them, through the binary: what is forged, replayed, bent or flooded is refused,
//! changes nothing, and says so.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../runner/trust/tests/support/authenticator.rs"]
mod authenticator;
#[path = "../support/mod.rs"]
mod support;

mod agent;
mod clock;
mod crash;
mod documents;
mod edwards;
mod flood;
mod keys;
mod replay;
mod restored;
mod signatures;
mod signed;
mod signers;
mod swapped;
mod text;
