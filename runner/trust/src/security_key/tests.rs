use base64ct::{Base64, Encoding as _};
use p256::elliptic_curve::scalar::IsHigh as _;

use super::*;
use crate::authenticator::{self, Authenticator, EXTENDED, PRESENT, VERIFIED, armor, integer, signed, sshsig, strings};
use crate::sshsig::verify as verify_armored;

const SPACE: &str = "approval@countersign";
const BYTES: &[u8] = b"{\"a\":1}";

fn verified(armored: &str) -> Result<Signer, SignatureError> {
    verify_armored(SPACE, BYTES, armored.as_bytes())
}

/// An armored signature whose inner one is given.
fn with(authenticator: &Authenticator, signature: &[u8]) -> Result<Signer, SignatureError> {
    verified(&armor(&sshsig(&authenticator.blob(), SPACE, "sha512", signature)))
}

fn answer(authenticator: &Authenticator) -> Vec<u8> {
    authenticator.answer(&signed(SPACE, "sha512", BYTES))
}

fn all() -> [Authenticator; 3] {
    [Authenticator::ed25519(1), Authenticator::ecdsa(1), Authenticator::passkey(1)]
}

#[track_caller]
fn wrong(found: &Result<Signer, SignatureError>) {
    assert!(matches!(found, Err(SignatureError::WrongSignature { .. })), "{found:?}");
}

#[track_caller]
fn none(found: &Result<Signer, SignatureError>) {
    assert!(matches!(found, Err(SignatureError::NotASignature(_))), "{found:?}");
}

#[test]
fn tells_who_was_there() {
    for authenticator in all() {
        for (flags, touched, verified_who) in
            [(0, false, false), (PRESENT, true, false), (PRESENT | VERIFIED, true, true)]
        {
            let mut authenticator = authenticator.clone();
            (authenticator.flags, authenticator.counter) = (flags, 0xdead_beef);
            let signer = verified(&authenticator.sign(SPACE, BYTES)).expect("valid");
            assert_eq!(signer.public_key().to_wire(), authenticator.blob());
            let presence = signer.presence().expect("hardware");
            assert_eq!((presence.user_present, presence.user_verified), (touched, verified_who));
            assert_eq!(presence.counter, 0xdead_beef);
            assert_eq!(presence.origin, authenticator.browser.as_ref().map(|browser| browser.origin.clone()));
        }
        // With the other digest too, as `ssh-keygen -O hashalg=sha256` has it.
        let signature = authenticator.answer(&signed(SPACE, "sha256", BYTES));
        assert!(verified(&armor(&sshsig(&authenticator.blob(), SPACE, "sha256", &signature))).is_ok());
        wrong(&with(&authenticator, &signature));
    }
}

/// Flags, counter and application are signed: none of them can be put in afterwards.
#[test]
fn every_byte_counts() {
    for authenticator in all() {
        let signature = answer(&authenticator);
        let good = sshsig(&authenticator.blob(), SPACE, "sha512", &signature);
        assert!(verified(&armor(&good)).is_ok());
        for position in 0..good.len() {
            for flip in [1, 0x04, 0x80] {
                let mut bad = good.clone();
                bad[position] ^= flip;
                assert!(verified(&armor(&bad)).is_err(), "{} {position} {flip}", authenticator.kind());
            }
        }
        for length in 0..signature.len() {
            none(&with(&authenticator, &signature[..length]));
        }
        for end in [&[0][..], &[0; 5], &[0; 4]] {
            none(&with(&authenticator, &[&signature[..], end].concat()));
            assert!(verified(&armor(&[&good[..], end].concat())).is_err());
        }
    }
}

