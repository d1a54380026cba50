//! A run whose process died blocks its target, with exit code 5 and the list of its changes.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use countersign_model::Digest;
use rustix::process::{Pid, Signal, kill_process};
use support::Incident;
use support::killed::Killed;
use support::place::Place;

#[test]
fn a_run_that_was_killed_blocks_its_target() {
    let incident = Incident::new();
    // Between the file's change and the signal.
    incident.state.configure(&Killed::validator(&incident.state, "orders", &incident.config));
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let run = Killed::validating(&incident.state, &proposal);
    // While it runs, a second one is refused.
    incident.run(&proposal).expect(3);
    let run = run.kill();

    let second = incident.propose_with(&support::bundle("pool-size"), &[]);
    // The file is changed already, so the fix has nothing to propose; what was approved is blocked.
    assert_ne!(second.code, 0);
    incident
        .run(&proposal)
        .expect(5)
        .says("died without an outcome")
        .says("replace")
        .says(&incident.config.display().to_string());
    let shown = incident.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!(shown["changes"].as_array().map(Vec::len), Some(1));
    let kept = shown["changes"][0]["kept_file"].as_str().expect("what the file was is beside it");
    assert!(fs::read_to_string(kept).expect("it is there").contains("pool-size = 0"));
    incident.run(&proposal).expect(5).says(&format!("kept file: {kept}"));
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

    let shown = place.state.run(&["--json", "show", &run]).expect(0).json();
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
