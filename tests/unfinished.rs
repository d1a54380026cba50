//! A run whose process died blocks its target, with exit code 5 and the list of its changes.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use countersign_model::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::killed::Killed;
use support::place::Place;
use support::{Incident, Runs, State};

/// A run of the incident's fix that is killed between the file's change and the signal; gives proposal and run.
fn killed(incident: &Incident) -> (String, String) {
    incident.state.configure(&Killed::validator(&incident.state, "orders", &incident.config));
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let run = Killed::validating(&incident.state, &proposal);
    // While it runs, a second one is refused, and nobody recovers it.
    incident.run(&proposal).expect(3);
    incident.state.run(&["recover"]).expect(0).shows("nothing to recover");
    let run = run.kill();
    (proposal, run)
}

#[test]
fn a_run_that_was_killed_is_rolled_back_by_recover() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    let (_, run) = killed(&incident);
    assert_ne!(fs::read(&incident.config).expect("it is there"), before);
    let recovered = incident.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!((&recovered["runs"][0]["run"], &recovered["runs"][0]["outcome"]), (&json!(run), &json!("rolled-back")));
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    let beside = fs::read_dir(incident.config.parent().expect("a folder")).expect("listed");
    let names = beside.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.starts_with(".countersign-")).collect::<Vec<_>>(), [""; 0]);
    incident.state.run(&["recover"]).expect(0).shows("nothing to recover");
    assert_eq!(incident.state.run(&["--json", "show", &run]).expect(0).json()["outcome"], "rolled-back");
}

#[test]
fn every_command_recovers_first() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    let (proposal, run) = killed(&incident);
    let second = incident.run(&proposal);
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    // Its one use is spent.
    second.expect(3).says(&format!("recovered: run {run}: rolled-back")).says("used up");
}

/// What is too large for the database is a file, whose path is told.
#[test]
fn where_the_end_is_kept_that_a_killed_run_cut_off_a_large_file() {
    let place = Place::new();
    place.put("mood", "cut");
    let log = "a line that is logged\n".repeat(100_000);
    place.put("log", &log);
    place.state.configure(&Killed::validator(&place.state, "place", &place.folder.join("b")));
    let proposal = place.approved();
    let run = Killed::validating(&place.state, &proposal).kill();
    assert_eq!(place.text("log").len(), 7);

    // What cannot be read whole is not gone by, and nothing is touched.
    place.state.damage_journal(true);
    let shown = place.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!(shown["outcome"], "unfinished");
    let changes = shown["changes"].as_array().expect("changes");
    let cut = changes.iter().find(|change| !change["kept"].is_null()).expect("the truncation");
    assert_eq!((&cut["kept"]["from"], &cut["kept_file"]), (&7.into(), &serde_json::Value::Null));
    let kept = cut["kept_at"].as_str().expect("a place");
    let end = fs::read(kept).expect("it is a file's path");
    assert!(end.len() > 1024 * 1024 && end == log.as_bytes()[7..], "it is what was cut off");
    assert_eq!(cut["kept"]["image"]["digest"], Digest::of(&end).to_string().as_str());
    // Whoever looks and whoever wants to run it are told the same.
    let told = format!("kept at: {kept}");
    place.state.run(&["show", &run]).expect(0).shows(&told).shows("from byte 7 on");
    place.run(&proposal).expect(5).says(&told).says("from byte 7 on");
    let stuck = place.state.run(&["--json", "recover"]).expect(5).json();
    assert_eq!(stuck["stuck"][0]["run"], run.as_str(), "{stuck}");

    place.state.damage_journal(false);
    place.state.run(&["recover"]).expect(0).shows("rolled-back");
    assert_eq!(place.text("log"), log);
}

#[test]
fn a_signal_rolls_a_run_back() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    let proposal = incident.propose("pool-size-twin");
    incident.approve(&proposal);
    let mut run = incident
        .state
        .command(&["run", &proposal])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(run.stderr.take().expect("its stderr")).lines();
    let mut line = || lines.next().map(|line| line.expect("it is text"));
    while !line().expect("it asks the check").starts_with("check, asked") {}
    assert_ne!(fs::read(&incident.config).expect("it is there"), before);
    kill_process(Pid::from_child(&run), Signal::TERM).expect("it runs");
    while !line().expect("it says why").contains("rolling back: the run was interrupted") {}
    while line().is_some() {}
    assert_eq!(run.wait().expect("it ended").code(), Some(4));
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}

