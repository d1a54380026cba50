//! A proposal that drifted is rehearsed again; the one before ends, and a review shows what differs.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use countersign_model::Digest;
use support::{Incident, Ran, Runs, bundle, bundle_with};

fn revise(incident: &Incident, proposal: &str, key: &str, more: &[&str]) -> Ran {
    let mut command = incident.state.command(&["--json", "propose", "--revise", proposal, "--key"]);
    command.arg(incident.state.path(key)).args(more).ran()
}

#[track_caller]
fn revised(incident: &Incident, proposal: &str, more: &[&str]) -> String {
    let proposed = revise(incident, proposal, "agent", more).expect(0).json();
    assert_eq!(proposed["revises"], proposal);
    proposed["proposal"].as_str().expect("a proposal").to_owned()
}

/// Somebody edits what the fix is about to change; gives what it was and what it is.
fn drift(incident: &Incident) -> (String, String) {
    let was = fs::read_to_string(&incident.config).expect("it is there");
    let is = format!("{was}# somebody's edit\n");
    fs::write(&incident.config, &is).expect("it can be edited");
    (was, is)
}

#[test]
fn a_drifted_proposal_is_rehearsed_again_and_its_approval_does_not_carry_over() {
    let incident = Incident::new();
    let evidence =
        incident.state.run(&["--json", "read", "orders", &format!("files.read {}", incident.config.display())]);
    let evidence = evidence.expect(0).json()["evidence"][0]["id"].clone();
    let id = evidence.as_str().expect("an id").to_owned();
    let proposed = incident.propose_with(&bundle("pool-size"), &["--evidence", &id]).expect(0).json();
    let old = proposed["proposal"].as_str().expect("a proposal").to_owned();
    incident.approve(&old);
    let (was, is) = drift(&incident);
    incident.run(&old).expect(3).says("not as it was rehearsed").says(&format!("countersign propose --revise {old}"));

    let new = revised(&incident, &old, &[]);
    assert_ne!(new, old);
    // The old one is over, whatever was signed of it, and says what took its place.
    let mut deny = incident.state.command(&["review", &old]);
    assert!(deny.ran().expect(0).stdout.contains(&format!("SUPERSEDED by {new}")));
    incident.run(&old).expect(3).says("was superseded by").says(&format!("countersign review {new}"));
    incident.approve_with(&old, &[]).expect(3).says("was superseded by").says(&new);
    incident.run(&new).expect(3).says("not approved");
    let pending = incident.state.run(&["--json", "pending"]).expect(0).json();
    let names: Vec<_> = pending["pending"].as_array().expect("a list").iter().map(|p| p["proposal"].clone()).collect();
    assert_eq!(names, [new.as_str()]);

    let reviewed = incident.state.run(&["--json", "review", &new]).expect(0).json();
    let revision = &reviewed["revision"];
    assert_eq!(revision["revises"], old.as_str());
    for same in ["bundle", "terms", "evidence", "hypothesis", "denied"] {
        assert!(revision[same].is_null(), "{same}: {revision}");
    }
    assert_eq!(
        (revision["arguments"].as_array().map(Vec::len), revision["grants"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
    let target = &revision["targets"][0];
    assert!(target["configuration"].is_null() && !target["plan"].is_null(), "{target}");
    assert_eq!(target["changes"].as_array().map(Vec::len), Some(1), "the signal is the same");
    let change = &target["changes"][0];
    assert_eq!(change["before"]["was"], Digest::of(was.as_bytes()).to_string());
    assert_eq!(change["before"]["is"], Digest::of(is.as_bytes()).to_string());
    assert!(change["drifted"].as_str().is_some_and(|diff| diff.contains("+# somebody's edit")), "{change}");
    assert!(change["rewritten"].as_str().is_some_and(|diff| diff.contains("+# somebody's edit")), "{change}");
    let text = incident.state.run(&["review", &new]).expect(0).stdout;
    for words in
        [&format!("REVISES {old}"), "+# somebody's edit", "plan on orders", &Digest::of(is.as_bytes()).to_string()]
    {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }

    incident.approve(&new);
    incident.run(&new).expect(0);
    assert_eq!(incident.status("/orders"), 200);
    assert!(fs::read_to_string(&incident.config).expect("it is there").ends_with("# somebody's edit\n"), "it was kept");
}

#[test]
fn what_is_given_anew_is_shown_and_the_rest_stays() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    let new = revised(&incident, &old, &["--arg", "pool-size=4", "--hypothesis", "four are enough"]);
    let reviewed = incident.state.run(&["--json", "review", &new]).expect(0).json();
    let arguments = &reviewed["words"]["arguments"];
    assert_eq!((&arguments["pool-size"], &arguments["config"]), (&4.into(), &incident.config.to_str().into()));
    let revision = &reviewed["revision"];
    assert_eq!(revision["arguments"], serde_json::json!([{ "name": "pool-size", "was": 8, "is": 4 }]));
    assert_eq!(revision["hypothesis"]["is"], "four are enough");
    assert!(
        revision["targets"][0]["changes"][0]["rewritten"].as_str().is_some_and(|diff| diff.contains("+pool-size = 4"))
    );

    // The bundle too, with what it asks for.
    let narrower = bundle_with("pool-size", &incident.state.path("narrower"), |manifest| {
        manifest.replacen("files.write {config} max-calls=1", "files.write {config} max-calls=1 max-bytes=4096", 1)
    });
    let newer = revised(&incident, &new, &[narrower.to_str().expect("UTF-8")]);
    let revision = incident.state.run(&["--json", "review", &newer]).expect(0).json()["revision"].clone();
    assert!(!revision["bundle"].is_null(), "{revision}");
    let grants: Vec<_> =
        revision["grants"].as_array().expect("grants").iter().map(|grant| grant["new"].as_bool()).collect();
    assert_eq!(grants, [Some(false), Some(true)]);
    assert_eq!(revision["arguments"], serde_json::json!([]), "what was given before stays");
    let text = incident.state.run(&["review", &newer]).expect(0).stdout;
    assert!(text.contains("no longer asked for") && text.contains("now asked for"), "{text}");
}

#[test]
fn a_reconfigured_target_is_rehearsed_again_as_it_is_now() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    incident.approve(&old);
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    incident.run(&old).expect(3).says("configuration").says("countersign propose --revise");
    incident.approve_with(&old, &[]).expect(3).says(&format!("countersign propose --revise {old}"));
    let new = revised(&incident, &old, &[]);
    let reviewed = incident.state.run(&["--json", "review", &new]).expect(0).json();
    let target = &reviewed["revision"]["targets"][0];
    assert!(!target["configuration"].is_null() && target["plan"].is_null(), "{target}");
    incident.approve(&new);
    incident.run(&new).expect(0);
}

#[test]
fn a_proposal_is_revised_once_and_by_its_proposer_alone() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    revise(&incident, &old, "second", &[]).expect(3).says("cannot end what another proposed");
    incident.state.run(&["review", &old]).expect(0);
    let new = revised(&incident, &old, &[]);
    revise(&incident, &old, "agent", &[])
        .expect(3)
        .says("was superseded by")
        .says(&format!("countersign propose --revise {new}"));
    // A chain of them: the last one stands.
    let newest = revised(&incident, &new, &[]);
    incident.approve_with(&new, &[]).expect(3);
    incident.approve(&newest);
    incident.run(&newest).expect(0);
    revise(&incident, "p-000000000000", "agent", &[]).expect(1).says("no proposal");
    let usage = incident.state.run(&["propose", "--hypothesis", "x", "--key", "x"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
}

#[test]
fn a_revision_that_is_refused_leaves_the_proposal_before_standing() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    incident.approve(&old);
    // There is nothing to fix for a moment, so nothing can be proposed.
    incident.deploy(8);
    revise(&incident, &old, "agent", &[]).expect(3);
    revise(&incident, &old, "agent", &["--arg", "pool-size=many"]).expect(1);
    incident.deploy(0);
    incident.run(&old).expect(0);
}

#[test]
fn a_denied_proposal_is_revised_and_its_denial_is_shown() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    let mut deny = incident.state.command(&["deny", &old, "--reason", "too many workers", "--key"]);
    deny.arg(incident.state.path("alice")).ran().expect(0);
    let new = revised(&incident, &old, &["--arg", "pool-size=2"]);
    let text = incident.state.run(&["review", &new]).expect(0).stdout;
    assert!(text.contains("that one was DENIED") && text.contains("too many workers"), "{text}");
    incident.run(&old).expect(3);
    incident.approve(&new);
    incident.run(&new).expect(0);
}

