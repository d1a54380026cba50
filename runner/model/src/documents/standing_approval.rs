//! What people sign once for many runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RoleGrants, Subject};
use crate::{Digest, RollbackBy, Success};

/// The `predicateType` of a standing approval.
pub const STANDING_APPROVAL_TYPE: &str = "urn:countersign:standing-approval:v1";

/// A standing approval: an in-toto Statement v1 whose subjects are the steps; signed by each approver in the namespace
/// `standing-approval@countersign`. What it takes in runs without anybody being asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingApproval {
    /// [`STATEMENT_TYPE`](super::STATEMENT_TYPE).
    #[serde(rename = "_type")]
    pub kind: String,
    /// One per step, named by its role.
    pub subject: Vec<Subject>,
    /// [`STANDING_APPROVAL_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The terms.
    pub predicate: StandingTerms,
}

/// What runs unattended, where, how often and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StandingTerms {
    /// The proposal that people saw when they signed it: what is not said otherwise below must be as it is there.
    pub example: Digest,
    /// The bundle.
    pub bundle: Digest,
    /// The agent whose proposals may run, by name.
    pub agent: String,
    /// Where they may.
    pub targets: Vec<StandingTarget>,
    /// The arguments that may be others than the example's, and which.
    pub arguments: BTreeMap<String, ArgumentRange>,
    /// What each step may do at most.
    pub grants: RoleGrants,
    /// What pairs with the fix.
    pub rollback: RollbackBy,
    /// When the check is asked.
    pub success: Success,
    /// How much of it there may be.
    pub budget: Budget,
    /// From when on a run may begin, in milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// From when on none may begin.
    pub expires: u64,
    /// Who answers for the target if the rollback does not restore it.
    pub rollback_owner: String,
    /// Digest of the trust policy in force.
    pub policy: Digest,
    /// Why the approver agrees.
    pub reason: String,
}

/// One target of a standing approval, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingTarget {
    /// Its name in the operator's configuration.
    pub name: String,
    /// Digest of its resolved configuration.
    pub configuration: Digest,
    /// Fingerprint of the runner's key.
    pub runner: String,
}

/// What an argument may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ArgumentRange {
    /// One of these values; one at least.
    OneOf(Vec<Value>),
    /// A whole number, these and between.
    Within {
        /// The least.
        from: i64,
        /// The greatest.
        to: i64,
    },
}

impl ArgumentRange {
    /// Whether a value is in it.
    #[must_use]
    pub fn takes_in(&self, value: &Value) -> bool {
        match self {
            Self::OneOf(values) => values.contains(value),
            Self::Within { from, to } => value.as_i64().is_some_and(|value| (*from..=*to).contains(&value)),
        }
    }
}

/// How many runs there may be, and how much each changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budget {
    /// The most runs that begin within an hour, on all its targets together; at least 1.
    pub per_hour: u32,
    /// The most within a day; at least 1.
    pub per_day: u32,
    /// The most subjects that one proposal changes, on all its targets together; at least 1.
    pub subjects: u32,
}

impl StandingTerms {
    /// The first argument that is neither as in the example nor in its range, if there is one.
    #[must_use]
    pub fn out_of_range<'a>(
        &self,
        example: &'a Map<String, Value>,
        arguments: &'a Map<String, Value>,
    ) -> Option<&'a str> {
        let names = example.keys().chain(arguments.keys());
        names.map(String::as_str).find(|name| match (arguments.get(*name), self.arguments.get(*name)) {
            (Some(value), Some(range)) => !range.takes_in(value),
            (value, _) => value != example.get(*name),
        })
    }
}
