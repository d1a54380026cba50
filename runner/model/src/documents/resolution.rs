//! What a run left otherwise than before, and a person's word on it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What a run that ended `rollback-incomplete` or `in-doubt` left otherwise than before, or what nobody can tell of,
/// until a person closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSubject {
    /// The subject of a change; of the run itself its rollback step, or a guard.
    pub subject: String,
    /// The capability whose subject it is; none of a rollback step and of a guard.
    pub capability: Option<String>,
    /// Why it is open, in a sentence; untrusted text.
    pub why: String,
    /// Whether it can be put back; otherwise it can only be accepted.
    pub restorable: bool,
    /// Digest of the content before the run, where there was one and it is not withheld.
    pub before: Option<Digest>,
    /// Digest of the content as the run's end found it; as for `before`.
    pub found: Option<Digest>,
}

/// How a subject is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It may stay as it is.
    Accept,
    /// What it was before the run is put back.
    Restore,
}

impl Way {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Restore => "restore",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A person's word on a subject that a run left otherwise than before; signed in the namespace `resolution@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolutionDocument {
    /// [`DOCUMENT_VERSION`](super::DOCUMENT_VERSION).
    pub version: u32,
    /// The run.
    pub run: String,
    /// Digest of the proposal that it ran.
    pub proposal: Digest,
    /// Its target.
    pub target: String,
    /// Fingerprint of the key of the runner whose run it is.
    pub runner: String,
    /// The subject.
    pub subject: String,
    /// What is to become of it.
    pub way: Way,
    /// Digest of its content as it is now: what may stay, or what is replaced. None where there is no content or it
    /// cannot be told; where it is withheld, keyed, so that no content can be told by trying.
    pub found: Option<Digest>,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}
