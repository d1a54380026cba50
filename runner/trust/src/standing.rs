//! Standing approvals: what people sign once for many runs, made from a proposal that they have seen.

use std::collections::BTreeMap;

use countersign_model::documents::{
    ArgumentRange, Budget, RoleGrants, STANDING_APPROVAL_TYPE, STATEMENT_TYPE, StandingApproval, StandingTarget,
    StandingTerms, Subject, namespace,
};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Mode, strict};

use crate::approval::{DraftError, check_reason, check_rollback_owner};
use crate::authorize::{SignedDenial, unexpired};
use crate::case::{Case, may, revoked};
use crate::denial::denied;
use crate::grants::within;
use crate::manifest::MAX_SIGNATURES;
use crate::policy::{Policy, Risk, UnattendedBounds};
use crate::principal::{Activity, Principal, PrincipalKind};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest standing approval that is read, in bytes.
pub const MAX_STANDING_APPROVAL: usize = 1024 * 1024;
/// The most values that one argument's range lists.
const MAX_VALUES: usize = 256;

const ON: Signed = Signed::StandingApproval;

/// A standing approval and the detached signatures on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStanding {
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// Armored SSH signatures.
    pub signatures: Vec<Vec<u8>>,
}

/// What an approver adds to the proposal that is the example.
#[derive(Clone, Debug)]
pub struct StandingDraft {
    /// Why the approver agrees.
    pub reason: String,
    /// The arguments that may be others than the example's.
    pub arguments: BTreeMap<String, ArgumentRange>,
    /// What each step may do at most: what the bundle asks for with any of these arguments.
    pub grants: RoleGrants,
    /// How much of it there may be.
    pub budget: Budget,
    /// From when on, in milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// From when on no more.
    pub expires: u64,
    /// Who answers for the targets.
    pub rollback_owner: String,
}

/// Makes a standing approval from a proposal, and the exact bytes, compact JSON, to sign in
/// [`namespace::STANDING_APPROVAL`].
///
/// # Errors
/// When the draft lacks a reason or a rollback owner, would never be valid, or is too large.
pub fn draft_standing(case: &Case<'_>, draft: StandingDraft) -> Result<(StandingApproval, Vec<u8>), DraftError> {
    check_reason(&draft.reason)?;
    check_rollback_owner(&draft.rollback_owner)?;
    if draft.expires <= draft.not_before {
        return Err(DraftError::Window);
    }
    let document = case.proposal.document();
    let target = |target: &countersign_model::documents::ProposedTarget| StandingTarget {
        name: target.name.clone(),
        configuration: target.configuration,
        runner: target.runner.clone(),
    };
    let approval = StandingApproval {
        kind: STATEMENT_TYPE.to_owned(),
        subject: Subject::of(&document.steps),
        predicate_type: STANDING_APPROVAL_TYPE.to_owned(),
        predicate: StandingTerms {
            example: case.proposal.digest(),
            bundle: document.bundle,
            agent: case.policy.principal(case.proposal.proposer().fingerprint()).name().to_owned(),
            targets: document.targets.iter().map(target).collect(),
            arguments: draft.arguments,
            grants: draft.grants,
            rollback: document.rollback,
            success: document.success,
            budget: draft.budget,
            not_before: draft.not_before,
            expires: draft.expires,
            rollback_owner: draft.rollback_owner,
            policy: case.policy.digest(),
            reason: draft.reason,
        },
    };
    let bytes = serde_json::to_vec(&approval).map_err(|_| DraftError::Unwritable)?;
    match strict::from_slice::<StandingApproval>(&bytes, MAX_STANDING_APPROVAL) {
        Ok(again) if again == approval => Ok((approval, bytes)),
        Err(strict::StrictError::TooLarge { size, .. }) => Err(DraftError::TooLarge(size)),
        _ => Err(DraftError::Unwritable),
    }
}

/// The case of a proposal as the example of a standing approval: what is at stake is what its budget lets be changed.
fn example<'a>(case: &Case<'a>, terms: &StandingTerms) -> Case<'a> {
    let subjects = usize::try_from(terms.budget.subjects).unwrap_or(usize::MAX);
    Case { risk: Risk { irreversible: false, subjects }, ..*case }
}

