//! What is left of an approval: what `pending`, `review`, `approve` and `deny` say of it is what `run` would decide.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Incident, Ran, Runs, State, bundle};

/// The only proposal that is pending.
#[track_caller]
fn pending(incident: &Incident) -> Value {
    let all = incident.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(all["pending"].as_array().map(Vec::len), Some(1), "{all}");
    all["pending"][0].clone()
}

#[track_caller]
fn nothing_is_pending(incident: &Incident) {
    incident.state.run(&["pending"]).expect(0).shows("nothing is pending");
}

/// A second approver, and two who must sign.
fn two_must_sign() -> Incident {
    let incident = Incident::on(State::with(&["alice", "bob"], &["agent"]));
    incident.state.policy(|policy| policy.replace("people = 1", "people = 2"));
    incident
}

fn approve(incident: &Incident, proposal: &str, who: &str, what: &[&str]) -> Ran {
    let mut command = incident.state.command(&["--json", "approve", proposal, "--key"]);
    command.arg(incident.state.path(who)).args(what).ran()
}

/// One service under two names, and a proposal for both.
fn two_targets() -> (Incident, String) {
    let incident = Incident::new();
    incident.state.configure(&incident.target("second", ""));
    let proposed = incident.propose_with(&bundle("pool-size"), &["--target=second"]).expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a proposal").to_owned();
    (incident, proposal)
}

fn run_on(incident: &Incident, proposal: &str, target: &str) -> Ran {
    incident.state.run(&["--json", "run", proposal, "--target", target])
}

#[test]
fn pending_tells_what_a_run_would_be_told() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    assert_eq!(pending(&incident)["status"], "waits for approval");
    incident.approve_with(&proposal, &["--expires", "30m"]).expect(0);
    let approved = pending(&incident);
    assert_eq!((&approved["status"], &approved["signed"]), (&json!("approved"), &json!(1)));
    let until = approved["approved_until"].as_u64().expect("a moment");
    incident.state.run(&["pending"]).expect(0).shows("approved until 20");

    // It is not approved any more when it has expired.
    let mut later = incident.state.command(&["--json", "pending"]);
    let expired = later.env("COUNTERSIGN_TEST_NOW", until.to_string()).ran().expect(0).json();
    assert_eq!(expired["pending"][0]["status"], "approval expired", "{expired}");
    assert_eq!(expired["pending"][0]["approved_until"], Value::Null);
    fs::remove_file(incident.state.path("state/latest-time")).expect("the state saw that time");

    // What no signature can make run is not called approved either.
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    let changed = pending(&incident);
    assert_eq!(changed["status"], "cannot run", "{changed}");
    assert!(changed["why"].as_str().is_some_and(|why| why.contains("configuration")), "{changed}");
    fs::write(incident.state.config(), config).expect("it can be put back");

    incident.run(&proposal).expect(0);
    nothing_is_pending(&incident);
}

#[test]
fn one_signature_of_two_is_no_approval() {
    let incident = two_must_sign();
    let proposal = incident.propose("pool-size");
    let first = approve(&incident, &proposal, "alice", &["--reason", "seen"]).expect(0).json();
    let listed = pending(&incident);
    assert_eq!((&listed["status"], &listed["signed"]), (&json!("1 of 2 signed"), &json!(1)));
    assert_eq!(listed["approved_until"], Value::Null);
    incident.run(&proposal).expect(3);

    // Alice does not sign another; bob, who did by mistake, can still sign hers.
    approve(&incident, &proposal, "alice", &["--reason", "again"]).expect(3).says("alice has approved this already");
    let own = approve(&incident, &proposal, "bob", &["--reason", "my own"]).expect(0).json();
    let approval = first["approval"].as_str().expect("a digest");
    approve(&incident, &proposal, "bob", &["--cosign", approval]).expect(0);
    assert_eq!(pending(&incident)["status"], "approved");
    // But then bob's is no second one for alice to sign.
    let own = own["approval"].as_str().expect("a digest");
    approve(&incident, &proposal, "alice", &["--cosign", own]).expect(3).says("alice has approved this already");
    incident.run(&proposal).expect(0);
    nothing_is_pending(&incident);
}

