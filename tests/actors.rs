//! A run names who started it: a person who signed for it, never its proposer, or the local user.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::agent::Agent;
use support::place::{Place, name, two_faced};
use support::under::{Saying, Under};
use support::{Ran, Runs, State};

/// `run` with a key, and more words.
fn run_by(place: &Place, key: &str, proposal: &str, more: &[&str]) -> Ran {
    let mut command = place.command(&["--json", "run", proposal, "--key"]);
    command.arg(place.state.path(key)).args(more).ran()
}

/// The only run that `runs` lists, or the latest.
fn latest(place: &Place) -> Value {
    place.state.run(&["--json", "runs"]).expect(0).json()["runs"][0].clone()
}

/// The kernel's word on who runs this test.
fn local_user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").expect("a list of users");
    let of = |line: &&str| line.split(':').nth(2) == Some(&uid.to_string());
    let user = users.lines().find(of).and_then(|line| line.split(':').next()).map_or(uid.to_string(), str::to_owned);
    format!("local user {user} (uid {uid})")
}

fn entry_of(place: &Place, run: &Value, kind: &str) -> Value {
    let out = place.state.path("audit.jsonl");
    let _ = fs::remove_file(&out);
    place.command(&["audit", "export", "--out"]).arg(&out).ran().expect(0);
    let exported = fs::read_to_string(&out).expect("it was written");
    let entries = exported.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["entry"].clone());
    let mut of = entries.filter(|entry| entry["run"] == *run && entry["kind"] == kind);
    of.next().expect("it is logged")
}

#[test]
fn a_run_names_who_signed_for_it() {
    let place = Place::new();
    let proposal = place.approved();
    let report = run_by(&place, "alice", &proposal, &[]).expect(0).json();
    assert_eq!((&report["actor"], &report["outcome"]), (&json!("alice"), &json!("committed")));
    let run = report["run"].as_str().expect("a name");
    let shown = place.state.run(&["--json", "show", run]).expect(0).json();
    assert_eq!((&shown["actor"], &shown["report"]["actor"]), (&json!("alice"), &json!("alice")));
    assert_eq!((&latest(&place)["actor"], &latest(&place)["run"]), (&json!("alice"), &report["run"]));
    place.state.run(&["show", run]).expect(0).shows("by       alice");

    // What was signed is kept with the run, and anybody verifies it.
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let sql = "SELECT document, signature FROM run_orders WHERE run = ?1";
    let (document, signature): (Vec<u8>, String) =
        database.query_row(sql, [run], |row| Ok((row.get(0)?, row.get(1)?))).expect("it is kept");
    let signer = countersign_trust::verify("run@countersign", &document, signature.as_bytes()).expect("a signature");
    let order: Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!((&order["run"], &order["target"]), (&report["run"], &json!("place")));
    let logged = entry_of(&place, &report["run"], "authorized");
    assert_eq!((&logged["actor"], &logged["key"]), (&json!("alice"), &json!(signer.fingerprint())));
    assert_eq!(logged["order"], countersign_model::Digest::of(&document).to_string());
}

#[test]
fn without_a_key_it_is_the_local_user_by_the_kernels_word() {
    let place = Place::new();
    let proposal = place.approved();
    let mut command = place.command(&["--json", "run", &proposal]);
    let report = command.envs([("SUDO_UID", "4711"), ("SUDO_USER", "mallory"), ("USER", "mallory")]).ran().expect(0);
    let report = report.json();
    assert_eq!(report["actor"], json!(local_user()));
    let logged = entry_of(&place, &report["run"], "authorized");
    assert_eq!((&logged["actor"], &logged["key"]), (&json!(local_user()), &json!(null)));
    place.put("a", "broken\n");
    let again = place.approved();
    place.command(&["run", &again]).ran().expect(0).shows(&format!("started by: {}", local_user()));
}

