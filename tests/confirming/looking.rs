//! While it waits, check and guards are repeated, and the first that does not hold rolls it back.

use crate::support::Runs;
use crate::support::place::Place;
use crate::{Confirming, confirm, ends, outcome};

/// A place with a guard that fails once where there is a file `smoke`, which goes then.
fn alarmed() -> Place {
    let place = Place::new();
    let smoke = place.folder.join("smoke");
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"no smoke\"\n\
         command = [\"/bin/sh\", \"-c\", \"test ! -e {0} || {{ rm {0}; exit 1; }}\"]\n",
        smoke.display()
    ));
    place
}

#[test]
fn a_check_that_fails_rolls_it_back() {
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h", "--silence", "keep"], &[]);
    place.put("mood", "bad\n");
    let report = ends(confirming, 4, "rolled-back");
    let reason = report["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("while it waited for a confirmation, the check says unhealthy"), "{reason}");
    place.put("mood", "good\n");
    assert_eq!(place.standing(), before);
    let run = report["run"].as_str().expect("a run");
    confirm(&place, run).expect(3).says("it ended rolled-back: while it waited");
}

#[test]
fn a_guard_that_fails_rolls_it_back() {
    let place = alarmed();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    place.put("smoke", "");
    let report = ends(confirming, 4, "rolled-back");
    let reason = report["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("while it waited for a confirmation, guard `no smoke` does not hold"), "{reason}");
    assert_eq!(place.standing(), before);
}

/// Nobody looked while there was no process, and silence keeps only what holds at its end.
#[test]
fn silence_keeps_nothing_that_does_not_hold_at_its_end() {
    for (mood, ends) in [("good\n", "committed"), ("bad\n", "rolled-back")] {
        let place = Place::new();
        let run = Confirming::approved(&place, &["--confirm-within", "1h", "--silence", "keep"], &[]).kill();
        place.put("mood", mood);
        let mut recover = place.command(&["--json", "recover"]);
        let recovered = recover.env("COUNTERSIGN_TEST_NOW", crate::hours_from_now(2)).ran().expect(0).json();
        assert_eq!(recovered["runs"][0]["outcome"], ends, "{recovered}");
        assert_eq!(outcome(&place, &run), ends);
        assert_eq!(place.text("a") == "fixed\n", ends == "committed");
    }
}
