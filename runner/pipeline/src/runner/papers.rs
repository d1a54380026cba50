//! What is signed and kept: proposals with their bundles, rehearsals, evidence, approvals and denials.

use std::collections::BTreeSet;

use countersign_bundle::Bundle;
use countersign_model::documents::{RehearsalDocument, namespace};
use countersign_model::{Digest, Evidence, Role};
use countersign_record::{KeptFiles, Lineage, NewProposal, RecordError};
use countersign_trust::{Proposal, Signatory, SignedApproval, SignedDenial};

use super::Runner;
use crate::error::PipelineError;
use crate::propose::Drafted;
use crate::signed::{read_evidence, verified};

impl Runner {
    pub(crate) fn sign_and_keep_rehearsal(&self, document: &RehearsalDocument) -> Result<Digest, PipelineError> {
        let bytes = serde_json::to_vec(document).map_err(|error| PipelineError::failed(error.to_string()))?;
        let signature = self.sign(namespace::REHEARSAL, &bytes)?;
        Ok(self.state.rehearsals().add(&bytes, &signature)?)
    }

    pub(crate) fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, PipelineError> {
        countersign_trust::sign(&*self.key, namespace, bytes).map_err(|error| PipelineError::failed(error.to_string()))
    }

    /// A proposal's bytes as they were signed, and the signature.
    pub(crate) fn signed_proposal(&self, digest: &Digest) -> Result<(Vec<u8>, String), PipelineError> {
        let record = self.state.proposals().get(digest)?;
        Ok((record.document, record.signature))
    }

    /// A rehearsal's bytes as they were signed, and the signature.
    pub(crate) fn signed_rehearsal(&self, digest: &Digest) -> Result<(Vec<u8>, String), PipelineError> {
        let record = self.state.rehearsals().get(digest)?;
        Ok((record.document, record.signature))
    }

    /// An evidence record's bytes as they were signed, and the signature.
    pub(crate) fn signed_evidence(&self, id: &str) -> Result<(Vec<u8>, String), PipelineError> {
        let record = self.state.evidence().get(id)?;
        Ok((record.record, record.signature))
    }

