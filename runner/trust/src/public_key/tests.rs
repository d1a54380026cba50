use p256::elliptic_curve::sec1::ToEncodedPoint as _;

use super::*;
use crate::authenticator::{self, Authenticator, DOMAIN, strings};

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.com";

#[test]
fn reads_a_public_line() {
    let key = PublicKey::from_openssh(&format!("{LINE}\n")).expect("a key");
    assert_eq!(key.fingerprint(), "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    assert_eq!(key.comment(), "user@example.com");
    assert!(LINE.starts_with(&key.to_openssh()));
    assert_eq!(PublicKey::from_openssh(&key.to_openssh()), Ok(key));
}

#[test]
fn refuses_other_lines() {
    let not = |why: &str| KeyError::NotAKey { kind: "public", why: why.to_owned() };
    for (line, error) in [
        (String::new(), not("it is empty")),
        (format!("{LINE}\n{LINE}"), not("it must be one line")),
        (LINE.replace("AAAAC3", "AAAAC4"), not("the kind before its base64 is not the one within")),
        (LINE.replace("AAAAIL", "AAAAIb"), not("its bytes are damaged")),
        (LINE.replace("AAAAC3", "!!!!!!"), not("its base64 is damaged")),
        ("ssh-ed25519".to_owned(), not("its base64 is damaged")),
        (format!("{LINE}{}", "x".repeat(MAX_COMMENT)), not("its comment is too long")),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), not("it is a private key")),
        (format!("restrict {LINE}"), KeyError::UnsupportedAlgorithm("restrict".to_owned())),
        (LINE.replacen("ed25519", "rsa", 1), KeyError::UnsupportedAlgorithm("ssh-rsa".to_owned())),
        (" ".repeat(MAX_KEY + 1), KeyError::TooLarge { size: MAX_KEY + 1 }),
    ] {
        assert_eq!(PublicKey::from_openssh(&line), Err(error), "{line:.80}");
    }
}

#[test]
fn reads_keys_in_hardware() {
    for (authenticator, kind, application) in [
        (Authenticator::ed25519(1), KeyKind::SkEd25519, "ssh:"),
        (Authenticator::ecdsa(1), KeyKind::SkEcdsa, "ssh:"),
        (Authenticator::passkey(1), KeyKind::SkEcdsa, DOMAIN),
        (Authenticator::ed25519(1).for_application("ssh:production"), KeyKind::SkEd25519, "ssh:production"),
    ] {
        let key = PublicKey::from_openssh(&format!("{} alice's", authenticator.line())).expect("a key");
        assert_eq!((key.kind(), key.application(), key.comment()), (kind, Some(application), "alice's"));
        assert!(key.kind().is_hardware());
        assert_eq!(key.to_openssh(), authenticator.line());
        assert_eq!(key.to_wire(), authenticator.blob());
        assert_eq!(PublicKey::from_wire(&authenticator.blob(), "").as_ref(), Ok(&key));
        // What OpenSSH prints is what ssh-key computes.
        let theirs = ssh_key::PublicKey::from_openssh(&authenticator.line());
        if kind == KeyKind::SkEd25519 {
            assert_eq!(key.fingerprint(), theirs.expect("a key").fingerprint(ssh_key::HashAlg::Sha256).to_string());
        }
    }
    let keys =
        [Authenticator::ed25519(1), Authenticator::ed25519(2), Authenticator::ed25519(1).for_application("ssh:x")];
    let keys = keys.map(|key| PublicKey::from_openssh(&key.line()).expect("a key"));
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[0].fingerprint() != keys[2].fingerprint());
    assert_eq!(keys[0].secret(), keys[2].secret());
    assert_ne!(keys[0].secret(), keys[1].secret());
}

