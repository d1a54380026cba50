//! Why a proposal may run on a target or may not, rule by rule. Nothing decides by it: each line asks what
//! [`authorize`](crate::authorize) asks, and goes on where that stops.

use std::collections::BTreeSet;

use countersign_model::Digest;
use countersign_model::text::excerpt;

use crate::authorize::{Request, not_frozen, unexpired};
use crate::denial::denied;
use crate::manifest::{self, verify_approval};
use crate::principal::Activity;
use crate::refusal::Refusal;
use crate::text::moment;

/// What one rule, or one paper, says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is asked: `policy`, `proposer`, `revocation`, `rule`, `ceiling`, `freeze`, `quorum`, `denial` or `approval`.
    pub asks: &'static str,
    /// The rule's name, an approval's digest, or the proposer.
    pub name: String,
    /// Whether it lets the run begin; `None` where it has no say in it.
    pub lets: Option<bool>,
    /// Why, in one line.
    pub says: String,
}

/// Everything that has a say in a run on the request's target, in the order in which it is decided.
#[must_use]
pub fn explain(request: &Request<'_>) -> Vec<Finding> {
    let case = &request.case;
    let (policy, proposal) = (case.policy, case.proposal);
    let mut all = Vec::new();
    let mut add = |asks, name: &str, lets, says: String| all.push(Finding { asks, name: name.to_owned(), lets, says });
    let told = |result: Result<(), Refusal>, good: String| match result {
        Ok(()) => (Some(true), good),
        Err(refusal) => (Some(false), refusal.to_string()),
    };

    let until = format!("in force until {}", moment(policy.expires()));
    let (lets, says) = told(unexpired(policy, request.now), until);
    add("policy", &format!("serial {}", policy.serial()), lets, says);
    let proposer = policy.principal(proposal.proposer().fingerprint());
    let may = crate::proposal::may_propose(policy, proposer.fingerprint()).map(drop);
    let (lets, says) = told(may, "may propose".to_owned());
    add("proposer", proposer.name(), lets, says);
    let (revocations, bundle) = (policy.revocations(), proposal.document().bundle);
    for (what, digest, reason) in [
        ("proposal", proposal.digest(), revocations.proposal(&proposal.digest())),
        ("bundle", bundle, revocations.bundle(&bundle)),
    ] {
        if let Some(reason) = reason {
            add("revocation", &format!("{what} {digest}"), Some(false), excerpt(reason, 500));
        }
    }
    // One that takes it in is enough; another that does not takes nothing from that.
    let taken = case.rules(request.target).is_ok();
    for rule in policy.rules() {
        let asked = &proposal.document().grants;
        let (lets, says) = if !rule.names(&proposer) {
            (None, "does not name the proposer".to_owned())
        } else if !rule.reaches(request.target) {
            (None, "is for other targets".to_owned())
        } else if !rule.lets(Activity::Propose) {
            (None, "does not let the proposer propose".to_owned())
        } else {
            match rule.takes_in(asked, case.contains) {
                Ok(()) => (Some(true), "takes it in".to_owned()),
                Err(why) => ((!taken).then_some(false), why),
            }
        };
        add("rule", rule.name(), lets, says);
    }
    if !taken && let Err(refusal) = case.rules(request.target) {
        add("rule", "any", Some(false), refusal.to_string());
    }
    for ceiling in policy.ceilings() {
        let (lets, says) = match ceiling.reaches(request.target) {
            false => (None, "is for other targets".to_owned()),
            true => match ceiling.exceeded(&proposal.document().grants, case.contains) {
                None => (Some(true), "contains what is asked for".to_owned()),
                // An approval may be narrower than what is asked for.
                Some((grant, why)) => (None, format!("an approval must be narrower: `{grant}`: {why}")),
            },
        };
        add("ceiling", ceiling.name(), lets, says);
    }
    for freeze in policy.freezes() {
        let (lets, says) = match (freeze.reaches(request.target), freeze.is_on(request.now)) {
            (false, _) => (None, "is for other targets".to_owned()),
            (true, false) => (None, "is not on now".to_owned()),
            (true, true) => told(not_frozen(policy, request.target, request.now), "is not on now".to_owned()),
        };
        add("freeze", freeze.name(), lets, says);
    }

    let mut papers = Vec::new();
    let mut most: BTreeSet<String> = BTreeSet::new();
    for approval in request.approvals {
        let signed: Vec<_> =
            approval.signatures.iter().map(|signature| verify_approval(&approval.manifest, signature, case)).collect();
        let people: BTreeSet<String> = signed.iter().flatten().map(|person| person.name().to_owned()).collect();
        let valid = case
            .standing()
            .and_then(|standing| manifest::quorum(approval, case, &standing))
            .and_then(|_| manifest::check(&approval.manifest, request).map(drop));
        let by: Vec<_> = people.iter().map(String::as_str).collect();
        let by = if by.is_empty() { "nobody whose word counts".to_owned() } else { by.join(", ") };
        let (lets, says) = match valid {
            Ok(()) => (Some(true), format!("signed by {by}")),
            Err(refusal) => (Some(false), format!("signed by {by}; {refusal}")),
        };
        if people.len() > most.len() {
            most = people;
        }
        papers.push((Digest::of(&approval.manifest).short(), lets, says));
    }
    let may: Vec<_> = case.approvers().into_iter().filter(|name| !most.contains(*name)).collect();
    for quorum in policy.quorums() {
        let (lets, says) = match quorum.holds(proposal, case.risk) {
            false => (None, "its conditions do not hold".to_owned()),
            true => {
                let counted = quorum.counted(&most, policy);
                let missing = quorum.people().saturating_sub(counted.len());
                let have = if counted.is_empty() { "nobody yet".to_owned() } else { counted.join(", ") };
                let others: Vec<_> = may
                    .iter()
                    .filter(|name| quorum.groups().is_empty() || policy.is_in(name, quorum.groups()))
                    .copied()
                    .collect();
                let says = match missing {
                    0 => format!("wants {}, and has {have}", quorum.wants()),
                    _ => format!(
                        "wants {}, and has {have}: {missing} missing; may sign: {}",
                        quorum.wants(),
                        if others.is_empty() { "nobody".to_owned() } else { others.join(", ") }
                    ),
                };
                (Some(missing == 0), says)
            }
        };
        add("quorum", quorum.name(), lets, says);
    }
    match denied(request.denials, proposal.digest(), policy) {
        Ok(None) => {}
        Ok(Some(denied)) => add("denial", denied.by.name(), Some(false), excerpt(&denied.reason, 500)),
        Err(refusal) => add("denial", "kept", Some(false), refusal.to_string()),
    }
    for (name, lets, says) in papers {
        add("approval", &name, lets, says);
    }
    all
}