#[test]
fn a_proposer_starts_no_run_of_its_own() {
    // Alice may propose, approve and operate; Bob approves what she proposes.
    let place = place_of(State::with(&["alice", "bob"], &["alice", "agent"]));
    let mut propose = place.command(&["--json", "propose", "--target=place", "--hypothesis", "it is broken", "--key"]);
    propose.arg(place.state.path("alice")).arg(two_faced()).arg(place.argument());
    let proposal = name(&propose.ran().expect(0).json());
    let mut approve = place.command(&["approve", &proposal, "--reason", "seen", "--key"]);
    approve.arg(place.state.path("bob")).ran().expect(0);
    let before = place.standing();
    place.state.keygen("stranger");
    for (key, why) in
        [("alice", "they proposed it"), ("agent", "only people who may"), ("stranger", "only people who may")]
    {
        for more in [&[][..], &["--wait", "--timeout", "1s"]] {
            let refused = run_by(&place, key, &proposal, more).expect(3).says("may not start this run").says(why);
            let refused = refused.says("nothing changed and no use is spent").json();
            assert_eq!((&refused["outcome"], &refused["actor"]), (&json!("refused"), &json!(null)));
            assert_eq!(latest(&place)["outcome"], "refused");
        }
    }
    assert_eq!(place.standing(), before);
    assert_eq!(run_by(&place, "bob", &proposal, &[]).expect(0).json()["actor"], "bob");
}

/// A place on a state with other people.
fn place_of(state: State) -> Place {
    let folder = state.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let place = Place { state, folder };
    for (name, text) in [("mood", "good\n"), ("a", "broken\n"), ("b", "broken too\n"), ("c", "as ever\n")] {
        place.put(name, text);
    }
    place.state.configure(&place.target(""));
    place
}

#[test]
fn the_trust_policy_can_want_every_run_signed_for() {
    let place = Place::new();
    place.state.policy(|policy| format!("{policy}\n[runs]\nsigned = true\n"));
    let proposal = place.propose();
    let mut approve = place.command(&["approve", &proposal, "--reason", "seen", "--key"]);
    let next = format!("countersign run {proposal} --key FILE");
    approve.arg(place.state.path("alice")).ran().expect(0).shows(&next);
    let explained = place.state.run(&["trust", "explain", &proposal]).expect(0);
    explained.shows(&format!("it may run: countersign run {proposal} --target place --key FILE"));
    let before = place.standing();
    for more in [&[][..], &["--wait"]] {
        let refused = place.command(&["--json", "run", &proposal]).args(more).ran().expect(3);
        let refused = refused.says("nobody signed for this run").says("`signed` under `[runs]`").says("--key FILE");
        assert_eq!(refused.json()["actor"], json!(local_user()));
    }
    let logged = entry_of(&place, &latest(&place)["run"], "refusal");
    assert_eq!(logged["actor"], json!(local_user()));
    assert_eq!(place.standing(), before);
    assert_eq!(run_by(&place, "alice", &proposal, &[]).expect(0).json()["actor"], "alice");
}

#[test]
fn who_waits_for_signatures_signs_once() {
    let place = Place::new();
    let proposal = place.propose();
    let mut command = place.command(&["--json", "run", &proposal, "--wait", "--timeout", "60s", "--key"]);
    command.arg(place.state.path("alice"));
    let waiting = Saying::start(command);
    waiting.says("waiting for");
    place.approve(&proposal);
    assert_eq!(waiting.end().expect(0).json()["actor"], "alice");
}

#[test]
fn ssh_agent_signs_for_a_run() {
    let place = Place::new();
    let proposal = place.approved();
    let agent = Agent::start();
    agent.add(&place.state.path("alice"));
    let mut command = place.command(&["--json", "run", &proposal, "--agent"]);
    let report = command.env("SSH_AUTH_SOCK", agent.socket()).ran().expect(0).json();
    assert_eq!(report["actor"], "alice");
}

#[test]
fn a_run_that_died_still_names_who_started_it() {
    let place = Place::new();
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let proposal = place.approved();
    Under::way(&place.state, &proposal).kill();
    let report = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(report["runs"][0]["actor"], json!(local_user()));
}
