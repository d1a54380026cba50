//! What is signed of a confirmation, and what may be ordered besides.

use crate::support::Runs;
use crate::support::place::Place;
use crate::{Confirming, confirm, ends};

#[test]
fn the_approval_says_it_and_the_review_shows_it() {
    let place = Place::new();
    let proposal = place.propose();
    let mut approve = place.command(&["approve", &proposal, "--reason", "agreed", "--confirm-within", "10m", "--key"]);
    approve.arg(place.state.path("alice")).ran().expect(0).shows("to be confirmed within 10m, silence rolls it back");
    place
        .state
        .run(&["review", &proposal])
        .expect(0)
        .shows("a run by it is to be confirmed within 10m, silence rolls it back");
    let review = place.state.run(&["--json", "review", &proposal]).expect(0).json();
    let asked = serde_json::json!({ "within_ms": 600_000, "silence": "roll-back" });
    assert_eq!(review["approvals"][0]["confirmation"], asked);
    // It is in the manifest that was signed.
    let manifest = std::fs::read_dir(place.state.path("state/approvals")).expect("a folder");
    let manifest = manifest
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|e| e == "json"));
    let manifest = std::fs::read_to_string(manifest.expect("a manifest")).expect("text");
    assert!(manifest.contains(r#""confirmation":{"within-ms":600000,"silence-keeps":false}"#), "{manifest}");
}

#[test]
fn what_was_signed_is_shortened_and_neither_lengthened_nor_left_out() {
    let place = Place::new();
    let proposal = place.propose();
    place.approving(&proposal).args(["--confirm-within", "2s", "--silence", "keep"]).ran().expect(0);
    let before = place.standing();
    let mut longer = place.command(&["--json", "run", &proposal, "--confirm-within", "3s"]);
    let refused = longer.ran().expect(3).says("confirmed within 2s").says("no use is spent");
    assert_eq!(refused.json()["outcome"], "refused");
    assert_eq!(place.standing(), before);
    // Shorter is allowed, and what silence means stays as it was signed.
    let mut shorter = place.command(&["--json", "run", &proposal, "--confirm-within", "1s"]);
    let report = shorter.ran().expect(0).json();
    assert_eq!((&report["outcome"], &report["confirmation"]["silence"]), (&"committed".into(), &"keep".into()));
}

#[test]
fn what_was_signed_is_waited_for_without_being_ordered() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    confirm(&place, &confirming.run).expect(0);
    ends(confirming, 0, "committed");
}

#[test]
fn spans_that_nobody_waits_are_not_typed() {
    let place = Place::new();
    for words in [
        ["run", "p-0123456789ab", "--confirm-within", "8d"],
        ["run", "p-0123456789ab", "--confirm-within", "0s"],
        ["approve", "p-0123456789ab", "--confirm-within", "8d"],
        ["approve", "p-0123456789ab", "--silence", "keep"],
    ] {
        place.state.run(&words).expect(2);
    }
}
