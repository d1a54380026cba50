//! A run that commits only once a person has confirmed what it changed.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod counting;
mod killed;
mod looking;
mod terms;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::place::Place;
use support::spoken::Spoken;
use support::{Ran, Runs, bundle};

/// Milliseconds since 1970-01-01 UTC, so many hours from now.
fn hours_from_now(hours: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    (now + u128::from(hours) * 3_600_000).to_string()
}

/// A run that waits for a confirmation.
struct Confirming {
    spoken: Spoken,
    run: String,
}

impl Confirming {
    /// Runs what is approved, and comes back once it waits.
    #[track_caller]
    fn begin(place: &Place, proposal: &str, more: &[&str]) -> Self {
        Self::waits(place.command(&["--json", "run", proposal]).args(more))
    }

    /// The same of a fresh proposal, approved so.
    #[track_caller]
    fn approved(place: &Place, terms: &[&str], more: &[&str]) -> Self {
        let proposal = place.propose();
        place.approving(&proposal).args(terms).ran().expect(0);
        Self::begin(place, &proposal, more)
    }

    #[track_caller]
    fn waits(command: &mut Command) -> Self {
        let spoken = Spoken::start(command);
        let line = spoken.says("waits for a confirmation until");
        let run = line.split(' ').nth(1).expect("a run").to_owned();
        assert!(run.starts_with("r-") && line.contains(&format!("countersign confirm {run}")), "{line}");
        Self { spoken, run }
    }

    /// Kills its process while it waits; gives the run's name.
    fn kill(self) -> String {
        self.spoken.kill();
        self.run
    }
}

/// A word on a run, with this key.
fn word(place: &Place, verb: &str, run: &str, key: &str) -> Command {
    let mut command = place.command(&["--json", verb, run, "--reason", "seen it", "--key"]);
    command.arg(place.state.path(key));
    command
}

fn confirm(place: &Place, run: &str) -> Ran {
    word(place, "confirm", run, "alice").ran()
}

/// Every file of the place but those that a run keeps beside them while it may be rolled back.
fn tree(place: &Place) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut tree = place.standing();
    tree.retain(|name, _| !name.starts_with(".countersign-"));
    tree
}

/// How a run stands, without anything being recovered by looking.
fn outcome(place: &Place, run: &str) -> String {
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let sql = "SELECT coalesce(outcome, 'open') FROM runs WHERE id = ?1";
    database.query_row(sql, [run], |row| row.get(0)).expect("a run")
}

#[track_caller]
fn ends(confirming: Confirming, code: i32, outcome: &str) -> Value {
    let (found, report, said) = confirming.spoken.end();
    assert_eq!((found, report["outcome"].as_str()), (Some(code), Some(outcome)), "{said}");
    report
}

#[test]
fn what_is_confirmed_is_committed() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &[], &["--confirm-within", "1h"]);
    assert_eq!((place.text("a").as_str(), outcome(&place, &confirming.run).as_str()), ("fixed\n", "open"));
    let said = confirm(&place, &confirming.run).expect(0).json();
    assert_eq!(
        (&said["by"], &said["keeps"], &said["run"]),
        (&"alice".into(), &true.into(), &confirming.run.as_str().into())
    );
    let run = confirming.run.clone();
    let report = ends(confirming, 0, "committed");
    assert_eq!(report["reason"], "confirmed by alice: seen it");
    assert_eq!(
        (&report["confirmation"]["by"], &report["confirmation"]["silence"]),
        (&"alice".into(), &"roll-back".into())
    );
    assert_eq!((place.text("a").as_str(), place.text("b").as_str()), ("fixed\n", "fixed too\n"));
    place.state.run(&["show", &run]).expect(0).shows("committed").shows("confirmed by alice: seen it");
    // Once is enough.
    confirm(&place, &run).expect(3).says("waits for nobody: it ended committed");
}

#[test]
fn silence_rolls_it_back() {
    let place = Place::new();
    let before = place.standing();
    let proposal = place.approved();
    let ran = place.command(&["--json", "run", &proposal, "--confirm-within", "1s"]).ran().expect(4);
    let report = ran.json();
    assert_eq!(report["reason"], "nobody confirmed it within 1s");
    assert_eq!((&report["outcome"], &report["confirmation"]["by"]), (&"rolled-back".into(), &Value::Null));
    assert_eq!(place.standing(), before);
    // Whoever comes too late is told what became of it.
    let run = report["run"].as_str().expect("a run");
    confirm(&place, run).expect(3).says("it ended rolled-back: nobody confirmed it within 1s").says("nothing was said");
}

