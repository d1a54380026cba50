//! Keys that are more than one, or anybody's, and hardware that does not say what is asked of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::authenticator::{Authenticator, ORIGIN};
use crate::edwards::{self, Secret};
use crate::signed::{APPROVAL, Unsigned, alice_has, line};
use crate::support::away::text;
use crate::support::place::Place;
use crate::support::{Ran, Runs, State, countersign};

fn draft(state: &State, change: impl FnOnce(&str) -> String) -> PathBuf {
    let before = fs::read_to_string(state.path("state/trust-policy.toml")).expect("there is a policy");
    let changed = change(&before.replace("serial = 1\n", "serial = 2\n"));
    let path = state.path("next.toml");
    fs::write(&path, changed).expect("it can be written");
    path
}

/// With this policy nothing is proposed, signed, installed or begun.
#[track_caller]
fn not_a_policy(state: &State, draft: &Path, says: &str) {
    let alice = state.path("alice");
    state.run(&["trust", "propose", text(draft)]).expect(1).says(says);
    state.run(&["trust", "sign", text(draft), "--key", text(&alice)]).expect(1).says(says);
    state.run(&["trust", "install", text(draft)]).expect(3).says(says);
}

/// Those who sign are counted by who they are, and not by their keys.
#[test]
fn two_of_one_person_count_once() {
    let place = Place::new();
    for name in ["another", "bob"] {
        place.state.keygen(name);
    }
    let bob = line(&place.state, "bob");
    alice_has(
        &place.state,
        &[line(&place.state, "alice"), line(&place.state, "another")],
        &format!("[[people]]\nname = \"bob\"\nkeys = [\"{bob}\"]\nmay = [\"approve\"]\n"),
    );
    place.state.policy(|policy| policy.replace("people = 1", "people = 2"));
    let unsigned = Unsigned::of(&place);
    let before = place.standing();
    for key in ["alice", "another"] {
        let handed_in = unsigned.hand_in(&unsigned.sign(key, APPROVAL));
        assert!([0, 3].contains(&handed_in.code), "{}", handed_in.stderr);
        place.run(&unsigned.proposal).expect(3).says("2 people must approve");
    }
    let pending = place.state.run(&["--json", "pending"]).expect(0).json()["pending"][0].clone();
    assert_eq!((&pending["signed"], &pending["quorum"]), (&1.into(), &2.into()), "{pending}");
    assert_eq!(place.standing(), before);
    unsigned.hand_in(&unsigned.sign("bob", APPROVAL)).expect(0);
    place.run(&unsigned.proposal).expect(0);
}

#[test]
fn listed_under_two_people() {
    let state = State::new();
    let alice = line(&state, "alice");
    let again = |key: &str| format!("[[people]]\nname = \"mallory\"\nkeys = [\"{key}\"]\nmay = [\"approve\"]\n");
    // The same line with another comment, and the same secret in hardware's clothes.
    let renamed = format!("{} mallory", alice.rsplit_once(' ').expect("a comment").0);
    let next = draft(&state, |policy| format!("{policy}\n{}", again(&renamed)));
    not_a_policy(&state, &next, "listed");
    let agents = format!("[[agents]]\nname = \"robot\"\nowner = \"alice\"\nkeys = [\"{alice}\"]\n");
    let next = draft(&state, |policy| format!("{policy}\n{agents}"));
    not_a_policy(&state, &next, "listed");
    // Pinned by its digest, no signature is asked for, and the keys are looked at all the same.
    state.policy(|policy| format!("{policy}\n{}", again(&renamed)));
    state.run(&["pending"]).expect(1).says("listed");
    // Nor is it taken twice when the first policy is made.
    fs::write(state.path("same.pub"), format!("{renamed}\n")).expect("it can be written");
    let mut init = countersign();
    init.arg("--state").arg(state.path("another")).arg("init");
    init.arg("--approver").arg(state.path("alice.pub")).arg("--proposer").arg(state.path("same.pub"));
    let made = init.ran();
    if made.code == 0 {
        // It is one person, who may do both.
        let policy = fs::read_to_string(state.path("another/trust-policy.toml")).expect("a policy");
        assert_eq!(policy.matches("[[people]]").count() + policy.matches("[[agents]]").count(), 1, "{policy}");
    }
}

/// Keys of small order, or that stand for another in a second encoding, are nobody's.
#[test]
fn of_small_order_or_in_another_encoding() {
    let state = State::new();
    let honest = Secret::new(9);
    let mut lines: Vec<String> = edwards::small().iter().map(edwards::line).collect();
    lines.push(edwards::line(&honest.public_with_torsion()));
    let add = |line: &str| format!("[[people]]\nname = \"mallory\"\nkeys = [\"{line}\"]\nmay = [\"approve\"]\n");
    let init = |line: &str| -> Ran {
        let key = state.path("mallory.pub");
        fs::write(&key, format!("{line} mallory\n")).expect("it can be written");
        let mut init = countersign();
        init.arg("--state").arg(state.path("another")).arg("init").arg("--approver").arg(&key).ran()
    };
    for line in &lines {
        let next = draft(&state, |policy| format!("{policy}\n{}", add(line)));
        not_a_policy(&state, &next, "weak");
        init(line).expect(1).says("weak");
        assert!(!state.path("another").exists());
    }
    // The same in hardware's clothes.
    let hardware = lines[0].replace("ssh-ed25519", "sk-ssh-ed25519@openssh.com");
    let next = draft(&state, |policy| format!("{policy}\n{}", add(&hardware)));
    state.run(&["trust", "propose", text(&next)]).expect(1);
    // What an honest signer would have had is taken.
    let next = draft(&state, |policy| format!("{policy}\n{}", add(&edwards::line(&honest.public))));
    state.run(&["trust", "propose", text(&next)]).expect(0);
    init(&edwards::line(&honest.public)).expect(0);
}

/// Each thing that hardware says of a signature, handed in and slipped in.
#[test]
fn in_hardware_that_says_less_than_it_must() {
    for by in [Authenticator::ed25519(1), Authenticator::ecdsa(2), Authenticator::passkey(3)] {
        let place = Place::new();
        let rest = format!("[keys]\norigins = [\"{ORIGIN}\"]\n[[quorums]]\nname = \"pin\"\npeople = 1\npin = true\n");
        alice_has(&place.state, &[by.line()], &rest);
        let unsigned = Unsigned::of(&place);
        let before = place.standing();
        let signed = |by: &Authenticator| by.sign(APPROVAL, &unsigned.bytes());
        let mut table = vec![
            (by.clone().verified().untouched(), "nobody touched the hardware key"),
            (by.clone().for_application("ssh:other").verified(), "does not list"),
        ];
        if by.browser.is_some() {
            table.push((by.clone().verified().at("https://evil.example"), "at the origin `https://evil.example`"));
            table.push((by.clone().verified().at(&format!("{ORIGIN}.evil.example")), "at the origin"));
        }
        for (by, says) in &table {
            unsigned.hand_in(&signed(by)).expect(3).says(says);
        }
        // Touched, and without the PIN that the quorum wants: it may be kept, and does not count.
        let without = unsigned.hand_in(&signed(&by));
        assert!([0, 3].contains(&without.code), "{}", without.stderr);
        place.run(&unsigned.proposal).expect(3);
        let taken = unsigned.hand_in(&signed(&by.clone().verified())).expect(0).json();
        for (by, _) in &table {
            if without.code == 3 {
                unsigned.slip_in(&taken, &signed(by)).expect(3);
            }
        }
        assert_eq!(place.standing(), before, "nothing changed");
        place.run(&unsigned.proposal).expect(0);
    }
}
