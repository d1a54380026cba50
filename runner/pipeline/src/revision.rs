//! A proposal that takes the place of an earlier one of its proposer, and what differs between the two.

use std::collections::{BTreeMap, BTreeSet};

use countersign_bundle::Bundle;
use countersign_capability::Blobs;
use countersign_gate::Sensitive;
use countersign_model::documents::{
    ArgumentDifference, ChangeDifference, Differs, GrantDifference, ProposalDocument, ProposedTarget,
    RehearsalDocument, RevisionStanding, TargetDifference,
};
use countersign_model::text::without_digests;
use countersign_model::{Change, Digest, Grant, Role, Verdict};
use countersign_trust::{Principal, PrincipalKind};
use serde_json::Value;

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::signed::read_proposal;
use crate::stored::Stored;
use crate::target::Target;
use crate::withhold::Since;

/// A proposal whose place another is to take.
pub struct Revised(Stored);

impl Revised {
    /// Finds the proposal and tests that this proposer may revise it.
    ///
    /// # Errors
    /// A refusal, where it is another's, was superseded already, or undoes a run.
    pub fn load(runner: &Runner, name: &str, proposer: &Principal) -> Result<Self, PipelineError> {
        let stored = Stored::load(runner, name)?;
        let name = proposal_name(&stored.proposal.digest());
        if let Some(by) = runner.revision(&stored.proposal.digest())? {
            let by = proposal_name(&by);
            return Err(PipelineError::refused(format!("the proposal `{name}` was superseded by `{by}`")).with_hint(
                format!("nothing changed; revise the one that stands: `countersign propose --revise {by}`"),
            ));
        }
        let own = stored.proposal.proposer();
        let same = own.fingerprint() == proposer.fingerprint()
            || (own.kind() != PrincipalKind::Unlisted && own.name() == proposer.name());
        if !same {
            let what = format!("the proposal `{name}` is by {own}, and {proposer} cannot end what another proposed");
            return Err(PipelineError::refused(what).with_hint(
                "nothing changed; propose it as your own, without `--revise`, or have its proposer revise it",
            ));
        }
        if let Some(undoes) = &stored.proposal.document().undoes {
            let what =
                format!("the proposal `{name}` undoes the run `{}`, which has no arguments to revise", undoes.run);
            return Err(PipelineError::refused(what)
                .with_hint(format!("nothing changed; plan it again: `countersign rollback {}`", undoes.run)));
        }
        Ok(Self(stored))
    }

    /// Digest of the proposal.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.0.proposal.digest()
    }

    /// What it proposed.
    #[must_use]
    pub const fn document(&self) -> &ProposalDocument {
        self.0.proposal.document()
    }

    /// The bundle that it proposed, as the state keeps it.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }
}

/// What differs from the proposal before, where there is one. What cannot be read of that one is a part of the answer:
/// it is not what anybody signs.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn standing(
    runner: &Runner,
    stored: &Stored,
    configured: &[(&str, &Target)],
) -> Result<Option<RevisionStanding>, PipelineError> {
    let is = stored.proposal.document();
    let Some(revises) = &is.revises else { return Ok(None) };
    let name = proposal_name(revises);
    let denied = runner.denial_reason(revises)?;
    let read = runner
        .signed_proposal(revises)
        .map_err(|error| error.to_string())
        .and_then(|(bytes, signature)| read_proposal(&bytes, signature.as_bytes(), revises));
    let was = match read {
        Ok(was) => was,
        Err(why) => {
            let missing = vec![format!("the proposal `{name}`: {why}")];
            return Ok(Some(RevisionStanding { denied, missing, ..RevisionStanding::of(name) }));
        }
    };
    let mut missing = Vec::new();
    let mut before = BTreeMap::new();
    for target in &was.targets {
        match runner.rehearsal(&target.rehearsal) {
            Ok(rehearsal) if rehearsal.target == target.name => _ = before.insert(target.name.as_str(), rehearsal),
            Ok(_) => missing.push(format!("the rehearsal on `{}`: it is of another target", target.name)),
            Err(error) => missing.push(format!("the rehearsal on `{}`: {error}", target.name)),
        }
    }
    let names: BTreeSet<&String> = was.arguments.keys().chain(is.arguments.keys()).collect();
    let arguments = names.into_iter().filter_map(|name| {
        let Differs { was, is } = Differs::between(was.arguments.get(name), is.arguments.get(name))?;
        Some(ArgumentDifference { name: name.clone(), was, is })
    });
    let cited = |document: &ProposalDocument| -> Vec<String> {
        document.evidence.iter().map(|reference| reference.id.clone()).collect()
    };
    Ok(Some(RevisionStanding {
        revises: name,
        denied,
        bundle: Differs::between(Some(&was.bundle), Some(&is.bundle)),
        arguments: arguments.collect(),
        grants: grants(&was, is),
        terms: Differs::between(Some(&terms(&was)), Some(&terms(is))),
        evidence: Differs::between(Some(&cited(&was)), Some(&cited(is))),
        hypothesis: Differs::between(Some(&was.hypothesis), Some(&is.hypothesis)),
        targets: targets(runner, (&was, &before), stored, configured)?,
        missing,
    }))
}

