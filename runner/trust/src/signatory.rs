use ed25519_dalek::Signer as _;

use crate::key::{PublicKey, SigningKey};

/// What signs for somebody: a private key that is at hand, or an agent that holds one.
pub trait Signatory {
    /// The key that the signatures are by.
    fn public_key(&self) -> &PublicKey;

    /// The ed25519 signature over exactly these bytes. It is verified before it is used.
    ///
    /// # Errors
    /// When it does not sign.
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], SigningFault>;

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

    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], SigningFault> {
        Ok(self.inner().sign(bytes).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SignatureError, sign, verify};

    /// An agent that answers whatever it likes.
    struct Liar(SigningKey, Result<[u8; 64], SigningFault>);

    impl Signatory for Liar {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(&self, _: &[u8]) -> Result<[u8; 64], SigningFault> {
            self.1.clone()
        }
    }

    #[test]
    fn what_comes_back_is_verified() {
        let key = SigningKey::from_seed(1);
        let armored = sign(&key, "x@countersign", b"text").expect("it signs");
        assert_eq!(verify("x@countersign", b"text", armored.as_bytes()).expect("valid").public_key(), key.public_key());

        let elsewhere = Signatory::sign(&key, b"other bytes").expect("it signs");
        for answer in [Ok([0; 64]), Ok([255; 64]), Ok(elsewhere), Err(SigningFault::new("no", "ask"))] {
            let liar = Liar(SigningKey::from_seed(1), answer);
            assert!(matches!(sign(&liar, "x@countersign", b"text"), Err(SignatureError::NotMade(_))));
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
            "it is a key of the kind `ssh-rsa`, expected `ssh-ed25519`"
        );
    }
}
