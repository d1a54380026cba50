//! A run that waits starts at the last signature, and ends at once when there can be none.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::killed::Killed;
use support::spoken::Spoken;
use support::{Incident, Runs, State, bundle, eventually};

/// Starts a run that waits, and reads what it waits for.
fn begin(incident: &Incident, proposal: &str, more: &[&str]) -> (Spoken, String) {
    let mut command = incident.state.command(&["--json", "run", proposal, "--wait"]);
    let waiting = Spoken::start(command.args(more));
    let first = waiting.says("waiting for");
    (waiting, first)
}

#[test]
fn it_starts_at_the_last_signature() {
    // Two people must sign.
    let incident = Incident::on(State::with(&["alice", "bob"], &["agent", "second"]));
    incident.state.policy(|policy| policy.replace("people = 1", "people = 2"));

    let proposal = incident.propose("pool-size");
    let (waiting, says) = begin(&incident, &proposal, &[]);
    assert!(
        says.contains(&format!("waiting for 2 of {proposal}'s approvers")) && says.contains("may sign: alice, bob"),
        "{says}"
    );
    // Nothing is held: the target can be looked at, and something else proposed and approved.
    incident.state.run(&["review", &proposal]).expect(0);
    incident.propose("pool-size-twin");

    let manifest = incident.state.path("approval.json");
    let mut write = incident.state.command(&["approve", &proposal, "--reason", "agreed", "--write-manifest"]);
    write.arg(&manifest).ran().expect(0);
    for name in ["alice", "bob"] {
        let (key, file) = (incident.state.path(name), manifest.to_str().expect("UTF-8"));
        let _ = fs::remove_file(incident.state.path("approval.json.sig"));
        support::ssh_keygen(&[
            "-q",
            "-Y",
            "sign",
            "-f",
            key.to_str().expect("UTF-8"),
            "-n",
            "approval@countersign",
            file,
        ]);
        let mut approve = incident.state.command(&["approve", &proposal, "--manifest", file, "--signature"]);
        approve.arg(incident.state.path("approval.json.sig")).ran().expect(0);
        if name == "alice" {
            let says = waiting.says("signed by alice");
            assert!(says.contains("may sign: bob"), "{says}");
            assert!(says.contains("waiting for 1 more of"), "{says}");
            assert_eq!(incident.status("/orders"), 503, "one is not enough");
        }
    }
    waiting.says("is approved: the run starts");
    let (code, report, said) = waiting.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(0), Some("committed")), "{said}");
    assert_eq!(report["approvers"], serde_json::json!(["alice", "bob"]));
    assert_eq!(incident.status("/orders"), 200);
}

#[test]
fn what_is_approved_already_starts_at_once() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    incident.state.run(&["--json", "run", &proposal, "--wait", "--timeout", "1h"]).expect(0);
    assert_eq!(incident.status("/orders"), 200);
    assert_eq!(incident.state.run(&["run", &proposal, "--timeout", "1h"]).code, 2, "there is nothing to time");
}

#[test]
fn a_denial_ends_it() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let (waiting, _) = begin(&incident, &proposal, &[]);
    let mut deny = incident.state.command(&["deny", &proposal, "--reason", "not today", "--key"]);
    deny.arg(incident.state.path("alice")).ran().expect(0);
    let (code, report, said) = waiting.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(3), Some("refused")), "{said}");
    assert!(said.contains("denied") && said.contains("not today"), "{said}");
    assert_eq!(incident.status("/orders"), 503);
}

#[test]
fn a_revision_ends_it_and_is_named() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let (waiting, _) = begin(&incident, &proposal, &[]);
    let mut revise = incident.state.command(&["--json", "propose", "--revise", &proposal, "--key"]);
    let new = revise.arg(incident.state.path("agent")).ran().expect(0).json();
    let (code, _, said) = waiting.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("superseded") && said.contains(new["proposal"].as_str().expect("a proposal")), "{said}");
}

#[test]
fn the_time_that_was_given_ends_it() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let begun = Instant::now();
    incident
        .state
        .run(&["--json", "run", &proposal, "--wait", "--timeout", "2s"])
        .expect(3)
        .says("was not approved within 2 s")
        .says("nothing changed");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(incident.status("/orders"), 503);
    incident.approve(&proposal);
    incident.run(&proposal).expect(0);
}

