//! Lines in the run's log, for whoever looks at the run later; shown as the step's own words.
//!
//! The macros take what `format!` takes: `log::info!("{count} workers")`. A line over 4 KiB is cut; past 256 KiB a
//! step's lines are dropped. What a step prints goes nowhere, or for `wasm32-wasip2` to this log, at `info` and `warn`.

use crate::bindings::countersign::step::host;
pub use crate::bindings::countersign::step::host::Level;
#[doc(inline)]
pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};

/// Writes one line to the run's log.
pub fn log(level: Level, message: impl AsRef<str>) {
    host::log(level, message.as_ref());
}

/// Logs what only an author wants to know.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($format:tt)+) => { $crate::log::log($crate::log::Level::Debug, ::std::format!($($format)+)) };
}

/// Logs what the step does.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($format:tt)+) => { $crate::log::log($crate::log::Level::Info, ::std::format!($($format)+)) };
}

/// Logs what looks wrong but does not stop the step.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($format:tt)+) => { $crate::log::log($crate::log::Level::Warn, ::std::format!($($format)+)) };
}

/// Logs what is wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($format:tt)+) => { $crate::log::log($crate::log::Level::Error, ::std::format!($($format)+)) };
}
