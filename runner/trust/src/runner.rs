use crate::public_key::KeyKind;
use crate::refusal::{Refusal, Signed};
use crate::signer::Signer;
use crate::sshsig::{self, SignatureError};

/// Verifies that this runner signed exactly these bytes in this namespace: its evidence and its
/// rehearsals.
///
/// # Errors
/// When the signature is not valid, or is by another key than the runner's.
pub fn verify_runner(bytes: &[u8], signature: &[u8], namespace: &str, runner: &str) -> Result<Signer, Refusal> {
    let on = Signed::in_namespace(namespace);
    let signer = sshsig::verify(namespace, bytes, signature).map_err(|error| Refusal::Signature { on, error })?;
    if signer.kind() != KeyKind::Ed25519 {
        return Err(Refusal::Signature { on, error: SignatureError::NotARunners(signer.kind().name().to_owned()) });
    }
    if signer.fingerprint() != runner {
        let (signer, runner) = (signer.fingerprint().to_owned(), runner.to_owned());
        return Err(Refusal::NotThisRunner { on, signer, runner });
    }
    Ok(signer)
}

#[cfg(test)]
mod tests {
    use countersign_model::documents::namespace::{EVIDENCE, REHEARSAL};

    use super::*;
    use crate::SigningKey;

    #[test]
    fn takes_this_runners_documents_only() {
        let runner = SigningKey::generate("runner").expect("a key");
        let other = SigningKey::generate("other").expect("a key");
        let signature = sshsig::sign(&runner, EVIDENCE, b"{}").expect("a signature");
        let verify = |bytes: &[u8], namespace, key: &SigningKey| {
            verify_runner(bytes, signature.as_bytes(), namespace, key.fingerprint())
        };
        assert_eq!(verify(b"{}", EVIDENCE, &runner).expect("valid").public_key(), runner.public_key());
        assert!(matches!(
            verify(b"{}", EVIDENCE, &other),
            Err(Refusal::NotThisRunner { on: Signed::Evidence, signer, runner: asked })
                if signer == runner.fingerprint() && asked == other.fingerprint()
        ));
        assert!(matches!(verify(b"{} ", EVIDENCE, &runner), Err(Refusal::Signature { on: Signed::Evidence, .. })));
        assert!(matches!(verify(b"{}", REHEARSAL, &runner), Err(Refusal::Signature { on: Signed::Rehearsal, .. })));
    }
}
