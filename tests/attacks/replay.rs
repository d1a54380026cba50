//! An approval that was given is used for something else: another target, other arguments, another bundle, another runner,
//! another policy.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::signed::{APPROVAL, Unsigned, alice_has, database, digest, hand_in, line};
use crate::support::away::text;
use crate::support::place::{Place, name, two_faced};
use crate::support::{Runs, bundle_with};

/// A place with a second folder below the first, which is also a second target.
fn two_folders() -> Place {
    let place = Place::new();
    let inner = place.folder.join("inner");
    fs::create_dir(&inner).expect("a folder");
    for file in ["a", "b", "c", "mood"] {
        fs::copy(place.folder.join(file), inner.join(file)).expect("it can be copied");
    }
    let other = place.target("").replace("targets.place", "targets.other");
    place.state.configure(&other);
    place
}

fn propose(place: &Place, bundle: &Path, target: &str, folder: &Path) -> String {
    let mut command = place.command(&["--json", "propose", "--hypothesis", "it is broken", "--key"]);
    command.arg(place.state.path("agent")).arg(bundle).arg(format!("--target={target}"));
    name(&command.arg(format!("--arg=folder={}", folder.display())).ran().expect(0).json())
}

#[test]
fn on_another_target_argument_set_or_bundle() {
    let place = two_folders();
    let unsigned = Unsigned::of(&place);
    let signature = unsigned.sign("alice", APPROVAL);
    let renamed = place.state.path("renamed");
    bundle_with("hostile/two-faced", &renamed, |manifest| manifest.replace("Says one thing", "Says another thing"));
    let (folder, inner) = (place.folder.clone(), place.folder.join("inner"));
    let others = [
        ("the same once more", propose(&place, two_faced(), "place", &folder)),
        ("another target", propose(&place, two_faced(), "other", &folder)),
        ("other arguments", propose(&place, two_faced(), "place", &inner)),
        ("another bundle", propose(&place, &renamed, "place", &folder)),
    ];
    let before = place.standing();
    for (what, other) in &others {
        let ran = hand_in(&place.state, other, &unsigned.manifest, &signature);
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
        place.run(other).expect(3).says("nobody has");
    }
    // The same where the database is made to say that it was given for them.
    unsigned.hand_in(&signature).expect(0);
    let database = database(&place.state);
    let given_for = |proposal: &str| {
        let sql = "UPDATE manifests SET proposal = ?1 WHERE digest = ?2";
        let changed = database.execute(sql, [&digest(&place.state, proposal), &unsigned.digest()]);
        assert_eq!(changed.expect("it can be written"), 1);
    };
    for (what, other) in &others {
        given_for(other);
        let ran = place.run(other);
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
    }
    assert_eq!(place.standing(), before, "nothing changed");
    given_for(&unsigned.proposal);
    // It names its target, and is good on no other one.
    let on_other = place.state.run(&["--json", "run", &unsigned.proposal, "--target", "other"]);
    assert!([1, 3].contains(&on_other.code), "{}", on_other.stderr);
    place.run(&unsigned.proposal).expect(0);
}

/// Two runners of one operator, with the same approvers, the same target and the same proposal.
#[test]
fn on_another_runner() {
    let place = Place::new();
    let unsigned = Unsigned::of(&place);
    let signature = unsigned.sign("alice", APPROVAL);
    let file = place.state.path("exported.proposal");
    let second = |words: &[&str]| {
        let mut command = crate::support::countersign();
        command.arg("--state").arg(place.state.path("other-state")).args(words);
        command
    };
    let mut init = second(&["init", "--approver", text(&place.state.path("alice.pub"))]);
    init.arg("--proposer").arg(place.state.path("agent.pub")).ran().expect(0);
    let config = place.state.path("other-state/config.toml");
    let text_of = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, format!("{text_of}\n{}", place.target(""))).expect("it can be written");
    let mut command = second(&["--json", "propose", "--target=place", "--hypothesis", "it is broken", "--key"]);
    command.arg(place.state.path("agent")).arg(two_faced()).arg(place.argument());
    let theirs = name(&command.ran().expect(0).json());
    let signature_file = place.state.path("signature");
    fs::write(&signature_file, &signature).expect("it can be written");
    let words = ["approve", &theirs, "--manifest", text(&unsigned.manifest), "--signature", text(&signature_file)];
    second(&words).ran().expect(3);
    unsigned.hand_in(&signature).expect(0);
    place.state.run(&["export", &unsigned.proposal, text(&file)]).expect(0);
    second(&["import", text(&file)]).ran().expect(3).says("was exported by the runner");
    second(&["run", &theirs]).ran().expect(3).says("nobody has");
    // The same state, whose runner has another key: what is signed is signed by somebody else.
    let copied = place.state.path("copied");
    let status = std::process::Command::new("cp").arg("-a").arg(place.state.path("state")).arg(&copied).status();
    assert!(status.expect("cp starts").success());
    for key in ["runner.key", "runner.pub"] {
        fs::copy(place.state.path("other-state").join(key), copied.join(key)).expect("it can be copied");
    }
    let before = place.standing();
    let mut other = crate::support::countersign();
    let other = other.arg("--state").arg(&copied).args(["run", &unsigned.proposal]).ran();
    other.expect(1).says("are not those that the runner's key signed last");
    assert_eq!(place.standing(), before, "nothing changed");
    place.run(&unsigned.proposal).expect(0);
}

/// What was approved while somebody had a say does not run once they have none, whatever still names the policy of then.
#[test]
fn under_another_policy() {
    let place = Place::new();
    let proposal = place.approved();
    let before = place.standing();
    place.state.keygen("bob");
    alice_has(&place.state, &[line(&place.state, "bob")], "");
    place.run(&proposal).expect(3).says("does not list");
    // The policy of then is not in force because somebody puts its file back.
    let now = fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let then =
        now.replace(&line(&place.state, "bob"), &line(&place.state, "alice")).replace("serial = 2", "serial = 1");
    fs::write(place.state.path("state/trust-policy.toml"), then).expect("it can be written");
    place.run(&proposal).expect(1).says("its serial is 1, and 2 was accepted here");
    fs::write(place.state.path("state/trust-policy.toml"), now).expect("it can be put back");
    // Nor by the database, which knew it: its rows hang together by signatures, or by what the configuration pins.
    database(&place.state).execute("DELETE FROM policies WHERE serial = 2", []).expect("it can be removed");
    place.run(&proposal).expect(3).says("does not list");
    assert_eq!(place.standing(), before, "nothing changed");
    assert_eq!(place.state.run(&["--json", "trust", "show"]).expect(0).json()["serial"], json!(2));
}

/// An approval of one proposal of two that differ in nothing but when they were made.
#[test]
fn once_more_by_a_proposal_that_says_the_same() {
    let place = Place::new();
    let (first, second) = (Unsigned::of(&place), Unsigned::of(&place));
    let signature = first.sign("alice", APPROVAL);
    hand_in(&place.state, &second.proposal, &first.manifest, &signature).expect(3);
    // Nor does the manifest of one carry a signature on that of the other.
    second.hand_in(&signature).expect(3).says("did not sign these bytes");
    first.hand_in(&signature).expect(0);
    place.run(&first.proposal).expect(0);
    let fixed = place.standing();
    for file in ["a", "b"] {
        place.put(file, "broken again\n");
    }
    let broken = place.standing();
    place.run(&first.proposal).expect(3).says("used up");
    place.run(&second.proposal).expect(3).says("nobody has");
    assert_eq!(place.standing(), broken);
    assert_ne!(fixed, broken);
}
