//! What asks a run to end rolls it back, whatever it is; who insists is told how far that is, and does not end it half way.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use support::eventually;
use support::place::Place;
use support::under::Under;

/// A place whose validator asks, with a guard that takes its time once it is told to.
fn place() -> Place {
    let place = Place::new();
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let [slow, asked, go] = ["slow", "asked", "go"].map(|name| place.state.path(name).display().to_string());
    let script = format!("test -e {slow} || exit 0; touch {asked}; until test -e {go}; do sleep 0.02; done");
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\ntimeout = 60\n"
    ));
    place
}

#[test]
fn each_signal_that_asks_a_run_to_end_rolls_it_back() {
    for (signal, name) in
        [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP"), (Signal::QUIT, "SIGQUIT")]
    {
        let place = place();
        let before = place.standing();
        let mut under = Under::way(&place.state, &place.approved());
        let mut lines = BufReader::new(under.child.stderr.take().expect("its stderr")).lines();
        let mut lines = lines.by_ref().map(|line| line.expect("it is text"));
        under.signal(signal);
        // It is said while the run waits for its validator: only then is nothing of it undone for certain.
        let said = lines.find(|line| line.starts_with(name)).expect("it says so");
        let (ran, rest) = std::thread::scope(|scope| {
            let rest = scope.spawn(|| lines.collect::<Vec<_>>().join("\n"));
            (under.answer("good").expect(4), rest.join().expect("it was read"))
        });
        let run = ran.json()["run"].as_str().expect("a run").to_owned();
        let says = format!("{name}: run {run} on `place` has made 2 changes, and is rolled back as soon as");
        assert!(said.starts_with(&says), "{said}");
        assert!(rest.contains("rolling back: the run was interrupted by a signal"), "{rest}");
        assert!(!said.contains("kill -9") && !rest.contains("kill -9"), "{said}\n{rest}");
        assert_eq!(place.standing(), before);
    }
}

#[test]
fn a_run_that_is_started_to_outlive_its_terminal_does() {
    for (signal, name, code) in [(Signal::HUP, "HUP", 0), (Signal::INT, "INT", 0), (Signal::TERM, "TERM", 4)] {
        let place = place();
        let under = Under::ignoring(&place.state, &place.approved(), name);
        under.signal(signal);
        under.answer("good").expect(code);
    }
}

/// As whoever starts programs may leave it that wants to hear of none of them.
#[test]
fn a_runner_that_is_started_to_ignore_its_children_hears_how_they_end() {
    let place = Place::with("[[targets.place.guards]]\nname = \"command\"\ncommand = [\"/bin/true\"]\n");
    let runs = place.state.command(&["run", &place.approved()]);
    let mut ignoring = std::process::Command::new("env");
    ignoring.arg("--ignore-signal=CHLD").arg(runs.get_program()).args(runs.get_args());
    ignoring.envs(runs.get_envs().filter_map(|(name, value)| Some((name, value?))));
    support::Ran::of(ignoring).expect(0);
}

#[test]
fn who_insists_is_told_how_far_the_rollback_is_and_that_it_goes_on() {
    let place = place();
    let before = place.standing();
    let mut under = Under::way(&place.state, &place.approved());
    fs::write(place.state.path("slow"), "").expect("it can be written");
    let pid = under.pid();
    let mut lines = BufReader::new(under.child.stderr.take().expect("its stderr")).lines();
    let mut says = |words: &str| {
        let mut lines = lines.by_ref().map(|line| line.expect("it is text"));
        lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("it did not say `{words}`"))
    };
    under.signal(Signal::TERM);
    says("SIGTERM: run");
    let answer = std::thread::scope(|scope| {
        let ended = scope.spawn(|| under.answer("good"));
        // Everything is undone, and the guards are asked.
        eventually("the guard's being asked", || place.state.path("asked").exists().then_some(()));
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let run = rustix::process::Pid::from_raw(pid.try_into().expect("a process")).expect("a process");
            rustix::process::kill_process(run, signal).expect("it runs");
            let says = says("is being rolled back, and that goes on: of 2 changes, 2 undone so far; wait for its end");
            assert!(says.contains(&format!("`kill -9 {pid}` ends it half way, and `countersign recover` goes on")));
        }
        fs::write(place.state.path("go"), "").expect("it can be written");
        ended.join().expect("it ended")
    });
    assert_eq!(answer.code, 4, "{}", answer.stdout);
    assert_eq!(answer.json()["outcome"], "rolled-back");
    assert_eq!(place.standing(), before);
}

/// A terminal that is closed, and a pipe that nobody reads any more.
#[test]
fn a_run_whose_words_nobody_reads_is_rolled_back() {
    let place = place();
    let before = place.standing();
    let mut under = Under::way(&place.state, &place.approved());
    drop(under.child.stderr.take());
    let ran = under.answer("good").expect(4);
    assert_eq!(ran.json()["reason"], "the run was interrupted by a signal, or nobody reads any more what it says");
    assert_eq!(place.standing(), before);
}

#[test]
fn a_result_that_nobody_reads_changes_nothing_of_the_run() {
    let place = place();
    let mut under = Under::way(&place.state, &place.approved());
    drop(under.child.stdout.take());
    under.answer("good").expect(0);
    assert_eq!(place.text("a"), "fixed\n");
}
