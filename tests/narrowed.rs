//! What an approver narrows is rehearsed for real before it is signed, and before it is kept where it was signed elsewhere.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::away::{Elsewhere, text};
use support::place::{Place, two_faced};
use support::{Ran, Runs, ssh_keygen};

/// A grant on the place's folder.
fn grant(place: &Place, rest: &str) -> String {
    let (verb, more) = rest.split_once(' ').unwrap_or((rest, ""));
    format!("files.{verb} {}/** {more}", place.folder.display()).trim_end().to_owned()
}

fn narrowing(place: &Place, proposal: &str, grants: &[&str]) -> Ran {
    let mut command = place.approving(proposal);
    for rest in grants {
        command.arg("--narrow").arg(grant(place, rest));
    }
    command.ran()
}

fn approvals(place: &Place, proposal: &str) -> Value {
    place.state.run(&["--json", "review", proposal]).expect(0).json()["approvals"].clone()
}

#[test]
fn a_narrowing_that_the_steps_cannot_do_with_is_not_signed() {
    let place = Place::new();
    let proposal = place.propose();
    let before = place.standing();
    // A comparison with what the plan used does not find it: how much is read may vary.
    let refused = narrowing(&place, &proposal, &["read max-calls=1"]).expect(3);
    let refused = refused.says("narrowed so far, the rehearsal on `place` is denied what the plan needs: the ");
    let refused = refused.says(&format!(
        "`{}` is too narrow in place of `{}`",
        grant(&place, "read max-calls=1"),
        grant(&place, "read")
    ));
    refused.says("nothing was signed; narrow less, or deny the proposal");
    // What is written for another to sign is not written either.
    let manifest = place.state.path("approval.json");
    let mut write =
        place.command(&["approve", &proposal, "--reason", "seen", "--narrow", &grant(&place, "read max-calls=1")]);
    write.arg("--write-manifest").arg(&manifest).ran().expect(3);
    assert!(!manifest.exists());
    assert_eq!((approvals(&place, &proposal), place.standing()), (json!([]), before));

    // One that does is, and runs.
    let evidence = || -> i64 {
        let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
        database.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0)).expect("counted")
    };
    let recorded = evidence();
    narrowing(&place, &proposal, &["write verbs=replace max-calls=9"]).expect(0).says("with what was narrowed");
    assert_eq!(evidence(), recorded, "what is read for that is no evidence for anybody");
    assert_eq!(place.run(&proposal).expect(0).json()["outcome"], "committed");
}

#[test]
fn a_narrowed_plan_is_the_proposed_one_or_nothing_is_signed() {
    let place = Place::new();
    let proposal = place.propose();
    place.put("a", "broken otherwise\n");
    let refused = narrowing(&place, &proposal, &["write verbs=replace max-calls=9"]).expect(3);
    let refused =
        refused.says("rehearsed with what was narrowed, the plan for `place` is another one than was proposed");
    refused.says("nothing was signed; where `countersign review` shows").says("propose --revise");
    assert_eq!(approvals(&place, &proposal), json!([]));
}

#[test]
fn what_was_narrowed_and_signed_elsewhere_is_rehearsed_before_it_is_kept() {
    let place = Place::new();
    let proposal = place.propose();
    let elsewhere = Elsewhere::new();
    let export = |name: &str| {
        let file = elsewhere.path(name);
        place.state.run(&["export", &proposal, text(&file)]).expect(0);
        file
    };
    let approve = |file: &std::path::Path, rest: &str| {
        let (key, runner) = (place.state.path("alice"), place.state.runner());
        let narrow = grant(&place, rest);
        let words = [
            "--json",
            "approve",
            text(file),
            "--runner",
            &runner,
            "--key",
            text(&key),
            "--reason",
            "seen",
            "--narrow",
            &narrow,
        ];
        elsewhere.command(&words).ran().expect(0).says("is rehearsed when it is imported")
    };
    let (tight, fit) = (export("tight.proposal"), export("fit.proposal"));
    approve(&tight, "read max-calls=1");
    approve(&fit, "write verbs=replace max-calls=9");
    let refused = place.state.run(&["import", text(&tight)]).expect(3).says("is denied what the plan needs");
    refused.says("nothing was kept; narrow less");
    assert_eq!(approvals(&place, &proposal), json!([]));
    place.state.run(&["import", text(&fit)]).expect(0);
    // Once more is taken as it was; nothing is tried again that was kept.
    let again = place.state.run(&["import", text(&fit)]).expect(0);
    assert!(!again.stderr.contains("with what was narrowed"), "{}", again.stderr);
    assert_eq!(place.run(&proposal).expect(0).json()["outcome"], "committed");
}

#[test]
fn a_manifest_that_ssh_keygen_signed_is_rehearsed_too() {
    let place = Place::new();
    let proposal = place.propose();
    let manifest = place.state.path("approval.json");
    let mut write = place.command(&["approve", &proposal, "--reason", "seen", "--write-manifest"]);
    write.arg(&manifest).ran().expect(0);
    // Narrowed by hand, and valid in itself.
    let whole = fs::read_to_string(&manifest).expect("it was written");
    let tight =
        whole.replace(&format!("\"{}\"", grant(&place, "read")), &format!("\"{}\"", grant(&place, "read max-calls=1")));
    assert_ne!(tight, whole);
    fs::write(&manifest, tight).expect("it can be written");
    let key = place.state.path("alice");
    ssh_keygen(&["-q", "-Y", "sign", "-f", text(&key), "-n", "approval@countersign", text(&manifest)]);
    let mut keep = place.command(&["approve", &proposal, "--manifest"]);
    keep.arg(&manifest).arg("--signature").arg(place.state.path("approval.json.sig"));
    keep.ran().expect(3).says("is denied what the plan needs").says("nothing was kept");
    assert_eq!(approvals(&place, &proposal), json!([]));
}

/// The plan's digest covers chance where a change is withheld; it is the same plan all the same.
#[test]
fn a_plan_that_nobody_is_shown_can_be_narrowed() {
    let place = Place::new();
    let folder = place.folder.display().to_string();
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let target = format!("rollback-owner = \"alice\"\nsensitive = [\"{folder}/b\"]\n");
    fs::write(place.state.config(), config.replace("rollback-owner = \"alice\"\n", &target))
        .expect("it can be written");
    let proposal = support::place::name(&place.proposing(two_faced()).ran().expect(0).json());
    narrowing(&place, &proposal, &["write verbs=replace max-calls=9"]).expect(0);
    assert_eq!(place.run(&proposal).expect(0).json()["outcome"], "committed");
}
