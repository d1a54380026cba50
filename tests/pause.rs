//! New runs stop at once, by any one person who has a say; what is under way goes on, and undoing is never kept waiting.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use support::place::Place;
use support::under::{Saying, Under};
use support::{Ran, Runs};

/// `pause` with a key, and more words.
fn by(place: &Place, key: &str, more: &[&str]) -> Ran {
    let mut command = place.command(&["--json", "pause", "--reason", "the sale", "--key"]);
    command.arg(place.state.path(key)).args(more).ran()
}

#[test]
fn no_new_run_begins_until_the_pause_is_lifted() {
    let place = Place::new();
    let proposal = place.approved();
    let waiting = place.propose();
    let before = place.standing();
    let paused = by(&place, "alice", &[]).expect(0).json();
    assert_eq!((&paused["paused"], &paused["by"], &paused["running"]), (&json!(true), &json!("alice"), &json!([])));
    for words in [&["--json", "run", &proposal][..], &["--json", "run", &proposal, "--wait"]] {
        let refused = place.state.run(words).expect(3).says("new runs are paused, by alice at ").says(": the sale");
        let refused = refused.says("nothing changed and no use is spent").says("countersign pause --lift");
        assert_eq!(refused.json()["outcome"], "refused");
    }
    assert_eq!(place.standing(), before);

    // Whoever looks is told, and nothing is called approved that a run would refuse.
    let ran = place.state.run(&["--json", "pending"]).expect(0).says("new runs are paused, by alice");
    assert_eq!(ran.stderr.matches("new runs are paused").count(), 1, "{}", ran.stderr);
    let pending = ran.json();
    let status = |name: &str| {
        let all = pending["pending"].as_array().expect("a list");
        all.iter().find(|pending| pending["proposal"] == name).expect("it is listed")["status"].clone()
    };
    assert_eq!((status(&proposal), status(&waiting)), (json!("cannot run"), json!("waits for approval")));
    let runs = place.state.run(&["--json", "runs"]).expect(0).says("new runs are paused, by alice").json();
    for object in [&pending, &runs] {
        assert_eq!((&object["paused"]["by"], &object["paused"]["reason"]), (&json!("alice"), &json!("the sale")));
    }
    // Approving, and proposing to undo, go on.
    place.approve(&waiting);

    let lifted = by(&place, "alice", &["--lift"]).expect(0).json();
    assert_eq!((&lifted["paused"], &lifted["by"]), (&json!(false), &json!("alice")));
    place.run(&proposal).expect(0);
    assert_eq!(place.state.run(&["--json", "runs"]).expect(0).json()["paused"], json!(null));
}

#[test]
fn who_may_pause_and_who_may_not() {
    let place = Place::new();
    place.state.keygen("stranger");
    for key in ["agent", "stranger"] {
        by(&place, key, &[]).expect(3).says("may not pause new runs: only people who may operate or approve can");
    }
    by(&place, "alice", &["--lift"]).expect(1).says("new runs are not paused").says("there is nothing to lift");
    let mut command = place.command(&["pause", "--reason", " ", "--key"]);
    command.arg(place.state.path("alice")).ran().expect(1).says("`--reason` is empty");
    let proposal = place.approved();
    by(&place, "alice", &[]).expect(0);
    for key in ["agent", "stranger"] {
        by(&place, key, &["--lift"]).expect(3);
    }
    place.run(&proposal).expect(3);
    // Once more is no error, and says what was so.
    let mut command = place.command(&["pause", "--reason", "still the sale", "--key"]);
    command.arg(place.state.path("alice")).ran().expect(0).shows("before").shows("by alice at ").shows(": the sale");
    place.run(&proposal).expect(3).says("still the sale");
}

#[test]
fn what_is_under_way_goes_on_to_its_end() {
    let place = Place::new();
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let under = Under::way(&place.state, &place.approved());
    let mut command = place.command(&["pause", "--reason", "the sale", "--key"]);
    let said = command.arg(place.state.path("alice")).ran().expect(0).shows("on `place` goes on to its end");
    let run = place.state.run(&["--json", "runs"]).expect(0).json()["runs"][0]["run"].clone();
    assert!(said.stdout.contains(run.as_str().expect("a name")), "{}", said.stdout);
    assert_eq!(under.answer("good").expect(0).json()["outcome"], "committed");
}

#[test]
fn undoing_what_a_dead_run_left_is_not_kept_waiting() {
    let place = Place::new();
    let before = place.standing();
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    Under::way(&place.state, &place.approved()).kill();
    by(&place, "alice", &[]).expect(0);
    assert_ne!(place.standing(), before, "nothing is recovered first: a pause is at once");
    place.state.run(&["recover"]).expect(0).shows("rolled-back");
    assert_eq!(place.standing(), before);
}

#[test]
fn a_pause_ends_every_waiting() {
    let place = Place::new();
    let proposal = place.propose();
    let signature = Saying::start(place.command(&["--json", "run", &proposal, "--wait", "--timeout", "20s"]));
    signature.says("waiting for");
    by(&place, "alice", &[]).expect(0);
    signature.end().expect(3).says("new runs are paused");
    by(&place, "alice", &["--lift"]).expect(0);

    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    place.state.configure(&place.target("").replace("targets.place", "targets.also"));
    let [first, second] = ["place", "also"].map(|target| {
        let mut propose = place.command(&["--json", "propose", "--hypothesis", "it is broken", "--key"]);
        propose.arg(place.state.path("agent")).arg(support::place::two_faced()).arg(place.argument());
        let proposal = support::place::name(&propose.arg(format!("--target={target}")).ran().expect(0).json());
        place.approve(&proposal);
        proposal
    });
    let under = Under::way(&place.state, &first);
    let held = Saying::start(place.command(&["--json", "run", &second]));
    held.says("waiting, for at most");
    by(&place, "alice", &[]).expect(0);
    held.end().expect(3).says("new runs are paused");
    under.answer("bad").expect(4);
}
