//! What somebody types who has only read the documentation, and what they are told.

use std::fs;
use std::process::Stdio;

use crate::row::Row;
use crate::support::place::{Place, two_faced};
use crate::support::{Runs, countersign};

#[test]
fn a_project_in_the_place_of_its_bundle() {
    let place = Place::new();
    let project = place.state.path("stray");
    fs::create_dir(&project).expect("a folder");
    for name in ["remediation.toml", "Cargo.toml"] {
        fs::write(project.join(name), "").expect("it can be written");
    }
    let named = project.display().to_string();
    let hint = format!("countersign build {named}, then name {named}/bundle");
    for ran in [
        countersign().arg("inspect").arg(&project).ran(),
        place.command(&["rehearse", "--target=place"]).arg(&project).ran(),
        place.proposing(&project).ran(),
    ] {
        ran.row(1, &format!("`{named}` is a project, not a bundle")).says(&hint);
    }
}

/// A cause that the error says already is not said again.
#[test]
fn a_bundle_that_is_not_there() {
    let place = Place::new();
    let ran = countersign().arg("inspect").arg(place.state.path("nowhere")).ran().row(1, "No such file");
    assert_eq!(ran.stderr.matches("No such file").count(), 1, "{}", ran.stderr);
    let ran = place.command(&["rehearse", "--target=place"]).arg(place.state.path("nowhere")).ran();
    let ran = ran.row(1, "No such file");
    assert_eq!(ran.stderr.matches("No such file").count(), 1, "{}", ran.stderr);
}

/// What the environment names does not stand in the usage, and is used all the same.
#[test]
fn a_command_without_its_arguments() {
    let place = Place::new();
    let mut command = countersign();
    let ran = command.env("COUNTERSIGN_STATE", place.state.path("state")).arg("run").ran().row(2, "<PROPOSAL>");
    assert!(ran.stderr.contains("Usage: countersign run"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("--state"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: see `countersign run --help`"), "{}", ran.stderr);
    let ran = countersign().args(["--json", "run"]).ran().row(2, "<PROPOSAL>");
    assert_eq!(ran.json()["error"]["hint"], "see `countersign run --help`");

    let mut command = countersign();
    command.env("COUNTERSIGN_STATE", place.state.path("state")).arg("pending").ran().expect(0);
    let mut command = countersign();
    command.env("COUNTERSIGN_CONFIG", place.state.path("nowhere")).env("COUNTERSIGN_STATE", place.state.path("state"));
    command.arg("pending").ran().row(1, "nowhere");
    countersign().args(["man", "/etc/hosts"]).ran().row(1, "`/etc/hosts` cannot be made");
}

/// Whoever closes the pipe has seen enough.
#[test]
fn into_head() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = place.command(&["runs"]).stdout(Stdio::from(writer)).output().expect("it starts");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn init() {
    let place = Place::new();
    let key = |name: &str| place.state.path(name).display().to_string();
    let (alice, state) = (key("alice.pub"), key("another"));
    // Another key with the same comment.
    let second = fs::read_to_string(key("agent.pub")).expect("it is text");
    let second = second.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let comment = fs::read_to_string(&alice).expect("it is text");
    let comment = comment.trim().rsplit(' ').next().expect("a comment").to_owned();
    fs::write(key("second.pub"), format!("{second} {comment}\n")).expect("it can be written");
    let ran =
        countersign().args(["init", "--state", &state, "--approver", &alice, "--approver", &key("second.pub")]).ran();
    let ran = ran.expect(0);
    assert!(ran.stdout.contains(&format!("  {comment}\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("  {comment}-2\n")), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("proposer any key: such runs are marked \"approval not independent\""),
        "{}",
        ran.stdout
    );

    let again = countersign().args(["init", "--state", &state, "--approver", &alice]).ran();
    again.row(1, &format!("`{state}` is a state directory already"));
    let private = countersign().args(["init", "--state", &key("third"), "--approver", &key("alice")]).ran();
    private.row(1, "is a private key").says("alice.pub");
    let nowhere = countersign().args(["init", "--state", "/proc/nowhere", "--approver", &alice]).ran();
    nowhere.row(1, "could not create").says("caused by: ");
    let (fourth, agent) = (key("fourth"), key("agent.pub"));
    let ran = countersign().args(["init", "--state", &fourth, "--approver", &alice, "--proposer", &agent]).ran();
    assert!(!ran.expect(0).stdout.contains("any key"));
}

/// Found before the first change, and not after it.
#[test]
fn a_validators_or_guards_command_that_is_not_there() {
    for what in ["validators", "guards"] {
        let place = Place::new();
        let proposal = place.approved();
        let before = place.standing();
        let paths =
            if what == "validators" { format!("paths = [\"{}/**\"]", place.folder.display()) } else { String::new() };
        let program = place.state.path("nginxx");
        let more =
            format!("[[targets.place.{what}]]\nname = \"nginx -t\"\n{paths}\ncommand = [\"{}\"]\n", program.display());
        place.state.configure(&more);
        let what = what.trim_end_matches('s');
        let says = format!("{what} `nginx -t` of `place` cannot be asked: `{}` cannot be executed", program.display());
        place.try_propose().row(3, &says);
        // The configuration is another one, so the approval is void in any case.
        place.run(&proposal).row(3, "");
        fs::write(&program, "").expect("it can be written");
        place.try_propose().row(3, &says);
        assert_eq!(place.standing(), before);
    }
}

#[test]
fn a_person_who_may_not_propose() {
    let place = Place::new();
    let mut command = place.command(&["propose", "--target=place", "--hypothesis", "x", "--key"]);
    let ran = command.arg(place.state.path("alice")).arg(two_faced()).arg(place.argument()).ran();
    let ran = ran.row(3, "may not propose");
    assert!(!ran.stderr.contains("rehearsal"), "{}", ran.stderr);
}

#[test]
fn names_that_are_nearly_right() {
    let place = Place::new();
    place.command(&["read", "Place", "files.read /x"]).ran().row(1, "is not configured").says("did you mean `place`?");
    let folder = place.folder.display().to_string();
    let ran = place.command(&["read", "place", &format!("files.read {folder}")]).ran();
    ran.row(1, "is a directory").says(&format!("'files.list {folder}'"));
    let mut command = place.command(&["review", "./x.proposal", "--runner", "bogus"]);
    command.ran().row(1, "`bogus` is neither a fingerprint nor a file");
    let proposal = place.propose();
    let mut command = place.command(&["approve", &proposal, "--reason", "x", "--key"]);
    command
        .env_remove("SSH_AUTH_SOCK")
        .arg(place.state.path("alice.pub"))
        .ran()
        .row(1, "is a public key, so ssh-agent");
    for verb in ["deny", "approve"] {
        let mut command = place.command(&[verb, &proposal, "--reason", "", "--key"]);
        command.arg(place.state.path("alice")).ran().row(1, "`--reason` is empty");
    }
    let ran = place.run(&proposal).row(3, "is not approved");
    ran.says(&format!("an approver runs `countersign review {proposal}`, then `countersign approve {proposal}`"));
    let file = place.state.path("x.proposal");
    fs::write(&file, "").expect("it can be written");
    for verb in ["run", "import"] {
        let ran = countersign().args(["--state", "/nowhere/state", verb]).arg(&file).ran();
        ran.row(1, "is a file").says("on the proposal's host");
    }
}

#[test]
fn what_a_bundle_takes() {
    let ran = countersign().arg("inspect").arg(two_faced()).ran().expect(0);
    assert!(ran.stdout.contains("\nargument  folder  required, text"), "{}", ran.stdout);
}
