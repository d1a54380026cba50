use std::iter;

use ed25519_dalek::Signer as _;

use super::*;
use crate::fixture::key;

const SPACE: &str = "test@countersign";
const BYTES: &[u8] = b"{\"a\":1}";

fn armor(blob: &[u8]) -> Vec<u8> {
    crate::authenticator::armor(blob).into_bytes()
}

/// The wire format by hand, so that a field can be what the library would not write.
fn blob(public: [u8; 32], namespace: &str, reserved: &[u8], hash: &str, signature: &[u8]) -> Vec<u8> {
    blob_of("ssh-ed25519", public, namespace, reserved, hash, signature)
}

fn blob_of(kind: &str, public: [u8; 32], namespace: &str, reserved: &[u8], hash: &str, signature: &[u8]) -> Vec<u8> {
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat();
    let key = [string(b"ssh-ed25519"), string(&public)].concat();
    let signature = [string(kind.as_bytes()), string(signature)].concat();
    let fields = [&key, namespace.as_bytes(), reserved, hash.as_bytes(), &signature].map(string).concat();
    [b"SSHSIG\0\0\0\x01".as_slice(), &fields].concat()
}

fn raw(seed: u8, namespace: &str, hash: Hash) -> ([u8; 32], [u8; 64]) {
    let signed = signed_blob(namespace, hash, BYTES);
    let key = key(seed);
    (key.inner().verifying_key().to_bytes(), key.inner().sign(&signed).to_bytes())
}