#[test]
fn every_byte_of_a_key_in_hardware_is_read() {
    for authenticator in [Authenticator::ed25519(1), Authenticator::ecdsa(1)] {
        let blob = authenticator.blob();
        for length in 0..blob.len() {
            assert!(PublicKey::from_wire(&blob[..length], "").is_err(), "{length}");
        }
        assert!(PublicKey::from_wire(&[&blob[..], &[0]].concat(), "").is_err());
        // The kind before the base64 is the one within.
        let other = if authenticator.kind() == KeyKind::SkEcdsa.name() { KeyKind::SkEd25519 } else { KeyKind::SkEcdsa };
        let error = PublicKey::from_openssh(&authenticator::line(other.name(), &blob)).expect_err("another kind");
        assert!(error.to_string().contains("is not the one within"), "{error}");
        for application in ["", " ", "ssh: ", "ssh:\n", "ssh:\u{202e}", "é", &"x".repeat(256)] {
            let blob = authenticator.clone().for_application(application).blob();
            let error = PublicKey::from_wire(&blob, "").expect_err(application).to_string();
            assert!(error.contains("its application"), "{error}");
        }
    }
}

/// Points of the curve in any encoding but the one, and what is no point of it.
#[test]
fn points_have_one_encoding() {
    let key = |point: &[u8]| {
        let blob = strings(&[KeyKind::SkEcdsa.name().as_bytes(), CURVE, point, b"ssh:"]);
        PublicKey::from_wire(&blob, "")
    };
    // The smallest x of a point, so that it has a second encoding below 2^256, the prime added.
    let mut small = (1_u8..).find_map(|x| {
        let mut bytes = [0; 33];
        (bytes[0], bytes[32]) = (2, x);
        P256Key::from_sec1_bytes(&bytes).ok()
    });
    let good = small.take().expect("a point").as_affine().to_encoded_point(false);
    let good = good.as_bytes();
    assert!(key(good).is_ok());
    let mut above = good.to_vec();
    let prime: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let mut carry = 0;
    for (byte, add) in std::iter::zip(&mut above[1..33], prime).rev() {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    let mut off_the_curve = good.to_vec();
    off_the_curve[64] ^= 1;
    let compressed = [&[2 | (good[64] & 1)][..], &good[1..33]].concat();
    let hybrid = [&[6 | (good[64] & 1)][..], &good[1..]].concat();
    let zero = [&[4][..], &[0; 64]].concat();
    let longer = [good, &[0]].concat();
    for bad in [&[0][..], &[], &above, &off_the_curve, &compressed, &hybrid, &zero, &longer, &good[..64], &[0; 65]] {
        let error = key(bad).expect_err("no point").to_string();
        assert!(error.contains("its bytes are damaged"), "{bad:?}: {error}");
    }
    let blob = strings(&[KeyKind::SkEcdsa.name().as_bytes(), b"nistp384", good, b"ssh:"]);
    assert!(PublicKey::from_wire(&blob, "").is_err());
}

/// The points that ssh-ed25519 refuses, under the name of hardware.
#[test]
fn weak_points_are_none_in_hardware_either() {
    let mut one = [0; 32];
    one[0] = 1;
    for point in [one, [0; 32], [0xff; 32]] {
        let blob = strings(&[KeyKind::SkEd25519.name().as_bytes(), &point, b"ssh:"]);
        assert_eq!(PublicKey::from_wire(&blob, ""), Err(KeyError::Weak));
    }
}

/// A point and its negative: whoever has the secret of one has the other's.
#[test]
fn one_secret_is_known_by_its_points() {
    let authenticator = Authenticator::ecdsa(1);
    let mut point = PublicKey::from_wire(&authenticator.blob(), "").expect("a key");
    let secret = point.secret();
    let Point::P256(p256) = &point.point else { panic!("another curve") };
    let mut negative = p256.to_encoded_point(true).as_bytes().to_vec();
    negative[0] ^= 1;
    point.point = Point::P256(P256Key::from_sec1_bytes(&negative).expect("a point"));
    assert_eq!(point.secret(), secret);
    let software = crate::fixture::key(1);
    let same = PublicKey::from_wire(&Authenticator::ed25519(1).blob(), "").expect("a key");
    assert_eq!(software.public_key().secret(), same.secret());
    assert_ne!(software.public_key(), &same);
}