/// Verifies one signature on a standing approval, and tells which person it counts for. `case` is of its example. What it
/// says is asked by [`check_standing`].
///
/// # Errors
/// When the signature is not valid in its namespace, was not made as the policy demands, or whoever made it has no say:
/// see [`Case::has_a_say`].
pub fn verify_standing(document: &[u8], signature: &[u8], case: &Case<'_>) -> Result<Principal, Refusal> {
    let (signer, approver) = signed_by(case.policy, namespace::STANDING_APPROVAL, document, signature)?;
    case.has_a_say(&approver)?;
    let terms = read(document)?.predicate;
    lets(&terms, case, &approver)?;
    let demands = example(case, &terms).demands();
    demands.satisfied_by(&signer).map_err(|unmet| Refusal::Unmet { on: ON, unmet })?;
    Ok(approver)
}

/// Reads a standing approval and tests that something could run by it, some time: every term but the moment. `case` is of
/// its example.
///
/// # Errors
/// When nothing will ever run by it, under this trust policy.
pub fn check_standing(bytes: &[u8], case: &Case<'_>) -> Result<StandingTerms, Refusal> {
    let digest = Digest::of(bytes);
    revoked("standing approval", &digest, case.policy.revocations().approval(&digest))?;
    case.stands()?;
    let StandingApproval { kind, subject, predicate_type, predicate: terms } = read(bytes)?;
    let senseless = |why: String| Refusal::Senseless { on: ON, why };
    let fields = [("_type", &kind, STATEMENT_TYPE), ("predicateType", &predicate_type, STANDING_APPROVAL_TYPE)];
    for (field, found, expected) in fields {
        if found != expected {
            return Err(Refusal::OtherStatement { field, found: excerpt(found, 80), expected });
        }
    }
    crate::manifest::subjects(&subject, &case.proposal.document().steps)?;
    let bounds = bounds(case.policy)?;
    as_in_example(&terms, case)?;
    check_reason(&terms.reason)
        .and_then(|()| check_rollback_owner(&terms.rollback_owner))
        .map_err(|error| senseless(error.to_string()))?;
    if !case.policy.knows(&terms.policy) {
        return Err(Refusal::OtherPolicy { approved: terms.policy, current: case.policy.digest() });
    }
    let length_ms = terms.expires.checked_sub(terms.not_before).filter(|length| *length > 0);
    let length_ms = length_ms.ok_or_else(|| senseless("it expires before it is valid".to_owned()))?;
    if length_ms > bounds.max_validity_ms {
        return Err(Refusal::ValidTooLong { length_ms, limit_ms: bounds.max_validity_ms });
    }
    for (what, found, most) in [
        ("runs an hour", terms.budget.per_hour, bounds.per_hour),
        ("runs a day", terms.budget.per_day, bounds.per_day),
        ("subjects", terms.budget.subjects, bounds.subjects),
    ] {
        if !(1..=most).contains(&found) {
            return Err(Refusal::BeyondUnattended { what, found, most });
        }
    }
    for (name, range) in &terms.arguments {
        let name = excerpt(name, 80);
        match range {
            ArgumentRange::OneOf(values) if !(1..=MAX_VALUES).contains(&values.len()) => {
                return Err(senseless(format!("the argument `{name}` needs 1 to {MAX_VALUES} values")));
            }
            ArgumentRange::Within { from, to } if from > to => {
                return Err(senseless(format!("the argument `{name}` is from {from} to {to}, which is nothing")));
            }
            _ => {}
        }
    }
    within_rules(&terms, case)?;
    case.within_ceilings(terms.targets.iter().map(|target| target.name.as_str()), &terms.grants)?;
    Ok(terms)
}

/// What a standing approval allows while it stands, and the people who signed it: enough of them.
///
/// # Errors
/// Why it does not stand: its example was denied, too few signed it, or it says what the policy does not let it.
pub(crate) fn standing(
    signed: &SignedStanding,
    case: &Case<'_>,
    denials: &[SignedDenial],
    now: u64,
) -> Result<(StandingTerms, Vec<String>), Refusal> {
    unexpired(case.policy, now)?;
    let terms = check_standing(&signed.document, case)?;
    if let Some(denied) = denied(denials, case.proposal.digest(), case.policy)? {
        return Err(Refusal::Denied { by: denied.by.name().to_owned(), reason: excerpt(&denied.reason, 500) });
    }
    let people = signers(signed, case)?;
    if now < terms.not_before {
        return Err(Refusal::NotYetValid { from: terms.not_before, now });
    }
    if now >= terms.expires {
        return Err(Refusal::Expired { at: terms.expires, now });
    }
    Ok((terms, people))
}

