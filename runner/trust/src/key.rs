//! Private keys in OpenSSH's format; only ssh-ed25519, since hardware keeps the others.

use std::fmt;

use countersign_model::Digest;
use countersign_model::text::excerpt;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use ssh_encoding::pem;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::public_key::{KeyKind, PublicKey};
use crate::wire::wire_string;

/// The largest key file that is read, in bytes.
pub const MAX_KEY: usize = 16 * 1024;
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
    #[error("it is a key of the kind `{0}`, expected `ssh-ed25519` or a hardware key")]
    UnsupportedAlgorithm(String),
    /// It is of a kind that is in hardware, and what it is for needs a private key in a file.
    #[error("it is a key of the kind `{0}`, whose private half is in hardware")]
    Hardware(KeyKind),
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
    /// The bytes are no text of a note.
    #[error("a note has no control characters other than line feeds, so this is none")]
    NotANote,
    /// It cannot be written.
    #[error("the key cannot be written in OpenSSH's format")]
    Unwritable,
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
    /// When it is no ssh-ed25519 key, or is encrypted and the passphrase is missing or wrong. What `ssh-keygen` writes
    /// for hardware is a handle and no key, which is [`KeyError::Hardware`].
    pub fn from_openssh(text: &str, passphrase: PassphraseSource<'_>) -> Result<Self, KeyError> {
        let not = |why: &str| KeyError::NotAKey { kind: "private", why: why.to_owned() };
        let text = private(text)?;
        if let Some(kind) = kind(text)
            && kind != KeyKind::Ed25519.name()
        {
            return Err(match KeyKind::named(kind.as_bytes()) {
                Some(kind) => KeyError::Hardware(kind),
                None => KeyError::UnsupportedAlgorithm(excerpt(&kind, 80)),
            });
        }
        let mut key = PrivateKey::from_openssh(text).map_err(|_| not("it is damaged"))?;
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

    /// A pure Ed25519 signature of the text of a note, as C2SP's `signed-note` has it. It never passes for one over anything
    /// else that this key signs, which is in SSH's format and has bytes that no note has.
    ///
    /// # Errors
    /// [`KeyError::NotANote`] where the text has a control character other than line feeds.
    pub fn sign_note(&self, text: &[u8]) -> Result<[u8; 64], KeyError> {
        if text.iter().any(|byte| *byte < 0x20 && *byte != b'\n') {
            return Err(KeyError::NotANote);
        }
        Ok(ed25519_dalek::Signer::sign(&self.key, text).to_bytes())
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

impl PublicKey {
    /// The public half that a private key's file holds, encrypted or not; that of hardware too, whose file is a handle.
    ///
    /// # Errors
    /// When it is no private key in OpenSSH's format, or of a kind that is not taken.
    pub fn of_private(text: &str) -> Result<Self, KeyError> {
        let text = private(text)?;
        let blob = public_blob(text);
        let blob = blob.ok_or_else(|| KeyError::NotAKey { kind: "private", why: "it is damaged".to_owned() })?;
        Self::from_wire(&blob, "")
    }
}

/// The block of a private key, and what else it could be told from.
fn private(text: &str) -> Result<&str, KeyError> {
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
    Ok(text)
}

/// The public key's blob, which is never encrypted.
/// <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>
fn public_blob(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut blob = Zeroizing::new(Vec::new());
    pem::Decoder::new_wrapped(text.as_bytes(), 70).ok()?.decode_to_end(&mut blob).ok()?;
    let (_cipher, rest) = wire_string(blob.strip_prefix(b"openssh-key-v1\0")?)?;
    let (_kdf, rest) = wire_string(rest)?;
    let (_options, rest) = wire_string(rest)?;
    let (public, _) = wire_string(rest.get(4..)?)?;
    Some(Zeroizing::new(public.to_vec()))
}

/// The name of the key's kind.
fn kind(text: &str) -> Option<String> {
    let blob = public_blob(text)?;
    let (kind, _) = wire_string(&blob)?;
    String::from_utf8(kind.to_vec()).ok()
}

#[cfg(test)]
mod tests;
