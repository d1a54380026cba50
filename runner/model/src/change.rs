use serde::{Deserialize, Serialize};

use crate::Digest;

/// One state-changing call made ready: everything needed to apply it, to tell whether it happened, and to undo it.
///
/// All fields but `body` are what an approver sees and what a run is compared with; `body` also
/// holds what only this moment knows, such as a process identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The capability that made it and can undo it.
    pub capability: String,
    /// The version of `body`'s format.
    pub format: u32,
    /// What is changed, named as the capability names it, e.g. an absolute path.
    pub subject: String,
    /// What undo is worth.
    pub reversibility: Reversibility,
    /// One line for a person.
    pub summary: String,
    /// The content before, where there is one; see [`Change::images`] for whether its bytes are a blob.
    pub before: Option<Image>,
    /// The content after, where there is one; as for `before`.
    pub after: Option<Image>,
    /// The end in which the contents before and after differ, where only that is kept and not the whole of both.
    pub kept: Option<Kept>,
    /// Everything else that must be the same in rehearsal and run: modes, owners, the signal's name.
    pub effect: serde_json::Value,
    /// Whether the operator holds the subject to be sensitive: nobody is shown its content, nor a digest of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// The capability's own record, for apply, probe and undo.
    pub body: serde_json::Value,
}

impl Change {
    /// Whether a run may do `self` where the plan says `planned`: equal in everything but the body.
    #[must_use]
    pub fn same_effect(&self, planned: &Self) -> bool {
        self.capability == planned.capability
            && self.format == planned.format
            && self.subject == planned.subject
            && self.reversibility == planned.reversibility
            && self.before == planned.before
            && self.after == planned.after
            && self.kept == planned.kept
            && self.effect == planned.effect
            && self.withheld == planned.withheld
    }

    /// The images whose bytes are blobs: what undo needs and people are shown. The end that is kept where
    /// that is all that is, none where the content stays the same, else the content before and after.
    pub fn images(&self) -> impl Iterator<Item = Image> + use<> {
        let images = match self.kept {
            Some(kept) => [Some(kept.image), None],
            None if self.before == self.after => [None, None],
            None => [self.before, self.after],
        };
        images.into_iter().flatten()
    }
}

/// The content of a subject at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Digest of the bytes, by which the blob store finds them.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// The end of a content, kept where the whole is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where in the content it begins, in bytes.
    pub from: u64,
    /// Its bytes, up to the content's end.
    pub image: Image,
}

impl Image {
    /// The image of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// What undoing a change is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reversibility {
    /// Undo restores the before-image byte for byte.
    Exact,
    /// Undo reaches an equivalent state.
    Compensating,
    /// Nothing undoes it: a signal, a restart, a sent request.
    Irreversible,
}

impl Reversibility {
    /// The word that people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Compensating => "compensating",
            Self::Irreversible => "irreversible",
        }
    }
}

/// Where a subject stands relative to a change; the answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it was before the change.
    Before,
    /// As the change leaves it.
    After,
    /// Neither: what it is instead, for a person.
    Elsewhere(String),
    /// It cannot be told, e.g. whether a signal was delivered.
    Unknowable,
}

/// Whether whoever changes a target could make a change, told without making it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ability", content = "why", rename_all = "kebab-case")]
pub enum Ability {
    /// They could, as the target stands.
    Can,
    /// They could not: why, in a sentence fragment that names the subject.
    Cannot(String),
    /// Nobody can tell without trying: why, in a sentence fragment that names the subject.
    CannotTell(String),
}

impl Ability {
    /// The same with another text.
    #[must_use]
    pub fn map(self, text: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Can => Self::Can,
            Self::Cannot(why) => Self::Cannot(text(why)),
            Self::CannotTell(why) => Self::CannotTell(text(why)),
        }
    }
}
