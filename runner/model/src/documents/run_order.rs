use serde::{Deserialize, Serialize};

use crate::Digest;

/// A person's word that a run begins, made before it does and good for that run alone; signed in the namespace
/// `run@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunOrderDocument {
    /// [`DOCUMENT_VERSION`](super::DOCUMENT_VERSION).
    pub version: u32,
    /// The name that the run is to have: there is one of each name, so that it begins no second one.
    pub run: String,
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// The target's name.
    pub target: String,
    /// Fingerprint of the key of the runner whose run it is.
    pub runner: String,
    /// For how long the run waits for a person's confirmation, in milliseconds, where that is ordered besides what was
    /// signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_ms: Option<u64>,
    /// When it was ordered, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}
