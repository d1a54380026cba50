use serde::{Deserialize, Serialize};

use crate::Digest;

/// One recorded read: what was asked, what came back, when and for whom.
///
/// The runner signs these bytes, as compact JSON, with its own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `ev-` and the start of a random number; names the record, proves nothing.
    pub id: String,
    /// The target that was read.
    pub target: String,
    /// Who asked: a principal's name, or a key's fingerprint where it has none.
    pub principal: String,
    /// What the read was part of: `read`, or a step's role and its digest.
    pub purpose: String,
    /// The call in grant-like text, e.g. `files.read /etc/hosts`; of a step that had read what is sensitive, the
    /// grant that permitted it.
    pub call: String,
    /// Digest of the whole reply as the guest got it; where it is withheld, one that only the runner can make again
    /// and that is another in every record, since a short content can be told from a plain digest by trying.
    pub digest: Digest,
    /// Size of that reply in bytes; none where the step had read what is sensitive before, since it could spell that
    /// out by how much it reads of another subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The reply's beginning, for a person; never more than 2,048 characters, and empty where it is withheld.
    pub excerpt: String,
    /// Whether the content is withheld: the subject is sensitive, or the step had read one that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Whether the reply was a fault.
    pub failed: bool,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}
