//! The decision. It is pure: given what was signed, what was really read and the time, it answers.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::documents::{ApprovalManifest, ProposedTarget};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Grant, Role};
use serde_json::{Map, Value};

use crate::approval::MAX_REASON;
use crate::case::{Case, revoked};
use crate::denial::denied;
use crate::manifest;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind};
use crate::proposal::may_propose;
use crate::refusal::Refusal;

/// The most approvals, and the most denials, of one proposal that are looked at.
pub(crate) const MAX_PAPERS: usize = 64;

/// An approval manifest and the detached signatures on it.
#[derive(Clone, Debug)]
pub struct SignedApproval {
    /// The exact bytes that were signed.
    pub manifest: Vec<u8>,
    /// Armored SSH signatures.
    pub signatures: Vec<Vec<u8>>,
}

/// A denial and the detached signature on it.
#[derive(Clone, Debug)]
pub struct SignedDenial {
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// An armored SSH signature.
    pub signature: Vec<u8>,
}

/// One run that somebody wants to start: what was signed, and what the runner found for itself.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What was proposed, and the trust policy that was read.
    pub case: Case<'a>,
    /// Every approval of it, in the order in which they shall be tried.
    pub approvals: &'a [SignedApproval],
    /// Every denial of it that was kept, each verified then.
    pub denials: &'a [SignedDenial],
    /// The target's name.
    pub target: &'a str,
    /// Digest of the target's configuration, as resolved now.
    pub configuration: Digest,
    /// Fingerprint of this runner's key.
    pub runner: &'a str,
    /// Digest of the bundle that was read.
    pub bundle: Digest,
    /// Digests of the steps' bytes that were really read, the very ones that will be compiled.
    pub steps: &'a BTreeMap<Role, Digest>,
    /// The arguments that the steps will see.
    pub arguments: &'a Map<String, Value>,
    /// Digest of the plan that the run will be held to.
    pub plan: Digest,
    /// How many runs a manifest, by its digest, was used for already.
    pub uses_spent: &'a dyn Fn(&Digest) -> u32,
    /// The time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
}

/// Permission for one run on one target. Only [`authorize`] gives it.
#[derive(Debug)]
#[must_use = "an authorization is for starting a run"]
pub struct Authorized {
    manifest: ApprovalManifest,
    manifest_digest: Digest,
    target: ProposedTarget,
    approvers: Vec<String>,
    proposer: Principal,
}

impl Authorized {
    /// The manifest that allows it.
    #[must_use]
    pub const fn manifest(&self) -> &ApprovalManifest {
        &self.manifest
    }

    /// Digest of the manifest's exact bytes: what a spent use is counted under.
    #[must_use]
    pub const fn manifest_digest(&self) -> Digest {
        self.manifest_digest
    }

    /// The one target that this is for.
    #[must_use]
    pub const fn target(&self) -> &ProposedTarget {
        &self.target
    }

    /// The people who approved, each once, in alphabetical order.
    #[must_use]
    pub fn approvers(&self) -> &[String] {
        &self.approvers
    }

    /// Who proposed, under the trust policy in force.
    #[must_use]
    pub const fn proposer(&self) -> &Principal {
        &self.proposer
    }

    /// What the step in this role may do.
    #[must_use]
    pub fn grants(&self, role: Role) -> &[Grant] {
        self.manifest.predicate.grants.get(&role).map_or(&[], Vec::as_slice)
    }

    /// Whether the approvers are known to be others than the proposer. An unlisted key could be
    /// anybody's, an approver's too: such a run is to be marked "approval not independent".
    #[must_use]
    pub fn independent(&self) -> bool {
        self.proposer.kind() != PrincipalKind::Unlisted
    }
}

