//! Whatever asks whether a run may begin is told what the run is told, and the run is told it as late as can be.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use support::away::{Elsewhere, text};
use support::{Incident, Ran, Runs, State, eventually, now, ssh_keygen};

/// An incident with a guard that takes its time once it is told to.
struct Slow(Incident);

impl Slow {
    fn new() -> Self {
        let incident = Incident::of(State::new());
        let [slow, asked, go] = ["slow", "asked", "go"].map(|name| incident.state.path(name).display().to_string());
        let script = format!("test -e {slow} || exit 0; touch {asked}; until test -e {go}; do sleep 0.02; done");
        let guard = format!(
            "[[targets.orders.guards]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\ntimeout = 60\n"
        );
        incident.state.configure(&incident.target("orders", &guard));
        Self(incident)
    }

    /// Starts a run, does something while its guard is asked, and gives what became of the run.
    fn run_while(&self, proposal: &str, meanwhile: impl FnOnce(&Incident)) -> Ran {
        let state = &self.0.state;
        fs::write(state.path("slow"), "").expect("it can be written");
        let mut command = state.command(&["--json", "run", proposal]);
        let run: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        eventually("the guard's being asked", || state.path("asked").exists().then_some(()));
        meanwhile(&self.0);
        fs::write(state.path("go"), "").expect("it can be written");
        let output = run.wait_with_output().expect("it ends");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

fn by(incident: &Incident, who: &str, arguments: &[&str]) -> Ran {
    let mut command = incident.state.command(&["--json"]);
    command.args(arguments).arg("--key").arg(incident.state.path(who)).ran()
}

fn review(incident: &Incident, proposal: &str) -> Value {
    incident.state.run(&["--json", "review", proposal]).expect(0).json()
}

/// The only proposal that is pending.
#[track_caller]
fn pending(incident: &Incident) -> Value {
    let all = incident.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!((all["pending"].as_array().map(Vec::len), &all["left_off"]), (Some(1), &json!(0)), "{all}");
    all["pending"][0].clone()
}

#[test]
fn a_denial_while_guards_are_asked_ends_the_run() {
    let slow = Slow::new();
    let proposal = slow.0.propose("pool-size");
    slow.0.approve(&proposal);
    let before = fs::read(&slow.0.config).expect("it is there");
    let ran = slow.run_while(&proposal, |incident| {
        by(incident, "alice", &["deny", &proposal, "--reason", "not today"]).expect(0);
    });
    let refused = ran.expect(3).says("denied").says("not today").json();
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(fs::read(&slow.0.config).expect("it is there"), before);
    assert_eq!(slow.0.status("/orders"), 503);
    assert_eq!(review(&slow.0, &proposal)["approvals"][0]["used_by"], json!([]));
}

#[test]
fn a_pause_while_guards_are_asked_ends_the_run() {
    let slow = Slow::new();
    let proposal = slow.0.propose("pool-size");
    slow.0.approve(&proposal);
    let before = fs::read(&slow.0.config).expect("it is there");
    let ran = slow.run_while(&proposal, |incident| {
        by(incident, "alice", &["pause", "--reason", "not today"]).expect(0);
    });
    let refused = ran.expect(3).says("new runs are paused, by alice").says("not today").json();
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(fs::read(&slow.0.config).expect("it is there"), before);
    by(&slow.0, "alice", &["pause", "--lift", "--reason", "now"]).expect(0);
    slow.0.run(&proposal).expect(0);
}

#[test]
fn an_approval_that_expires_while_guards_are_asked_starts_nothing() {
    let slow = Slow::new();
    let proposal = slow.0.propose("pool-size");
    slow.0.approve_with(&proposal, &["--expires", "40s"]).expect(0);
    let before = fs::read(&slow.0.config).expect("it is there");
    let ran = slow.run_while(&proposal, |incident| {
        // Whatever looks at the state tells it the time, by which the run goes.
        let later = (now() + 45_000).to_string();
        incident.state.command(&["pending"]).env("COUNTERSIGN_TEST_NOW", later).ran().expect(0);
    });
    let refused = ran.expect(3).says("the approval expired").json();
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(fs::read(&slow.0.config).expect("it is there"), before);
    assert_eq!(review(&slow.0, &proposal)["approvals"][0]["used_by"], json!([]));
}

/// What no run will be by is in nobody's way, and is not kept.
#[test]
fn an_approval_under_another_trust_policy_is_void_and_can_be_given_anew() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let (runner, alice) = (incident.state.runner(), incident.state.path("alice"));
    let approve = ["approve", text(&file), "--runner", &runner, "--reason", "seen", "--key", text(&alice)];
    elsewhere.run(&approve).expect(0);
    let manifest = incident.state.path("early.json");
    incident.state.run(&["approve", &proposal, "--reason", "seen", "--write-manifest", text(&manifest)]).expect(0);
    ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", text(&alice), text(&manifest)]);
    incident.approve(&proposal);
    incident.state.policy(|policy| format!("{policy}\n# carol joins next week\n"));

    incident.run(&proposal).expect(3).says("under the trust policy");
    let listed = pending(&incident);
    assert_eq!((&listed["status"], &listed["signed"]), (&json!("waits for approval"), &json!(0)));
    let void = review(&incident, &proposal)["approvals"][0]["void"].clone();
    assert!(void.as_str().is_some_and(|why| why.contains("trust policy")), "{void}");
    let shown = incident.state.run(&["review", &proposal]).expect(0).shows("VOID").stdout;
    assert!(shown.contains("approvals: 0 of 1"), "{shown}");
    // It is shown in a file, too; and nobody signs it as it stands.
    let exported = elsewhere.export(&incident, &proposal);
    let there = elsewhere.run(&["--json", "review", text(&exported)]).expect(0).json();
    assert_eq!(there["approvals"][0]["void"], void);
    let first = there["approvals"][0]["approval"].as_str().expect("a digest");
    by(&incident, "alice", &["approve", &proposal, "--cosign", first]).expect(3).says("under the trust policy");

    let signature = incident.state.path("early.json.sig");
    let take = ["approve", &proposal, "--manifest", text(&manifest), "--signature", text(&signature)];
    incident.state.run(&take).expect(3).says("under the trust policy");
    incident.state.run(&["import", text(&file)]).expect(3).says("under the trust policy");
    assert_eq!(review(&incident, &proposal)["approvals"].as_array().map(Vec::len), Some(1), "nothing was kept");

    incident.approve(&proposal);
    assert_eq!(pending(&incident)["status"], "approved");
    incident.run(&proposal).expect(0);
}

/// Nor does the policy change what ended.
#[test]
fn a_denial_outlives_its_signers_rights() {
    let incident = Incident::on(State::with(&["alice", "bob"], &["agent"]));
    let proposal = incident.propose("pool-size");
    by(&incident, "bob", &["deny", &proposal, "--reason", "never"]).expect(0);
    incident.state.policy(|policy| {
        let (before, bob) = policy.split_once("name = \"bob\"").expect("bob is there");
        let (before, _) = before.rsplit_once("[[people]]").expect("a table");
        bob.split_once("[[").map_or_else(|| before.to_owned(), |(_, after)| format!("{before}[[{after}"))
    });
    let approve = || by(&incident, "alice", &["approve", &proposal, "--reason", "seen"]);
    approve().expect(3).says("denied").says("never");
    incident.run(&proposal).expect(3).says("denied").says("never");
    assert!(review(&incident, &proposal)["denied"].as_str().is_some_and(|denied| denied.contains("never")));
    incident.state.run(&["pending"]).expect(0).shows("nothing is pending");
    let file = incident.state.path("file");
    incident.state.run(&["export", &proposal, text(&file)]).expect(3).says("denied");

    // One that is damaged could be anybody's.
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    database.execute("UPDATE denials SET document = x'7b7d'", []).expect("damaged");
    approve().expect(3).says("cannot be verified any more");
    incident.run(&proposal).expect(3).says("cannot be verified any more");
    incident.state.run(&["pending"]).expect(0).shows("nothing is pending");
}

#[test]
fn pending_calls_nothing_approved_that_a_run_would_refuse() {
    let incident = Incident::of(State::new());
    let guard = incident.state.path("guard");
    fs::copy("/bin/true", &guard).expect("it can be copied");
    let more = format!("[[targets.orders.guards]]\nname = \"own\"\ncommand = [\"{}\"]\n", guard.display());
    incident.state.configure(&incident.target("orders", &more));
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    assert_eq!(pending(&incident)["status"], "approved");
    fs::remove_file(&guard).expect("it can be removed");
    incident.run(&proposal).expect(3).says("guard `own` of `orders` cannot be asked");
    let listed = pending(&incident);
    assert_eq!((&listed["status"], &listed["approved_until"]), (&json!("cannot run"), &Value::Null));
    assert!(listed["why"].as_str().is_some_and(|why| why.contains("cannot be asked")), "{listed}");
}

#[test]
fn pending_says_how_many_it_did_not_look_at() {
    let state = State::new();
    let database = rusqlite::Connection::open(state.path("state/countersign.db")).expect("the database");
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1003)
               INSERT INTO proposals (digest, bundle, proposer, created, expires, document, signature)
               SELECT printf('sha256:%064d', i), printf('sha256:%064d', 0), 'agent', i, 9000000000000, x'7b7d', '' FROM n";
    database.execute(sql, []).expect("proposals");
    let ran = state.run(&["--json", "pending"]).expect(0).says("3 later ones are left off");
    let listed = ran.json();
    assert_eq!((listed["pending"].as_array().map(Vec::len), &listed["left_off"]), (Some(1000), &json!(3)));
}

