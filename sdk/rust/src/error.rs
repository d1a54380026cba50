use std::any::Any;
use std::fmt;

use crate::bindings::countersign::step::types;
use crate::{ErrorKind, Verdict};

/// Why a call did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The sort of failure, for a program to decide on.
    pub kind: ErrorKind,
    /// For a person; at most a few hundred characters. It may quote the target: untrusted.
    pub message: String,
    /// Whether the request may have reached the target. A write that did may have taken effect.
    pub reached: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Self { kind: error.kind, message: error.message, reached: error.reached }
    }
}

/// Why a step gave up. Anything that can be shown becomes one, so `?` works on errors and on text:
///
/// ```
/// # use countersign_sdk::Failure;
/// fn port(line: &str) -> Result<u16, Failure> {
///     let (_, value) = line.split_once('=').ok_or_else(|| format!("`{line}` has no value"))?;
///     Ok(value.trim().parse::<u16>()?)
/// }
/// # assert_eq!(port("a = 80").ok(), Some(80));
/// ```
///
/// It is not shown itself, or that could not be: see [`Failure::message`].
#[derive(Debug)]
pub struct Failure {
    message: String,
    unknowable: bool,
}

impl Failure {
    /// What went wrong, for a person. The step's word: the runner shows it as unverified.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a check that ended this way says: where a rehearsal cannot know, the check cannot tell.
    ///
    /// # Errors
    /// Every other failure, as its message.
    pub(crate) fn into_verdict(self) -> Result<Verdict, String> {
        if self.unknowable { Ok(Verdict::CannotTell(self.message)) } else { Err(self.message) }
    }

    pub(crate) fn into_message(self) -> String {
        self.message
    }
}

impl<T: fmt::Display + Any> From<T> for Failure {
    fn from(cause: T) -> Self {
        let error = (&cause as &dyn Any).downcast_ref::<Error>();
        Self { unknowable: error.is_some_and(|error| error.kind == ErrorKind::Unknowable), message: cause.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error { kind, message: "why".to_owned(), reached: false }
    }

    #[test]
    fn what_is_unknowable_is_no_failure_of_a_check() {
        let verdict = Failure::from(error(ErrorKind::Unknowable)).into_verdict();
        assert_eq!(verdict, Ok(Verdict::CannotTell("why".to_owned())));
    }

    #[test]
    fn every_other_failure_of_a_check_stays_one() {
        for failure in [Failure::from(error(ErrorKind::Denied)), Failure::from("why"), Failure::from("why".to_owned())]
        {
            assert_eq!(failure.into_verdict(), Err("why".to_owned()));
        }
    }
}