#[test]
fn silence_keeps_it_where_that_was_signed() {
    let place = Place::new();
    let proposal = place.propose();
    let approved =
        place.approving(&proposal).args(["--confirm-within", "1s", "--silence", "keep"]).ran().expect(0).json();
    assert_eq!(approved["confirmation"], serde_json::json!({ "within_ms": 1000, "silence": "keep" }));
    let report = place.run(&proposal).expect(0).json();
    assert_eq!(report["reason"], "nobody said anything within 1s, and silence keeps it, as was signed");
    assert_eq!((&report["outcome"], place.text("a").as_str()), (&"committed".into(), "fixed\n"));
}

#[test]
fn a_persons_word_rolls_it_back_at_once() {
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h", "--silence", "keep"], &[]);
    let said = word(&place, "rollback", &confirming.run, "alice").ran().expect(0).json();
    assert_eq!((&said["by"], &said["keeps"]), (&"alice".into(), &false.into()));
    let report = ends(confirming, 4, "rolled-back");
    assert_eq!(report["reason"], "alice had it rolled back while it waited for a confirmation: seen it");
    assert_eq!(place.standing(), before);
}

/// The undoing of a run is a run, and waits like one.
#[test]
fn an_undoing_waits_too() {
    let place = Place::new();
    let before = place.standing();
    let proposal = place.approved();
    let run = place.run(&proposal).expect(0).json();
    let after = place.standing();
    let undoing = |code: i32, outcome: &str, verb: &str| {
        let undone = run["run"].as_str().expect("a run");
        let proposed = word(&place, "rollback", undone, "second").ran().expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a proposal");
        place.approving(proposal).args(["--confirm-within", "1h"]).ran().expect(0);
        let confirming = Confirming::begin(&place, proposal, &[]);
        assert_eq!(tree(&place), before);
        word(&place, verb, &confirming.run, "alice").ran().expect(0);
        ends(confirming, code, outcome);
    };
    undoing(4, "rolled-back", "rollback");
    assert_eq!(place.standing(), after, "the fix stands again");
    undoing(0, "committed", "confirm");
    assert_eq!(place.standing(), before);
}

/// What a terminal shows, and the lists.
#[test]
fn a_waiting_run_holds_its_target_and_says_so() {
    let place = Place::new();
    let other = place.approved();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    let run = confirming.run.as_str();
    let listed = place.state.run(&["--json", "runs"]).expect(0).json();
    let listed = &listed["runs"][0];
    assert_eq!((&listed["outcome"], &listed["waiting"]["attended"]), (&"waiting".into(), &true.into()));
    assert_eq!(listed["waiting"]["silence"], "roll-back");
    let until =
        listed["waiting"]["until"].as_u64().expect("a time") - listed["waiting"]["since"].as_u64().expect("a time");
    assert_eq!(until, 3_600_000);
    place
        .state
        .run(&["show", run])
        .expect(0)
        .shows("outcome  waiting")
        .shows("silence rolls it back")
        .shows("countersign confirm");
    let pending = place.state.run(&["--json", "pending"]).expect(0).json();
    let waits = &pending["waiting"][0];
    assert_eq!((&waits["run"], &waits["may_confirm"]), (&run.into(), &serde_json::json!(["alice"])));
    place.state.run(&["pending"]).expect(0).shows("to be confirmed until").shows("rolls it back  alice");
    // Nobody else changes anything there meanwhile.
    place
        .run(&other)
        .expect(3)
        .says("is held by the run")
        .says("waits for a confirmation until")
        .says("countersign confirm");
    // Nobody recovers it either.
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!((&recovered["runs"], &recovered["waiting"]), (&serde_json::json!([]), &serde_json::json!([])));
    confirm(&place, run).expect(0);
    ends(confirming, 0, "committed");
}

#[test]
fn a_signal_rolls_it_back() {
    use rustix::process::Signal;
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h", "--silence", "keep"], &[]);
    confirming.spoken.signal(Signal::INT);
    let report = ends(confirming, 4, "rolled-back");
    assert!(
        report["reason"].as_str().is_some_and(|why| why.starts_with("the run was interrupted by a signal")),
        "{report}"
    );
    assert_eq!(place.standing(), before);
}

/// The service's fix with a signal in it, whose check asks the service.
#[test]
fn the_demos_fix_is_confirmed() {
    let incident = support::Incident::new();
    let proposal = incident.propose_with(&bundle("pool-size"), &[]).expect(0).json();
    let proposal = proposal["proposal"].as_str().expect("a proposal");
    incident.approve_with(proposal, &["--confirm-within", "1h"]).expect(0);
    let confirming = Confirming::waits(&mut incident.state.command(&["--json", "run", proposal]));
    let mut confirm = incident.state.command(&["confirm", &confirming.run, "--key"]);
    confirm.arg(incident.state.path("alice")).ran().expect(0).shows("confirmed by alice");
    ends(confirming, 0, "committed");
    assert_eq!(incident.status("/orders"), 200);
}