fn terms(document: &ProposalDocument) -> Value {
    serde_json::json!({ "mode": document.mode, "rollback": document.rollback, "success": document.success })
}

fn grants(was: &ProposalDocument, is: &ProposalDocument) -> Vec<GrantDifference> {
    let mut differences = Vec::new();
    for role in Role::ALL {
        let of = |document: &ProposalDocument| document.grants.get(&role).cloned().unwrap_or_default();
        let (before, now) = (of(was), of(is));
        let only = |these: &[Grant], others: &[Grant], new| -> Vec<GrantDifference> {
            let only = these.iter().filter(|grant| !others.contains(grant));
            only.map(|grant| GrantDifference { role, grant: grant.clone(), new }).collect()
        };
        differences.extend(only(&before, &now, false));
        differences.extend(only(&now, &before, true));
    }
    differences
}

fn targets(
    runner: &Runner,
    (earlier, before): (&ProposalDocument, &BTreeMap<&str, RehearsalDocument>),
    stored: &Stored,
    configured: &[(&str, &Target)],
) -> Result<Vec<TargetDifference>, PipelineError> {
    let since = Since::of(runner, configured)?;
    let later = stored.proposal.document();
    let names: BTreeSet<&String> = earlier.targets.iter().chain(&later.targets).map(|target| &target.name).collect();
    let mut differences = Vec::new();
    for name in names.into_iter().cloned() {
        let (was, is) = (before.get(name.as_str()), stored.rehearsal(&name).ok());
        let proposed = |document: &ProposalDocument| -> Option<ProposedTarget> {
            document.targets.iter().find(|target| target.name == name).cloned()
        };
        let (proposed_before, proposed) = (proposed(earlier), proposed(later));
        let of = |target: &Option<ProposedTarget>, of: fn(&ProposedTarget) -> Digest| target.as_ref().map(of);
        let side = |digest: fn(&ProposedTarget) -> Digest| {
            Differs::between(of(&proposed_before, digest).as_ref(), of(&proposed, digest).as_ref())
        };
        // What cannot be compared does not differ; that it is missing is said.
        let is = is.filter(|_| was.is_some() || proposed_before.is_none());
        // A step of either may have read what has come to be sensitive since. Of a target that is proposed no longer,
        // nobody has said what is.
        let now = configured.iter().find(|(known, _)| *known == name).map(|(_, target)| target.digest());
        let field = |rehearsal: Option<&RehearsalDocument>, of: fn(&RehearsalDocument) -> &Verdict| {
            rehearsal.map(|rehearsal| match now {
                Some(now) => since.verdict(&name, rehearsal.configuration != now, of(rehearsal)),
                None => crate::withhold::reason(of(rehearsal), crate::withhold::UNKNOWN),
            })
        };
        let tellers = |rehearsal: Option<&RehearsalDocument>| -> BTreeSet<Role> {
            // Of a target that is configured no longer nobody can say, so all of it is.
            let read = rehearsal.filter(|_| now.is_some()).map(|rehearsal| since.tellers(runner, rehearsal));
            read.unwrap_or_else(|| Role::ALL.into())
        };
        let verdict =
            |of: fn(&RehearsalDocument) -> &Verdict| Differs::between(field(was, of).as_ref(), field(is, of).as_ref());
        let difference = TargetDifference {
            configuration: side(|target| target.configuration),
            plan: side(|target| target.plan),
            check_before: verdict(|rehearsal| &rehearsal.check_before),
            check_after: verdict(|rehearsal| &rehearsal.check_after),
            changes: changes(&mut runner.blobs(), (was, tellers(was)), (is, tellers(is)), since.sensitive(&name)),
            name,
        };
        let differs = difference.configuration.is_some()
            || difference.plan.is_some()
            || difference.check_before.is_some()
            || difference.check_after.is_some();
        if differs {
            differences.push(difference);
        }
    }
    Ok(differences)
}

