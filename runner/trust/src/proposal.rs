use std::collections::BTreeSet;

use countersign_model::documents::{DOCUMENT_VERSION, ProposalDocument, ProposedTarget, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Access, Digest, Mode, Role, RollbackBy, strict};

use crate::case::unrevoked;
use crate::policy::Policy;
use crate::principal::{Principal, Right};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest proposal that is read, in bytes.
pub const MAX_PROPOSAL: usize = 4 * 1024 * 1024;
/// The most targets of one proposal.
pub const MAX_TARGETS: usize = 256;
/// The most grants of one step.
pub const MAX_GRANTS: usize = 256;

/// The longest that a check may take, and the shortest pause between two, in milliseconds.
const MAX_WITHIN: u64 = 60 * 60 * 1000;
const MIN_EVERY: u64 = 50;

/// A proposal whose signature is valid and whose signer may propose. Only [`Proposal::verify`]
/// makes one.
#[derive(Clone, Debug)]
pub struct Proposal {
    document: ProposalDocument,
    digest: Digest,
    proposer: Principal,
}

impl Proposal {
    /// Verifies a proposal's exact bytes against its detached signature and the trust policy.
    ///
    /// # Errors
    /// When the signature is not valid in the namespace of proposals, its signer is not the
    /// proposer that the document names or may not propose, or the document is larger than
    /// [`MAX_PROPOSAL`], is not strict JSON of this version, or contradicts itself.
    pub fn verify(bytes: &[u8], signature: &[u8], policy: &Policy) -> Result<Self, Refusal> {
        let on = Signed::Proposal;
        let unreadable =
            |error: &dyn std::fmt::Display| Refusal::Unreadable { on, why: excerpt(&error.to_string(), 300) };
        if bytes.len() > MAX_PROPOSAL {
            return Err(unreadable(&strict::StrictError::TooLarge { size: bytes.len(), limit: MAX_PROPOSAL }));
        }
        let (signer, _) = signed_by(policy, namespace::PROPOSAL, bytes, signature)?;
        let document: ProposalDocument = strict::from_slice(bytes, MAX_PROPOSAL).map_err(|error| unreadable(&error))?;
        if document.version != DOCUMENT_VERSION {
            return Err(Refusal::Version { on, found: document.version, expected: DOCUMENT_VERSION });
        }
        if document.proposer != signer.fingerprint() {
            let (named, signer) = (excerpt(&document.proposer, 80), signer.fingerprint().to_owned());
            return Err(Refusal::OtherProposer { named, signer });
        }
        let proposer = may_propose(policy, signer.fingerprint())?;
        makes_sense(&document).map_err(|why| Refusal::Senseless { on, why })?;
        Ok(Self { document, digest: Digest::of(bytes), proposer })
    }

    /// What is proposed.
    #[must_use]
    pub const fn document(&self) -> &ProposalDocument {
        &self.document
    }

    /// Digest of the exact bytes that were verified.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Who proposes, under the trust policy that it was verified with.
    #[must_use]
    pub const fn proposer(&self) -> &Principal {
        &self.proposer
    }

    pub(crate) fn target(&self, name: &str) -> Option<&ProposedTarget> {
        self.document.targets.iter().find(|target| target.name == name)
    }
}

/// Who the key belongs to, if they may propose.
///
/// # Errors
/// [`Refusal::MayNotPropose`], or [`Refusal::Revoked`].
pub fn may_propose(policy: &Policy, fingerprint: &str) -> Result<Principal, Refusal> {
    let proposer = policy.principal(fingerprint);
    unrevoked(&proposer)?;
    if proposer.may(Right::Propose) { Ok(proposer) } else { Err(Refusal::MayNotPropose { who: proposer.to_string() }) }
}

/// What the document's types cannot say.
fn makes_sense(document: &ProposalDocument) -> Result<(), String> {
    if !(1..=MAX_TARGETS).contains(&document.targets.len()) {
        return Err(format!("it has {} targets, expected 1 to {MAX_TARGETS}", document.targets.len()));
    }
    let mut names = BTreeSet::new();
    if let Some(target) = document.targets.iter().find(|target| !names.insert(&target.name)) {
        return Err(format!("the target `{}` stands twice", excerpt(&target.name, 80)));
    }
    for role in [Role::Fix, Role::Check] {
        if !document.steps.contains_key(&role) {
            return Err(format!("it has no {role} step"));
        }
    }
    if document.rollback == RollbackBy::Step && !document.steps.contains_key(&Role::Rollback) {
        return Err("its rollback is a step, and it has none".to_owned());
    }
    for (role, grants) in &document.grants {
        if !document.steps.contains_key(role) {
            return Err(format!("it asks for grants for a {role} step, and has none"));
        }
        if grants.len() > MAX_GRANTS {
            return Err(format!("it asks for {} grants for the {role} step, at most {MAX_GRANTS}", grants.len()));
        }
        if let Some(grant) = grants.iter().find(|grant| grant.access == Access::Write && !role.may_write()) {
            return Err(format!("it asks for `{}` for the {role} step, which may only read", grant.name()));
        }
    }
    if document.success.within_ms > MAX_WITHIN || document.success.every_ms < MIN_EVERY {
        return Err("its check must hold within an hour and be asked at most every 50 ms".to_owned());
    }
    if document.undoes.is_some() && (document.mode != Mode::Exact || document.targets.len() != 1) {
        return Err("it undoes a run, which is on one target and exact".to_owned());
    }
    if document.expires <= document.created {
        return Err("it expires before it was made".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
