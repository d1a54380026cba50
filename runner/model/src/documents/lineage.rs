//! What a proposal follows from, as the runner's own host knows it: a run that it undoes, a proposal whose place it takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Grant, Role, Verdict};

/// A run that is to be undone, as its undoing's approver needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoStanding {
    /// The run's name.
    pub run: String,
    /// The target that it changed.
    pub target: String,
    /// The name of the proposal that it ran.
    pub proposal: String,
    /// Who proposed that, who never approves this.
    pub proposer: String,
    /// Who approved that.
    pub approvers: Vec<String>,
    /// When it was committed, in milliseconds since 1970-01-01 UTC.
    pub committed: u64,
    /// What it did that nothing undoes, one line each.
    pub not_undone: Vec<String>,
    /// The run that undid it meanwhile.
    pub undone_by: Option<String>,
}

/// Something that is another than it was; `None` where there was, or is, none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs<T> {
    /// What it was in the proposal before.
    pub was: Option<T>,
    /// What it is now.
    pub is: Option<T>,
}

impl<T: Clone + PartialEq> Differs<T> {
    /// The two, where they are not the same.
    #[must_use]
    pub fn between(was: Option<&T>, is: Option<&T>) -> Option<Self> {
        (was != is).then(|| Self { was: was.cloned(), is: is.cloned() })
    }
}

/// What differs from the proposal that a proposal takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionStanding {
    /// The name of the proposal before.
    pub revises: String,
    /// Why that one was denied, if it was.
    pub denied: Option<String>,
    /// The bundle's digest.
    pub bundle: Option<Differs<Digest>>,
    /// Arguments, by name.
    pub arguments: Vec<ArgumentDifference>,
    /// Grants that are asked for now or were before, and not both.
    pub grants: Vec<GrantDifference>,
    /// When the check is asked, how closely the run is held to its plan, and what pairs with the fix, as JSON.
    pub terms: Option<Differs<Value>>,
    /// The evidence cited, by id.
    pub evidence: Option<Differs<Vec<String>>>,
    /// The agent's own words.
    pub hypothesis: Option<Differs<String>>,
    /// Targets on which something differs.
    pub targets: Vec<TargetDifference>,
    /// What of the proposal before cannot be read any more, so that nobody can say how it differs; and why.
    #[serde(default)]
    pub missing: Vec<String>,
}

impl RevisionStanding {
    /// Of a proposal of which nothing more can be said.
    #[must_use]
    pub const fn of(revises: String) -> Self {
        Self {
            revises,
            denied: None,
            bundle: None,
            arguments: Vec::new(),
            grants: Vec::new(),
            terms: None,
            evidence: None,
            hypothesis: None,
            targets: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// One argument that is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentDifference {
    /// Its name.
    pub name: String,
    /// Its value before; none where it was not given.
    pub was: Option<Value>,
    /// Its value now.
    pub is: Option<Value>,
}

/// One grant that is new, or asked for no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantDifference {
    /// The step that it is for.
    pub role: Role,
    /// The grant.
    pub grant: Grant,
    /// Whether it is asked for now, and was not.
    pub new: bool,
}

/// What differs on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDifference {
    /// The target's name.
    pub name: String,
    /// Digest of its configuration; one side is missing where the target is new or no longer proposed.
    pub configuration: Option<Differs<Digest>>,
    /// Digest of the plan.
    pub plan: Option<Differs<Digest>>,
    /// The check on the untouched target.
    pub check_before: Option<Differs<Verdict>>,
    /// The check on the overlay.
    pub check_after: Option<Differs<Verdict>>,
    /// Places of the plan whose change is another.
    pub changes: Vec<ChangeDifference>,
}

/// One place of the plan, whose change is another than it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeDifference {
    /// The step that makes it.
    pub role: Role,
    /// The subject.
    pub subject: String,
    /// One line of what is done.
    pub summary: Differs<String>,
    /// Digest of the content that it finds.
    pub before: Option<Differs<Digest>>,
    /// Digest of the content that it leaves.
    pub after: Option<Differs<Digest>>,
    /// Everything else that is signed.
    pub effect: Option<Differs<Value>>,
    /// What became of the content that it finds, as a unified diff; the target's own text.
    pub drifted: String,
    /// What became of the content that it leaves, as a unified diff.
    pub rewritten: String,
}
