//! The signature inside an SSHSIG, of every kind that is taken.
//!
//! A FIDO authenticator signs more than it is given: the digest of its application, its flags and its counter stand before
//! the digest of the bytes, and where a browser was between, the bytes are only the challenge in what the browser says.
//! <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f>

use ed25519_dalek::Signature as Ed25519;
use p256::ecdsa::Signature as P256;
use p256::ecdsa::signature::Verifier as _;
use sha2::{Digest, Sha256};

use crate::public_key::{KeyKind, Point, PublicKey};
use crate::signer::{Presence, Signer};
use crate::sshsig::SignatureError;
use crate::webauthn::{self, Spoken};
use crate::wire::Reader;

/// What the kind of a signature is called that a browser was between.
pub(crate) const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/// Somebody was there, and it was found out who.
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
/// What follows the counter: a new key's data, which is never in a signature, and extensions.
const ATTESTED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

enum Raw {
    Ed25519(Ed25519),
    P256(P256),
}

struct Parts<'a> {
    raw: Raw,
    flags: u8,
    counter: u32,
    spoken: Option<Spoken<'a>>,
}

/// Verifies the signature in `blob`, by `key`, over `signed`.
pub(crate) fn verify(key: PublicKey, signed: &[u8], blob: &[u8]) -> Result<Signer, SignatureError> {
    let wrong = || SignatureError::WrongSignature { signer: key.fingerprint().to_owned() };
    let mut reader = Reader::new(blob);
    let name = reader.string().ok_or_else(damaged)?;
    let browser = name == WEBAUTHN.as_bytes() && key.kind() == KeyKind::SkEcdsa;
    if name != key.kind().name().as_bytes() && !browser {
        return Err(wrong());
    }
    let parts = parts(&mut reader, key.kind(), browser).ok_or_else(damaged)?;
    if !reader.ended() {
        return Err(damaged());
    }
    let Some(application) = key.application() else {
        verify_raw(&key, &parts.raw, signed).ok_or_else(wrong)?;
        return Ok(Signer::new(key, None));
    };
    let extensions = parts.spoken.as_ref().map_or(&[][..], |spoken| spoken.extensions);
    if parts.flags & ATTESTED != 0 || (parts.flags & EXTENDED != 0) == extensions.is_empty() {
        return Err(SignatureError::NotASignature("its flags do not fit what it holds".to_owned()));
    }
    let message = match &parts.spoken {
        None => Sha256::digest(signed),
        Some(spoken) => {
            webauthn::check(spoken, signed).map_err(|fault| fault.map_or_else(wrong, SignatureError::ClientData))?;
            Sha256::digest(spoken.client_data)
        }
    };
    let mut by_hardware = Sha256::digest(application).to_vec();
    by_hardware.push(parts.flags);
    by_hardware.extend(parts.counter.to_be_bytes());
    by_hardware.extend(extensions);
    by_hardware.extend(message);
    verify_raw(&key, &parts.raw, &by_hardware).ok_or_else(wrong)?;
    let presence = Presence {
        user_present: parts.flags & USER_PRESENT != 0,
        user_verified: parts.flags & USER_VERIFIED != 0,
        counter: parts.counter,
        origin: parts.spoken.map(|spoken| spoken.origin.to_owned()),
    };
    Ok(Signer::new(key, Some(presence)))
}

fn parts<'a>(reader: &mut Reader<'a>, kind: KeyKind, browser: bool) -> Option<Parts<'a>> {
    let raw = reader.string()?;
    let raw = match kind {
        KeyKind::Ed25519 | KeyKind::SkEd25519 => Raw::Ed25519(Ed25519::from_slice(raw).ok()?),
        KeyKind::SkEcdsa => {
            let mut numbers = Reader::new(raw);
            let (r, s) = (numbers.scalar()?, numbers.scalar()?);
            // Neither may be zero, or as large as the group's order. Which of the two signatures it is that there are for
            // each, with s or its negative, authenticators do not care, and nothing here hangs on it.
            let signature = P256::from_scalars(r, s).ok()?;
            if !numbers.ended() {
                return None;
            }
            Raw::P256(signature)
        }
    };
    let (flags, counter) = if kind.is_hardware() { (reader.byte()?, reader.number()?) } else { (0, 0) };
    let spoken = if browser {
        Some(Spoken { origin: reader.text()?, client_data: reader.string()?, extensions: reader.string()? })
    } else {
        None
    };
    Some(Parts { raw, flags, counter, spoken })
}

fn verify_raw(key: &PublicKey, raw: &Raw, message: &[u8]) -> Option<()> {
    match (key.point(), raw) {
        (Point::Ed25519(point), Raw::Ed25519(signature)) => point.verify_strict(message, signature).ok(),
        (Point::P256(point), Raw::P256(signature)) => point.verify(message, signature).ok(),
        _ => None,
    }
}

fn damaged() -> SignatureError {
    SignatureError::NotASignature("its content is damaged".to_owned())
}

#[cfg(test)]
mod tests;
