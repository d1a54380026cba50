//! The processes that steps are compiled and run in: what holds them, how they end, what is kept of what they made.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod cache;
mod ending;
mod forking;
mod guests;
mod held;
mod lowered;
mod lying;
#[path = "../support/mod.rs"]
mod support;
