//! One approval manifest: whose signatures on it count, and whether its terms are those of the
//! proposal.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::documents::{
    APPROVAL_TYPE, ApprovalManifest, ProposedTarget, STATEMENT_TYPE, Subject, Terms, namespace,
};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Mode, Role, strict};

use crate::approval::{check_confirmation, check_reason, check_rollback_owner};
use crate::authorize::{Request, SignedApproval};
use crate::break_glass;
use crate::case::{Case, TakenIn, revoked, unrevoked};
use crate::grants::within;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::proposal::{MAX_GRANTS, MAX_TARGETS, Proposal};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest approval manifest that is read, in bytes.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// The most signatures on one manifest that are looked at.
pub const MAX_SIGNATURES: usize = 64;

const ON: Signed = Signed::Approval;

/// Verifies one signature on the exact bytes of a manifest of this proposal, and tells which person it counts for. Of the
/// manifest's content it says nothing but whose signatures count: where it names a break-glass, those of its keys and no others.
///
/// # Errors
/// When the signature is not valid in the namespace of approvals, was not made as the policy demands, or whoever made it has
/// no say: see [`Case::has_a_say`].
pub fn verify_approval(manifest: &[u8], signature: &[u8], case: &Case<'_>) -> Result<Principal, Refusal> {
    verify(manifest, signature, case, |approver| case.has_a_say(approver))
}

fn verify(
    manifest: &[u8],
    signature: &[u8],
    case: &Case<'_>,
    has_a_say: impl FnOnce(&Principal) -> Result<(), Refusal>,
) -> Result<Principal, Refusal> {
    let (signer, approver) = signed_by(case.policy, namespace::APPROVAL, manifest, signature)?;
    if let Some(name) = break_glass::named_in(manifest) {
        return break_glass::may_break(&name, &signer, &approver, case).map(|()| approver);
    }
    has_a_say(&approver)?;
    // The more is at stake, the more is demanded.
    case.demands().satisfied_by(&signer).map_err(|unmet| Refusal::Unmet { on: ON, unmet })?;
    Ok(approver)
}

/// Whether two keys are one's, or one answers for the other.
pub(crate) fn same(one: &Principal, other: &Principal) -> bool {
    one.fingerprint() == other.fingerprint() || (one.person().is_some() && one.person() == other.person())
}

/// Whether an approver counts for what this proposer proposed.
pub(crate) fn counts(approver: &Principal, proposer: &Principal) -> Result<(), Refusal> {
    unrevoked(approver)?;
    // Told before what its key lacks.
    if approver.fingerprint() == proposer.fingerprint() {
        return is_not_own(approver, proposer);
    }
    match approver.kind() {
        PrincipalKind::Unlisted => {
            return Err(Refusal::UnknownApprover { fingerprint: approver.fingerprint().to_owned() });
        }
        PrincipalKind::Person if approver.may(Right::Approve) => {}
        PrincipalKind::Person | PrincipalKind::Agent | PrincipalKind::BreakGlass => {
            return Err(Refusal::MayNotApprove { who: approver.to_string() });
        }
    }
    is_not_own(approver, proposer)
}

/// Refuses whoever signs what they proposed themselves, or answers for who did, or enrolled them.
pub(crate) fn is_not_own(approver: &Principal, proposer: &Principal) -> Result<(), Refusal> {
    own(approver, proposer).map_or(Ok(()), |why| Err(Refusal::OwnProposal { approver: approver.to_string(), why }))
}

/// How somebody is a proposer, or stands behind one, as a sentence; none where they do not.
pub(crate) fn own(who: &Principal, proposer: &Principal) -> Option<String> {
    if who.fingerprint() == proposer.fingerprint() {
        return Some("the same key signed the proposal".to_owned());
    }
    if same(who, proposer) {
        return Some(match proposer.kind() {
            PrincipalKind::Agent => format!("they own the proposer, {proposer}"),
            _ => "they proposed it".to_owned(),
        });
    }
    let enrolled = who.person().is_some() && who.person() == proposer.enrolled_by();
    enrolled.then(|| format!("they enrolled the key of {proposer}, who proposed it"))
}

/// The people whose signatures on a manifest count, and what is wrong with the first signature that does not.
///
/// # Errors
/// When there is more of it than is looked at.
pub(crate) fn people(
    approval: &SignedApproval,
    case: &Case<'_>,
    taken: &TakenIn<'_>,
) -> Result<(BTreeSet<String>, Option<Refusal>), Refusal> {
    if approval.manifest.len() > MAX_MANIFEST {
        let error = strict::StrictError::TooLarge { size: approval.manifest.len(), limit: MAX_MANIFEST };
        return Err(Refusal::Unreadable { on: ON, why: error.to_string() });
    }
    if approval.signatures.len() > MAX_SIGNATURES {
        let (found, limit) = (approval.signatures.len(), MAX_SIGNATURES);
        return Err(Refusal::TooMany { what: "signatures on one approval", found, limit });
    }
    let mut people = BTreeSet::new();
    let mut first_problem = None;
    for signature in &approval.signatures {
        match verify(&approval.manifest, signature, case, |approver| case.has_a_say_by(approver, taken)) {
            Ok(approver) => {
                people.insert(approver.name().to_owned());
            }
            Err(problem) => {
                first_problem.get_or_insert(problem);
            }
        }
    }
    Ok((people, first_problem))
}