#[test]
fn a_proposal_is_pending_until_it_ran_everywhere() {
    let (incident, proposal) = two_targets();
    let mut command = incident.state.command(&["approve", &proposal, "--reason", "seen", "--key"]);
    command
        .arg(incident.state.path("alice"))
        .ran()
        .expect(0)
        .shows("approves  2 changes on orders (1 irreversible), 2 changes on second (1 irreversible), good until ")
        .shows(&format!("countersign run {proposal} --target orders\n"))
        .shows(&format!("countersign run {proposal} --target second"));
    incident.run(&proposal).expect(1).says(&format!("`countersign run {proposal} --target second`"));
    run_on(&incident, &proposal, "orders").expect(0);

    let listed = pending(&incident);
    assert_eq!((&listed["status"], &listed["done"]), (&json!("approved"), &json!(["orders"])));
    incident.state.run(&["pending"]).expect(0).shows("second (orders done)");
    let reviewed = incident.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(reviewed.contains(", used by r-") && reviewed.contains("with runs left"), "{reviewed}");
    incident.approve_with(&proposal, &[]).expect(3).says("unused on second");

    incident.deploy(0);
    run_on(&incident, &proposal, "second").expect(0);
    nothing_is_pending(&incident);
    let reviewed = incident.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(reviewed.contains(", USED by r-"), "{reviewed}");
}

#[test]
fn nobody_approves_twice_by_mistake() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let first = incident.approve(&proposal);
    let short = first["approval"].as_str().expect("a digest").strip_prefix("sha256:").expect("hex")[..12].to_owned();
    let config = incident.config.display().to_string();
    let narrower = format!("files.write {config} max-calls=1 max-bytes=4096");
    for more in [&[][..], &["--narrow", &narrower], &["--expires", "10m"]] {
        incident
            .approve_with(&proposal, more)
            .expect(3)
            .says(&format!("alice has approved this already: {short}, good until 20"))
            .says(", unused")
            .says("nothing was signed")
            .says("neither taken back nor narrowed");
    }
    // Nor with a manifest that was signed elsewhere.
    let (manifest, signature) = (incident.state.path("again.json"), incident.state.path("again.json.sig"));
    let (manifest, signature) = (manifest.to_str().expect("UTF-8"), signature.to_str().expect("UTF-8"));
    incident.state.run(&["approve", &proposal, "--reason", "again", "--write-manifest", manifest]).expect(0);
    let alice = incident.state.path("alice");
    let alice = alice.to_str().expect("UTF-8");
    support::ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", alice, manifest]);
    let take = ["approve", &proposal, "--manifest", manifest, "--signature", signature];
    incident.state.run(&take).expect(3).says("alice has approved this already").says("nothing was kept; run it");
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["approvals"].as_array().map(Vec::len), Some(1), "{reviewed}");

    // Once it was used, another one is another run, and that is said.
    let run = incident.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(
        (&reviewed["approvals"][0]["used_by"], &reviewed["approvals"][0]["used_up"]),
        (&json!([run]), &true.into())
    );
    let again = incident.approve_with(&proposal, &[]).expect(0).says(&format!("note: {run} was committed already"));
    assert_eq!(again.json()["committed"], json!([run]));
    assert_eq!(pending(&incident)["status"], "approved");
    let mut deny = incident.state.command(&["deny", &proposal, "--reason", "it is done", "--key"]);
    deny.arg(alice).ran().expect(0).shows(&format!("{run} stays as it is: countersign rollback {run}"));
    nothing_is_pending(&incident);
}

#[test]
fn whoever_approves_is_told_what_will_stop_the_run() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.edit(3);
    incident.approve_with(&proposal, &[]).expect(0).says("note: orders is not as it was rehearsed");
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let (without, _) = config.split_once("[[targets.orders.guards]]").expect("a guard");
    fs::write(incident.state.config(), without).expect("it can be written");
    let proposal = incident.propose("pool-size");
    let approved = incident.approve_with(&proposal, &[]).expect(0).says("note: orders has no guards");
    assert_eq!(approved.json()["notes"].as_array().map(Vec::len), Some(1));
}

/// An approval names who answers for the targets, in so many bytes.
#[test]
fn what_could_never_be_approved_is_not_proposed() {
    let incident = Incident::new();
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let owned_by = |length: usize| {
        let target = incident.target("second", "").replace("\"alice\"", &format!("\"{}\"", "x".repeat(length)));
        fs::write(incident.state.config(), format!("{config}{target}")).expect("it can be written");
        incident.propose_with(&bundle("pool-size"), &["--target=second"])
    };
    let refused = owned_by(250).expect(3).says("could never be approved");
    refused.says("a rollback owner of at most 256 bytes").says("hint: have it proposed for fewer targets at once");
    let proposal = owned_by(249).expect(0).json()["proposal"].as_str().expect("a proposal").to_owned();
    incident.approve_with(&proposal, &["--expires", "30d"]).expect(3).says("choose a shorter `--expires`");
    let empty = incident
        .state
        .command(&["approve", &proposal, "--reason", " ", "--key"])
        .arg(incident.state.path("alice"))
        .ran();
    empty.expect(1).says("hint: give another `--reason`\n");
    incident.approve(&proposal);
}
