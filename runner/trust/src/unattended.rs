//! Whether a proposal may run by a standing approval, without anybody being asked again.

use std::collections::BTreeSet;

use countersign_model::documents::{
    APPROVAL_TYPE, ApprovalManifest, Derived, ProposedTarget, STATEMENT_TYPE, StandingTerms, Subject, Terms,
};
use countersign_model::text::excerpt;
use countersign_model::{Digest, RollbackBy};

use crate::authorize::{Authorized, DerivedFrom, Request, SignedDenial, StandingUse};
use crate::case::{Case, may};
use crate::grants::within;
use crate::principal::{Activity, Principal, PrincipalKind};
use crate::proposal::Proposal;
use crate::refusal::Refusal;
use crate::standing::{SignedStanding, bounds, standing, verify_standing};
use crate::text::moment;

/// A standing approval that may take the proposal in, and what is known of it.
#[derive(Clone)]
pub struct Standing<'a> {
    /// What was signed.
    pub signed: &'a SignedStanding,
    /// Its example, under the trust policy in force.
    pub example: Case<'a>,
    /// Every denial of its example that was kept.
    pub denials: &'a [SignedDenial],
    /// What came of its bundle so far.
    pub history: History,
}

/// What came of a bundle's runs, as the runner recorded it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many runs on the target were committed and not undone, proposed by the same agent.
    pub committed: u64,
    /// A run on one of the standing approval's targets, since that is valid, that was rolled back or undone, or left its
    /// target in doubt, or whose process died: it ends the standing approval.
    pub failed: Option<String>,
    /// A proposal of its bundle that was denied since it was kept: that ends it too.
    pub denied: Option<Digest>,
    /// How many runs began by the standing approval in the last hour.
    pub last_hour: u32,
    /// How many in the last day.
    pub last_day: u32,
}

/// What a rehearsal found of the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reversal {
    /// Whether every subject came back.
    pub restores: bool,
    /// Whether the rollback step ran to its end, where there is one.
    pub rehearsed: bool,
}

/// The authorization by the first standing approval that takes the run in.
///
/// # Errors
/// Why the first of them, the newest, does not; [`Refusal::NotApproved`] where there is none.
pub(crate) fn unattended(request: &Request<'_>, proposer: &Principal) -> Result<Authorized, Refusal> {
    let mut refusal = None;
    for one in request.standing {
        match takes_in(one, request, proposer) {
            Ok(authorized) => return Ok(authorized),
            Err(why) => {
                let standing = Digest::of(&one.signed.document).short();
                refusal.get_or_insert(Refusal::NotUnattended { standing, why: why.to_string() });
            }
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal::NotApproved { needed: request.case.needed() }))
}

/// A standing approval by which something could run now, as far as the proposal does not decide it.
struct Open {
    terms: StandingTerms,
    approvers: Vec<String>,
    per_hour: u32,
    per_day: u32,
}

/// Whether anything could run by a standing approval now, on the target whose history is given.
///
/// # Errors
/// Why nothing could.
pub fn standing_open(one: &Standing<'_>, now: u64) -> Result<(), Refusal> {
    open(one, now).map(drop)
}

/// The people whose signatures on a standing approval count, in alphabetical order, enough or not.
#[must_use]
pub fn standing_signers(one: &Standing<'_>) -> Vec<String> {
    let (document, case) = (&one.signed.document, &one.example);
    let verified = one.signed.signatures.iter().flat_map(|signature| verify_standing(document, signature, case));
    let people: BTreeSet<_> = verified.map(|person| person.name().to_owned()).collect();
    people.into_iter().collect()
}

