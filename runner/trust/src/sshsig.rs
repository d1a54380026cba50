//! Detached signatures as `ssh-keygen -Y sign` writes them and `ssh-keygen -Y verify` reads them.
//!
//! <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>

use base64ct::{Base64, Encoding as _};
use countersign_model::text::{excerpt, visible};
use sha2::{Digest as _, Sha256, Sha512};
use ssh_encoding::pem;

use crate::key::KeyError;
use crate::public_key::PublicKey;
use crate::security_key;
use crate::signatory::{Signatory, SigningFault};
use crate::signer::Signer;
use crate::wire::{Reader, strings};

/// The largest armored signature that is read, in bytes.
pub const MAX_SIGNATURE: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// OpenSSH wraps its armor at 70 characters.
const ARMOR_WIDTH: usize = 70;
/// What a signature begins with, and what is signed too.
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;

/// Why a signature was not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// It is not exactly one armored SSH signature in the one encoding there is for it.
    #[error("it is not an SSH signature: {0}")]
    NotASignature(String),
    /// It was made for something else.
    #[error("it is in the namespace `{found}`, expected `{expected}`")]
    WrongNamespace {
        /// The namespace of what was to be verified.
        expected: String,
        /// The signature's namespace.
        found: String,
    },
    /// It was made by a key of a kind that is not taken.
    #[error("its key is of the kind `{0}`, expected `ssh-ed25519` or a hardware key")]
    UnsupportedAlgorithm(String),
    /// It was made by hardware, which runners do not sign with.
    #[error("its key is of the kind `{0}`, and a runner's is `ssh-ed25519`")]
    NotARunners(String),
    /// Anybody could have made it.
    #[error("its key is weak: signatures by it prove nothing")]
    WeakKey,
    /// A browser was between, and what it says is not to be relied on.
    #[error("what the browser says of it is not taken: {0}")]
    ClientData(String),
    /// It is over other bytes, or was not made by the key that it names.
    #[error("it does not match: the key `{signer}` did not sign these bytes")]
    WrongSignature {
        /// Fingerprint of the key that the signature names.
        signer: String,
    },
    /// It cannot be made.
    #[error("nothing can be signed in the namespace `{0}`")]
    CannotSign(String),
    /// Who should have made it did not.
    #[error("{0}")]
    NotMade(SigningFault),
}

/// What a key signs for some bytes in a namespace: their digest, SHA-512, with what tells it from anything else that SSH
/// keys sign.
#[derive(Clone, Debug)]
pub struct ToSign {
    namespace: String,
    blob: Vec<u8>,
}

impl ToSign {
    /// What is to be signed for these bytes.
    #[must_use]
    pub fn new(namespace: &str, bytes: &[u8]) -> Self {
        Self { namespace: namespace.to_owned(), blob: signed_blob(namespace, Hash::Sha512, bytes) }
    }

    /// Exactly what the key signs, a few hundred bytes.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The armored signature, from the key and what it answered: its signature as SSH's wire format has it, which begins
    /// with its kind.
    #[must_use]
    pub fn armored(&self, key: &PublicKey, signature: &[u8]) -> String {
        let hash = Hash::Sha512.name().as_bytes();
        let fields = strings(&[&key.to_wire(), self.namespace.as_bytes(), b"", hash, signature]);
        armor(&[MAGIC, &VERSION.to_be_bytes(), &fields].concat())
    }
}

/// Has `bytes` signed, exactly as they are. What comes back is verified.
///
/// # Errors
/// When the namespace is empty, or the signatory does not sign, or signs something else, or signs with hardware that
/// nobody touched.
pub fn sign(signatory: &dyn Signatory, namespace: &str, bytes: &[u8]) -> Result<String, SignatureError> {
    if namespace.is_empty() {
        return Err(SignatureError::CannotSign(excerpt(namespace, 80)));
    }
    let key = signatory.public_key();
    let armored = signatory.sign(namespace, bytes).map_err(SignatureError::NotMade)?;
    let fault = |what: String| {
        let hint = "nothing was signed; look after what holds the key";
        Err(SignatureError::NotMade(SigningFault::new(what, hint)))
    };
    let known = |wire: &[u8]| (key.to_wire() == wire).then_some(key);
    match verify_knowing(known, namespace, bytes, armored.as_bytes()) {
        Ok(signer) if signer.public_key() != key => {
            fault(format!("the key `{}` signed, and not `{}`", signer.fingerprint(), key.fingerprint()))
        }
        Ok(signer) if signer.presence().is_some_and(|presence| !presence.user_present) => {
            fault(format!("the hardware key `{}` signed without a touch, which nobody takes", key.fingerprint()))
        }
        Ok(_) => Ok(armored),
        Err(_) => fault(format!("what came back is no signature by the key `{}`", key.fingerprint())),
    }
}