#[test]
fn signatures_are_by_the_key_and_the_application_that_they_name() {
    for authenticator in all() {
        let signature = answer(&authenticator);
        // The key in the signature is not the one that signed: another secret, another application.
        let (mut second, third) = (authenticator.clone(), authenticator.clone().for_application("ssh:other"));
        second = if second.browser.is_some() { Authenticator::passkey(2) } else { second };
        second = match second.kind() {
            "sk-ssh-ed25519@openssh.com" => Authenticator::ed25519(2),
            _ if second.browser.is_none() => Authenticator::ecdsa(2),
            _ => second,
        };
        wrong(&with(&second, &signature));
        wrong(&with(&third, &signature));
        // Another namespace, and other bytes.
        let elsewhere = authenticator.answer(&signed("denial@countersign", "sha512", BYTES));
        wrong(&with(&authenticator, &elsewhere));
        let error = verified(&authenticator.sign("denial@countersign", BYTES)).expect_err("another namespace");
        assert!(matches!(error, SignatureError::WrongNamespace { .. }), "{error:?}");
        wrong(&verified(&authenticator.sign(SPACE, b"{}")));
    }
    // What one key signs as hardware it did not sign as a file, and the other way round.
    let (hardware, software) = (Authenticator::ed25519(1), crate::fixture::key(1));
    let blob = software.public_key().to_wire();
    let raw = hardware.raw(&[], &Sha256::digest(signed(SPACE, "sha512", BYTES)));
    let as_file = strings(&[b"ssh-ed25519", &raw]);
    wrong(&verified(&armor(&sshsig(&blob, SPACE, "sha512", &as_file))));
    let plain = ed25519_dalek::Signer::sign(software.inner(), &signed(SPACE, "sha512", BYTES)).to_bytes();
    wrong(&with(&hardware, &hardware.wrap(hardware.kind(), &plain)));
}

#[test]
fn signatures_are_of_their_keys_kind() {
    let ed25519 = Authenticator::ed25519(1);
    for kind in
        ["ssh-ed25519", "sk-ecdsa-sha2-nistp256@openssh.com", WEBAUTHN, "webauthn-sk-ssh-ed25519@openssh.com", ""]
    {
        let raw = ed25519.raw(&[], &Sha256::digest(signed(SPACE, "sha512", BYTES)));
        wrong(&with(&ed25519, &ed25519.wrap(kind, &raw)));
    }
    // A browser's words do not make another signature of it, nor does leaving them out.
    let passkey = Authenticator::passkey(1);
    let mut without = passkey.clone();
    without.browser = None;
    let signature = answer(&without);
    assert!(with(&passkey, &signature).expect("valid").presence().is_some_and(|presence| presence.origin.is_none()));
    let spoken = strings(&[authenticator::ORIGIN.as_bytes(), b"{}", b""]);
    none(&with(&passkey, &[signature, spoken].concat()));
    let cut = strings(&[WEBAUTHN.as_bytes()]).len();
    let plain = [strings(&[passkey.kind().as_bytes()]), answer(&passkey)[cut..].to_vec()].concat();
    none(&with(&passkey, &plain));
}

#[test]
fn flags_fit_what_is_there() {
    for mut authenticator in all() {
        for flag in [EXTENDED, 0x40, EXTENDED | 0x40] {
            authenticator.flags = PRESENT | flag;
            none(&with(&authenticator, &answer(&authenticator)));
        }
        // Backed-up passkeys, and what is reserved.
        for flag in [0x08, 0x18, 0x02, 0x20] {
            authenticator.flags = PRESENT | flag;
            assert!(with(&authenticator, &answer(&authenticator)).is_ok(), "{flag}");
        }
    }
    let mut passkey = Authenticator::passkey(1);
    passkey.browser.as_mut().expect("a browser").extensions = vec![0xa0];
    none(&with(&passkey, &answer(&passkey)));
    passkey.flags |= EXTENDED;
    assert!(with(&passkey, &answer(&passkey)).is_ok());
    passkey.browser.as_mut().expect("a browser").extensions = vec![0x80];
    assert!(matches!(with(&passkey, &answer(&passkey)), Err(SignatureError::ClientData(_))));
}

