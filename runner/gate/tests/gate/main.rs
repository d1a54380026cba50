//! The gate's rules, by calls that are sent through its port as a guest's are.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod deviating;
mod failing;
mod files;
mod journaling;
mod keeping;
mod permitting;
mod rehearsing;
mod reverting;
mod roles;
mod rolling_back;
mod sensitive;
mod subjects;
mod support;
mod taking_over;
mod undoing;
mod validating;
mod witnessing;
