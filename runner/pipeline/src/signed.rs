//! What a runner signed, read again.

use countersign_model::documents::{ProposalDocument, namespace};
use countersign_model::{Digest, Evidence, strict};
use serde::de::DeserializeOwned;

use crate::error::PipelineError;

/// The largest runner-signed document that is read, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024 * 1024;

/// A document that a runner signed, read strictly.
pub(crate) fn verified<T: DeserializeOwned>(
    what: &str,
    namespace: &str,
    bytes: &[u8],
    signature: &[u8],
    runner: &str,
) -> Result<T, PipelineError> {
    countersign_trust::verify_runner(bytes, signature, namespace, runner).map_err(|refusal| {
        PipelineError::refused(format!("{what}: {refusal}")).with_hint(refusal.hint(crate::propose::PROPOSE))
    })?;
    strict::from_slice(bytes, MAX_DOCUMENT).map_err(|error| {
        PipelineError::refused(format!("{what}: {error}")).with_hint("propose it again with this version")
    })
}

/// What somebody proposed once, as they signed it. Whether they may propose still does not matter: what was proposed
/// does not become another.
pub(crate) fn read_proposal(bytes: &[u8], signature: &[u8], digest: &Digest) -> Result<ProposalDocument, String> {
    if Digest::of(bytes) != *digest {
        return Err("it was changed since".to_owned());
    }
    let signer = countersign_trust::verify(namespace::PROPOSAL, bytes, signature).map_err(|error| error.to_string())?;
    let document: ProposalDocument =
        strict::from_slice(bytes, countersign_trust::MAX_PROPOSAL).map_err(|error| error.to_string())?;
    if document.proposer != signer.fingerprint() {
        return Err("it is signed by another than it names".to_owned());
    }
    Ok(document)
}

/// The evidence record of this id, and the digest of its signed bytes.
pub(crate) fn read_evidence(
    id: &str,
    bytes: &[u8],
    signature: &[u8],
    runner: &str,
) -> Result<(Evidence, Digest), PipelineError> {
    let evidence: Evidence = verified("the evidence", namespace::EVIDENCE, bytes, signature, runner)?;
    if evidence.id != id {
        return Err(PipelineError::refused(format!("the evidence `{id}` holds another record"))
            .with_hint("read it again; nothing changed"));
    }
    Ok((evidence, Digest::of(bytes)))
}
