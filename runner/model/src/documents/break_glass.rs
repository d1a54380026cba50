use serde::{Deserialize, Serialize};

use crate::Digest;

/// A person's word that they have looked at what became of a broken glass; signed in the namespace
/// `break-glass-review@countersign`. It closes the review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassReviewDocument {
    /// [`DOCUMENT_VERSION`](super::DOCUMENT_VERSION).
    pub version: u32,
    /// Digest of the approval manifest by which the glass was broken.
    pub approval: Digest,
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// Fingerprint of the key of the runner whose review it is.
    pub runner: String,
    /// What was found, in their words.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}
