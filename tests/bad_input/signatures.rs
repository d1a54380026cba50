//! Signatures that are empty, cut, armored twice or over something else, and approvals that are not good now.

use std::fs;

use crate::row::{NOON, Row, at_noon};
use crate::support::place::{Place, two_faced};
use crate::support::{Ran, Runs, ssh_keygen};

struct Signed {
    place: Place,
    proposal: String,
    manifest: String,
}

impl Signed {
    fn new() -> Self {
        let place = Place::new();
        let proposal = place.propose();
        let manifest = place.state.path("approval.json").to_str().expect("UTF-8").to_owned();
        place.state.run(&["approve", &proposal, "--reason", "x", "--write-manifest", &manifest]).expect(0);
        let signed = Self { place, proposal, manifest };
        signed.sign();
        signed
    }

    fn sign(&self) {
        let _ = fs::remove_file(self.signature());
        let alice = self.place.state.path("alice");
        let alice = alice.to_str().expect("UTF-8");
        ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", alice, &self.manifest]);
    }

    fn signature(&self) -> String {
        format!("{}.sig", self.manifest)
    }

    fn take(&self) -> Ran {
        let signature = self.signature();
        self.place.state.run(&["approve", &self.proposal, "--manifest", &self.manifest, "--signature", &signature])
    }
}

#[test]
fn empty_truncated_or_armored_twice() {
    let signed = Signed::new();
    let (place, good) = (&signed.place, fs::read_to_string(signed.signature()).expect("it is text"));
    let before = place.standing();
    let inside: String = good.lines().filter(|line| !line.starts_with("-----")).collect();
    let twice = good.replace(&inside[..20], &good);
    for (text, says) in [
        (String::new(), "it is empty"),
        (" \n".to_owned(), "it is empty"),
        (good[..good.len() / 2].to_owned(), "it must begin with"),
        (good.replacen(&inside[10..30], "", 1), "damaged"),
        (format!("{good}{good}"), "it holds more than one block"),
        (twice, "it holds more than one block"),
        (format!("a word before\n{good}"), "it must begin with"),
        (good.replace("SSH SIGNATURE", "PGP SIGNATURE"), "it must begin with"),
        ("\u{1b}]0;x\u{7}".to_owned(), "it must begin with"),
    ] {
        fs::write(signed.signature(), text).expect("it can be written");
        signed.take().row(3, says);
        place.run(&signed.proposal).row(3, "");
    }
    fs::write(signed.signature(), good).expect("it can be put back");
    signed.take().expect(0);
    assert_eq!(place.standing(), before, "nothing changed");
    place.run(&signed.proposal).expect(0);
}

#[test]
fn a_manifest_that_is_no_manifest() {
    let signed = Signed::new();
    let good = fs::read_to_string(&signed.manifest).expect("it is text");
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    for (text, says) in [
        ("{}".to_owned(), "missing field"),
        (good[..good.len() - 1].to_owned(), "EOF while parsing"),
        (good.replacen('{', "{\"colour\":\"red\",", 1), "unknown field `colour`"),
        (good.replacen('{', "{\"_type\":\"x\",", 1), "the key `_type` stands twice"),
        (good.replacen("\"uses\":1", &format!("\"uses\":{deep}"), 1), "nested too deeply"),
        (good.replacen("\"uses\":1", "\"uses\":1.5", 1), "not a whole number"),
    ] {
        fs::write(&signed.manifest, text).expect("it can be written");
        signed.sign();
        signed.take().row(3, says);
    }
    signed.place.run(&signed.proposal).row(3, "nobody has");
}

/// What the trust policy allows bounds what is signed elsewhere, too.
#[test]
fn an_approval_beyond_the_policys_terms() {
    let signed = Signed::new();
    let good = fs::read_to_string(&signed.manifest).expect("it is text");
    let expires = number(&good, "expires");
    for (text, says) in [
        (
            good.replace(&format!("\"expires\":{expires}"), &format!("\"expires\":{}", expires + 400 * 86_400_000)),
            "the trust policy allows",
        ),
        (good.replace("\"uses\":1", "\"uses\":2"), "runs, and the trust policy allows 1 to 1"),
        (good.replace("\"uses\":1", "\"uses\":4000000000"), "runs, and the trust policy allows 1 to 1"),
    ] {
        assert_ne!(text, good);
        fs::write(&signed.manifest, text).expect("it can be written");
        signed.sign();
        signed.take().row(3, says);
    }
    signed.place.run(&signed.proposal).row(3, "nobody has");
}

fn number(text: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(&format!("\"{key}\":")).expect("it is there");
    rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
}

#[test]
fn an_approval_that_is_not_yet_valid() {
    let signed = Signed::new();
    let good = fs::read_to_string(&signed.manifest).expect("it is text");
    let (from, to) = (number(&good, "not-before"), number(&good, "expires"));
    let later = good
        .replace(&format!("\"not-before\":{from}"), &format!("\"not-before\":{}", from + 86_400_000))
        .replace(&format!("\"expires\":{to}"), &format!("\"expires\":{}", to + 86_400_000));
    fs::write(&signed.manifest, later).expect("it can be written");
    signed.sign();
    signed.take().expect(0);
    let before = signed.place.standing();
    signed.place.run(&signed.proposal).row(3, "the approval is valid from ").says("wait until it is valid");
    assert_eq!(signed.place.standing(), before);
    // On the next day it is.
    let mut run = signed.place.command(&["run", &signed.proposal]);
    run.env("COUNTERSIGN_TEST_NOW", (from + 86_400_000 + 1000).to_string()).ran().expect(0);
}

#[test]
fn an_expired_approval() {
    let place = at_noon();
    let at = |now: u64, command: &mut std::process::Command| command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran();
    let proposed = at(NOON, &mut place.proposing(two_faced())).expect(0).json();
    let proposal = crate::support::place::name(&proposed);
    at(NOON, &mut place.approving(&proposal)).expect(0);
    let before = place.standing();
    at(NOON + 3_600_000, &mut place.command(&["run", &proposal]))
        .row(3, "the approval expired at 2033-05-18T04:33:20Z");
    assert_eq!(place.standing(), before);
    at(NOON + 400 * 86_400_000, &mut place.approving(&proposal)).row(3, "the proposal expired");
}