fn undoing(incident: &Incident, reason: &str, run: &str) -> String {
    let proposed = by(incident, "second", &["rollback", run, "--reason", reason]).expect(0).json();
    proposed["proposal"].as_str().expect("a proposal").to_owned()
}

fn fixed(incident: &Incident) -> String {
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    incident.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned()
}

/// An undoing is never revised.
#[test]
fn an_undoing_is_proposed_again_and_not_revised() {
    let incident = Incident::new();
    let run = fixed(&incident);
    let proposal = undoing(&incident, "the sale is over", &run);
    let again = format!("rehearse it again with `countersign rollback {run}`");
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    incident.approve_with(&proposal, &[]).expect(3).says(&again);
    incident.run(&proposal).expect(3).says(&again);
    fs::write(incident.state.config(), config).expect("it can be put back");
    let expires = review(&incident, &proposal)["expires"].as_u64().expect("a moment");
    let mut late = incident.state.command(&["run", &proposal, "--wait"]);
    late.env("COUNTERSIGN_TEST_NOW", expires.to_string()).ran().expect(3).says(&again);
}

#[test]
fn what_somebody_put_back_by_hand_is_nothing_left_to_undo() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    let run = fixed(&incident);
    let proposal = undoing(&incident, "the sale is over", &run);
    incident.approve(&proposal);
    fs::write(&incident.config, &before).expect("it can be written");
    let ran = incident.run(&proposal).expect(3);
    assert!(!ran.stderr.contains("never overwritten"), "{}", ran.stderr);
    ran.says(&format!("what the run `{run}` changed was put back already")).says("nothing is left to undo");
}

