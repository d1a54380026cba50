//! A run whose process died blocks its target, with exit code 5 and the list of its changes.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use support::{Incident, eventually};

#[test]
fn a_run_that_was_killed_blocks_its_target() {
    let incident = Incident::new();
    // The validator waits until the test has killed the run: between the file's change and the signal.
    let started = incident.state.path("validating");
    let more = format!(
        "[[targets.orders.validators]]\nname = \"slow\"\npaths = [\"{}\"]\n\
         command = [\"/bin/sh\", \"-c\", \"echo $PPID > {}; exec sleep 60\"]\ntimeout = 90\n",
        incident.config.display(),
        started.display()
    );
    incident.state.configure(&more);
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);

    let mut run = incident
        .state
        .command(&["run", &proposal])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    eventually("the validator's start", || std::fs::read_to_string(&started).ok().filter(|text| text.ends_with('\n')));
    // While it runs, a second one is refused.
    incident.run(&proposal).expect(3);
    run.kill().expect("it can be killed");
    assert_eq!(run.wait().expect("it ended").signal(), Some(9));

    let second = incident.propose_with(&support::bundle("pool-size"), &[]);
    // The file is changed already, so the fix has nothing to propose; what was approved is blocked.
    assert_ne!(second.code, 0);
    incident
        .run(&proposal)
        .expect(5)
        .says("died without an outcome")
        .says("replace")
        .says(&incident.config.display().to_string());
    let runs = incident.state.run(&["--json", "runs"]).expect(0).json();
    let unfinished = runs["runs"].as_array().expect("runs").iter().find(|run| run["outcome"] == "unfinished");
    let run = unfinished.expect("an unfinished run")["run"].as_str().expect("a name").to_owned();
    let shown = incident.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!(shown["changes"].as_array().map(Vec::len), Some(1));
    let kept = shown["changes"][0]["kept_file"].as_str().expect("what the file was is beside it");
    assert!(std::fs::read_to_string(kept).expect("it is there").contains("pool-size = 0"));
    incident.run(&proposal).expect(5).says(&format!("kept file: {kept}"));
    // Whoever the killed run left behind ends with the test.
    let _ = Command::new("pkill").args(["-f", "exec sleep 60"]).status();
}

#[test]
fn a_signal_rolls_a_run_back() {
    let incident = Incident::new();
    let before = std::fs::read(&incident.config).expect("it is there");
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
    assert_ne!(std::fs::read(&incident.config).expect("it is there"), before);
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    while !line().expect("it says why").contains("rolling back: the run was interrupted") {}
    while line().is_some() {}
    assert_eq!(run.wait().expect("it ended").code(), Some(4));
    assert_eq!(std::fs::read(&incident.config).expect("it is there"), before);
}
