use serde::{Deserialize, Serialize};

/// One host call as a value: what a guest's import becomes.
///
/// Both ends are the same binary, so `arguments` is postcard, without a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The capability's name, e.g. `files`.
    pub capability: String,
    /// The function's name in its WIT interface, e.g. `read`.
    pub function: String,
    /// The typed arguments, encoded by the capability.
    #[serde(with = "serde_bytes")]
    pub arguments: Vec<u8>,
}

/// What the host answers to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The typed result, encoded by the capability.
    Value(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The call was refused or failed; the guest sees a typed error.
    Fault(Fault),
}

/// Why a call did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// The sort of failure, for a program to decide on.
    pub kind: FaultKind,
    /// Whether the request may have reached the target.
    pub reached: bool,
    /// What happened, for a person.
    pub what: String,
}

/// The sorts of failure; `error-kind` of `countersign:step/types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// No grant covers the call, or a limit is used up.
    Denied,
    /// The subject does not exist.
    NotFound,
    /// The subject exists already.
    Exists,
    /// The arguments make no sense.
    Invalid,
    /// More bytes than the call may carry.
    TooLarge,
    /// The subject is of a sort that this call does not handle safely.
    Unsupported,
    /// The subject is not, or no longer, what the change was prepared for.
    Changed,
    /// A rehearsal cannot know the answer.
    Unknowable,
    /// The target did not answer.
    Unreachable,
    /// The target did not answer in time.
    TimedOut,
    /// Anything else.
    Other,
}

impl Fault {
    /// A failure before anything reached the target.
    #[must_use]
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, reached: false, what: what.into() }
    }

    /// A failure after the request may have reached the target.
    #[must_use]
    pub fn reached(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, reached: true, what: what.into() }
    }
}

/// Ends the step at once: the guest is trapped and never runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub String);