/// What is known of the run is asked at each look.
#[test]
fn waiting_for_an_undoing_ends_when_another_one_is_faster() {
    let incident = Incident::new();
    let run = fixed(&incident);
    let waits = undoing(&incident, "the sale is over", &run);
    let faster = undoing(&incident, "it is over", &run);
    incident.approve(&faster);
    let mut command = incident.state.command(&["--json", "run", &waits, "--wait", "--timeout", "1m"]);
    let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut said = std::io::BufReader::new(waiting.stderr.take().expect("its stderr"));
    let mut line = String::new();
    while !line.contains("waiting for") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).expect("it is text") > 0, "it ended");
    }
    incident.run(&faster).expect(0);
    std::io::Read::read_to_string(&mut said, &mut line).expect("it is text");
    assert_eq!(waiting.wait().expect("it ends").code(), Some(3), "{line}");
    assert!(line.contains("was undone already"), "{line}");
}

/// Signatures that no run could be by are not counted towards the last one.
#[test]
fn waiting_counts_what_a_run_could_be_by() {
    let incident = Incident::on(State::with(&["alice", "bob"], &["agent"]));
    incident.state.policy(|policy| policy.replace("people = 1", "people = 2"));
    let proposal = incident.propose("pool-size");
    by(&incident, "alice", &["approve", &proposal, "--reason", "seen", "--expires", "30m"]).expect(0);
    let wait = |now: u64| {
        let mut command = incident.state.command(&["run", &proposal, "--wait", "--timeout", "1s"]);
        command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran().expect(3)
    };
    wait(now()).says(&format!("waiting for 1 more of {proposal}'s")).says("signed by alice; may sign: bob");
    let until = review(&incident, &proposal)["approvals"][0]["expires"].as_u64().expect("a moment");
    wait(until).says(&format!("waiting for 2 of {proposal}'s approvers")).says("may sign: alice, bob");
}