#[track_caller]
fn not_a_signature(armored: &[u8], why: &str) {
    match verify(SPACE, BYTES, armored) {
        Err(SignatureError::NotASignature(found)) => assert!(found.contains(why), "{found}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verifies_what_it_signs() {
    let armored = sign(&key(1), SPACE, BYTES).expect("a signature");
    let signer = verify(SPACE, BYTES, armored.as_bytes()).expect("valid");
    assert_eq!(signer.public_key(), key(1).public_key());
    assert_eq!(signer.fingerprint(), key(1).fingerprint());
    let (public, signature) = raw(1, SPACE, Hash::Sha512);
    assert_eq!(armor(&blob(public, SPACE, b"", "sha512", &signature)), armored.into_bytes());
    let (public, signature) = raw(1, SPACE, Hash::Sha256);
    assert!(verify(SPACE, BYTES, &armor(&blob(public, SPACE, b"", "sha256", &signature))).is_ok());
    assert!(sign(&key(1), "", BYTES).is_err());
}

#[test]
fn white_space_around_it_is_all_that_is_allowed() {
    let armored = sign(&key(1), SPACE, BYTES).expect("a signature");
    let verifies = |text: &str| verify(SPACE, BYTES, text.as_bytes()).is_ok();
    assert!(verifies(armored.trim()));
    assert!(verifies(&format!("\n \t{armored}\r\n\n")));
    assert!(verifies(&armored.replace('\n', "\r\n")));
    not_a_signature(format!("{armored}{armored}").as_bytes(), "more than one block");
    not_a_signature(format!("x\n{armored}").as_bytes(), "must begin with");
    not_a_signature(format!("{armored}x").as_bytes(), "must begin with");
    not_a_signature(armored.replacen("\n", "\n\n", 1).as_bytes(), "base64");
    not_a_signature(armored.replace("SSH SIGNATURE", "SIGNATURE").as_bytes(), "must begin with");
    not_a_signature(b"", "empty");
    not_a_signature(b" \n", "empty");
    not_a_signature(b"\xff", "not text");
    not_a_signature(BEGIN.as_bytes(), "must begin with");
    not_a_signature(format!("{BEGIN}\n{END}").as_bytes(), "");
    not_a_signature(format!("{armored}{}", " ".repeat(MAX_SIGNATURE)).as_bytes(), "more than");
}

#[test]
fn every_byte_counts() {
    let armored = sign(&key(1), SPACE, BYTES).expect("a signature");
    for position in 0..BYTES.len() {
        for bit in 0..8 {
            let mut bytes = BYTES.to_vec();
            bytes[position] ^= 1 << bit;
            let error = verify(SPACE, &bytes, armored.as_bytes()).expect_err("changed");
            assert_eq!(error, SignatureError::WrongSignature { signer: key(1).fingerprint().to_owned() });
        }
    }
    assert!(verify(SPACE, b"", armored.as_bytes()).is_err());
    // And every byte and length of the signature itself.
    let (public, signature) = raw(1, SPACE, Hash::Sha512);
    let good = blob(public, SPACE, b"", "sha512", &signature);
    for position in 0..good.len() {
        for flip in [1, 0x80] {
            let mut bad = good.clone();
            bad[position] ^= flip;
            assert!(verify(SPACE, BYTES, &armor(&bad)).is_err(), "{position}");
        }
        assert!(verify(SPACE, BYTES, &armor(&good[..position])).is_err(), "{position}");
    }
    for end in 0..armored.len() - 1 {
        assert!(verify(SPACE, BYTES, &armored.as_bytes()[..end]).is_err(), "{end}");
    }
    not_a_signature(&armor(&[good.as_slice(), &[0]].concat()), "content is damaged");
}

#[test]
fn namespaces_are_apart() {
    let armored = sign(&key(1), SPACE, BYTES).expect("a signature");
    for expected in ["approval@countersign", "test@countersig", "test@countersignx", "TEST@countersign"] {
        let error = verify(expected, BYTES, armored.as_bytes()).expect_err("another");
        assert_eq!(error, SignatureError::WrongNamespace { expected: expected.to_owned(), found: SPACE.to_owned() });
    }
    // The field alone cannot be changed.
    let (public, signature) = raw(1, "other@countersign", Hash::Sha512);
    let relabelled = armor(&blob(public, SPACE, b"", "sha512", &signature));
    assert!(matches!(verify(SPACE, BYTES, &relabelled), Err(SignatureError::WrongSignature { .. })));
    let odd = armor(&blob(public, "a\u{1b}\u{202e}", b"", "sha512", &signature));
    let text = verify(SPACE, BYTES, &odd).expect_err("another").to_string();
    assert!(text.contains("`a\\u{1b}\\u{202e}`"), "{text}");
}

#[test]
fn only_the_one_encoding_is_taken() {
    let (public, signature) = raw(1, SPACE, Hash::Sha512);
    let good = blob(public, SPACE, b"", "sha512", &signature);
    not_a_signature(&armor(&blob(public, SPACE, b"x", "sha512", &signature)), "reserved field");
    for hash in ["sha1", "SHA512", "sha384", ""] {
        not_a_signature(&armor(&blob(public, SPACE, b"", hash, &signature)), "expected `sha256` or `sha512`");
    }
    not_a_signature(&armor(&blob(public, "", b"", "sha512", &signature)), "damaged");
    for version in [0, 2] {
        let mut bad = good.clone();
        bad[9] = version;
        not_a_signature(&armor(&bad), &format!("version is `{version}`"));
    }
    // An inner length that does not add up with the outer one, of the key and of the signature.
    for position in [13, good.len() - 84, good.len() - 65] {
        for by in [1, 255] {
            let mut bad = good.clone();
            bad[position] = bad[position].wrapping_add(by);
            not_a_signature(&armor(&bad), "damaged");
        }
    }
    // A signature that says it is of another kind than its key.
    for kind in ["rsa-sha2-512", "ssh-ed448@example.com"] {
        let other = verify(SPACE, BYTES, &armor(&blob_of(kind, public, SPACE, b"", "sha512", &signature)));
        assert!(matches!(other, Err(SignatureError::WrongSignature { .. })), "{kind}: {other:?}");
    }
    // A key by another: the same signature under a key that did not make it.
    let (other, _) = raw(2, SPACE, Hash::Sha512);
    let wrong = verify(SPACE, BYTES, &armor(&blob(other, SPACE, b"", "sha512", &signature)));
    assert_eq!(wrong, Err(SignatureError::WrongSignature { signer: key(2).fingerprint().to_owned() }));
}

/// What is signed is what ssh-key says that it is.
#[test]
fn the_bytes_that_are_signed_are_the_standards() {
    for (ours, theirs) in [(Hash::Sha256, ssh_key::HashAlg::Sha256), (Hash::Sha512, ssh_key::HashAlg::Sha512)] {
        let expected = ssh_key::SshSig::signed_data(SPACE, theirs, BYTES).expect("signed data");
        assert_eq!(signed_blob(SPACE, ours, BYTES), expected);
    }
    assert_eq!(ToSign::new(SPACE, BYTES).blob(), signed_blob(SPACE, Hash::Sha512, BYTES));
}

/// Ed25519ph signs a digest of the same bytes, and is another scheme.
#[test]
fn what_is_hashed_before_it_is_signed_is_no_signature() {
    let key = key(1);
    let (public, _) = raw(1, SPACE, Hash::Sha512);
    for context in [None, Some(&b""[..]), Some(SPACE.as_bytes())] {
        let digest = Sha512::new_with_prefix(signed_blob(SPACE, Hash::Sha512, BYTES));
        let signature = key.inner().sign_prehashed(digest, context).expect("a signature").to_bytes();
        let armored = armor(&blob(public, SPACE, b"", "sha512", &signature));
        assert!(matches!(verify(SPACE, BYTES, &armored), Err(SignatureError::WrongSignature { .. })), "{context:?}");
    }
    // Nor is a signature over the bytes' digest alone, or over the bytes themselves.
    for bytes in [
        BYTES.to_vec(),
        Sha512::digest(BYTES).to_vec(),
        Sha512::digest(signed_blob(SPACE, Hash::Sha512, BYTES)).to_vec(),
    ] {
        let signature = key.inner().sign(&bytes).to_bytes();
        let armored = armor(&blob(public, SPACE, b"", "sha512", &signature));
        assert!(matches!(verify(SPACE, BYTES, &armored), Err(SignatureError::WrongSignature { .. })));
    }
    // And what one digest was named for is not valid with the other's name.
    let (_, signature) = raw(1, SPACE, Hash::Sha256);
    let armored = armor(&blob(public, SPACE, b"", "sha512", &signature));
    assert!(matches!(verify(SPACE, BYTES, &armored), Err(SignatureError::WrongSignature { .. })));
}

/// The group's order, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_second_signature_cannot_be_made_from_a_first() {
    let (public, mut signature) = raw(1, SPACE, Hash::Sha512);
    let mut carry = 0;
    for (byte, add) in iter::zip(&mut signature[32..], ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let error = verify(SPACE, BYTES, &armor(&blob(public, SPACE, b"", "sha512", &signature)));
    assert!(matches!(error, Err(SignatureError::WrongSignature { .. })), "{error:?}");
}

/// A point of order 8.
const ORDER_8: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
    0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

#[test]
fn keys_that_prove_nothing_are_refused() {
    // R = A = the point of order 1 and S = 0 satisfy the plain equation for every message.
    let mut one = [0; 32];
    one[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let signed = signed_blob(SPACE, Hash::Sha512, BYTES);
    let lax = ed25519_dalek::VerifyingKey::from_bytes(&one).expect("a point");
    assert!(ed25519_dalek::Verifier::verify(&lax, &signed, &signature.into()).is_ok());
    let forged = armor(&blob(one, SPACE, b"", "sha512", &signature));
    assert_eq!(verify(SPACE, BYTES, &forged), Err(SignatureError::WeakKey));

    // A good key plus a point of small order, and the identity in its other encoding.
    let eight = ed25519_dalek::VerifyingKey::from_bytes(&ORDER_8).expect("a point").to_edwards();
    let good = key(1).inner().verifying_key().to_edwards();
    let mixed = (good + eight).compress().to_bytes();
    let mut negative_zero = one;
    negative_zero[31] = 0x80;
    let mut above_prime = [0xff; 32];
    (above_prime[0], above_prime[31]) = (0xee, 0x7f);
    for (excess, sign) in (0..19).flat_map(|excess| [(excess, 0x7f), (excess, 0xff)]) {
        // The numbers from the field's prime up, which are the numbers from 0 up once more.
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + excess, sign);
        assert_eq!(PublicKey::from_bytes(bytes, ""), Err(crate::KeyError::Weak), "{bytes:?}");
    }
    for bytes in [mixed, eight.compress().to_bytes(), negative_zero, above_prime, [0; 32]] {
        assert_eq!(PublicKey::from_bytes(bytes, ""), Err(crate::KeyError::Weak), "{bytes:?}");
        let forged = armor(&blob(bytes, SPACE, b"", "sha512", &signature));
        assert_eq!(verify(SPACE, BYTES, &forged), Err(SignatureError::WeakKey));
    }
}