#[test]
fn a_signal_ends_it_and_changes_nothing() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let incident = Incident::new();
        let proposal = incident.propose("pool-size");
        let before = fs::read(&incident.config).expect("it is there");
        let (waiting, _) = begin(&incident, &proposal, &[]);
        waiting.signal(signal);
        let (code, object, said) = waiting.end();
        assert_eq!((code, object["error"]["code"].as_i64()), (Some(1), Some(1)), "{said}");
        assert!(said.contains("was ended by a signal") && said.contains("nothing changed"), "{said}");
        assert_eq!(fs::read(&incident.config).expect("it is there"), before);
        // No run was begun, and what is signed now counts.
        incident.approve(&proposal);
        incident.run(&proposal).expect(0);
    }
}

#[test]
fn what_was_changed_meanwhile_is_seen_when_it_starts() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let (waiting, _) = begin(&incident, &proposal, &[]);
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    incident.approve(&proposal);
    // Either the run was faster, or it refuses the other configuration: it never goes by what it read first.
    let (code, _, said) = waiting.end();
    assert_eq!(code, Some(0), "{said}");

    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let (waiting, _) = begin(&incident, &proposal, &[]);
    let own = fs::read_to_string(incident.state.config()).expect("it is text");
    assert_ne!(own, config);
    // The approver's command reads the old configuration; what the run reads changes while it waits.
    let before = incident.state.config().with_file_name("before.toml");
    fs::copy(incident.state.config(), &before).expect("it can be copied");
    fs::write(incident.state.config(), own.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    incident.approve_with(&proposal, &["--config", before.to_str().expect("UTF-8")]).expect(0);
    let (code, _, said) = waiting.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("configuration"), "{said}");
    assert_eq!(incident.status("/orders"), 503);
}

/// A run on its target may die while it waits; nobody else has run a command since.
#[test]
fn what_died_meanwhile_is_recovered_before_it_starts() {
    use rustix::process::Signal;
    let incident = Incident::new();
    let (free, validating) = (incident.state.path("free"), incident.state.path("validating"));
    incident.state.configure(&format!(
        "[[targets.orders.validators]]\nname = \"slow\"\npaths = [\"{}\"]\ntimeout = 90\n\
         command = [\"/bin/sh\", \"-c\", \"test -e {} && exit; echo $$ > {}; exec sleep 60\"]\n",
        incident.config.display(),
        free.display(),
        validating.display()
    ));
    let (first, second) = (incident.propose("pool-size"), incident.propose("pool-size"));
    incident.approve(&first);
    let (waiting, _) = begin(&incident, &second, &[]);
    waiting.signal(Signal::STOP);
    let run = Killed::validating(&incident.state, &first).kill();
    fs::write(&free, "").expect("it can be written");
    // Whoever approves recovers first, but not beside something that holds the target.
    let lock = format!("state/locks/{}.lock", countersign_model::Digest::of(b"orders").hex());
    let lock = fs::File::open(incident.state.path(&lock)).expect("the target's lock");
    eventually("the end of the killed", || lock.try_lock().ok());
    incident.approve(&second);
    drop(lock);
    waiting.signal(Signal::CONT);
    waiting.says(&format!("recovered: run {run}: rolled-back"));
    let (code, report, said) = waiting.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(0), Some("committed")), "{said}");
}

#[test]
fn what_no_signature_can_allow_is_refused_at_once() {
    let incident = Incident::new();
    let proposal = incident.propose_with(&bundle("pool-size"), &[]).expect(0).json();
    let proposal = proposal["proposal"].as_str().expect("a proposal");
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    let ran = incident.state.run(&["run", proposal, "--wait"]).expect(3);
    assert!(!ran.stderr.contains("waiting for"), "{}", ran.stderr);
}

#[test]
fn it_sleeps_while_it_waits() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let (waiting, _) = begin(&incident, &proposal, &[]);
    let ticks = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, rest) = stat.rsplit_once(')').expect("a command");
        let mut fields = rest.split_ascii_whitespace().skip(11).map(|field| field.parse::<u64>().expect("a number"));
        fields.next().expect("user") + fields.next().expect("system")
    };
    let before = ticks(waiting.child.id());
    std::thread::sleep(Duration::from_secs(3));
    // Of 300 ticks.
    let spent = ticks(waiting.child.id()) - before;
    assert!(spent < 60, "{spent} ticks");
    waiting.signal(rustix::process::Signal::INT);
    assert_eq!(waiting.end().0, Some(1));
}

#[test]
#[cfg(debug_assertions)]
fn the_proposals_expiry_ends_it() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    let week = 7 * 24 * 3600 * 1000;
    let mut command = incident.state.command(&["--json", "run", &proposal, "--wait"]);
    command.env("COUNTERSIGN_TEST_NOW", (now + week).to_string());
    command.ran().expect(3).says("expired before it was approved").says("countersign propose --revise");
    assert_eq!(incident.status("/orders"), 503);
}