/// The people whose signatures count, enough for every quorum that holds. A signature that does not count takes nothing
/// away from those that do.
pub(crate) fn quorum(
    approval: &SignedApproval,
    case: &Case<'_>,
    taken: &TakenIn<'_>,
) -> Result<BTreeSet<String>, Refusal> {
    let (people, problem) = people(approval, case, taken)?;
    match case.enough_for(break_glass::named_in(&approval.manifest).as_deref(), &people) {
        Ok(()) => Ok(people),
        Err(missing) => Err(problem.unwrap_or(missing)),
    }
}

/// Reads a manifest and tests that a run could be by it, some time and on its targets: every term but the moment and
/// the uses that are spent.
///
/// # Errors
/// When no run will ever be by it, under this trust policy.
pub fn check_manifest(
    bytes: &[u8],
    steps: &BTreeMap<Role, Digest>,
    case: &Case<'_>,
) -> Result<ApprovalManifest, Refusal> {
    unrevoked_approval(&Digest::of(bytes), case)?;
    case.stands()?;
    sound(bytes, steps, case)
}

fn unrevoked_approval(digest: &Digest, case: &Case<'_>) -> Result<(), Refusal> {
    revoked("approval", digest, case.policy.revocations().approval(digest))
}

/// The same where what it is of is known to stand.
fn sound(bytes: &[u8], steps: &BTreeMap<Role, Digest>, case: &Case<'_>) -> Result<ApprovalManifest, Refusal> {
    let Case { proposal, contains, .. } = *case;
    let manifest = read(bytes)?;
    statement(&manifest)?;
    subjects(&manifest.subject, steps)?;
    let terms = &manifest.predicate;
    if terms.derived.is_some() {
        let why = "it names others that it was made of, and what people sign stands by itself".to_owned();
        return Err(Refusal::Senseless { on: ON, why });
    }
    same_as_proposed(terms, proposal)?;
    targets(terms, proposal)?;
    if let Some((role, grants)) = terms.grants.iter().find(|(_, grants)| grants.len() > MAX_GRANTS) {
        let why = format!("it has {} grants for the {role} step, at most {MAX_GRANTS}", grants.len());
        return Err(Refusal::Senseless { on: ON, why });
    }
    within(&proposal.document().grants, &terms.grants, contains).map_err(Refusal::Grants)?;
    case.within_ceilings(terms.targets.iter().map(|target| target.name.as_str()), &terms.grants)?;
    limits(terms, case)?;
    break_glass::within(terms, case)?;
    Ok(manifest)
}

/// What a manifest says. Whether any of it makes sense is not asked.
pub(crate) fn read(bytes: &[u8]) -> Result<ApprovalManifest, Refusal> {
    strict::from_slice(bytes, MAX_MANIFEST)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })
}

/// The same for the run at hand, on its target and now, where the proposal stands; gives back its digest and the target's
/// entry too.
pub(crate) fn check(
    bytes: &[u8],
    request: &Request<'_>,
) -> Result<(ApprovalManifest, Digest, ProposedTarget), Refusal> {
    let digest = Digest::of(bytes);
    unrevoked_approval(&digest, &request.case)?;
    let manifest = sound(bytes, request.steps, &request.case)?;
    let terms = &manifest.predicate;
    let target = terms.targets.iter().find(|target| target.name == request.target).cloned();
    let target = target.ok_or_else(|| Refusal::TargetNotApproved { target: excerpt(request.target, 80) })?;
    if request.now < terms.not_before {
        return Err(Refusal::NotYetValid { from: terms.not_before, now: request.now });
    }
    if request.now >= terms.expires {
        return Err(Refusal::Expired { at: terms.expires, now: request.now });
    }
    // It could only be rolled back.
    if let Some(at) = terms.finish_by.filter(|end| request.now >= *end) {
        return Err(Refusal::TooLate { at, now: request.now });
    }
    let spent = (request.uses_spent)(&digest);
    if spent >= terms.uses {
        return Err(Refusal::UsedUp { uses: terms.uses, spent });
    }
    Ok((manifest, digest, target))
}

fn statement(manifest: &ApprovalManifest) -> Result<(), Refusal> {
    let fields =
        [("_type", &manifest.kind, STATEMENT_TYPE), ("predicateType", &manifest.predicate_type, APPROVAL_TYPE)];
    for (field, found, expected) in fields {
        if found != expected {
            return Err(Refusal::OtherStatement { field, found: excerpt(found, 80), expected });
        }
    }
    Ok(())
}