    /// Whether this state has the proposal.
    pub(crate) fn knows(&self, proposal: &Digest) -> Result<bool, PipelineError> {
        match self.state.proposals().get(proposal) {
            Ok(_) => Ok(true),
            Err(RecordError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn rehearsal(&self, digest: &Digest) -> Result<RehearsalDocument, PipelineError> {
        let record = self.state.rehearsals().get(digest)?;
        if Digest::of(&record.document) != *digest {
            return Err(PipelineError::refused(format!("the rehearsal `{}` was changed since", digest.short()))
                .with_hint("propose it again; nothing changed"));
        }
        let signature = record.signature.as_bytes();
        verified("the rehearsal", namespace::REHEARSAL, &record.document, signature, self.fingerprint())
    }

    pub(crate) fn evidence(&self, id: &str) -> Result<(Evidence, Digest), PipelineError> {
        let record = self.state.evidence().get(id)?;
        read_evidence(id, &record.record, record.signature.as_bytes(), self.fingerprint())
    }

    /// Copies the bundle, signs the proposal with its proposer's key and keeps it with what its rehearsals put aside.
    ///
    /// # Errors
    /// When the key's owner may not propose, what undo needs cannot be kept, or the state cannot be written.
    pub fn keep_proposal(
        &self,
        bundle: &Bundle,
        drafted: &Drafted,
        signatory: &dyn Signatory,
    ) -> Result<Digest, PipelineError> {
        let signature = crate::approve::signed(signatory, namespace::PROPOSAL, &drafted.bytes)?;
        // The runner takes a proposal only as it will be read again.
        let proposal = Proposal::verify(&drafted.bytes, signature.as_bytes(), &self.policy).map_err(|refusal| {
            PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(crate::propose::PROPOSE))
        })?;
        crate::approve::approvable(&proposal, self.policy.digest())?;
        bundle.copy_to(&self.state.bundle(&bundle.digest())).map_err(|error| {
            PipelineError::failed(format!("the bundle could not be kept: {error}"))
                .with_hint("see that the state directory is writable and has room; nothing was proposed")
        })?;
        self.keep_what_was_put_aside(&drafted.rehearsals)?;
        let read = drafted.rehearsals.iter().flat_map(|rehearsed| &rehearsed.document().evidence);
        let evidence: BTreeSet<String> =
            drafted.document.evidence.iter().chain(read).map(|reference| reference.id.clone()).collect();
        let proposer = self.policy.principal(proposal.proposer().fingerprint());
        let new = NewProposal {
            document: &drafted.bytes,
            signature: &signature,
            bundle: &bundle.digest(),
            proposer: crate::propose::counted_as(&proposer),
            created: drafted.document.created,
            expires: drafted.document.expires,
            evidence: &evidence.into_iter().collect::<Vec<_>>(),
            fix: drafted.document.steps.get(&Role::Fix),
            subjects: &crate::denied_before::subjects(&drafted.rehearsals),
        };
        let undoes = drafted.document.undoes.as_ref().map(|undoes| undoes.run.as_str());
        let lineage = Lineage { revises: drafted.document.revises.as_ref(), undoes };
        let entry = crate::audit::proposed(&proposal, lineage);
        self.state.proposals().add_after(new, lineage, &[entry]).map_err(|error| match error {
            // Somebody was faster: a decision, not a defect.
            error @ RecordError::Superseded { .. } => {
                PipelineError::refused(error.to_string()).with_hint(error.hint().unwrap_or_default())
            }
            error => error.into(),
        })?;
        Ok(proposal.digest())
    }

    /// The proposal that took the place of this one, if one did.
    pub(crate) fn revision(&self, proposal: &Digest) -> Result<Option<Digest>, PipelineError> {
        Ok(self.state.proposals().revision(proposal)?)
    }

    pub(crate) fn proposal(&self, name: &str) -> Result<Proposal, PipelineError> {
        let proposals = self.state.proposals();
        let record = proposals.get(&proposals.find(name)?)?;
        let proposal =
            Proposal::verify(&record.document, record.signature.as_bytes(), &self.policy).map_err(|refusal| {
                PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(crate::propose::PROPOSE))
            })?;
        if proposal.digest() != record.digest {
            return Err(PipelineError::refused("the proposal was changed since it was made")
                .with_hint("propose it again; nothing changed"));
        }
        Ok(proposal)
    }

    pub(crate) fn bundle(&self, digest: &Digest) -> Result<Bundle, PipelineError> {
        // Nearly always its steps are started next, and to read it takes as long as a process does to start.
        self.workers.warm();
        let bundle = Bundle::open(&self.state.bundle(digest)).map_err(|error| {
            PipelineError::refused(format!("the proposal's bundle: {error}"))
                .with_hint("propose it again; nothing changed")
        })?;
        if bundle.digest() != *digest {
            let what = format!("the bundle was changed since it was proposed: it is now `{}`", bundle.digest());
            return Err(PipelineError::refused(what).with_hint("propose it again; nothing changed"));
        }
        Ok(bundle)
    }

    /// Keeps signatures on approvals, each with its manifest: all or none.
    pub(crate) fn keep_approvals(
        &self,
        proposal: &Digest,
        signed: &[(&[u8], &str)],
    ) -> Result<Vec<KeptFiles>, PipelineError> {
        let entries: Vec<_> = signed
            .iter()
            .map(|(manifest, signature)| crate::audit::approved(self, proposal, manifest, signature))
            .collect();
        Ok(self.state.approvals().add_all(proposal, signed, &entries)?)
    }

    /// Every approval of a proposal as it is on disk, for the decider to verify.
    pub(crate) fn approvals(&self, proposal: &Digest) -> Result<Vec<SignedApproval>, PipelineError> {
        let kept = self.state.approvals().of(proposal)?;
        let mut approvals = Vec::new();
        for approval in kept {
            // What a run was by that nobody signed as it stands is kept beside those that it was made of.
            if approval.signatures.is_empty() {
                continue;
            }
            if Digest::of(&approval.manifest) != approval.digest {
                let what =
                    format!("the approval manifest `{}` was changed since it was signed", approval.path.display());
                return Err(PipelineError::refused(what).with_hint("nothing changed; approve the proposal again"));
            }
            let signatures = approval.signatures.into_iter().map(String::into_bytes).collect();
            approvals.push(SignedApproval { manifest: approval.manifest, signatures });
        }
        Ok(approvals)
    }

    pub(crate) fn denials(&self, proposal: &Digest) -> Result<Vec<SignedDenial>, PipelineError> {
        let denials = self.state.approvals().denials_of(proposal)?;
        let signed = |denial: countersign_record::Denial| SignedDenial {
            document: denial.document,
            signature: denial.signature.into_bytes(),
        };
        Ok(denials.into_iter().map(signed).collect())
    }

    pub(crate) fn keep_denial(&self, proposal: &Digest, denial: &SignedDenial) -> Result<(), PipelineError> {
        let signature = String::from_utf8_lossy(&denial.signature);
        let entry = crate::audit::denied(self, proposal, &denial.document, &denial.signature);
        self.state.approvals().add_denial(proposal, &denial.document, &signature, &[entry])?;
        Ok(())
    }
}
