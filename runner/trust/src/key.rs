//! Keys in OpenSSH's formats; only ssh-ed25519 for now.

use std::fmt;

use countersign_model::Digest;
use countersign_model::text::excerpt;
use ed25519_dalek::VerifyingKey;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use ssh_encoding::pem;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

/// The largest key file that is read, in bytes.
pub const MAX_KEY: usize = 16 * 1024;
/// The longest comment of a key, in bytes.
const MAX_COMMENT: usize = 512;
/// The most rounds of key derivation that a key file may ask for; OpenSSH's default is 16.
const MAX_ROUNDS: u32 = 4096;

/// Asked for the passphrase of an encrypted key; `None` when there is none to be had.
pub type PassphraseSource<'a> = &'a mut dyn FnMut() -> Option<Zeroizing<String>>;

/// Why a key was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is larger than is read.
    #[error("{size} bytes are more than the {MAX_KEY} that are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// It is no key in OpenSSH's format.
    #[error("it is not an OpenSSH {kind} key: {why}")]
    NotAKey {
        /// `private` or `public`.
        kind: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It is a key of another kind.
    #[error("it is a key of the kind `{0}`, expected `ssh-ed25519`")]
    UnsupportedAlgorithm(String),
    /// It is not a point that only one secret stands behind.
    #[error("the key is weak: signatures by it prove nothing")]
    Weak,
    /// It is encrypted, and nobody gave a passphrase.
    #[error("the key is encrypted and no passphrase was given")]
    NeedsPassphrase,
    /// It is encrypted, and not with that passphrase.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// It cannot be written.
    #[error("the key cannot be written in OpenSSH's format")]
    Unwritable,
}

/// A public key. Two are equal when the key is the same, whatever their comments.
#[derive(Clone)]
pub struct PublicKey {
    key: VerifyingKey,
    fingerprint: String,
    comment: String,
}

impl PublicKey {
    /// Reads the one line of a `.pub` file: kind, base64, and maybe a comment.
    ///
    /// # Errors
    /// When it is not one such line, is no ssh-ed25519 key, or is weak.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        if line.len() > MAX_KEY {
            return Err(KeyError::TooLarge { size: line.len() });
        }
        let not = |why: &str| KeyError::NotAKey { kind: "public", why: why.to_owned() };
        let line = line.trim_ascii();
        let kind = line.split(' ').next().unwrap_or_default();
        if kind.is_empty() {
            return Err(not("it is empty"));
        }
        if line.contains("PRIVATE KEY-----") {
            return Err(not("it is a private key"));
        }
        if line.contains(['\n', '\r']) {
            return Err(not("it must be one line"));
        }
        if kind != Algorithm::Ed25519.as_str() {
            return Err(KeyError::UnsupportedAlgorithm(excerpt(kind, 80)));
        }
        let parsed = ssh_key::PublicKey::from_openssh(line).map_err(|_| not("its base64 is damaged"))?;
        if parsed.comment().len() > MAX_COMMENT {
            return Err(not("its comment is too long"));
        }
        match parsed.key_data() {
            KeyData::Ed25519(key) => Self::from_bytes(key.0, parsed.comment()),
            other => Err(KeyError::UnsupportedAlgorithm(excerpt(other.algorithm().as_str(), 80))),
        }
    }

    /// Takes a point of the prime order only: for any other, signatures can be had without a secret,
    /// or by one secret under several keys. No point of the prime order has a second encoding.
    pub(crate) fn from_bytes(bytes: [u8; 32], comment: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Weak)?;
        if key.is_weak() || !key.to_edwards().is_torsion_free() {
            return Err(KeyError::Weak);
        }
        let fingerprint = KeyData::Ed25519(Ed25519PublicKey(bytes)).fingerprint(HashAlg::Sha256).to_string();
        Ok(Self { key, fingerprint, comment: comment.to_owned() })
    }

    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The comment, as it stands in the file; untrusted text, maybe empty.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// `ssh-ed25519` and the base64, without the comment, as an `allowed_signers` file takes it.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        // A key of fixed size always encodes.
        ssh_key::PublicKey::new(self.key_data(), "").to_openssh().unwrap_or_default()
    }

    /// The key as SSH's wire format has it: its kind and its 32 bytes, each with a length.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let (kind, key) = (Algorithm::Ed25519, self.key.to_bytes());
        [&[0, 0, 0, 11][..], kind.as_str().as_bytes(), &[0, 0, 0, 32], &key].concat()
    }

    /// Reads a key in SSH's wire format, e.g. as an agent lists it.
    ///
    /// # Errors
    /// When it is no ssh-ed25519 key and nothing else, or is weak.
    pub fn from_wire(blob: &[u8], comment: &str) -> Result<Self, KeyError> {
        let damaged = || KeyError::NotAKey { kind: "public", why: "its bytes are damaged".to_owned() };
        let (kind, rest) = wire_string(blob).ok_or_else(damaged)?;
        if kind != Algorithm::Ed25519.as_str().as_bytes() {
            return Err(KeyError::UnsupportedAlgorithm(excerpt(&String::from_utf8_lossy(kind), 80)));
        }
        match wire_string(rest) {
            Some((key, [])) => Self::from_bytes(key.try_into().map_err(|_| damaged())?, comment),
            _ => Err(damaged()),
        }
    }

    pub(crate) fn key_data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.key.to_bytes()))
    }

    pub(crate) const fn inner(&self) -> &VerifyingKey {
        &self.key
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint).finish()
    }
}