pub(crate) fn subjects(subjects: &[Subject], steps: &BTreeMap<Role, Digest>) -> Result<(), Refusal> {
    let other = |why: String| Refusal::OtherSubjects { why };
    let mut left = steps.clone();
    for subject in subjects {
        let name = excerpt(&subject.name, 40);
        let role: Role = subject.name.parse().map_err(|_| other(format!("`{name}` is not a role")))?;
        let Some(digest) = left.remove(&role) else {
            let why = if steps.contains_key(&role) { "stands twice" } else { "is not a step of the bundle" };
            return Err(other(format!("`{name}` {why}")));
        };
        if subject.digest.sha256 != digest.hex() {
            let approved = excerpt(&subject.digest.sha256, 64);
            return Err(other(format!("the {role} step is `{digest}`, and `sha256:{approved}` was approved")));
        }
    }
    match left.keys().next() {
        Some(role) => Err(other(format!("the {role} step is missing"))),
        None => Ok(()),
    }
}

fn same_as_proposed(terms: &Terms, proposal: &Proposal) -> Result<(), Refusal> {
    if terms.proposal != proposal.digest() {
        return Err(Refusal::OtherProposal { on: ON, expected: proposal.digest(), found: terms.proposal });
    }
    let proposed = proposal.document();
    let same = [
        ("bundle", terms.bundle == proposed.bundle),
        ("arguments", terms.arguments == proposed.arguments),
        ("mode", terms.mode == proposed.mode),
        ("rollback", terms.rollback == proposed.rollback),
        ("success", terms.success == proposed.success),
        ("undone run", terms.undoes == proposed.undoes),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((term, _)) => Err(Refusal::OtherTerm { term }),
        None => Ok(()),
    }
}

/// Each target must stand in the proposal just so.
fn targets(terms: &Terms, proposal: &Proposal) -> Result<(), Refusal> {
    if terms.targets.len() > MAX_TARGETS {
        let (found, limit) = (terms.targets.len(), MAX_TARGETS);
        return Err(Refusal::TooMany { what: "targets in one approval", found, limit });
    }
    if terms.targets.is_empty() {
        return Err(Refusal::Senseless { on: ON, why: "it names no target".to_owned() });
    }
    let mut names = BTreeSet::new();
    for target in &terms.targets {
        let name = || excerpt(&target.name, 80);
        if !names.insert(&target.name) {
            return Err(Refusal::Senseless { on: ON, why: format!("the target `{}` stands twice", name()) });
        }
        let Some(proposed) = proposal.target(&target.name) else {
            return Err(Refusal::TargetNotProposed { target: name() });
        };
        let same = [
            ("plan", target.plan == proposed.plan),
            ("configuration", target.configuration == proposed.configuration),
            ("runner", target.runner == proposed.runner),
            ("rehearsal", target.rehearsal == proposed.rehearsal),
        ];
        if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Refusal::TargetDiffers { target: name(), what });
        }
    }
    Ok(())
}

/// What the trust policy bounds.
fn limits(terms: &Terms, case: &Case<'_>) -> Result<(), Refusal> {
    let Case { proposal, policy, .. } = *case;
    let senseless = |why: String| Refusal::Senseless { on: ON, why };
    check_reason(&terms.reason)
        .and_then(|()| check_rollback_owner(&terms.rollback_owner))
        .and_then(|()| terms.confirmation.as_ref().map_or(Ok(()), check_confirmation))
        .map_err(|error| senseless(error.to_string()))?;
    // What was approved under an earlier one stays where this one allows it too: all of this is asked of this one.
    if !policy.knows(&terms.policy) {
        return Err(Refusal::OtherPolicy { approved: terms.policy, current: policy.digest() });
    }
    if terms.mode == Mode::Scoped && !policy.allows_scoped() {
        return Err(Refusal::ScopedNotAllowed);
    }
    let length_ms = terms.expires.checked_sub(terms.not_before).filter(|length| *length > 0);
    let length_ms = length_ms.ok_or_else(|| senseless("it expires before it is valid".to_owned()))?;
    if terms.finish_by.is_some_and(|end| end <= terms.not_before) {
        return Err(senseless("its runs would have to be finished before it is valid".to_owned()));
    }
    if length_ms > policy.max_validity_ms() {
        return Err(Refusal::ValidTooLong { length_ms, limit_ms: policy.max_validity_ms() });
    }
    let expired = proposal.document().expires;
    if terms.not_before >= expired {
        return Err(Refusal::ProposalExpired { from: terms.not_before, expired });
    }
    if !(1..=policy.max_uses()).contains(&terms.uses) {
        return Err(Refusal::UsesNotAllowed { uses: terms.uses, limit: policy.max_uses() });
    }
    Ok(())
}