fn open(one: &Standing<'_>, now: u64) -> Result<Open, Refusal> {
    let (terms, approvers) = standing(one.signed, &one.example, one.denials, now)?;
    let bounds = bounds(one.example.policy)?;
    let History { committed, failed, denied, last_hour, last_day } = &one.history;
    if let Some(run) = failed {
        return Err(Refusal::StandingEnded { run: excerpt(run, 40) });
    }
    if let Some(proposal) = denied {
        return Err(Refusal::StandingDenied { proposal: *proposal });
    }
    if *committed < bounds.committed {
        return Err(Refusal::TooFewCommitted { committed: *committed, needed: bounds.committed });
    }
    let (per_hour, per_day) = (terms.budget.per_hour.min(bounds.per_hour), terms.budget.per_day.min(bounds.per_day));
    for (what, found, most) in [("hour", *last_hour, per_hour), ("day", *last_day, per_day)] {
        if found >= most {
            return Err(Refusal::BudgetSpent { what, most });
        }
    }
    Ok(Open { terms, approvers, per_hour, per_day })
}

pub(crate) fn takes_in(one: &Standing<'_>, request: &Request<'_>, proposer: &Principal) -> Result<Authorized, Refusal> {
    let (case, proposal) = (&request.case, request.case.proposal);
    let Open { terms, approvers, per_hour, per_day } = open(one, request.now)?;
    let target = covers(&terms, one.example.proposal, request, proposer)?;
    let grants = &proposal.document().grants;
    may(case.policy, Activity::Unattended, proposer, request.target, grants, case.contains)?;
    case.within_ceilings([request.target].into_iter(), grants)?;
    reversible(request)?;
    let bounds = bounds(case.policy)?;
    let most = terms.budget.subjects.min(bounds.subjects);
    if u32::try_from(case.risk.subjects).unwrap_or(u32::MAX) > most {
        let found = u32::try_from(case.risk.subjects).unwrap_or(u32::MAX);
        return Err(Refusal::BeyondUnattended { what: "subjects", found, most });
    }
    // One run of each proposal: the same again is proposed, and rehearsed, again.
    let (manifest, bytes) = derive(&terms, Digest::of(&one.signed.document), proposal, &target)?;
    let manifest_digest = Digest::of(&bytes);
    let spent = (request.uses_spent)(&manifest_digest);
    if spent > 0 {
        return Err(Refusal::UsedUp { uses: 1, spent });
    }
    // Whoever looked at this very proposal may have asked for less, or for a confirmation; and what they signed may be used up.
    if crate::authorize::given(request, &request.case.taken_in()?)?.signed {
        let why = "people signed an approval of this very proposal, and it goes by that".to_owned();
        return Err(Refusal::OutsideStanding { why });
    }
    crate::authorize::not_frozen(case.policy, request.target, request.now)?;
    let standing = StandingUse {
        standing: Digest::of(&one.signed.document),
        targets: terms.targets.iter().map(|target| target.name.clone()).collect(),
        not_before: terms.not_before,
        per_hour,
        per_day,
    };
    let derived = Some(DerivedFrom { bytes, sources: Vec::new(), standing: Some(standing) });
    Ok(Authorized { manifest, manifest_digest, target, approvers, proposer: proposer.clone(), derived })
}

/// The target's entry in the proposal, where the proposal is what the standing approval is for.
fn covers(
    terms: &StandingTerms,
    example: &Proposal,
    request: &Request<'_>,
    proposer: &Principal,
) -> Result<ProposedTarget, Refusal> {
    let document = request.case.proposal.document();
    let outside = |why: String| Refusal::OutsideStanding { why };
    if proposer.kind() != PrincipalKind::Agent || proposer.name() != terms.agent {
        return Err(outside(format!("it is for proposals of the agent `{}`", excerpt(&terms.agent, 80))));
    }
    if document.bundle != terms.bundle || *request.steps != example.document().steps {
        return Err(outside("it is for another bundle".to_owned()));
    }
    let same = [
        ("mode", document.mode == example.document().mode),
        ("rollback", document.rollback == terms.rollback),
        ("success", document.success == terms.success),
        ("undone run", document.undoes.is_none()),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(outside(format!("its {what} is another one")));
    }
    let name = excerpt(request.target, 80);
    let known = terms.targets.iter().find(|target| target.name == request.target);
    let known = known.ok_or_else(|| outside(format!("it is not for the target `{name}`")))?;
    let target = request.case.proposal.target(request.target).cloned();
    let target = target.ok_or_else(|| Refusal::TargetNotProposed { target: name.clone() })?;
    if (target.configuration, &target.runner) != (known.configuration, &known.runner) {
        return Err(outside(format!(
            "the configuration of `{name}`, or its runner, is another one since it was signed"
        )));
    }
    if let Some(argument) = terms.out_of_range(&example.document().arguments, &document.arguments) {
        return Err(outside(format!("the argument `{}` is not in the range that was signed", excerpt(argument, 80))));
    }
    within(&terms.grants, &document.grants, request.case.contains)
        .map_err(|mismatch| outside(format!("more is asked for than was signed: {mismatch}")))?;
    Ok(target)
}

