//! An approval in place of the quorums: whose signatures count for it, and how far it reaches.

use std::collections::BTreeSet;

use countersign_model::Mode;
use countersign_model::documents::Terms;
use countersign_model::text::excerpt;
use serde::Deserialize;

use crate::case::{Case, unrevoked};
use crate::policy::{BreakGlass, Policy};
use crate::principal::Principal;
use crate::refusal::{Refusal, Signed};
use crate::signer::Signer;
use crate::text::length;

/// Why an approval by break-glass does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BreakGlassRefusal {
    /// The trust policy has none of this name.
    #[error("the approval is by the break-glass `{0}`, which the trust policy does not have")]
    Unknown(String),
    /// Its signer has no key that breaks this one.
    #[error("{who} does not break the glass `{name}`: it has keys of its own")]
    OtherKey {
        /// Who signed it.
        who: String,
        /// The break-glass.
        name: String,
    },
    /// It reaches further than this break-glass does.
    #[error("the approval is outside of the break-glass `{name}`: {why}")]
    Outside {
        /// The break-glass.
        name: String,
        /// How.
        why: String,
    },
    /// Too few have signed it.
    #[error("{wants} must break the glass `{name}`, and {} did", if .people.is_empty() { "nobody".to_owned() } else { .people.join(", ") })]
    TooFew {
        /// The break-glass.
        name: String,
        /// How many must, and how they sign.
        wants: String,
        /// Who has.
        people: Vec<String>,
    },
}

impl BreakGlassRefusal {
    /// What to do next, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "approve it as ever, or break another glass: `countersign trust show` lists them",
            Self::OtherKey { .. } => {
                "sign with a key that the trust policy lists under its [[break-glass]]: `countersign trust show` lists them"
            }
            Self::Outside { .. } => {
                "break it for less, with `--narrow` or a shorter `--expires`, or have it approved as ever: \
                 `countersign trust show` tells how far it reaches"
            }
            Self::TooFew { .. } => {
                "have somebody else with a key of it sign the same approval: `countersign break-glass approve PROPOSAL --cosign \
                 APPROVAL`"
            }
        }
    }
}

/// What a manifest says of a break-glass, and nothing else of it.
#[derive(Deserialize)]
struct Named {
    predicate: NamedTerms,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct NamedTerms {
    #[serde(default)]
    break_glass: Option<String>,
}

/// The break-glass that an approval manifest names. None too where it cannot be read: that is told by who reads all of it.
pub(crate) fn named_in(manifest: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(manifest).ok()?;
    // Nearly none does, and that is seen sooner than it is read. Only an escape could hide the key.
    if !text.contains("break-glass") && !text.contains('\\') {
        return None;
    }
    serde_json::from_str::<Named>(text).ok()?.predicate.break_glass
}

fn found<'p>(policy: &'p Policy, name: &str) -> Result<&'p BreakGlass, Refusal> {
    let table = policy.break_glass().iter().find(|table| table.name() == name);
    table.ok_or_else(|| BreakGlassRefusal::Unknown(excerpt(name, 100)).into())
}

/// Whether a signature counts for breaking the glass of this name: by one of its keys, made as it demands, and of nobody
/// whose proposal it is.
pub(crate) fn may_break(name: &str, signer: &Signer, who: &Principal, case: &Case<'_>) -> Result<(), Refusal> {
    let table = found(case.policy, name)?;
    unrevoked(who)?;
    if !table.has(who.fingerprint()) {
        return Err(BreakGlassRefusal::OtherKey { who: who.to_string(), name: table.name().to_owned() }.into());
    }
    case.is_not_theirs(who)?;
    let demanded = table.demands(case.policy.demands());
    demanded.satisfied_by(signer).map_err(|unmet| Refusal::Unmet { on: Signed::Approval, unmet })
}

/// Whether an approval stays within the break-glass that it names; one that names none does.
pub(crate) fn within(terms: &Terms, case: &Case<'_>) -> Result<(), Refusal> {
    let Some(name) = &terms.break_glass else { return Ok(()) };
    let table = found(case.policy, name)?;
    let outside = |why: String| Err(BreakGlassRefusal::Outside { name: table.name().to_owned(), why }.into());
    if let Some(target) = terms.targets.iter().find(|target| !table.reaches(&target.name)) {
        return outside(format!("it is for other targets than `{}`", excerpt(&target.name, 80)));
    }
    if terms.mode != Mode::Exact {
        return outside("only mode `exact` is approved by it".to_owned());
    }
    if terms.uses != 1 {
        return outside(format!("it is good for 1 run, and this is for {}", terms.uses));
    }
    let (asked, longest) = (terms.expires.saturating_sub(terms.not_before), table.max_validity_ms());
    if asked > longest {
        return outside(format!("it is good for {} at most, and this is for {}", length(longest), length(asked)));
    }
    match table.exceeded(&terms.grants, case.contains) {
        Some((grant, why)) => outside(format!("`{grant}`: {why}")),
        None => Ok(()),
    }
}

/// Whether a run by an approval with these terms begins although a freeze is on.
pub(crate) fn goes_through_freezes(terms: &Terms, policy: &Policy) -> bool {
    named(terms, policy).is_some_and(BreakGlass::goes_through_freezes)
}

/// The break-glass that these terms name, where the policy has it.
pub(crate) fn named<'p>(terms: &Terms, policy: &'p Policy) -> Option<&'p BreakGlass> {
    terms.break_glass.as_ref().and_then(|name| found(policy, name).ok())
}

impl Case<'_> {
    /// Whether these people, whose signatures count, are enough for an approval by this break-glass, or without one by
    /// every quorum.
    ///
    /// # Errors
    /// What is missing.
    pub fn enough_for(&self, break_glass: Option<&str>, people: &BTreeSet<String>) -> Result<(), Refusal> {
        let Some(name) = break_glass else { return self.enough(people) };
        let table = found(self.policy, name)?;
        if people.len() >= table.people() {
            return Ok(());
        }
        let (name, wants) = (table.name().to_owned(), table.wants());
        Err(BreakGlassRefusal::TooFew { name, wants, people: people.iter().cloned().collect() }.into())
    }
}

#[cfg(test)]
mod tests;
