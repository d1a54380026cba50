#![doc = include_str!("../README.md")]

#[allow(missing_docs, unsafe_code, clippy::all, reason = "generated; the documentation stands in the WIT")]
#[doc(hidden)]
pub mod bindings;
mod error;
pub mod files;
pub mod http;
pub mod log;
pub mod process;
mod roles;

pub use bindings::countersign::step::types::{ErrorKind, Finding, Verdict};
pub use error::{Error, Failure};
#[doc(hidden)]
pub use roles::{NoArguments, act, judge, look, on_the_host};
#[doc(hidden)]
pub use wit_bindgen;

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// The proposal's time, in milliseconds since 1970-01-01 UTC.
///
/// It does not advance: a rehearsal and its run see the same. The standard library's clocks panic in a step that is
/// built for `wasm32-unknown-unknown`; for `wasm32-wasip2`, `SystemTime::now()` is this.
#[must_use]
pub fn now() -> u64 {
    bindings::countersign::step::host::now()
}

/// The proposal's seed for whatever needs chance, the same in a rehearsal and its run. Never fit for secrets.
#[must_use]
pub fn seed() -> u64 {
    bindings::countersign::step::host::seed()
}
