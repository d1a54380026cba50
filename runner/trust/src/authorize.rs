//! The decision. It is pure: given what was signed, what was really read and the time, it answers.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::documents::{ApprovalManifest, Derived, ProposedTarget};
use countersign_model::text::excerpt;
use countersign_model::{Digest, Grant, Role};
use serde_json::{Map, Value};

use crate::approval::MAX_REASON;
use crate::break_glass;
use crate::case::{Case, TakenIn, revoked};
use crate::denial::denied;
use crate::manifest;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind};
use crate::proposal::may_propose;
use crate::refusal::Refusal;
use crate::strictest::{Counted, strictest, together};
use crate::unattended::{Reversal, Standing, still_stands, unattended};

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
    /// The standing approvals of the proposal's bundle and proposer, in the order in which they shall be tried.
    pub standing: &'a [Standing<'a>],
    /// What its rehearsal on the target found of the way back.
    pub reversal: Reversal,
    /// The time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
}

/// Permission for one run on one target. Only [`authorize`] gives it.
#[derive(Debug)]
#[must_use = "an authorization is for starting a run"]
pub struct Authorized {
    pub(crate) manifest: ApprovalManifest,
    pub(crate) manifest_digest: Digest,
    pub(crate) target: ProposedTarget,
    pub(crate) approvers: Vec<String>,
    pub(crate) proposer: Principal,
    pub(crate) derived: Option<DerivedFrom>,
}

/// Of what the runner made a manifest that nobody signed as it stands.
#[derive(Debug)]
pub struct DerivedFrom {
    /// The manifest's bytes, to be kept before the run begins.
    pub bytes: Vec<u8>,
    /// The approvals that it was made of, by the digests of their manifests, and how many runs each is good for: a use of
    /// each is spent.
    pub sources: Vec<(Digest, u32)>,
    /// The standing approval that it was made of, where nobody was asked.
    pub standing: Option<StandingUse>,
}