/// The guards as they stood before the first change are what recovery must not leave worse.
#[test]
fn a_guard_that_held_before_the_run_must_hold_after_recovery() {
    let incident = Incident::new();
    let spoiled = incident.state.path("spoiled");
    incident.state.configure(&format!(
        "[[targets.orders.guards]]\nname = \"spoiled\"\ncommand = [\"/usr/bin/test\", \"!\", \"-e\", \"{}\"]\n",
        spoiled.display()
    ));
    let before = fs::read(&incident.config).expect("it is there");
    killed(&incident);
    fs::write(&spoiled, "").expect("it can be written");
    let recovered = incident.state.run(&["--json", "recover"]).expect(5).json();
    assert_eq!(recovered["runs"][0]["outcome"], "rollback-incomplete", "{recovered}");
    assert!(recovered["runs"][0]["left"].to_string().contains("guard `spoiled`"), "{recovered}");
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}

/// The files of a proposal's approvals: that which a run used, or all others.
fn approvals(incident: &Incident, used: bool) -> Vec<std::path::PathBuf> {
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    let manifest: String =
        database.query_row("SELECT manifest FROM runs", [], |row| row.get(0)).expect("the approval of the run");
    let files = fs::read_dir(incident.state.path("state/approvals")).expect("listed");
    let files = files.map(|file| file.expect("a file").path());
    let manifests = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    manifests.filter(|file| (Digest::of(&fs::read(file).expect("read")).to_string() == manifest) == used).collect()
}

fn alter(file: &std::path::Path) {
    let text = fs::read_to_string(file).expect("it is text");
    fs::write(file, format!("{text} ")).expect("it can be written");
}

/// A run that is killed, of a proposal that two people have approved, each for themselves: it goes by what their approvals have in
/// common, which is a manifest of its own.
fn killed_of_two_approvals() -> (Incident, String) {
    let incident = Incident::on(State::with(&["alice", "bob"], &["agent", "second"]));
    incident.state.configure(&Killed::validator(&incident.state, "orders", &incident.config));
    let proposal = incident.propose("pool-size");
    for key in ["alice", "bob"] {
        let mut approve = incident.state.command(&["approve", &proposal, "--reason", "agreed", "--key"]);
        approve.arg(incident.state.path(key)).ran().expect(0);
    }
    let run = Killed::validating(&incident.state, &proposal).kill();
    (incident, run)
}

#[test]
fn approvals_that_were_altered_keep_no_run_from_being_recovered_that_was_made_of_them() {
    let (incident, run) = killed_of_two_approvals();
    let others = approvals(&incident, false);
    assert_eq!(others.len(), 2);
    others.iter().for_each(|file| alter(file));
    let recovered = incident.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!((&recovered["runs"][0]["run"], &recovered["runs"][0]["outcome"]), (&json!(run), &json!("rolled-back")));
}

/// What was allowed in a run is what was signed; that it is for undoing only makes no difference.
#[test]
fn a_run_is_recovered_by_no_approval_that_was_altered() {
    let (incident, run) = killed_of_two_approvals();
    let left = fs::read(&incident.config).expect("it is there");
    let used = approvals(&incident, true);
    let signed = fs::read(&used[0]).expect("it is there");
    alter(&used[0]);
    let stuck = incident.state.run(&["--json", "recover"]).expect(5).json();
    assert_eq!(stuck["stuck"][0]["run"], run.as_str(), "{stuck}");
    assert!(stuck["stuck"][0]["error"]["message"].to_string().contains("was changed since it was signed"), "{stuck}");
    assert_eq!(fs::read(&incident.config).expect("it is there"), left);
    fs::write(&used[0], signed).expect("it can be put back");
    incident.state.run(&["recover"]).expect(0).shows("rolled-back");
}
