use countersign_model::documents::{DOCUMENT_VERSION, DenialDocument, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Digest, strict};

use crate::approval::{DraftError, check_reason};
use crate::authorize::{MAX_PAPERS, SignedDenial};
use crate::case::unrevoked;
use crate::policy::Policy;
use crate::principal::{Principal, Right};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;
use crate::sshsig;

/// The largest denial that is read, in bytes.
pub const MAX_DENIAL: usize = 64 * 1024;

/// Makes a denial and the exact bytes to sign in [`namespace::DENIAL`]. `at` is in milliseconds
/// since 1970-01-01 UTC.
///
/// # Errors
/// When the reason is empty or longer than [`MAX_REASON`](crate::MAX_REASON).
pub fn draft_denial(proposal: Digest, reason: &str, at: u64) -> Result<(DenialDocument, Vec<u8>), DraftError> {
    check_reason(reason)?;
    let document = DenialDocument { version: DOCUMENT_VERSION, proposal, reason: reason.to_owned(), at };
    let bytes = serde_json::to_vec(&document).map_err(|_| DraftError::Unwritable)?;
    Ok((document, bytes))
}

/// Verifies a denial of the proposal with this digest, and tells who denied.
///
/// # Errors
/// When the signature is not valid, its signer may not approve, or the document cannot be read or
/// is about another proposal. The document is read last: where it cannot be, somebody who may deny
/// did sign it.
pub fn verify_denial(
    bytes: &[u8],
    signature: &[u8],
    proposal: Digest,
    policy: &Policy,
) -> Result<(DenialDocument, Principal), Refusal> {
    let (_, denier) = signed_by(policy, namespace::DENIAL, bytes, signature)?;
    unrevoked(&denier)?;
    if !denier.may(Right::Approve) {
        return Err(Refusal::MayNotDeny { who: denier.to_string() });
    }
    Ok((read(bytes, proposal)?, denier))
}

/// A proposal's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Who denied it, as the trust policy has them now.
    pub by: Principal,
    /// Why, in their words.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// Whether a proposal was denied, by the denials of it that were kept. Each was verified when it was kept, and a denial
/// is final: it counts too where its signer has no say any more.
///
/// # Errors
/// Where one cannot be verified again, since it could be by anybody; or where there are too many.
pub fn denied(denials: &[SignedDenial], proposal: Digest, policy: &Policy) -> Result<Option<Denied>, Refusal> {
    if denials.len() > MAX_PAPERS {
        return Err(Refusal::TooMany { what: "denials", found: denials.len(), limit: MAX_PAPERS });
    }
    let mut damaged = None;
    for SignedDenial { document, signature } in denials {
        let verified = signer(document, signature, policy).and_then(|by| Ok((by, read(document, proposal)?)));
        match verified {
            Ok((by, DenialDocument { reason, at, .. })) => return Ok(Some(Denied { by, reason, at })),
            Err(why) => damaged = damaged.or(Some(why)),
        }
    }
    damaged.map_or(Ok(None), |why| Err(Refusal::DamagedDenial { why: why.to_string() }))
}

/// Whose a kept denial is. What was demanded of its signature was when it was kept; what is demanded by now ends no denial.
fn signer(bytes: &[u8], signature: &[u8], policy: &Policy) -> Result<Principal, Refusal> {
    let signer = sshsig::verify(namespace::DENIAL, bytes, signature)
        .map_err(|error| Refusal::Signature { on: Signed::Denial, error })?;
    Ok(policy.principal(signer.fingerprint()))
}

fn read(bytes: &[u8], proposal: Digest) -> Result<DenialDocument, Refusal> {
    let on = Signed::Denial;
    let document: DenialDocument = strict::from_slice(bytes, MAX_DENIAL)
        .map_err(|error| Refusal::Unreadable { on, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on, found: document.version, expected: DOCUMENT_VERSION });
    }
    if document.proposal != proposal {
        return Err(Refusal::OtherProposal { on, expected: proposal, found: document.proposal });
    }
    Ok(document)
}
