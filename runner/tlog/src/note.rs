//! Notes and who signs them, by `signed-note` of C2SP, with Ed25519 alone.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// The type of an Ed25519 signature in a key's id.
const ED25519: u8 = 1;

/// Who signs notes: a name, and an Ed25519 key that stays where it is.
pub trait NoteSigner: Send + Sync {
    /// The key's name, as [`valid_name`] takes it.
    fn name(&self) -> &str;

    /// The public key.
    fn public_key(&self) -> [u8; 32];

    /// A pure Ed25519 signature of these bytes, as RFC 8032 makes it.
    ///
    /// # Errors
    /// Why there is none.
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String>;
}

/// A text or a name that no note has, or no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The name of a key.
    #[error("a key's name is not empty and has no space, no plus and no control character")]
    Name,
    /// The text of a note.
    #[error("a note's text ends with a line feed and has no other control character")]
    Text,
    /// The key did not sign.
    #[error("the note was not signed: {0}")]
    Unsigned(String),
}

/// Whether a key may have this name.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A key's id: the first four bytes of a hash of its name and itself.
#[must_use]
pub fn key_id(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let hashed = Sha256::new().chain_update(name).chain_update(b"\n").chain_update([ED25519]).chain_update(public_key);
    let [a, b, c, d, ..] = <[u8; 32]>::from(hashed.finalize());
    [a, b, c, d]
}

/// A key as verifiers are told of it: name, id in hexadecimal, type and key in base64, with `+` between them.
#[must_use]
pub fn verifier_key(name: &str, public_key: &[u8; 32]) -> String {
    let id = hex::encode(key_id(name, public_key));
    let key = Base64::encode_string(&[&[ED25519][..], public_key].concat());
    format!("{name}+{id}+{key}")
}

/// A text with one signature.
///
/// # Errors
/// Where the text or the key's name is none that a note has, or the key does not sign.
pub fn sign_note(text: &str, signer: &dyn NoteSigner) -> Result<String, BadName> {
    let name = signer.name();
    if !valid_name(name) {
        return Err(BadName::Name);
    }
    if !text.ends_with('\n') || text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(BadName::Text);
    }
    let signature = signer.sign(text.as_bytes()).map_err(BadName::Unsigned)?;
    let id = key_id(name, &signer.public_key());
    let encoded = Base64::encode_string(&[&id[..], &signature].concat());
    Ok(format!("{text}\n\u{2014} {name} {encoded}\n"))
}

#[cfg(test)]
pub(crate) mod tests;
