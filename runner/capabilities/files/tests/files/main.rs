//! The capability on real files.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

mod asking;
mod changing;
mod inplace;
mod keeping;
mod linking;
mod meanwhile;
mod modes;
mod opening;
mod racing;
mod reading;
mod rehearsing;
mod reverting;
mod undoing;
mod walking;

mod support;