/// Decides whether a run may start. Every term must hold; what cannot be decided is refused.
///
/// # Errors
/// The first thing that does not hold. Where there are several manifests, the first that is valid
/// allows the run; if none is, the reason is the last one's.
pub fn authorize(request: &Request<'_>) -> Result<Authorized, Refusal> {
    let case = &request.case;
    let (policy, proposal) = (case.policy, case.proposal);
    unexpired(policy, request.now)?;
    // The proposal may have been verified under an earlier policy.
    let proposer = may_propose(policy, proposal.proposer().fingerprint())?;
    as_proposed(request)?;
    not_denied(request)?;
    let standing = case.standing()?;

    bounded("approvals", request.approvals.len())?;
    let mut refusal = Refusal::NotApproved { needed: case.needed() };
    let mut signed = BTreeSet::new();
    for approval in request.approvals {
        let valid = manifest::quorum(approval, case, &standing)
            .and_then(|approvers| Ok((approvers, manifest::check(&approval.manifest, request)?)));
        match valid {
            Ok((approvers, (manifest, manifest_digest, target))) => {
                not_frozen(policy, request.target, request.now)?;
                return Ok(Authorized {
                    manifest,
                    manifest_digest,
                    target,
                    approvers: approvers.into_iter().collect(),
                    proposer,
                });
            }
            Err(why) => {
                if let Refusal::QuorumNotReached { approvers, .. } = &why {
                    signed.extend(approvers.iter().cloned());
                }
                refusal = why;
            }
        }
    }
    match refusal {
        // All of them together would have been enough.
        Refusal::QuorumNotReached { .. } if case.enough(&signed).is_ok() => {
            Err(Refusal::SignedApart { needed: case.needed(), approvers: signed.into_iter().collect() })
        }
        refusal => Err(refusal),
    }
}

/// Whether an approval by which a run began lets it go on, under the policy in force by now: nothing of it is revoked, a rule
/// takes it in, and enough people's signatures count. Its window and its uses are not asked again.
///
/// # Errors
/// Why not: then what the run changed is put back.
pub fn still_approved(approval: &SignedApproval, case: &Case<'_>) -> Result<(), Refusal> {
    let digest = Digest::of(&approval.manifest);
    revoked("approval", &digest, case.policy.revocations().approval(&digest))?;
    let standing = case.standing()?;
    manifest::quorum(approval, case, &standing).map(drop)
}

/// Whether anything may be decided by this policy still.
///
/// # Errors
/// [`Refusal::PolicyExpired`].
pub fn unexpired(policy: &Policy, now: u64) -> Result<(), Refusal> {
    if now < policy.expires() { Ok(()) } else { Err(Refusal::PolicyExpired { at: policy.expires(), now }) }
}

/// Whether a run may begin on this target now, as far as freezes go.
///
/// # Errors
/// [`Refusal::Frozen`].
pub fn not_frozen(policy: &Policy, target: &str, now: u64) -> Result<(), Refusal> {
    let Some(freeze) = policy.freezes().iter().find(|freeze| freeze.is_on(now) && freeze.reaches(target)) else {
        return Ok(());
    };
    Err(Refusal::Frozen {
        freeze: freeze.name().to_owned(),
        target: excerpt(target, 80),
        until: freeze.until(),
        reason: excerpt(freeze.reason(), MAX_REASON),
    })
}

/// Whether what the runner found is what was proposed.
fn as_proposed(request: &Request<'_>) -> Result<(), Refusal> {
    let proposed = request.case.proposal.document();
    if request.bundle != proposed.bundle {
        return Err(Refusal::BundleChanged { proposed: proposed.bundle, found: request.bundle });
    }
    for role in Role::ALL {
        let (proposed, found) = (proposed.steps.get(&role).copied(), request.steps.get(&role).copied());
        if proposed != found {
            return Err(Refusal::StepChanged { role, proposed, found });
        }
    }
    if *request.arguments != proposed.arguments {
        return Err(Refusal::ArgumentsChanged);
    }
    let target = excerpt(request.target, 80);
    let Some(proposed) = request.case.proposal.target(request.target) else {
        return Err(Refusal::TargetNotProposed { target });
    };
    if request.configuration != proposed.configuration {
        let (proposed, found) = (proposed.configuration, request.configuration);
        return Err(Refusal::ConfigurationChanged { target, proposed, found });
    }
    if request.runner != proposed.runner {
        let (proposed, found) = (excerpt(&proposed.runner, 80), request.runner.to_owned());
        return Err(Refusal::OtherRunner { target, proposed, found });
    }
    if request.plan != proposed.plan {
        return Err(Refusal::PlanChanged { target, proposed: proposed.plan, found: request.plan });
    }
    Ok(())
}

/// One denial ends a proposal.
fn not_denied(request: &Request<'_>) -> Result<(), Refusal> {
    match denied(request.denials, request.case.proposal.digest(), request.case.policy)? {
        None => Ok(()),
        Some(denied) => {
            Err(Refusal::Denied { by: denied.by.name().to_owned(), reason: excerpt(&denied.reason, MAX_REASON) })
        }
    }
}

fn bounded(what: &'static str, found: usize) -> Result<(), Refusal> {
    if found > MAX_PAPERS { Err(Refusal::TooMany { what, found, limit: MAX_PAPERS }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
