//! A proposal that is like a denied one shows that denial to whoever reviews it: what was denied does not come back unseen.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use countersign_bundle::Bundle;
use countersign_model::Role;
use serde_json::{Value, json};
use support::away::{Elsewhere, text};
use support::place::{Place, name, two_faced};
use support::{Incident, Runs, bundle};

/// A place whose target has two folders, `folder` and `foldes`.
fn place() -> Place {
    let place = Place::new();
    let folder = place.folder.display().to_string();
    let other = place.state.path("foldes");
    fs::create_dir(&other).expect("a folder");
    for name in ["mood", "a", "b", "c"] {
        fs::copy(place.folder.join(name), other.join(name)).expect("copied");
    }
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let (read, write) = (format!("\"files.read {folder}/**\""), format!("\"files.write {folder}/**"));
    let verbs = "verbs=replace,create,remove,truncate,set-mode,discard\"";
    let both = config
        .replace(&read, &format!("{read}, \"files.read {}/**\"", other.display()))
        .replace(&write, &format!("\"files.write {}/** {verbs}, {write}", other.display()));
    fs::write(place.state.config(), both).expect("it can be written");
    place
}

/// Proposes a bundle for a folder; gives the proposal's name.
#[track_caller]
fn propose(place: &Place, bundle: &Path, hypothesis: &str, folder: &str) -> String {
    let mut command = place.command(&["--json", "propose", "--target=place", "--hypothesis", hypothesis, "--key"]);
    command.arg(place.state.path("agent")).arg(bundle);
    name(&command.arg(format!("--arg=folder={}", place.state.path(folder).display())).ran().expect(0).json())
}

#[track_caller]
fn deny(place: &Place, proposal: &str, reason: &str) {
    let mut command = place.command(&["deny", proposal, "--reason", reason, "--key"]);
    command.arg(place.state.path("alice")).ran().expect(0);
}

fn denied_before(place: &Place, proposal: &str) -> Value {
    place.state.run(&["--json", "review", proposal]).expect(0).json()["denied_before"].clone()
}

/// The bundle with another byte in its fix, where nothing reads it: in a section of its own.
fn with_byte(place: &Place, byte: u8) -> PathBuf {
    let original = Bundle::open(two_faced()).expect("the bundle opens");
    let mut steps: std::collections::BTreeMap<Role, Vec<u8>> = original
        .steps()
        .into_keys()
        .map(|role| (role, original.step(role).expect("a step").bytes().to_vec()))
        .collect();
    steps.get_mut(&Role::Fix).expect("a fix").extend([0, 3, 1, b'x', byte]);
    let out = place.state.path(&format!("bundle-{byte}"));
    Bundle::write(&out, original.manifest_bytes(), &steps).expect("the bundle can be written");
    out
}

#[test]
fn a_denied_proposal_returned_with_one_byte_changed() {
    let place = place();
    let first = with_byte(&place, b'a');
    let denied = propose(&place, &first, "it is broken", "folder");
    assert_eq!(denied_before(&place, &denied), json!([]));
    deny(&place, &denied, "it empties\u{1b}[2J what we need");

    // In its hypothesis, in an argument, and in its fix.
    let hypothesis = propose(&place, &first, "it is brokem", "folder");
    let argument = propose(&place, &first, "it is broken", "foldes");
    let fix = propose(&place, &with_byte(&place, b'b'), "it is broken", "folder");
    let [a, b] = ["a", "b"].map(|file| json!({ "target": "place", "subject": place.folder.join(file) }));
    for (proposal, bundle, same) in
        [(&hypothesis, true, json!([a, b])), (&argument, true, json!([])), (&fix, false, json!([a, b]))]
    {
        let before = denied_before(&place, proposal);
        assert_eq!(before.as_array().map(Vec::len), Some(1), "{before}");
        let before = &before[0];
        assert_eq!((&before["proposal"], &before["by"]), (&json!(denied), &json!("alice")));
        assert_eq!((&before["same_bundle"], &before["same_fix"]), (&json!(bundle), &json!(bundle)));
        assert_eq!(before["same_subjects"], same);
        assert_eq!(before["subjects"], json!(same.as_array().map_or(0, Vec::len)));
        let shown = place.state.run(&["review", proposal]).expect(0).shows("DENIED BEFORE, and like this");
        let shown =
            shown.shows(&format!("{denied} was denied by alice at ")).shows("it empties\\u{1b}[2J what we need");
        let alike = if bundle { "it has the same bundle" } else { "it would change the same on place: " };
        assert!(!shown.shows(alike).stdout.contains("\nDENIED:"), "it is a proposal of its own");
    }
    // What was denied stays so, and the others are told of the latest denial first.
    place.approving(&denied).ran().expect(3).says("the proposal was denied");
    deny(&place, &hypothesis, "nor so");
    let before = denied_before(&place, &fix);
    let names: Vec<_> = before.as_array().expect("a list").iter().map(|before| before["proposal"].clone()).collect();
    assert_eq!(names, [json!(hypothesis), json!(denied)]);
    assert_eq!(before[0]["reason"], "nor so");

    // Another fix of something else is not like it.
    let other = propose(&place, &with_byte(&place, b'c'), "it is broken", "foldes");
    let like: Vec<_> = denied_before(&place, &other).as_array().expect("a list").clone();
    assert!(like.is_empty(), "{like:?}");
}

#[test]
fn an_approver_elsewhere_sees_it_too() {
    let incident = Incident::new();
    let denied = incident.propose("pool-size");
    let mut command = incident.state.command(&["deny", &denied, "--reason", "not on a Friday", "--key"]);
    command.arg(incident.state.path("alice")).ran().expect(0);
    let again = incident.propose_with(&bundle("pool-size"), &["--arg=pool-size=5"]).expect(0).json();
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &name(&again));
    let review = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
    let before = &review["denied_before"][0];
    assert_eq!((&before["proposal"], &before["reason"]), (&json!(denied), &json!("not on a Friday")));
    elsewhere
        .run(&["review", text(&file)])
        .expect(0)
        .shows("DENIED BEFORE")
        .shows("by alice at ")
        .shows("not on a Friday");
}
