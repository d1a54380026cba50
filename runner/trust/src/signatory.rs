use ed25519_dalek::Signer as _;

use crate::key::SigningKey;
use crate::public_key::PublicKey;
use crate::sshsig::ToSign;
use crate::wire::strings;

/// What signs for somebody: a private key that is at hand, an agent that holds one, or a tool that reaches hardware.
pub trait Signatory {
    /// The key that the signatures are by.
    fn public_key(&self) -> &PublicKey;

    /// An armored SSH signature over exactly these bytes in this namespace. It is verified before it is used.
    ///
    /// # Errors
    /// When it does not sign.
    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SigningFault>;

    /// The key's fingerprint.
    fn fingerprint(&self) -> &str {
        self.public_key().fingerprint()
    }
}

/// Why nothing was signed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what}")]
pub struct SigningFault {
    what: String,
    hint: String,
}

impl SigningFault {
    /// What happened, and what to do next.
    #[must_use]
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl Signatory for SigningKey {
    fn public_key(&self) -> &PublicKey {
        Self::public_key(self)
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SigningFault> {
        let (to_sign, key) = (ToSign::new(namespace, bytes), Self::public_key(self));
        let raw = self.inner().sign(to_sign.blob()).to_bytes();
        Ok(to_sign.armored(key, &strings(&[key.kind().name().as_bytes(), &raw])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticator::Authenticator;
    use crate::{SignatureError, sign, verify};

    /// An agent that answers whatever it likes.
    struct Liar(SigningKey, Result<String, SigningFault>);

    impl Signatory for Liar {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(&self, _: &str, _: &[u8]) -> Result<String, SigningFault> {
            self.1.clone()
        }
    }

    #[test]
    fn what_comes_back_is_verified() {
        let key = SigningKey::from_seed(1);
        let armored = sign(&key, "x@countersign", b"text").expect("it signs");
        assert_eq!(verify("x@countersign", b"text", armored.as_bytes()).expect("valid").public_key(), key.public_key());

        let by = |seed, namespace, bytes| Ok(sign(&SigningKey::from_seed(seed), namespace, bytes).expect("it signs"));
        for (answer, why) in [
            (by(1, "x@countersign", b"other bytes"), "what came back is no signature"),
            (by(1, "y@countersign", b"text"), "what came back is no signature"),
            (by(2, "x@countersign", b"text"), "signed, and not"),
            (Ok(String::new()), "what came back is no signature"),
            (Err(SigningFault::new("no", "ask")), "no"),
        ] {
            let liar = Liar(SigningKey::from_seed(1), answer);
            match sign(&liar, "x@countersign", b"text") {
                Err(SignatureError::NotMade(fault)) => assert!(fault.to_string().contains(why), "{fault}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nobody takes what nobody touched, so it is told at once.
    #[test]
    fn untouched_hardware_signs_nothing() {
        for (authenticator, signs) in
            [(Authenticator::ed25519(1), true), (Authenticator::ed25519(1).untouched(), false)]
        {
            let public = PublicKey::from_openssh(&authenticator.line()).expect("a key");
            let signed = sign(&Held(authenticator, public), "x@countersign", b"text");
            assert_eq!(signed.is_ok(), signs, "{signed:?}");
            if let Err(error) = signed {
                assert!(error.to_string().contains("without a touch"), "{error}");
            }
        }
    }

    struct Held(Authenticator, PublicKey);

    impl Signatory for Held {
        fn public_key(&self) -> &PublicKey {
            &self.1
        }

        fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SigningFault> {
            Ok(self.0.sign(namespace, bytes))
        }
    }

    #[test]
    fn keys_go_to_the_wire_and_back() {
        let key = SigningKey::from_seed(2);
        let wire = key.public_key().to_wire();
        assert_eq!(wire.len(), 51);
        assert_eq!(PublicKey::from_wire(&wire, "").as_ref(), Ok(key.public_key()));
        let mut longer = wire.clone();
        longer.push(0);
        for bad in [&wire[..50], &longer, &wire[..3], &[]] {
            assert!(PublicKey::from_wire(bad, "").is_err(), "{bad:?}");
        }
        let rsa = [&[0, 0, 0, 7][..], b"ssh-rsa", &[0, 0, 0, 1, 3]].concat();
        assert_eq!(
            PublicKey::from_wire(&rsa, "").expect_err("rsa").to_string(),
            "it is a key of the kind `ssh-rsa`, expected `ssh-ed25519` or a hardware key"
        );
    }
}
