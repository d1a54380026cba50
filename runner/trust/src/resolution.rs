//! A person's word on what a run left otherwise than before: who may give it, and what they sign.

use countersign_model::documents::{DOCUMENT_VERSION, ResolutionDocument, namespace};
use countersign_model::strict;
use countersign_model::text::excerpt;

use crate::approval::{DraftError, check_reason};
use crate::case::unrevoked;
use crate::manifest::same;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest resolution that is read, in bytes.
pub const MAX_RESOLUTION: usize = 64 * 1024;

const ON: Signed = Signed::Resolution;

/// The exact bytes to sign in [`namespace::RESOLUTION`].
///
/// # Errors
/// When the reason is empty or longer than [`MAX_REASON`](crate::MAX_REASON), or what it is about is too long.
pub fn draft_resolution(document: &ResolutionDocument) -> Result<Vec<u8>, DraftError> {
    check_reason(&document.reason)?;
    let bytes = serde_json::to_vec(document).map_err(|_| DraftError::Unwritable)?;
    match strict::from_slice::<ResolutionDocument>(&bytes, MAX_RESOLUTION) {
        Ok(again) if again == *document => Ok(bytes),
        Err(strict::StrictError::TooLarge { size, .. }) => Err(DraftError::TooLarge(size)),
        _ => Err(DraftError::Unwritable),
    }
}

/// Whether this principal may say what becomes of what a run left: a person who may approve, and none of `proposers`, who
/// proposed the run and, where it undid another, that one, nor anybody who answers for one of them or enrolled their key.
///
/// # Errors
/// When they may not.
pub fn may_resolve(who: &Principal, proposers: &[Principal]) -> Result<(), Refusal> {
    unrevoked(who)?;
    if who.kind() != PrincipalKind::Person || !who.may(Right::Approve) {
        let why = "only a person may whom the trust policy lets approve".to_owned();
        return Err(Refusal::MayNotResolve { who: who.to_string(), why });
    }
    let enrolled = |own: &Principal| who.person().is_some() && who.person() == own.enrolled_by();
    match proposers.iter().find(|proposer| same(who, proposer) || enrolled(proposer)) {
        None => Ok(()),
        Some(own) => {
            let why = match own.kind() {
                _ if !same(who, own) => format!("they enrolled the key of {own}, who proposed it"),
                PrincipalKind::Agent => format!("they own {own}, who proposed it"),
                _ => "they proposed it".to_owned(),
            };
            Err(Refusal::MayNotResolve { who: who.to_string(), why })
        }
    }
}

/// Verifies a resolution, and tells whose word it is.
///
/// # Errors
/// When the signature is not valid, its signer may not resolve, or the document cannot be read.
pub fn verify_resolution(
    bytes: &[u8],
    signature: &[u8],
    proposers: &[Principal],
    policy: &Policy,
) -> Result<(ResolutionDocument, Principal), Refusal> {
    let (_, who) = signed_by(policy, namespace::RESOLUTION, bytes, signature)?;
    may_resolve(&who, proposers)?;
    let document: ResolutionDocument = strict::from_slice(bytes, MAX_RESOLUTION)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on: ON, found: document.version, expected: DOCUMENT_VERSION });
    }
    Ok((document, who))
}

#[cfg(test)]
mod tests {
    use countersign_model::Digest;
    use countersign_model::documents::Way;

    use super::*;
    use crate::fixture::{AGENT, ALICE, BOBS_OTHER, CAROL, DAVE, NOW, RUNNER, STRANGER, key, policy_text, signed};

    fn document() -> ResolutionDocument {
        ResolutionDocument {
            version: DOCUMENT_VERSION,
            run: "r-0123456789ab".to_owned(),
            proposal: Digest::of(b"proposal"),
            target: "web".to_owned(),
            runner: key(RUNNER).fingerprint().to_owned(),
            subject: "/etc/app.conf".to_owned(),
            way: Way::Accept,
            found: Some(Digest::of(b"now")),
            reason: "seen".to_owned(),
            at: NOW,
        }
    }

    fn verified(signer: u8, namespace: &str, proposer: u8) -> Result<Principal, Refusal> {
        let policy = Policy::parse(policy_text().as_bytes()).expect("a policy");
        let bytes = draft_resolution(&document()).expect("bytes");
        let proposers = [policy.principal(key(proposer).fingerprint())];
        let verified = verify_resolution(&bytes, &signed(signer, namespace, &bytes), &proposers, &policy);
        verified.map(|(read, who)| {
            assert_eq!(read, document());
            who
        })
    }

    #[test]
    fn a_person_who_may_approve_and_has_not_proposed_it_resolves() {
        for signer in [ALICE, BOBS_OTHER] {
            verified(signer, namespace::RESOLUTION, AGENT).expect("it counts");
        }
        for (signer, proposer) in [
            (AGENT, AGENT),
            (CAROL, AGENT),
            (CAROL, CAROL),
            (AGENT, STRANGER),
            (DAVE, AGENT),
            (STRANGER, AGENT),
            (ALICE, ALICE),
        ] {
            let refused = verified(signer, namespace::RESOLUTION, proposer);
            assert!(matches!(refused, Err(Refusal::MayNotResolve { .. })), "{signer} {proposer}: {refused:?}");
        }
    }

    /// A signature on an approval or a denial is none on this.
    #[test]
    fn another_namespaces_signature_is_none() {
        for other in [namespace::APPROVAL, namespace::DENIAL, namespace::PROPOSAL] {
            assert!(matches!(verified(ALICE, other, AGENT), Err(Refusal::Signature { on: ON, .. })), "{other}");
        }
    }

    #[test]
    fn it_has_a_reason_and_reads_back_as_it_is() {
        let nothing = ResolutionDocument { reason: " ".to_owned(), ..document() };
        assert_eq!(draft_resolution(&nothing), Err(DraftError::NoReason));
        let long = ResolutionDocument { subject: "x".repeat(MAX_RESOLUTION), ..document() };
        assert!(matches!(draft_resolution(&long), Err(DraftError::TooLarge(_))));
    }
}
