//! Ed25519 by hand: keys and signatures as RFC 8032 has them, and as no honest signer makes them. It writes every byte by
//! itself, and shares nothing with what is tested but the curve.

use base64ct::{Base64, Encoding as _};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

/// What tells Ed25519 of a digest (`Ed25519ph`) from that of a message, by RFC 8032.
const PREHASHED: &[u8] = b"SigEd25519 no Ed25519 collisions\x01\x00";

/// The group's order, the lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A private key.
pub(crate) struct Secret {
    scalar: Scalar,
    prefix: [u8; 32],
    pub(crate) public: [u8; 32],
}

impl Secret {
    pub(crate) fn new(seed: u8) -> Self {
        let expanded: [u8; 64] = Sha512::digest([seed; 32]).into();
        let (mut low, mut prefix) = ([0; 32], [0; 32]);
        low.copy_from_slice(&expanded[..32]);
        prefix.copy_from_slice(&expanded[32..]);
        let scalar = Scalar::from_bytes_mod_order(curve25519_dalek::scalar::clamp_integer(low));
        Self { scalar, prefix, public: EdwardsPoint::mul_base(&scalar).compress().0 }
    }

    /// As an honest signer signs a message.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.sign_with(b"", message, &EdwardsPoint::default())
    }

    /// `Ed25519ph`: of a message's digest.
    pub(crate) fn sign_prehashed(&self, message: &[u8]) -> [u8; 64] {
        self.sign_with(PREHASHED, &Sha512::digest(message), &EdwardsPoint::default())
    }

    /// With a point of order 8 added to the signature's own: whoever multiplies by the cofactor would take it.
    pub(crate) fn sign_with_torsion(&self, message: &[u8]) -> [u8; 64] {
        self.sign_with(b"", message, &EIGHT_TORSION[1])
    }

    fn sign_with(&self, domain: &[u8], message: &[u8], added: &EdwardsPoint) -> [u8; 64] {
        let nonce = hash(&[domain, &self.prefix, message]);
        let point = (EdwardsPoint::mul_base(&nonce) + added).compress().0;
        let challenge = hash(&[domain, &point, &self.public, message]);
        joined(point, (nonce + challenge * self.scalar).to_bytes())
    }

    /// With the point of the signature in this encoding of nothing at all, and the number that goes with it.
    pub(crate) fn sign_with_point(&self, point: [u8; 32], message: &[u8]) -> [u8; 64] {
        let challenge = hash(&[&point, &self.public, message]);
        joined(point, (challenge * self.scalar).to_bytes())
    }

    /// The key with a point of order 8 added to it.
    pub(crate) fn public_with_torsion(&self) -> [u8; 32] {
        (EdwardsPoint::mul_base(&self.scalar) + EIGHT_TORSION[1]).compress().0
    }
}

/// The same signature with the group's order added to its number, which changes nothing of what that stands for.
pub(crate) fn malleated(mut signature: [u8; 64]) -> [u8; 64] {
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "it is below 2^256");
    signature
}

/// The points of small order, each in its own encoding; and those encodings that are none, since they are not below the
/// prime.
pub(crate) fn small() -> Vec<[u8; 32]> {
    let own = EIGHT_TORSION.iter().map(|point| point.compress().0);
    own.chain(doubled()).collect()
}

/// Encodings of small points that stand for them a second time: the identity, and the point of order 2, with the prime added
/// or with a sign that zero has not; the points of order 4 with the prime added.
pub(crate) fn doubled() -> Vec<[u8; 32]> {
    let above = |low: u8, sign: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f | sign;
        bytes
    };
    let mut signed = [0; 32];
    (signed[0], signed[31]) = (1, 0x80);
    vec![above(0xee, 0), above(0xee, 0x80), signed, above(0xec, 0x80), above(0xed, 0), above(0xed, 0x80)]
}

fn hash(parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest(parts.concat()).into())
}

fn joined(point: [u8; 32], number: [u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&point);
    signature[32..].copy_from_slice(&number);
    signature
}

/// Each with its length in four bytes, the highest first.
fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).expect("it is short").to_be_bytes();
    parts.iter().flat_map(|part| [&length(part)[..], part].concat()).collect()
}

/// A key as a `.pub` file has it.
pub(crate) fn line(public: &[u8; 32]) -> String {
    format!("ssh-ed25519 {}", Base64::encode_string(&strings(&[b"ssh-ed25519", public])))
}

/// What SSH signs for some bytes: `PROTOCOL.sshsig`.
pub(crate) fn to_sign(namespace: &str, bytes: &[u8]) -> Vec<u8> {
    [b"SSHSIG", &strings(&[namespace.as_bytes(), b"", b"sha512", &Sha512::digest(bytes)])[..]].concat()
}

/// A signature in SSH's armor, whatever it is of.
pub(crate) fn armored(public: &[u8; 32], namespace: &str, signature: &[u8]) -> String {
    let key = strings(&[b"ssh-ed25519", public]);
    let signature = strings(&[b"ssh-ed25519", signature]);
    let fields = strings(&[&key, namespace.as_bytes(), b"", b"sha512", &signature]);
    let blob = Base64::encode_string(&[b"SSHSIG", &1_u32.to_be_bytes()[..], &fields].concat());
    let lines: Vec<&str> = blob.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}