/// The places of both plans, subject by subject: the first change of a subject against the first, and so on; each plan
/// beside the steps that may tell by it what is sensitive by now.
fn changes(
    blobs: &mut dyn Blobs,
    was: (Option<&RehearsalDocument>, BTreeSet<Role>),
    is: (Option<&RehearsalDocument>, BTreeSet<Role>),
    sensitive: &Sensitive,
) -> Vec<ChangeDifference> {
    let placed = |(rehearsal, tellers): (Option<&RehearsalDocument>, BTreeSet<Role>)| -> Vec<(Place, Change)> {
        let mut seen: Vec<Place> = Vec::new();
        let planned = rehearsal.into_iter().flat_map(|rehearsal| rehearsal.plan.changes());
        planned
            .map(|planned| {
                let mut change = planned.change.clone();
                if tellers.contains(&planned.role) {
                    change = crate::withhold::change(&change);
                }
                change.withheld |= sensitive.takes_in(&change.capability, &change.subject);
                let same = |place: &&Place| {
                    (place.role, &place.capability, &place.subject)
                        == (planned.role, &change.capability, &change.subject)
                };
                let number = seen.iter().filter(same).count();
                let (capability, subject) = (change.capability.clone(), change.subject.clone());
                let place = Place { role: planned.role, capability, subject, number };
                seen.push(place.clone());
                (place, change)
            })
            .collect()
    };
    let (was, is) = (placed(was), placed(is));
    let find = |of: &[(Place, Change)], place: &Place| -> Option<Change> {
        of.iter().find(|(known, _)| known == place).map(|(_, change)| change.clone())
    };
    let gone = was.iter().filter(|(place, _)| find(&is, place).is_none());
    let places: Vec<&Place> = is.iter().chain(gone).map(|(place, _)| place).collect();
    places
        .into_iter()
        .filter_map(|place| difference(blobs, place, find(&was, place).as_ref(), find(&is, place).as_ref()))
        .collect()
}

/// Where a change stands: the step's so-and-so-many-th of this subject.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    role: Role,
    capability: String,
    subject: String,
    number: usize,
}

fn difference(
    blobs: &mut dyn Blobs,
    place: &Place,
    was: Option<&Change>,
    is: Option<&Change>,
) -> Option<ChangeDifference> {
    if let (Some(was), Some(is)) = (was, is)
        && was.same_effect(is)
    {
        return None;
    }
    let digest = |change: Option<&Change>, of: fn(&Change) -> Option<countersign_model::Image>| {
        change.and_then(of).map(|image| image.digest)
    };
    let side = |of: fn(&Change) -> Option<countersign_model::Image>| {
        Differs::between(digest(was, of).as_ref(), digest(is, of).as_ref())
    };
    // Where nobody is shown the content, nobody is shown what differs in it either, nor digests to guess it by.
    if [was, is].into_iter().flatten().any(|change| change.withheld) {
        let effect = |change: &Change| crate::withhold::digests(&change.effect);
        return Some(ChangeDifference {
            role: place.role,
            subject: place.subject.clone(),
            summary: Differs {
                was: was.map(|change| without_digests(&change.summary)),
                is: is.map(|change| without_digests(&change.summary)),
            },
            before: None,
            after: None,
            effect: Differs::between(was.map(effect).as_ref(), is.map(effect).as_ref()),
            drifted: String::new(),
            rewritten: String::new(),
        });
    }
    let (drifted, rewritten) = match (was, is) {
        (Some(was), Some(is)) => crate::shown::differences(blobs, was, is),
        _ => (String::new(), String::new()),
    };
    Some(ChangeDifference {
        role: place.role,
        subject: place.subject.clone(),
        summary: Differs { was: was.map(|change| change.summary.clone()), is: is.map(|change| change.summary.clone()) },
        before: side(|change| change.before),
        after: side(|change| change.after),
        effect: Differs::between(was.map(|change| &change.effect), is.map(|change| &change.effect)),
        drifted,
        rewritten,
    })
}
