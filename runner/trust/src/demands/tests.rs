use super::*;
use crate::authenticator::{Authenticator, DOMAIN, ORIGIN};
use crate::fixture::key;
use crate::{sign, verify};

const SPACE: &str = "approval@countersign";

fn by(authenticator: &Authenticator) -> Signer {
    verify(SPACE, b"x", authenticator.sign(SPACE, b"x").as_bytes()).expect("valid")
}

fn by_file() -> Signer {
    verify(SPACE, b"x", sign(&key(1), SPACE, b"x").expect("signed").as_bytes()).expect("valid")
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn untouched_hardware_never_counts() {
    let most = Demands { origins: set(&[ORIGIN]), ..Demands::default() };
    for key in [Authenticator::ed25519(1), Authenticator::ecdsa(1), Authenticator::passkey(1)] {
        assert_eq!(most.satisfied_by(&by(&key)), Ok(()));
        assert_eq!(most.satisfied_by(&by(&key.clone().untouched())), Err(Unmet::Touch));
        // To say who it was is not to say that somebody was there.
        assert_eq!(most.satisfied_by(&by(&key.untouched().verified())), Err(Unmet::Touch));
    }
    assert_eq!(Demands::default().satisfied_by(&by_file()), Ok(()));
}

#[test]
fn a_touch_and_a_pin_are_hardwares() {
    let (touch, pin) = (Demands { touch: true, ..Demands::default() }, Demands { pin: true, ..Demands::default() });
    assert_eq!(touch.satisfied_by(&by_file()), Err(Unmet::Hardware { pin: false }));
    assert_eq!(pin.satisfied_by(&by_file()), Err(Unmet::Hardware { pin: true }));
    for key in [Authenticator::ed25519(1), Authenticator::ecdsa(1)] {
        assert_eq!(touch.satisfied_by(&by(&key)), Ok(()));
        assert_eq!(pin.satisfied_by(&by(&key)), Err(Unmet::Pin));
        assert_eq!(pin.satisfied_by(&by(&key.verified())), Ok(()));
    }
}

#[test]
fn applications_and_origins_are_the_listed_ones() {
    let ours = Demands { applications: Some(set(&["ssh:production"])), ..Demands::default() };
    let key = Authenticator::ed25519(1);
    assert_eq!(ours.satisfied_by(&by(&key.clone().for_application("ssh:production"))), Ok(()));
    for other in ["ssh:", "ssh:production.", "ssh:PRODUCTION"] {
        let unmet = ours.satisfied_by(&by(&key.clone().for_application(other))).expect_err(other);
        assert_eq!(unmet, Unmet::Application { found: other.to_owned(), allowed: vec!["ssh:production".to_owned()] });
        assert!(unmet.hint().contains("-O application=ssh:production"), "{}", unmet.hint());
    }
    assert_eq!(ours.satisfied_by(&by_file()), Ok(()));

    let passkey = Authenticator::passkey(1);
    let nowhere = Demands::default().satisfied_by(&by(&passkey)).expect_err("no origin is listed");
    assert_eq!(nowhere, Unmet::Origin { found: ORIGIN.to_owned(), allowed: Vec::new() });
    let here = Demands { origins: set(&[ORIGIN]), applications: Some(set(&[DOMAIN])), ..Demands::default() };
    assert_eq!(here.satisfied_by(&by(&passkey)), Ok(()));
    for other in ["https://evil.example", "https://countersign.example.org:444", "http://localhost"] {
        let unmet = here.satisfied_by(&by(&passkey.clone().at(other))).expect_err(other);
        assert_eq!(unmet, Unmet::Origin { found: other.to_owned(), allowed: vec![ORIGIN.to_owned()] });
    }
}

#[test]
fn of_two_the_stricter_holds() {
    let one = Demands { touch: true, origins: set(&["https://a", "https://b"]), ..Demands::default() };
    let other = Demands {
        pin: true,
        origins: set(&["https://b", "https://c"]),
        applications: Some(set(&["ssh:x", "ssh:y"])),
        ..Demands::default()
    };
    let third = Demands { applications: Some(set(&["ssh:y"])), origins: one.origins.clone(), ..Demands::default() };
    let both = one.and(&other);
    assert_eq!(both, other.and(&one));
    assert!(both.touch && both.pin);
    assert_eq!(
        (both.origins.clone(), both.applications.clone()),
        (set(&["https://b"]), Some(set(&["ssh:x", "ssh:y"])))
    );
    assert_eq!(both.and(&third).applications, Some(set(&["ssh:y"])));
    assert_eq!(both.and(&both), both);
}

#[test]
fn messages_say_what_is_missing_and_what_to_do() {
    for (unmet, says, hint) in [
        (Unmet::Touch, "nobody touched", "no-touch-required"),
        (Unmet::Hardware { pin: false }, "a touch is demanded", "`ssh-keygen -t ed25519-sk` makes"),
        (Unmet::Hardware { pin: true }, "a PIN is demanded", "-O verify-required"),
        (Unmet::Pin, "asked for none", "-O verify-required"),
        (
            Unmet::Application { found: "ssh:".to_owned(), allowed: vec!["ssh:a".to_owned(), "ssh:b".to_owned()] },
            "the application `ssh:`, expected `ssh:a` or `ssh:b`",
            "application=ssh:a",
        ),
        (Unmet::Origin { found: "https://a".to_owned(), allowed: Vec::new() }, "and none is allowed", "[keys]"),
    ] {
        assert!(unmet.to_string().contains(says), "{unmet}");
        assert!(unmet.hint().contains(hint), "{}", unmet.hint());
    }
}
