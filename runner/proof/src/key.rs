//! Keys whose signatures count, as `signed-note` and `tlog-cosignature` encode them.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::ProofError;

/// The longest verifier key that is read, in bytes.
pub const MAX_KEY: usize = 1024;
const WHAT: &str = "verifier key";

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes: a log's key.
    Note,
    /// Checkpoints that it saw, with the time: a witness's key.
    Cosignature,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// An Ed25519 key with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads a key in the form `NAME+ID+KEY`, the id in hexadecimal, the key in base64.
    ///
    /// # Errors
    /// Where it is something else, of a kind that is not known here, or weak.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        if text.len() > MAX_KEY {
            return Err(ProofError::TooLarge { what: WHAT, limit: MAX_KEY });
        }
        let mut parts = text.trim_ascii().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it is not `NAME+ID+KEY`"));
        };
        let key = base64(key).ok_or_else(|| bad("its key is not base64"))?;
        let kind = match key.first() {
            Some(1) => KeyKind::Note,
            Some(4) => KeyKind::Cosignature,
            _ => return Err(bad("it is of a kind that is not known: Ed25519 for notes or cosignatures is expected")),
        };
        let bytes = key.get(1..).and_then(|key| <[u8; 32]>::try_from(key).ok());
        let made = Self::new(name, kind, &bytes.ok_or_else(|| bad("an Ed25519 key has 32 bytes"))?)?;
        let stated = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !stated || u32::from_str_radix(id, 16).ok() != Some(u32::from_be_bytes(made.id)) || id.len() != 8 {
            return Err(bad("its id is not that of its name and key"));
        }
        Ok(made)
    }

    /// A key of this name.
    ///
    /// # Errors
    /// Where no key may have the name, or the key is weak.
    pub fn new(name: &str, kind: KeyKind, key: &[u8; 32]) -> Result<Self, ProofError> {
        let bad = |why| ProofError::malformed(WHAT, why);
        if !is_name(name) || name.len() > MAX_KEY {
            return Err(bad("its name is empty, or has a space, a plus or a control character"));
        }
        let parsed = VerifyingKey::from_bytes(key).ok().filter(|key| !key.is_weak());
        let parsed = parsed.ok_or_else(|| bad("it is weak: signatures by it prove nothing"))?;
        let hashed = Sha256::digest([name.as_bytes(), b"\n", &[kind.byte()], key].concat());
        let id = hashed.first_chunk::<4>().copied().unwrap_or_default();
        Ok(Self { name: name.to_owned(), kind, id, key: parsed })
    }

    /// Its name. A log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its id, which a signature line begins with.
    #[must_use]
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// In the form that [`VerifierKey::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let key = Base64::encode_string(&[&[self.kind.byte()][..], self.key.as_bytes()].concat());
        format!("{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// Whether a key may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.chars().all(fits)
}

/// Base64 with its padding, in the one encoding that there is of any bytes.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (Base64::encode_string(&bytes) == text).then_some(bytes)
}

/// A hash in base64.
pub(crate) fn hash(text: &str) -> Option<crate::Hash> {
    base64(text)?.try_into().ok()
}

/// A number in decimal, without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}
