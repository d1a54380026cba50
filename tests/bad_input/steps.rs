//! Steps that do in a run what they did not do when they were rehearsed, or more than anybody could review.

use serde_json::Value;

use crate::row::Row;
use crate::support::place::Place;

fn kept(place: &Place) -> usize {
    let pending = place.state.run(&["--json", "pending"]).expect(0).json();
    pending["pending"].as_array().map_or(0, Vec::len)
}

/// A run that must end as it began.
#[track_caller]
fn rolled_back(whim: &str, says: &str) -> Value {
    let place = Place::new();
    let proposal = place.approved();
    place.put("mood", whim);
    let before = place.standing();
    let report = place.run(&proposal).expect(4).json();
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains(says)), "{report}");
    assert_eq!(report["outcome"], "rolled-back");
    assert_eq!(place.standing(), before);
    report
}

#[test]
fn a_fix_that_stops_early_is_rolled_back() {
    rolled_back("stop", "the fix stopped after 1 of the approved plan's 2 changes");
}

/// Whatever the step makes of the refusal.
#[test]
fn a_fix_that_writes_more_is_rolled_back() {
    rolled_back("extra", "comes after the approved plan's 2 changes");
}

/// The bound is the runner's own: no grant is said to help.
#[test]
fn a_fix_that_calls_without_end_is_rolled_back() {
    let report = rolled_back("calls", "a step may make 10000 calls at most");
    assert_eq!(report["denied"]["grant"], Value::Null, "{report}");
}

#[test]
fn a_check_that_does_not_pass_rolls_the_fix_back() {
    rolled_back("bad", "the check says unhealthy");
}

/// The rollback step's own change is undone by the host when the proof finds it.
#[test]
fn a_rollback_step_that_leaves_a_change_is_undone_itself() {
    let place = Place::new();
    let proposal = place.approved();
    place.put("mood", "bad leave");
    let before = place.standing();
    let ran = place.run(&proposal).expect(4);
    assert_eq!(ran.json()["left"], serde_json::json!([]));
    assert_eq!(place.standing(), before);
    assert!(ran.stderr.contains("every subject read back equals its before-image"), "{}", ran.stderr);
}

#[test]
fn a_rollback_that_leaves_other_subjects_changed_is_not_proposed() {
    let place = Place::new();
    place.put("mood", "leave");
    let before = place.standing();
    place
        .try_propose()
        .row(3, "the rollback does not put everything back")
        .says(&format!("{}/c", place.folder.display()));
    assert_eq!((kept(&place), place.standing()), (0, before));
}

/// Nobody signs what they could not have seen, so that it is not even kept.
#[test]
fn a_plan_too_large_to_be_reviewed_is_not_proposed() {
    for (whim, says) in [("many", "205 changes are more than 200"), ("large", "its changes are over 524288 bytes")] {
        let place = Place::new();
        place.put("mood", whim);
        let before = place.standing();
        place.try_propose().row(3, says).says("the plan is too large to be reviewed as a whole");
        assert_eq!((kept(&place), place.standing()), (0, before));
    }
}

#[test]
fn more_than_a_thousand_reads_are_not_recorded_and_so_refused() {
    let place = Place::new();
    place.put("mood", "reads");
    let before = place.standing();
    place.try_propose().row(3, "it is over 1000 reads");
    assert_eq!((kept(&place), place.standing()), (0, before));
}