/// The people who signed it, enough for every quorum that holds, in alphabetical order.
pub(crate) fn signers(signed: &SignedStanding, case: &Case<'_>) -> Result<Vec<String>, Refusal> {
    if signed.signatures.len() > MAX_SIGNATURES {
        let (found, limit) = (signed.signatures.len(), MAX_SIGNATURES);
        return Err(Refusal::TooMany { what: "signatures on one standing approval", found, limit });
    }
    let terms = read(&signed.document)?.predicate;
    let verified = signed.signatures.iter().map(|signature| verify_standing(&signed.document, signature, case));
    let verified: Vec<_> = verified.collect();
    let people = verified.iter().flatten().map(|person| person.name().to_owned()).collect();
    match example(case, &terms).enough(&people) {
        Ok(()) => Ok(people.into_iter().collect()),
        Err(missing) => Err(verified.into_iter().find_map(Result::err).unwrap_or(missing)),
    }
}

/// What the trust policy lets run unattended at most.
pub(crate) fn bounds(policy: &Policy) -> Result<&UnattendedBounds, Refusal> {
    policy.unattended().ok_or(Refusal::NothingUnattended)
}

/// What a standing approval says. Whether any of it makes sense, or was signed, is not asked.
///
/// # Errors
/// When it is not the strict JSON that is expected.
pub fn read_standing(bytes: &[u8]) -> Result<StandingTerms, Refusal> {
    read(bytes).map(|approval| approval.predicate)
}

fn read(bytes: &[u8]) -> Result<StandingApproval, Refusal> {
    strict::from_slice(bytes, MAX_STANDING_APPROVAL)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })
}

fn as_in_example(terms: &StandingTerms, case: &Case<'_>) -> Result<(), Refusal> {
    let document = case.proposal.document();
    if terms.example != case.proposal.digest() {
        return Err(Refusal::OtherProposal { on: ON, expected: case.proposal.digest(), found: terms.example });
    }
    let proposer = case.policy.principal(case.proposal.proposer().fingerprint());
    let senseless = |why: &str| Err(Refusal::Senseless { on: ON, why: why.to_owned() });
    if proposer.kind() != PrincipalKind::Agent || terms.agent != proposer.name() {
        return senseless(
            "it is for another than the agent that proposed its example; people and unlisted keys have none",
        );
    }
    if document.mode != Mode::Exact || document.undoes.is_some() {
        return senseless("only fixes in mode `exact` run unattended");
    }
    let same = [
        ("bundle", terms.bundle == document.bundle),
        ("rollback", terms.rollback == document.rollback),
        ("success", terms.success == document.success),
    ];
    if let Some((term, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(Refusal::OtherTerm { term });
    }
    let as_proposed = |target: &StandingTarget| {
        case.proposal.target(&target.name).is_some_and(|proposed| {
            (proposed.configuration, &proposed.runner) == (target.configuration, &target.runner)
        })
    };
    if terms.targets.is_empty() || !terms.targets.iter().all(as_proposed) {
        return senseless("its targets are not those of its example");
    }
    // With the example's own arguments it must be what it is an example of.
    if let Some(name) = terms.out_of_range(&document.arguments, &document.arguments) {
        let why = format!("the argument `{}` of its example is not in its range", excerpt(name, 80));
        return Err(Refusal::Senseless { on: ON, why });
    }
    within(&terms.grants, &document.grants, case.contains).map_err(Refusal::Grants)
}

/// Refuses who has no say by the rules that let all of it run unattended: others take in less, or only let it be proposed.
fn lets(terms: &StandingTerms, case: &Case<'_>, approver: &Principal) -> Result<(), Refusal> {
    let proposer = case.policy.principal(case.proposal.proposer().fingerprint());
    for target in &terms.targets {
        let rules = may(case.policy, Activity::Unattended, &proposer, &target.name, &terms.grants, case.contains)?;
        case.lets(&rules, approver, &target.name)?;
    }
    Ok(())
}

/// On each target a rule has to let the agent's proposals run unattended, with all of it.
fn within_rules(terms: &StandingTerms, case: &Case<'_>) -> Result<(), Refusal> {
    let proposer = case.policy.principal(case.proposal.proposer().fingerprint());
    terms.targets.iter().try_for_each(|target| {
        may(case.policy, Activity::Unattended, &proposer, &target.name, &terms.grants, case.contains).map(drop)
    })
}

#[cfg(test)]
mod tests;