/// S plus the group's order, and R or S of the wrong size: one signature cannot be made into another.
#[test]
fn ed25519_in_hardware_is_as_strict_as_in_a_file() {
    let key = Authenticator::ed25519(1);
    let raw = key.raw(&[], &Sha256::digest(signed(SPACE, "sha512", BYTES)));
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut more = raw.clone();
    let mut carry = 0;
    for (byte, add) in std::iter::zip(&mut more[32..], order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(with(&key, &key.wrap(key.kind(), &more)).is_err());
    // The identity as R, and S zero.
    let mut identity = [0; 64];
    identity[0] = 1;
    wrong(&with(&key, &key.wrap(key.kind(), &identity)));
    none(&with(&key, &key.wrap(key.kind(), &raw[..63])));
    none(&with(&key, &key.wrap(key.kind(), &[&raw[..], &[0]].concat())));
    // A key of small order, with the signature that is valid for it whatever is signed.
    let mut one = [0; 32];
    one[0] = 1;
    let blob = strings(&[key.kind().as_bytes(), &one, b"ssh:"]);
    let forged = armor(&sshsig(&blob, SPACE, "sha512", &key.wrap(key.kind(), &identity)));
    assert_eq!(verified(&forged), Err(SignatureError::WeakKey));
}

#[test]
fn integers_of_ecdsa_are_in_range_and_in_one_encoding() {
    let key = Authenticator::ecdsa(1);
    let raw = key.raw(&[], &Sha256::digest(signed(SPACE, "sha512", BYTES)));
    let mut numbers = Reader::new(&raw);
    let (r, s) = (numbers.scalar().expect("r"), numbers.scalar().expect("s"));
    let by = |r: &[u8], s: &[u8]| with(&key, &key.wrap(key.kind(), &strings(&[r, s])));
    let (r, s) = (integer(&r), integer(&s));
    assert!(by(&r, &s).is_ok());
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let order = integer(&order);
    for bad in [&[][..], &[0], &order, &[0xff; 32], &[0; 33], &[1; 33]] {
        none(&by(bad, &s));
        none(&by(&r, bad));
    }
    for (r, s) in [([&[0], &r[..]].concat(), s.clone()), (r.clone(), [&[0], &s[..]].concat())] {
        none(&by(&r, &s));
    }
    none(&with(&key, &key.wrap(key.kind(), &strings(&[&r, &s, b""]))));
    none(&with(&key, &key.wrap(key.kind(), &strings(&[&r]))));
    wrong(&by(&s, &r));
    wrong(&by(&[1], &[1]));
}

/// FIDO does not say which of the two, so hardware gives either.
#[test]
fn either_s_is_taken() {
    let mut halves = std::collections::BTreeSet::new();
    for counter in 0..16 {
        let mut key = Authenticator::ecdsa(1);
        key.counter = counter;
        let raw = key.raw(&[], &Sha256::digest(signed(SPACE, "sha512", BYTES)));
        let mut numbers = Reader::new(&raw);
        let (r, s) = (numbers.scalar().expect("r"), numbers.scalar().expect("s"));
        let signature = P256::from_scalars(r, s).expect("a signature");
        halves.insert(bool::from(signature.s().is_high()));
        assert!(with(&key, &answer(&key)).is_ok());
    }
    assert_eq!(halves.len(), 2);
}

/// What the fuzz target of signatures begins with: valid ones, armored and not, and their keys. `COUNTERSIGN_WRITE_SEEDS=1`
/// writes them.
#[test]
fn the_fuzz_targets_seeds_are_signatures() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let file = crate::fixture::key(1);
    let plain = crate::sign(&file, SPACE, b"").expect("signed");
    let mut all = vec![("ed25519", file.public_key().to_openssh(), plain)];
    for (name, key) in ["sk-ed25519", "sk-ecdsa", "passkey"].into_iter().zip(self::all()) {
        all.push((name, key.line(), key.sign(SPACE, b"")));
    }
    for (name, line, armored) in all {
        assert!(verify_armored(SPACE, b"", armored.as_bytes()).is_ok());
        let raw = Base64::decode_vec(&armored.lines().filter(|line| !line.starts_with('-')).collect::<String>());
        for (path, content) in [
            (format!("keys/{name}.pub"), format!("{line}\n").into_bytes()),
            (format!("signature/{name}"), armored.clone().into_bytes()),
            (format!("signature/{name}-raw"), raw.expect("base64")),
        ] {
            let path = seeds.join(path);
            if std::env::var_os("COUNTERSIGN_WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
                std::fs::write(&path, &content).expect("it can be written");
            }
            assert_eq!(std::fs::read(&path).expect("a seed"), content, "{}", path.display());
        }
    }
}
