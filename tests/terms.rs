//! What approvals say besides what may be done: several that differ, and by when a run must be finished.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::place::Place;
use support::spoken::Spoken;
use support::{Ran, Runs, eventually, now};

/// A place where two people must approve.
fn two_must_approve() -> Place {
    let place = Place::new();
    place.state.keygen("bob");
    let key = fs::read_to_string(place.state.path("bob.pub")).expect("a key");
    place.state.policy(|text| {
        format!(
            "{}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n",
            text.replace("people = 1", "people = 2"),
            key.trim()
        )
    });
    place
}

fn approve(place: &Place, proposal: &str, who: &str, terms: &[&str]) -> Ran {
    let mut command = place.command(&["--json", "approve", proposal, "--reason", "seen", "--key"]);
    command.arg(place.state.path(who)).args(terms).ran()
}

#[track_caller]
fn ended(run: Spoken, code: i32) -> Value {
    let (found, report, said) = run.end();
    assert_eq!(found, Some(code), "{said}");
    report
}

fn digest(approved: &Value) -> String {
    approved["approval"].as_str().expect("a digest").to_owned()
}

#[test]
fn where_two_approvals_differ_the_stricter_term_counts() {
    let place = two_must_approve();
    let proposal = place.propose();
    let narrower = format!("files.read {}/a", place.folder.display());
    let alices = approve(&place, &proposal, "alice", &["--expires", "30m"]).expect(0).json();
    place.run(&proposal).expect(3).says("2 people must approve by the quorum");
    let told = approve(&place, &proposal, "bob", &["--confirm-within", "10m", "--expires", "1h"]).expect(0);
    assert!(!told.stdout.contains("more must approve"), "{}", told.stdout);
    let bobs = told.json();
    let review = place.state.run(&["review", &proposal]).expect(0);
    review.shows("2 people must approve, and where approvals differ the stricter term counts");
    let pending = place.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"][0]["status"], "approved", "{pending}");

    // Alice asked for no confirmation, and Bob did.
    let waiting = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    let line = waiting.says("waits for a confirmation until");
    let run = line.split(' ').nth(1).expect("a run").to_owned();
    let mut word = place.command(&["--json", "confirm", &run, "--reason", "it drains", "--key"]);
    word.arg(place.state.path("alice")).ran().expect(0);
    let report = ended(waiting, 0);
    assert_eq!((&report["outcome"], &report["approvers"]), (&json!("committed"), &json!(["alice", "bob"])));

    // A use of each is spent, and the log names both.
    place.put("a", "broken\n");
    place.put("b", "broken too\n");
    place.run(&proposal).expect(3).says("used up");
    let review = place.state.run(&["--json", "review", &proposal]).expect(0).json();
    for given in review["approvals"].as_array().expect("a list") {
        assert_eq!((&given["used_up"], &given["used_by"]), (&json!(true), &json!([run])), "{given}");
    }
    let log = place.state.log();
    let authorized = log.lines().find(|line| line.contains("\"authorized\"")).expect("an entry");
    assert!(authorized.contains(&digest(&alices)) && authorized.contains(&digest(&bobs)), "{authorized}");

    // Whoever takes it out of the database is told what the log says.
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let taken = "UPDATE runs SET outcome = 'refused' WHERE outcome = 'committed'";
    assert_eq!(database.execute(taken, []).expect("it can be written"), 1);
    place.run(&proposal).expect(3).says("the audit log says that 1 use of the approval is spent on `place`");
    drop(database);

    // What the two leave together may be less than the plan needs, though each leaves enough.
    let proposal = place.propose();
    approve(&place, &proposal, "alice", &["--narrow", &narrower]).expect(3).says("could not do what the plan shows");
}

/// The database names what a run was by that nobody signed as it stands; taken over, the run goes by it.
#[test]
fn a_run_by_two_approvals_is_recovered() {
    let place = two_must_approve();
    let proposal = place.propose();
    approve(&place, &proposal, "alice", &["--expires", "30m"]).expect(0);
    approve(&place, &proposal, "bob", &["--confirm-within", "10m", "--silence", "keep"]).expect(0);
    let before = place.standing();
    let waiting = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    let line = waiting.says("waits for a confirmation until");
    let run = line.split(' ').nth(1).expect("a run").to_owned();
    waiting.kill();
    let mut back = place.command(&["--json", "rollback", &run, "--reason", "no", "--key"]);
    back.arg(place.state.path("bob")).ran();
    place.state.run(&["recover"]).expect(0);
    let shown = place.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!(shown["outcome"], "rolled-back", "{shown}");
    assert_eq!(place.standing(), before);
}

#[test]
fn what_is_not_finished_in_time_is_rolled_back() {
    let place = Place::new();
    let proposal = place.propose();
    let before = place.standing();
    // Silence would keep it, and comes too late.
    let terms = ["--confirm-within", "10m", "--silence", "keep", "--finish-within", "8s"];
    let approved = approve(&place, &proposal, "alice", &terms).expect(0).json();
    assert!(approved["finish_by"].as_u64() < approved["expires"].as_u64(), "{approved}");
    place.state.run(&["review", &proposal]).expect(0).shows(", finished by ");
    let report = place.run(&proposal).expect(4).json();
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("the approval has it finished by")), "{report}");
    assert_eq!((&report["outcome"], place.standing()), (&json!("rolled-back"), before));
    approve(&place, &place.propose(), "alice", &["--finish-within", "0s"]).expect(2);
}

/// The time runs out while guards are asked: then it does not begin.
#[test]
fn no_run_begins_once_it_had_to_be_finished() {
    let place = Place::new();
    let [slow, asked, go] = ["slow", "asked", "go"].map(|name| place.state.path(name).display().to_string());
    let script = format!("test -e {slow} || exit 0; touch {asked}; until test -e {go}; do sleep 0.02; done");
    let guard = format!(
        "[[targets.slow.guards]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\ntimeout = 60\n"
    );
    place.state.configure(&place.target(&guard).replace("targets.place", "targets.slow"));
    let mut command = place.command(&["--json", "propose", "--target=slow", "--hypothesis", "it is broken", "--key"]);
    command.arg(place.state.path("agent")).arg(support::place::two_faced()).arg(place.argument());
    let proposal = support::place::name(&command.ran().expect(0).json());
    let approved = approve(&place, &proposal, "alice", &["--finish-within", "8s"]).expect(0).json();
    let end = approved["finish_by"].as_u64().expect("a time");
    let before = place.standing();
    fs::write(&slow, "").expect("it can be written");
    let run = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    eventually("the guard's being asked", || place.state.path("asked").exists().then_some(()));
    eventually("the end of its time", || (now() > end).then_some(()));
    fs::write(&go, "").expect("it can be written");
    let refused = ended(run, 3);
    assert!(refused["reason"].as_str().is_some_and(|why| why.contains("finished by")), "{refused}");
    assert_eq!(place.standing(), before);
}
