//! Why a proposal may run on a target or may not, rule by rule. Nothing decides by it: each line asks what
//! [`authorize`](crate::authorize) asks, and goes on where that stops.

use std::collections::BTreeSet;

use countersign_model::Digest;
use countersign_model::text::excerpt;

use crate::authorize::{Request, given, not_frozen, unexpired};
use crate::break_glass;
use crate::denial::denied;
use crate::manifest::{self, verify_approval};
use crate::principal::{Activity, PrincipalKind};
use crate::refusal::Refusal;
use crate::strictest::strictest;
use crate::text::moment;
use crate::unattended;

/// What one rule, or one paper, says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is asked: `policy`, `proposer`, `revocation`, `rule`, `ceiling`, `freeze`, `quorum`, `break-glass`, `denial`,
    /// `standing`, `level` or `approval`.
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
    let given = case.taken_in().and_then(|taken| given(request, &taken)).ok();
    let broken = given.as_ref().and_then(|given| given.broken.as_ref());
    let broken = broken.and_then(|one| break_glass::named(&one.manifest.predicate, policy));
    for freeze in policy.freezes() {
        let (lets, says) = match (freeze.reaches(request.target), freeze.is_on(request.now)) {
            (false, _) => (None, "is for other targets".to_owned()),
            (true, false) => (None, "is not on now".to_owned()),
            (true, true) if broken.is_some_and(|table| table.goes_through_freezes()) => {
                (None, "is on, and the broken glass goes through it".to_owned())
            }
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
            .taken_in()
            .and_then(|taken| manifest::quorum(approval, case, &taken))
            .and_then(|_| manifest::check(&approval.manifest, request).map(drop));
        // How many broke the glass says nothing of how many a quorum has.
        let breaks = break_glass::named_in(&approval.manifest).is_some();
        if !breaks && manifest::check(&approval.manifest, request).is_ok() {
            most.extend(people.iter().cloned());
        }
        let by: Vec<_> = people.iter().map(String::as_str).collect();
        let by = if by.is_empty() { "nobody whose word counts".to_owned() } else { by.join(", ") };
        let (lets, says) = match valid {
            Ok(()) => (Some(true), format!("signed by {by}")),
            Err(refusal) => (Some(false), format!("signed by {by}; {refusal}")),
        };
        papers.push((Digest::of(&approval.manifest).short(), lets, says));
    }
    if let Some(counted) = given.as_ref().map(|given| &given.counted).filter(|counted| counted.len() > 1) {
        let made = strictest(counted.iter().map(|one| (one.digest, &one.manifest)), case.contains);
        let (lets, says) = match made {
            Ok(_) => (None, "of each term the stricter one counts".to_owned()),
            Err(why) => (Some(false), format!("they do not go together: {why}")),
        };
        papers.push((format!("all {}", counted.len()), lets, says));
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
                // What the broken glass stands in for.
                (if missing > 0 && broken.is_some() { None } else { Some(missing == 0) }, says)
            }
        };
        add("quorum", quorum.name(), lets, says);
    }
    let standing_lets = request.standing.iter().any(|one| unattended::takes_in(one, request, &proposer).is_ok());
    for table in policy.break_glass() {
        let (lets, says) = match broken.filter(|broken| broken.name() == table.name()) {
            Some(_) => (Some(true), "is broken, and stands in for the quorums".to_owned()),
            None if table.reaches(request.target) => {
                (None, format!("is whole; {} may break it, within its own ceiling", table.wants()))
            }
            None => (None, "is for other targets".to_owned()),
        };
        add("break-glass", table.name(), lets, says);
    }
    match denied(request.denials, proposal.digest(), policy) {
        Ok(None) => {}
        Ok(Some(denied)) => add("denial", denied.by.name(), Some(false), excerpt(&denied.reason, 500)),
        Err(refusal) => add("denial", "kept", Some(false), refusal.to_string()),
    }
    for one in request.standing {
        let (lets, says) = match unattended::takes_in(one, request, &proposer) {
            Ok(_) => (Some(true), "takes it in: it runs unattended".to_owned()),
            // People may approve it all the same.
            Err(refusal) => (None, format!("it does not run unattended: {refusal}")),
        };
        add("standing", &Digest::of(&one.signed.document).short(), lets, says);
    }
    let level = match (&standing_lets, policy.unattended()) {
        _ if proposer.kind() != PrincipalKind::Agent => "people approve what is no agent's".to_owned(),
        (true, _) => "unattended, by a standing approval".to_owned(),
        (false, None) => "proposes; the trust policy lets nothing run unattended".to_owned(),
        (false, Some(_)) if request.standing.is_empty() => "proposes; no standing approval is for it".to_owned(),
        (false, Some(_)) => "proposes; no standing approval takes it in".to_owned(),
    };
    add("level", proposer.name(), None, level);
    for (name, lets, says) in papers {
        add("approval", &name, lets, says);
    }
    all
}
