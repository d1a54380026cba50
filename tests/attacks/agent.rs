//! An agent that brings its own trust root, state directory or target definition.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::support::away::{pack, text, unpack};
use crate::support::place::{Place, name, two_faced};
use crate::support::{Runs, countersign};

/// What an agent makes for itself: a state in which it is the only root and the only approver, and the operator's target with
/// whatever ceiling it likes.
struct Own<'a> {
    place: &'a Place,
}

impl<'a> Own<'a> {
    fn of(place: &'a Place) -> Self {
        let own = Self { place };
        place.state.keygen("other");
        let mut init = own.command(&["init", "--approver", text(&place.state.path("agent.pub"))]);
        init.arg("--proposer").arg(place.state.path("other.pub")).ran().expect(0);
        let config = place.state.path("own/config.toml");
        let before = fs::read_to_string(&config).expect("a configuration");
        fs::write(&config, format!("{before}\n{}", place.target(""))).expect("it can be written");
        own
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = countersign();
        command.arg("--state").arg(self.place.state.path("own")).args(words);
        command
    }

    /// Proposed and approved there, by the agent alone, and exported.
    fn exported(&self) -> (String, Vec<u8>) {
        let mut propose = self.command(&["--json", "propose", "--target=place", "--hypothesis", "mine", "--key"]);
        propose.arg(self.place.state.path("other")).arg(two_faced()).arg(self.place.argument());
        let proposal = name(&propose.ran().expect(0).json());
        let agent = self.place.state.path("agent");
        self.command(&["approve", &proposal, "--reason", "mine", "--key", text(&agent)]).ran().expect(0);
        let file = self.place.state.path("own.proposal");
        self.command(&["export", &proposal, text(&file)]).ran().expect(0);
        (proposal, fs::read(&file).expect("it was written"))
    }
}

/// Nothing that was decided in a state of its own is taken by the operator's, and whoever reviews it at a desk of their own is
/// told whose it is.
#[test]
fn decides_in_a_state_of_its_own() {
    let place = Place::new();
    let own = Own::of(&place);
    let (theirs, file) = own.exported();
    let (ours, before) = (place.propose(), place.standing());
    let exported = place.state.path("ours.proposal");
    place.state.run(&["export", &ours, text(&exported)]).expect(0);
    let ours_packed = unpack(&fs::read(&exported).expect("it was written"));
    let put = |entries: &BTreeMap<String, Vec<u8>>| {
        let file = place.state.path("forged.proposal");
        fs::write(&file, pack(entries)).expect("it can be written");
        place.state.run(&["import", text(&file)])
    };
    place.state.run(&["import", text(&place.state.path("own.proposal"))]).expect(3).says("was exported by the runner");
    let theirs_packed = unpack(&file);
    // Its decision in the operator's own file; the operator's runner named in its file; its policy in the operator's file.
    let mut entries = ours_packed.clone();
    entries.extend(
        theirs_packed.iter().filter(|(name, _)| name.starts_with("approvals/")).map(|(n, b)| (n.clone(), b.clone())),
    );
    put(&entries).expect(3);
    for part in ["runner.pub", "trust-policy.toml", "standing.json", "proposal.json"] {
        let mut entries = theirs_packed.clone();
        for name in [part.to_owned(), format!("{part}.sig")] {
            if let Some(bytes) = ours_packed.get(&name) {
                entries.insert(name, bytes.clone());
            }
        }
        put(&entries).expect(3);
        let mut entries = ours_packed.clone();
        for name in [part.to_owned(), format!("{part}.sig")] {
            if let Some(bytes) = theirs_packed.get(&name) {
                entries.insert(name, bytes.clone());
            }
        }
        let imported = put(&entries);
        assert!([0, 3].contains(&imported.code), "{part}: {}", imported.stderr);
    }
    // Whoever names the operator's runner signs nothing of another's.
    let alice = place.state.path("alice");
    let file = place.state.path("own.proposal");
    let mut approve = countersign();
    approve.args(["approve", text(&file), "--reason", "x", "--runner", &place.state.runner(), "--key", text(&alice)]);
    approve.ran().expect(3).says("and you named");
    place.run(&ours).expect(3).says("nobody has");
    place.run(&theirs).expect(1);
    assert_eq!(place.standing(), before, "nothing changed");
}

/// A trust policy of its own, put where the operator's is, or named by a signature of its own.
#[test]
fn brings_a_trust_policy_of_its_own() {
    let place = Place::new();
    let own = Own::of(&place);
    let proposal = place.propose();
    let before = place.standing();
    let real = fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let theirs = fs::read_to_string(place.state.path("own/trust-policy.toml")).expect("a policy");
    let higher = theirs.replace("serial = 1\n", "serial = 9\n");
    for policy in [&theirs, &higher] {
        let draft = place.state.path("theirs.toml");
        fs::write(&draft, policy).expect("it can be written");
        let agent = place.state.path("agent");
        own.command(&["trust", "sign", text(&draft), "--key", text(&agent)]).ran().expect(0);
        place.state.run(&["trust", "install", text(&draft)]).expect(3);
        // By hand, with its signature beside it.
        for entry in
            fs::read_dir(place.state.dir.path()).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(end) = name.strip_prefix("theirs.toml") {
                let to = place.state.path(&format!("state/trust-policy.toml{end}"));
                fs::copy(&entry, to).expect("it can be copied");
            }
        }
        place.run(&proposal).expect(1).says("the trust policy is not taken");
        place.state.run(&["pause", "--key", text(&agent), "--reason", "mine"]).expect(3);
    }
    fs::write(place.state.path("state/trust-policy.toml"), real).expect("it can be put back");
    place.run(&proposal).expect(3).says("nobody has");
    assert_eq!(place.standing(), before, "nothing changed");
}

/// A target of its own under the operator's name: the approval is of the target as the operator has it.
#[test]
fn brings_a_target_of_its_own() {
    let place = Place::new();
    let proposal = place.approved();
    let before = place.standing();
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let file = place.state.path("own.toml");
    let absolute =
        config.replace("\"trust-policy.toml\"", &format!("{:?}", place.state.path("state/trust-policy.toml")));
    for (from, to) in [
        ("verbs=replace,create,remove,truncate,set-mode,discard", "verbs=replace"),
        ("call = \"files.read", "timeout = 7\ncall = \"files.read"),
        ("rollback-owner = \"alice\"", "rollback-owner = \"agent\""),
    ] {
        let changed = absolute.replace(from, to);
        assert_ne!(changed, absolute, "{from}");
        fs::write(&file, changed).expect("it can be written");
        let mut run = place.command(&["--config", text(&file), "run", &proposal]);
        run.ran().expect(3).says("configuration");
    }
    assert_eq!(place.standing(), before, "nothing changed");
    place.run(&proposal).expect(0);
}
