//! A step that takes more than it was given is stopped in the middle, and what it did until then is undone.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::place::{Place, name, two_faced};
use support::{Runs, bundle_with};

/// A run of a fix with these grants whose mood changes once it is approved; it has changed `a`, or `a` and `b`, by then.
#[track_caller]
fn overrun(grants: [&str; 2], mood: &str, changes: usize) -> (Place, Value) {
    let place = Place::new();
    let edit = |manifest: &str| {
        let [read, write] = grants.map(|limit| format!(" {limit}\""));
        let (fix, rest) = manifest.split_once("[steps.rollback]").expect("it has a rollback step");
        let fix = fix.replacen("{folder}/**\"", &format!("{{folder}}/**{read}"), 1);
        let fix = fix.replacen("set-mode,discard\"", &format!("set-mode,discard{write}"), 1);
        format!("{fix}[steps.rollback]{rest}")
    };
    let bundle = bundle_with("hostile/two-faced", &place.state.path("bundle"), edit);
    let proposal = name(&place.proposing(&bundle).ran().expect(0).json());
    place.approve(&proposal);
    place.put("mood", mood);
    let before = place.standing();
    let ran = place.run(&proposal).expect(4);
    let report = ran.json();
    let of_fix = report["changes"].as_array().expect("changes").iter().filter(|change| change["role"] == "fix").count();
    assert_eq!((&report["outcome"], of_fix, &report["left"]), (&json!("rolled-back"), changes, &json!([])), "{report}");
    assert_eq!(place.standing(), before);
    (place, report)
}

#[test]
fn more_calls_than_granted() {
    let (place, report) = overrun(["max-calls=100", "max-calls=2"], "extra", 2);
    let folder = place.folder.display();
    let verbs = "verbs=replace,create,remove,truncate,set-mode,discard";
    let why = format!("the limit of `files.write {folder}/** {verbs} max-calls=2` is used up");
    assert_eq!(report["denied"]["why"], why.as_str(), "{report}");
    assert_eq!(report["reason"], format!("`files.replace {folder}/c` was denied: {why}"));
}

#[test]
fn more_bytes_written_than_granted() {
    let (place, report) = overrun(["max-calls=100", "max-bytes=20"], "extra", 2);
    let folder = place.folder.display();
    let verbs = "verbs=replace,create,remove,truncate,set-mode,discard";
    let why = format!("the limit of `files.write {folder}/** {verbs} max-bytes=20` is used up");
    assert_eq!(report["reason"], format!("`files.replace {folder}/c` was denied: {why}"));
}

/// The tenth reading of the mood is too much, and that one comes after the first change.
#[test]
fn more_bytes_read_than_granted() {
    let mood = format!("good{}", " ".repeat(101));
    let (place, report) = overrun(["max-bytes=1000", "max-calls=2"], &mood, 1);
    let says = "was denied: the reply's 106 bytes are over the grant's limit";
    assert_eq!(report["reason"], format!("`files.read {}/mood` {says}", place.folder.display()));
}

#[test]
fn more_time_than_a_step_has() {
    let place = Place::new();
    let proposal = name(&place.proposing(two_faced()).ran().expect(0).json());
    place.approve(&proposal);
    place.put("mood", "endless");
    let before = place.standing();
    let report = place.run(&proposal).expect(4).json();
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    assert_eq!(report["reason"], "the fix failed: the step used up its fuel of 20000000000 instructions");
    assert_eq!(place.standing(), before);
}