/// A run under a standing approval, and how much of it there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingUse {
    /// Digest of the standing approval's document.
    pub standing: Digest,
    /// The names of all its targets.
    pub targets: Vec<String>,
    /// Since when it is valid, in milliseconds since 1970-01-01 UTC: what failed since then ends it.
    pub not_before: u64,
    /// The most runs in an hour.
    pub per_hour: u32,
    /// The most runs in a day.
    pub per_day: u32,
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

    /// Of what the manifest was made, where people signed several and not this one.
    #[must_use]
    pub const fn derived(&self) -> Option<&DerivedFrom> {
        self.derived.as_ref()
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
/// The first thing that does not hold. Where several manifests are valid, the run is by all of them, and of each term the
/// stricter one counts; if none is, the reason is the last one's.
pub fn authorize(request: &Request<'_>) -> Result<Authorized, Refusal> {
    let case = &request.case;
    let (policy, proposal) = (case.policy, case.proposal);
    unexpired(policy, request.now)?;
    // The proposal may have been verified under an earlier policy.
    let proposer = may_propose(policy, proposal.proposer().fingerprint())?;
    as_proposed(request)?;
    not_denied(request)?;
    let taken = case.taken_in()?;

    let Given { counted, broken, signed, refusal } = given(request, &taken)?;
    let people = together(&counted);
    if let Err(missing) = case.enough(&people) {
        if let Some(one) = broken {
            if !break_glass::goes_through_freezes(&one.manifest.predicate, policy) {
                not_frozen(policy, request.target, request.now)?;
            }
            let people = one.people.clone();
            return by(vec![one], people, proposer, case);
        }
        // People who were asked did not say enough; there may be some who said so once for many runs.
        return unattended(request, &proposer).map_err(|unattended| match refusal {
            _ if matches!(unattended, Refusal::NotUnattended { .. }) && !signed => unattended,
            Some(refusal) if counted.len() < 2 => refusal,
            _ if counted.is_empty() => unattended,
            _ => missing,
        });
    }
    not_frozen(policy, request.target, request.now)?;
    by(counted, people, proposer, case)
}

/// What people signed for the run.
pub(crate) struct Given {
    /// The approvals by which it could be, each with people whose signatures count.
    pub(crate) counted: Vec<Counted>,
    /// One in place of the quorums, signed by enough; it goes with no other.
    pub(crate) broken: Option<Counted>,
    /// Whether anybody's signature counts on any of them, used up and expired ones too.
    pub(crate) signed: bool,
    /// Why the last of the others does not allow it by itself.
    pub(crate) refusal: Option<Refusal>,
}

/// What people signed for the run, approval by approval.
pub(crate) fn given(request: &Request<'_>, taken: &TakenIn<'_>) -> Result<Given, Refusal> {
    bounded("approvals", request.approvals.len())?;
    let mut all = Given { counted: Vec::new(), broken: None, signed: false, refusal: None };
    for approval in request.approvals {
        let glass = break_glass::named_in(&approval.manifest);
        match manifest::people(approval, &request.case, taken) {
            Err(why) => all.refusal = Some(why),
            Ok((people, problem)) => {
                all.signed |= !people.is_empty();
                let missing = request.case.enough_for(glass.as_deref(), &people).err();
                let missing = missing.map(|missing| problem.unwrap_or(missing));
                match manifest::check(&approval.manifest, request) {
                    Err(why) if people.is_empty() => all.refusal = Some(missing.unwrap_or(why)),
                    Err(why) => all.refusal = Some(why),
                    Ok(_) if people.is_empty() => all.refusal = missing.or(all.refusal),
                    Ok((manifest, digest, target)) => {
                        let one = Counted { manifest, digest, target, people };
                        match (glass, missing) {
                            (None, missing) => {
                                all.counted.push(one);
                                all.refusal = missing.or(all.refusal);
                            }
                            (Some(_), None) => _ = all.broken.get_or_insert(one),
                            (Some(_), missing) => all.refusal = missing,
                        }
                    }
                }
            }
        }
    }
    Ok(all)
}

/// The authorization by one approval as it stands, or by several: of each term the stricter one.
fn by(
    mut counted: Vec<Counted>,
    people: BTreeSet<String>,
    proposer: Principal,
    case: &Case<'_>,
) -> Result<Authorized, Refusal> {
    let approvers = people.into_iter().collect();
    let several = counted.len() > 1;
    let sources: Vec<_> = counted.iter().map(|one| (one.digest, one.manifest.predicate.uses)).collect();
    let made = several.then(|| strictest(counted.iter().map(|one| (one.digest, &one.manifest)), case.contains));
    let Some(Counted { manifest, digest, target, .. }) = counted.pop() else {
        return Err(Refusal::NotApproved { needed: case.needed() });
    };
    let Some(made) = made else {
        return Ok(Authorized { manifest, manifest_digest: digest, target, approvers, proposer, derived: None });
    };
    let (manifest, bytes) = made.map_err(|why| Refusal::SignedApart { why: excerpt(&why, 500) })?;
    let manifest_digest = Digest::of(&bytes);
    let derived = Some(DerivedFrom { bytes, sources, standing: None });
    Ok(Authorized { manifest, manifest_digest, target, approvers, proposer, derived })
}

/// Whether an approval by which a run began lets it go on, under the policy in force by now: nothing of it is revoked, a rule
/// takes it in, and enough people's signatures count. Its window and its uses are not asked again. `approvals` are all that
/// were given of its proposal, and `standing` is the standing approval that it names, if it does.
///
/// # Errors
/// Why not: then what the run changed is put back.
pub fn still_approved(
    manifest: &[u8],
    approvals: &[SignedApproval],
    standing: Option<&Standing<'_>>,
    case: &Case<'_>,
) -> Result<(), Refusal> {
    let digest = Digest::of(manifest);
    let taken = case.taken_in()?;
    let terms = manifest::read(manifest)?.predicate;
    match terms.derived.clone() {
        None => {
            unrevoked(&digest, case)?;
            let given = approvals.iter().find(|given| given.manifest == manifest);
            let given = given.ok_or(Refusal::ApprovalLost { digest })?;
            manifest::quorum(given, case, &taken)?;
            break_glass::within(&terms, case)
        }
        Some(Derived::Approvals(sources)) => {
            let (mut people, mut manifests) = (BTreeSet::new(), Vec::new());
            for source in sources {
                unrevoked(&source, case)?;
                let given = approvals.iter().find(|given| Digest::of(&given.manifest) == source);
                let given = given.filter(|given| break_glass::named_in(&given.manifest).is_none());
                let given = given.ok_or(Refusal::ApprovalLost { digest: source })?;
                people.extend(manifest::people(given, case, &taken)?.0);
                manifests.push((source, manifest::read(&given.manifest)?));
            }
            let again = strictest(manifests.iter().map(|(digest, manifest)| (*digest, manifest)), case.contains);
            let (_, again) = again.map_err(|why| Refusal::SignedApart { why: excerpt(&why, 500) })?;
            if again != manifest {
                return Err(Refusal::ApprovalLost { digest });
            }
            case.enough(&people)
        }
        Some(Derived::Standing(_)) => still_stands(manifest, &terms, standing, case),
    }
}

fn unrevoked(approval: &Digest, case: &Case<'_>) -> Result<(), Refusal> {
    revoked("approval", approval, case.policy.revocations().approval(approval))
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