#[test]
fn what_undoes_a_run_is_planned_again_and_not_revised() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let run = incident.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned();
    let mut rollback = incident.state.command(&["--json", "rollback", &run, "--reason", "x", "--key"]);
    let proposed = rollback.arg(incident.state.path("second")).ran().expect(0).json();
    let undoing = proposed["proposal"].as_str().expect("a proposal");
    revise(&incident, undoing, "second", &[]).expect(3).says(&format!("countersign rollback {run}"));
}

/// The one before is compared with, and is not what anybody signs: who may propose by now does not matter to that, and
/// what of it is lost is said.
#[test]
fn a_revision_is_reviewed_though_what_it_revises_could_not_be_proposed_any_more() {
    let incident = Incident::new();
    let old = incident.propose("pool-size");
    // The agent has two keys, and loses the first of them.
    incident.state.policy(|policy| policy.replace("\"]\n\n[[agents]]\nname = \"second\"\nkeys = [\"", "\", \""));
    let new = revise(&incident, &old, "second", &["--arg", "pool-size=4"]).expect(0).json();
    let new = new["proposal"].as_str().expect("a proposal").to_owned();
    let key = fs::read_to_string(incident.state.path("agent.pub")).expect("a key");
    incident.state.policy(|policy| policy.replace(&format!("\"{}\", ", key.trim()), ""));
    let reviewed = || incident.state.run(&["--json", "review", &new]).expect(0).json()["revision"].clone();
    let whole = reviewed();
    assert_eq!((&whole["revises"], &whole["missing"]), (&old.as_str().into(), &serde_json::json!([])));
    assert_eq!(whole["arguments"][0]["was"], 8);
    assert_eq!(whole["targets"][0]["changes"].as_array().map(Vec::len), Some(1), "{whole}");

    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    let rehearsal: String = database
        .query_row("SELECT digest FROM rehearsals ORDER BY rowid LIMIT 1", [], |row| row.get(0))
        .expect("the first rehearsal");
    database.execute("DELETE FROM rehearsals WHERE digest = ?1", [rehearsal]).expect("it is lost");
    let cut = reviewed();
    assert!(cut["missing"][0].as_str().is_some_and(|line| line.starts_with("the rehearsal on `orders`: ")), "{cut}");
    assert_eq!(cut["arguments"], whole["arguments"]);
    assert_eq!(
        (&cut["targets"][0]["plan"], &cut["targets"][0]["changes"][0]),
        (&whole["targets"][0]["plan"], &serde_json::Value::Null)
    );
    incident.state.run(&["review", &new]).expect(0).shows("CANNOT BE COMPARED: the rehearsal on `orders`");
    let file = incident.state.path("revised.proposal");
    incident.state.command(&["export", &new]).arg(&file).ran().expect(0);

    database.execute("UPDATE proposals SET document = ?1 WHERE rowid = 1", [&b"{}"[..]]).expect("it is damaged");
    let lost = reviewed();
    assert!(lost["missing"][0].as_str().is_some_and(|line| line.contains("it was changed since")), "{lost}");
    assert_eq!(lost["revises"], old.as_str());
}
