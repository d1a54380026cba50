//! Detached signatures as `ssh-keygen -Y sign` writes them and `ssh-keygen -Y verify` reads them.
//!
//! <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig>

use countersign_model::text::{excerpt, visible};
use ssh_encoding::{Decode as _, Encode as _, pem};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, Signature, SshSig};

use crate::key::{PublicKey, wire_string};
use crate::signatory::{Signatory, SigningFault};

/// The largest armored signature that is read, in bytes.
pub const MAX_SIGNATURE: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// OpenSSH wraps its armor at 70 characters.
const ARMOR_WIDTH: usize = 70;

/// The key that made a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    key: PublicKey,
}

impl Signer {
    /// The public key; it has no comment, since a signature carries none.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.key.fingerprint()
    }
}

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
    #[error("its key is of the kind `{0}`, expected `ssh-ed25519`")]
    UnsupportedAlgorithm(String),
    /// Anybody could have made it.
    #[error("its key is weak: signatures by it prove nothing")]
    WeakKey,
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

/// Has `bytes` signed, exactly as they are, with SHA-512. What comes back is verified.
///
/// # Errors
/// When the namespace is empty, or the signatory does not sign, or signs something else.
pub fn sign(signatory: &dyn Signatory, namespace: &str, bytes: &[u8]) -> Result<String, SignatureError> {
    let cannot = || SignatureError::CannotSign(excerpt(namespace, 80));
    let (hash, key) = (HashAlg::Sha512, signatory.public_key());
    let signed = SshSig::signed_data(namespace, hash, bytes).map_err(|_| cannot())?;
    let raw = signatory.sign(&signed).map_err(SignatureError::NotMade)?;
    if key.inner().verify_strict(&signed, &ed25519_dalek::Signature::from_bytes(&raw)).is_err() {
        return Err(SignatureError::NotMade(SigningFault::new(
            format!("what came back is no signature by the key `{}`", key.fingerprint()),
            "nothing was signed; look after what holds the key",
        )));
    }
    let armored = || {
        let signature = Signature::new(Algorithm::Ed25519, raw)?;
        SshSig::new(key.key_data(), namespace, hash, signature)?.to_pem(LineEnding::LF)
    };
    let mut text = armored().map_err(|_| cannot())?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Verifies that `armored` is a signature over exactly `bytes` in exactly `namespace`, and tells
/// whose it is. Whether that key may sign is for the trust policy to say.
///
/// # Errors
/// As [`SignatureError`] says; input over [`MAX_SIGNATURE`] is not read.
pub fn verify(namespace: &str, bytes: &[u8], armored: &[u8]) -> Result<Signer, SignatureError> {
    let blob = unarmor(armored)?;
    let signature = decode(&blob)?;
    if signature.namespace() != namespace {
        return Err(SignatureError::WrongNamespace {
            expected: visible(namespace),
            found: excerpt(signature.namespace(), 80),
        });
    }
    let key = match signature.public_key() {
        KeyData::Ed25519(key) => PublicKey::from_bytes(key.0, "").map_err(|_| SignatureError::WeakKey)?,
        other => return Err(SignatureError::UnsupportedAlgorithm(excerpt(other.algorithm().as_str(), 80))),
    };
    let wrong = || SignatureError::WrongSignature { signer: key.fingerprint().to_owned() };
    if signature.algorithm() != Algorithm::Ed25519 {
        return Err(wrong());
    }
    let signed = SshSig::signed_data(namespace, signature.hash_alg(), bytes).map_err(|_| wrong())?;
    let raw = ed25519_dalek::Signature::from_slice(signature.signature_bytes()).map_err(|_| wrong())?;
    key.inner().verify_strict(&signed, &raw).map_err(|_| wrong())?;
    Ok(Signer { key })
}

fn not(why: impl Into<String>) -> SignatureError {
    SignatureError::NotASignature(why.into())
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

fn decode(blob: &[u8]) -> Result<SshSig, SignatureError> {
    let damaged = || not("its content is damaged");
    let mut rest = blob;
    let signature = match SshSig::decode(&mut rest) {
        Ok(signature) => signature,
        // The library does not read keys of kinds it was built without; their names can be read still.
        Err(_) => match algorithm(blob) {
            Some(name) if name != Algorithm::Ed25519.as_str() => {
                return Err(SignatureError::UnsupportedAlgorithm(excerpt(&name, 80)));
            }
            _ => return Err(damaged()),
        },
    };
    if signature.version() != SshSig::VERSION {
        return Err(not(format!("its version is `{}`, expected `{}`", signature.version(), SshSig::VERSION)));
    }
    if !signature.reserved().is_empty() {
        return Err(not("its reserved field is not empty"));
    }
    // The library takes inner lengths that do not add up: only the one encoding is accepted.
    let mut again = Vec::new();
    signature.encode(&mut again).map_err(|_| damaged())?;
    if again != blob {
        return Err(damaged());
    }
    Ok(signature)
}

/// The name of the key's kind: magic and version, then the key's blob, which begins with it.
fn algorithm(blob: &[u8]) -> Option<String> {
    let rest = blob.strip_prefix(b"SSHSIG")?.get(4..)?;
    let (key, _) = wire_string(rest)?;
    let (name, _) = wire_string(key)?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests;
