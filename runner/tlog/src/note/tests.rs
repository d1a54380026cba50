use ed25519_dalek::Signer as _;

use super::*;

pub(crate) struct Key(pub(crate) String, pub(crate) ed25519_dalek::SigningKey);

impl Key {
    pub(crate) fn new(name: &str, seed: &str) -> Self {
        let seed = Base64::decode_vec(seed).unwrap();
        Self(name.to_owned(), ed25519_dalek::SigningKey::from_bytes(&seed[1..].try_into().unwrap()))
    }
}

impl NoteSigner for Key {
    fn name(&self) -> &str {
        &self.0
    }
    fn public_key(&self) -> [u8; 32] {
        self.1.verifying_key().to_bytes()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        Ok(self.1.sign(text).to_bytes())
    }
}

/// The example that the notes of Go's checksum database are documented with.
#[test]
fn a_note_is_signed_as_others_sign_it() {
    let key = Key::new("PeterNeumann", "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz");
    let verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(verifier_key(key.name(), &key.public_key()), verifier);
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let note = sign_note(text, &key).unwrap();
    let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    assert_eq!(note, format!("{text}\n{line}"));
}

#[test]
fn what_no_note_has_is_not_signed() {
    let key = Key::new("PeterNeumann", "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz");
    for text in ["", "no line feed", "a\tb\n", "a\r\n", "a\0\n"] {
        assert_eq!(sign_note(text, &key), Err(BadName::Text), "{text:?}");
    }
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\u{7f}"] {
        let key = Key(name.to_owned(), key.1.clone());
        assert_eq!(sign_note("text\n", &key), Err(BadName::Name), "{name:?}");
    }
}
