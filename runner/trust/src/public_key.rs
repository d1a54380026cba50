//! Public keys in OpenSSH's formats: ssh-ed25519, and the two kinds that stand for hardware.
//!
//! <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f>

use std::fmt;

use base64ct::{Base64, Encoding};
use countersign_model::text::excerpt;
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::VerifyingKey as P256Key;
use sha2::{Digest as _, Sha256};
use ssh_key::Fingerprint;

use crate::key::{KeyError, MAX_KEY};
use crate::wire::{Reader, strings};

/// The longest comment of a key, in bytes.
const MAX_COMMENT: usize = 512;
/// The longest application of a hardware key, in bytes: a domain name is no longer.
const MAX_APPLICATION: usize = 255;
/// How RFC 5656 names the curve.
const CURVE: &[u8] = b"nistp256";
/// What an uncompressed point of the curve begins with, and its size in bytes.
const UNCOMPRESSED: u8 = 4;
const POINT: usize = 65;

/// The kinds of keys that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `ssh-ed25519`: a file, or an ssh-agent.
    Ed25519,
    /// `sk-ssh-ed25519@openssh.com`: Ed25519 on a FIDO authenticator.
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`: ECDSA with P-256 on a FIDO authenticator; a passkey too.
    SkEcdsa,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::SkEd25519, Self::SkEcdsa];

    /// OpenSSH's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsa => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Whether the secret is in hardware, which says whether somebody touched it.
    #[must_use]
    pub const fn is_hardware(self) -> bool {
        !matches!(self, Self::Ed25519)
    }

    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a signature is verified with.
#[derive(Clone)]
pub(crate) enum Point {
    Ed25519(VerifyingKey),
    P256(P256Key),
}

/// A public key. Two are equal when the key is the same, whatever their comments.
#[derive(Clone)]
pub struct PublicKey {
    kind: KeyKind,
    point: Point,
    application: Option<String>,
    fingerprint: String,
    comment: String,
}

impl PublicKey {
    /// Reads the one line of a `.pub` file: kind, base64, and maybe a comment.
    ///
    /// # Errors
    /// When it is not one such line, is of a kind that is not taken, or is weak.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        if line.len() > MAX_KEY {
            return Err(KeyError::TooLarge { size: line.len() });
        }
        let not = |why: &str| KeyError::NotAKey { kind: "public", why: why.to_owned() };
        let line = line.trim_ascii();
        if line.is_empty() {
            return Err(not("it is empty"));
        }
        if line.contains("PRIVATE KEY-----") {
            return Err(not("it is a private key"));
        }
        if line.contains(['\n', '\r']) {
            return Err(not("it must be one line"));
        }
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Some(kind) = KeyKind::named(name.as_bytes()) else {
            return Err(KeyError::UnsupportedAlgorithm(excerpt(name, 80)));
        };
        let (blob, comment) = rest.split_once(' ').unwrap_or((rest, ""));
        let comment = comment.trim_ascii();
        let blob = Base64::decode_vec(blob).ok().filter(|blob| !blob.is_empty());
        let blob = blob.ok_or_else(|| not("its base64 is damaged"))?;
        if comment.len() > MAX_COMMENT {
            return Err(not("its comment is too long"));
        }
        match Self::from_wire(&blob, comment) {
            Ok(key) if key.kind == kind => Ok(key),
            Ok(_) | Err(KeyError::UnsupportedAlgorithm(_)) => {
                Err(not("the kind before its base64 is not the one within"))
            }
            error => error,
        }
    }

    /// Reads a key in SSH's wire format, e.g. as an agent lists it.
    ///
    /// # Errors
    /// When it is not one key and nothing else, is of a kind that is not taken, or is weak.
    pub fn from_wire(blob: &[u8], comment: &str) -> Result<Self, KeyError> {
        let damaged = || KeyError::NotAKey { kind: "public", why: "its bytes are damaged".to_owned() };
        let mut reader = Reader::new(blob);
        let name = reader.string().ok_or_else(damaged)?;
        let Some(kind) = KeyKind::named(name) else {
            return Err(KeyError::UnsupportedAlgorithm(excerpt(&String::from_utf8_lossy(name), 80)));
        };
        let point = match kind {
            KeyKind::Ed25519 | KeyKind::SkEd25519 => {
                let bytes = reader.string().and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
                ed25519(bytes)?
            }
            KeyKind::SkEcdsa => {
                reader.string().filter(|curve| *curve == CURVE).ok_or_else(damaged)?;
                p256(reader.string().ok_or_else(damaged)?).ok_or_else(damaged)?
            }
        };
        let application = match kind.is_hardware() {
            true => Some(application(reader.string().ok_or_else(damaged)?)?),
            false => None,
        };
        if !reader.ended() {
            return Err(damaged());
        }
        Ok(Self::new(kind, point, application, comment))
    }

    pub(crate) fn from_bytes(bytes: [u8; 32], comment: &str) -> Result<Self, KeyError> {
        Ok(Self::new(KeyKind::Ed25519, ed25519(bytes)?, None, comment))
    }

    fn new(kind: KeyKind, point: Point, application: Option<String>, comment: &str) -> Self {
        let mut key = Self { kind, point, application, fingerprint: String::new(), comment: comment.to_owned() };
        key.fingerprint = Fingerprint::Sha256(Sha256::digest(key.to_wire()).into()).to_string();
        key
    }

    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// What a hardware key was made for, e.g. `ssh:`, or a passkey's domain; `None` for any other. It is printable ASCII.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it. It covers kind and application.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The comment, as it stands in the file; untrusted text, maybe empty.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The kind and the base64, without the comment, as an `allowed_signers` file takes it.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.kind, Base64::encode_string(&self.to_wire()))
    }

    /// The 32 bytes of a key of the kind `ssh-ed25519`, as RFC 8032 has them; none of another kind.
    #[must_use]
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        match &self.point {
            Point::Ed25519(key) if self.kind == KeyKind::Ed25519 => Some(key.to_bytes()),
            _ => None,
        }
    }

    /// The key as SSH's wire format has it: its kind, its point and, for hardware, its application, each with a length.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let kind = self.kind.name().as_bytes();
        let mut blob = match &self.point {
            Point::Ed25519(key) => strings(&[kind, key.as_bytes()]),
            Point::P256(key) => strings(&[kind, CURVE, key.to_encoded_point(false).as_bytes()]),
        };
        if let Some(application) = &self.application {
            crate::wire::put_string(&mut blob, application.as_bytes());
        }
        blob
    }

    /// What is the same for two keys that one secret stands behind, whatever their kinds and applications: one coordinate
    /// of the point. The other tells it from its negative only, whose secret is known to whoever knows this one's.
    pub(crate) fn secret(&self) -> Vec<u8> {
        match &self.point {
            Point::Ed25519(key) => {
                let mut bytes = key.to_bytes();
                if let Some(last) = bytes.last_mut() {
                    *last &= 0x7f;
                }
                bytes.to_vec()
            }
            Point::P256(key) => key.to_encoded_point(true).as_bytes().get(1..).unwrap_or_default().to_vec(),
        }
    }

    pub(crate) const fn point(&self) -> &Point {
        &self.point
    }
}

/// Takes a point of the prime order only: for any other, signatures can be had without a secret,
/// or by one secret under several keys. No point of the prime order has a second encoding.
fn ed25519(bytes: [u8; 32]) -> Result<Point, KeyError> {
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Weak)?;
    if key.is_weak() || !key.to_edwards().is_torsion_free() {
        return Err(KeyError::Weak);
    }
    Ok(Point::Ed25519(key))
}

/// Takes a point of the curve in the one encoding that OpenSSH writes, uncompressed, with both coordinates below the
/// field's prime. The curve's order is prime, so there is no weak point but infinity, which is a single byte.
fn p256(bytes: &[u8]) -> Option<Point> {
    if bytes.len() != POINT || bytes.first() != Some(&UNCOMPRESSED) {
        return None;
    }
    P256Key::from_sec1_bytes(bytes).ok().map(Point::P256)
}

fn application(bytes: &[u8]) -> Result<String, KeyError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| {
        (1..=MAX_APPLICATION).contains(&text.len()) && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
    });
    text.map(str::to_owned).ok_or_else(|| KeyError::NotAKey {
        kind: "public",
        why: format!("its application is not 1 to {MAX_APPLICATION} visible characters of ASCII"),
    })
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.to_wire() == other.to_wire()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint).finish()
    }
}

#[cfg(test)]
mod tests;