/// A private key. Its memory is wiped when it goes, and it is never printed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new key from the system's random bytes.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Self::new(ed25519_dalek::SigningKey::from_bytes(&seed), comment)
    }

    /// Reads an OpenSSH private key. `passphrase` is asked once, and only if the key is encrypted.
    ///
    /// # Errors
    /// When it is no ssh-ed25519 key, or is encrypted and the passphrase is missing or wrong.
    pub fn from_openssh(text: &str, passphrase: PassphraseSource<'_>) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY {
            return Err(KeyError::TooLarge { size: text.len() });
        }
        let not = |why: &str| KeyError::NotAKey { kind: "private", why: why.to_owned() };
        let text = text.trim_ascii();
        if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
            return Err(not("it is a public key"));
        }
        if !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
            return Err(not("it must begin with `-----BEGIN OPENSSH PRIVATE KEY-----`"));
        }
        let mut key = PrivateKey::from_openssh(text).map_err(|_| unreadable(text))?;
        if key.is_encrypted() {
            if let Kdf::Bcrypt { rounds, .. } = key.kdf()
                && *rounds > MAX_ROUNDS
            {
                return Err(not(&format!("{rounds} rounds of key derivation are more than {MAX_ROUNDS}")));
            }
            let passphrase = passphrase().ok_or(KeyError::NeedsPassphrase)?;
            key = key.decrypt(passphrase.as_bytes()).map_err(|_| KeyError::WrongPassphrase)?;
        }
        match key.key_data() {
            KeypairData::Ed25519(pair) => {
                let inner = ed25519_dalek::SigningKey::try_from(pair).map_err(|_| not("its halves do not match"))?;
                Self::new(inner, key.comment())
            }
            _ => Err(KeyError::UnsupportedAlgorithm(excerpt(key.algorithm().as_str(), 80))),
        }
    }

    fn new(key: ed25519_dalek::SigningKey, comment: &str) -> Result<Self, KeyError> {
        let public = PublicKey::from_bytes(key.verifying_key().to_bytes(), comment)?;
        Ok(Self { key, public })
    }

    /// The key in OpenSSH's format, not encrypted; for a file that only its owner can read.
    ///
    /// # Errors
    /// When the comment cannot be written.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, KeyError> {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from(&self.key));
        PrivateKey::new(pair, self.public.comment())
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .map_err(|_| KeyError::Unwritable)
    }

    /// What stands in a record for a content that nobody is shown: only the holder of this key can make it, it is
    /// another under every `name`, and so neither trying nor comparing tells what the content is.
    ///
    /// HMAC-SHA-256 under the key's seed, over a line that names its use, the name, and the content's digest.
    #[must_use]
    pub fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        let message = format!("countersign withheld content v1\n{name}\n{content}\n");
        let seed = Zeroizing::new(self.key.to_bytes());
        // Any length of key is taken, so this never fails; a digest of nothing tells nothing.
        let Ok(mut keyed) = Hmac::<Sha256>::new_from_slice(seed.as_slice()) else { return Digest::of(b"") };
        keyed.update(message.as_bytes());
        Digest::from_bytes(keyed.finalize().into_bytes().into())
    }

    /// Its public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The public half's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.public.fingerprint()
    }

    #[cfg(test)]
    pub(crate) fn from_seed(seed: u8) -> Self {
        Self::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]), "test").expect("a key")
    }

    pub(crate) const fn inner(&self) -> &ed25519_dalek::SigningKey {
        &self.key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Tells a key of another kind, which the library does not read, from a damaged one.
fn unreadable(text: &str) -> KeyError {
    let kind = || {
        let mut blob = Zeroizing::new(Vec::new());
        pem::Decoder::new_wrapped(text.as_bytes(), 70).ok()?.decode_to_end(&mut blob).ok()?;
        let (_cipher, rest) = wire_string(blob.strip_prefix(b"openssh-key-v1\0")?)?;
        let (_kdf, rest) = wire_string(rest)?;
        let (_options, rest) = wire_string(rest)?;
        let (public, _) = wire_string(rest.get(4..)?)?;
        let (kind, _) = wire_string(public)?;
        String::from_utf8(kind.to_vec()).ok()
    };
    match kind() {
        Some(kind) if kind != Algorithm::Ed25519.as_str() => KeyError::UnsupportedAlgorithm(excerpt(&kind, 80)),
        _ => KeyError::NotAKey { kind: "private", why: "it is damaged".to_owned() },
    }
}

/// One string of SSH's wire format, a big-endian length and that many bytes, and what follows it.
#[must_use]
pub fn wire_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests;