/// Verifies that `armored` is a signature over exactly `bytes` in exactly `namespace`, and tells
/// whose it is and how it was made. Whether that is enough is for the trust policy to say.
///
/// # Errors
/// As [`SignatureError`] says; input over [`MAX_SIGNATURE`] is not read.
pub fn verify(namespace: &str, bytes: &[u8], armored: &[u8]) -> Result<Signer, SignatureError> {
    verify_knowing(|_| None, namespace, bytes, armored)
}

/// The same where some keys are at hand, by their wire format. Such a key is not read, and looked at for weakness, once
/// more, which takes as long as a signature: each read of evidence is signed, and each approval verified several times.
pub(crate) fn verify_knowing<'k>(
    known: impl Fn(&[u8]) -> Option<&'k PublicKey>,
    namespace: &str,
    bytes: &[u8],
    armored: &[u8],
) -> Result<Signer, SignatureError> {
    let blob = unarmor(armored)?;
    let signature = decode(&blob)?;
    let key = match known(signature.key) {
        Some(known) => known.clone(),
        None => read_key(signature.key)?,
    };
    if signature.namespace != namespace {
        return Err(SignatureError::WrongNamespace {
            expected: visible(namespace),
            found: excerpt(signature.namespace, 80),
        });
    }
    let signed = signed_blob(namespace, signature.hash, bytes);
    security_key::verify(key, &signed, signature.signature)
}

/// The digests that there are for what is signed.
#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

fn signed_blob(namespace: &str, hash: Hash, bytes: &[u8]) -> Vec<u8> {
    let digest = match hash {
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    };
    [MAGIC, &strings(&[namespace.as_bytes(), b"", hash.name().as_bytes(), &digest])].concat()
}

fn not(why: impl Into<String>) -> SignatureError {
    SignatureError::NotASignature(why.into())
}

fn armor(blob: &[u8]) -> String {
    let mut text = format!("{BEGIN}\n");
    for (count, character) in Base64::encode_string(blob).chars().enumerate() {
        if count > 0 && count % ARMOR_WIDTH == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    format!("{text}\n{END}\n")
}

/// The bytes inside exactly one armor block with nothing but white space around it.
fn unarmor(armored: &[u8]) -> Result<Vec<u8>, SignatureError> {
    if armored.len() > MAX_SIGNATURE {
        return Err(not(format!("{} bytes are more than the {MAX_SIGNATURE} that are read", armored.len())));
    }
    let text = std::str::from_utf8(armored).map_err(|_| not("it is not text"))?.trim_ascii();
    if text.is_empty() {
        return Err(not("it is empty"));
    }
    // The decoder would skip text before the block.
    if !text.starts_with(BEGIN) || !text.ends_with(END) {
        return Err(not(format!("it must begin with `{BEGIN}` and end with `{END}`")));
    }
    if text.matches("-----BEGIN").count() != 1 {
        return Err(not("it holds more than one block"));
    }
    let mut blob = Vec::new();
    pem::Decoder::new_wrapped(text.as_bytes(), ARMOR_WIDTH)
        .and_then(|mut decoder| decoder.decode_to_end(&mut blob).map(drop))
        .map_err(|_| not("its base64 is damaged"))?;
    Ok(blob)
}

/// A signature's fields; every byte of it is one of theirs.
struct Fields<'a> {
    key: &'a [u8],
    namespace: &'a str,
    hash: Hash,
    signature: &'a [u8],
}

fn decode(blob: &[u8]) -> Result<Fields<'_>, SignatureError> {
    let damaged = || not("its content is damaged");
    let mut reader = Reader::new(blob.strip_prefix(MAGIC).ok_or_else(damaged)?);
    let version = reader.number().ok_or_else(damaged)?;
    if version != VERSION {
        return Err(not(format!("its version is `{version}`, expected `{VERSION}`")));
    }
    let key = reader.string().ok_or_else(damaged)?;
    let namespace = reader.text().filter(|namespace| !namespace.is_empty()).ok_or_else(damaged)?;
    if !reader.string().ok_or_else(damaged)?.is_empty() {
        return Err(not("its reserved field is not empty"));
    }
    let hash = match reader.text().ok_or_else(damaged)? {
        "sha256" => Hash::Sha256,
        "sha512" => Hash::Sha512,
        other => return Err(not(format!("its digest is `{}`, expected `sha256` or `sha512`", excerpt(other, 80)))),
    };
    let signature = reader.string().filter(|_| reader.ended()).ok_or_else(damaged)?;
    Ok(Fields { key, namespace, hash, signature })
}

fn read_key(blob: &[u8]) -> Result<PublicKey, SignatureError> {
    PublicKey::from_wire(blob, "").map_err(|error| match error {
        KeyError::UnsupportedAlgorithm(kind) => SignatureError::UnsupportedAlgorithm(kind),
        KeyError::Weak => SignatureError::WeakKey,
        _ => not("its key is damaged"),
    })
}

#[cfg(test)]
mod tests;