/// Whether all of it comes back where it fails, as was seen.
fn reversible(request: &Request<'_>) -> Result<(), Refusal> {
    let why = if request.case.risk.irreversible {
        "a change of its plan cannot be undone"
    } else if !request.reversal.restores {
        "its rehearsal did not restore every subject"
    } else if request.case.proposal.document().rollback == RollbackBy::Step && !request.reversal.rehearsed {
        "its rollback was not rehearsed"
    } else {
        return Ok(());
    };
    Err(Refusal::OutsideStanding { why: why.to_owned() })
}

/// The manifest that a run under a standing approval goes by: the same of the same always.
pub(crate) fn derive(
    terms: &StandingTerms,
    standing: Digest,
    proposal: &Proposal,
    target: &ProposedTarget,
) -> Result<(ApprovalManifest, Vec<u8>), Refusal> {
    let document = proposal.document();
    let manifest = ApprovalManifest {
        kind: STATEMENT_TYPE.to_owned(),
        subject: Subject::of(&document.steps),
        predicate_type: APPROVAL_TYPE.to_owned(),
        predicate: Terms {
            proposal: proposal.digest(),
            bundle: document.bundle,
            arguments: document.arguments.clone(),
            targets: vec![target.clone()],
            grants: document.grants.clone(),
            mode: document.mode,
            rollback: document.rollback,
            success: document.success,
            undoes: None,
            confirmation: None,
            not_before: terms.not_before,
            expires: terms.expires,
            finish_by: None,
            uses: 1,
            rollback_owner: terms.rollback_owner.clone(),
            evidence: document.evidence.clone(),
            policy: terms.policy,
            reason: format!(
                "unattended, by the standing approval {} until {}",
                standing.short(),
                moment(terms.expires)
            ),
            break_glass: None,
            derived: Some(Derived::Standing(standing)),
        },
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|error| Refusal::OutsideStanding { why: error.to_string() })?;
    Ok((manifest, bytes))
}

/// Whether a run that began unattended may go on: what it began by still stands, and is what it was made of.
pub(crate) fn still_stands(
    manifest: &[u8],
    terms: &Terms,
    one: Option<&Standing<'_>>,
    case: &Case<'_>,
) -> Result<(), Refusal> {
    let lost = || Refusal::ApprovalLost { digest: Digest::of(manifest) };
    let (one, target) = (one.ok_or_else(lost)?, terms.targets.first().ok_or_else(lost)?);
    let standing_terms = crate::standing::check_standing(&one.signed.document, &one.example)?;
    if let Some(denied) = crate::denial::denied(one.denials, one.example.proposal.digest(), case.policy)? {
        return Err(Refusal::Denied { by: denied.by.name().to_owned(), reason: excerpt(&denied.reason, 500) });
    }
    crate::standing::signers(one.signed, &one.example)?;
    let (_, again) = derive(&standing_terms, Digest::of(&one.signed.document), case.proposal, target)?;
    if again == manifest { Ok(()) } else { Err(lost()) }
}
