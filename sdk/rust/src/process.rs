//! Processes of the target, by the absolute path of their executable; never by bare process identifier.
//!
//! A call needs a grant of `process.read` or `process.write` that covers the executable and, to signal, the
//! signal. Nothing undoes a signal: a remediation that sends one needs a rollback step.

use crate::Error;
pub use crate::bindings::countersign::process::types::{Process, Selector, Signal};
use crate::bindings::countersign::process::{read, write};

impl Selector {
    /// The process whose identifier this file holds. The file is read at the moment of the call.
    pub fn pid_file(path: impl Into<String>) -> Self {
        Self::PidFile(path.into())
    }
}

/// The processes of an executable, by identifier; at most 1,000.
///
/// # Errors
/// `invalid` where the path is not absolute, `too-large`, `denied`.
pub fn list(executable: impl AsRef<str>) -> Result<Vec<Process>, Error> {
    Ok(read::list(executable.as_ref())?)
}

/// One process of an executable.
///
/// # Errors
/// `not-found` where there is none, `changed` where the selector names a process of another executable, `denied`.
pub fn inspect(executable: impl AsRef<str>, process: &Selector) -> Result<Process, Error> {
    Ok(read::inspect(executable.as_ref(), process)?)
}

/// Sends a signal to one process of an executable. A rehearsal notes it and sends nothing.
///
/// # Errors
/// As for [`inspect`].
pub fn signal(executable: impl AsRef<str>, process: &Selector, signal: Signal) -> Result<(), Error> {
    Ok(write::signal(executable.as_ref(), process, signal)?)
}
