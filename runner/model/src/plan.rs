use serde::{Deserialize, Serialize};

use crate::{Change, Digest, Role};

/// The ordered changes, forward and back, that the runner's own rehearsal produced for one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What the fix does, in order.
    pub forward: Vec<Change>,
    /// What the rollback step does, in order, after the host has undone the exact changes.
    pub back: Vec<Change>,
    /// Chance that the digest covers where a change is withheld, and that nobody is shown: without it, whoever
    /// knows the rest of the plan could tell a short content from the digest, by trying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
}

/// A change with its place in the plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedChange<'a> {
    /// The step that makes it.
    pub role: Role,
    /// Its position among that step's changes, from 0.
    pub position: usize,
    /// The change.
    pub change: &'a Change,
}

/// What a plan's digest is over: the changes without their bodies, which differ from moment to moment.
#[derive(Serialize)]
struct Effects<'a> {
    forward: Vec<Effect<'a>>,
    back: Vec<Effect<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blind: Option<&'a str>,
}

#[derive(Serialize)]
struct Effect<'a> {
    capability: &'a str,
    format: u32,
    subject: &'a str,
    reversibility: crate::Reversibility,
    before: Option<crate::Image>,
    after: Option<crate::Image>,
    kept: Option<crate::Kept>,
    effect: &'a serde_json::Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withheld: bool,
}

impl Plan {
    /// The digest that approvers sign: over every effect, in order, and nothing that varies between
    /// rehearsals of the same thing, but for the chance that keeps what is withheld from being guessed. The
    /// encoding is compact JSON with the fields in the order above.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.blinded(self.blind.as_deref())
    }

    /// Whether another rehearsal found the very same to do: every effect, in order, whatever chance their digests cover.
    #[must_use]
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        self.blinded(None) == other.blinded(None)
    }

    fn blinded(&self, blind: Option<&str>) -> Digest {
        let effects = Effects { forward: effects(&self.forward), back: effects(&self.back), blind };
        // A struct of strings, numbers and JSON values always serializes.
        Digest::of(&serde_json::to_vec(&effects).unwrap_or_default())
    }

    /// Every change, forward and then back.
    pub fn changes(&self) -> impl Iterator<Item = PlannedChange<'_>> {
        numbered(Role::Fix, &self.forward).chain(numbered(Role::Rollback, &self.back))
    }
}

fn numbered(role: Role, changes: &[Change]) -> impl Iterator<Item = PlannedChange<'_>> {
    changes.iter().enumerate().map(move |(position, change)| PlannedChange { role, position, change })
}

fn effects(changes: &[Change]) -> Vec<Effect<'_>> {
    changes
        .iter()
        .map(|change| Effect {
            capability: &change.capability,
            format: change.format,
            subject: &change.subject,
            reversibility: change.reversibility,
            before: change.before,
            after: change.after,
            kept: change.kept,
            effect: &change.effect,
            withheld: change.withheld,
        })
        .collect()
}
