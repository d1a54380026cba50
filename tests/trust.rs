//! The trust policy: proposed, signed by its roots, put in force, and what it lets nobody do.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::place::{Place, name, two_faced};
use support::spoken::Spoken;
use support::{Ran, Runs, State, eventually, ssh_keygen};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn policy(state: &State) -> String {
    fs::read_to_string(state.path("state/trust-policy.toml")).expect("there is a policy")
}

/// A draft of a policy, as a file of its own.
fn draft(state: &State, file: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
    let (path, before) = (state.path(file), policy(state));
    let changed = change(&before);
    assert_ne!(changed, before, "the change changes something");
    fs::write(&path, changed).expect("it can be written");
    path
}

fn sign(state: &State, draft: &Path, key: &str) -> Ran {
    state.run(&["--json", "trust", "sign", text(draft), "--key", text(&state.path(key))])
}

fn install(state: &State, draft: &Path) -> Ran {
    state.run(&["--json", "trust", "install", text(draft)])
}

fn serial(text: &str, serial: u64) -> String {
    text.replace("serial = 1\n", &format!("serial = {serial}\n"))
}

fn explain(place: &Place, proposal: &str) -> Value {
    place.state.run(&["--json", "trust", "explain", proposal]).expect(0).json()["explained"][0].clone()
}

/// What `explain` says that a rule says.
fn said<'e>(explained: &'e Value, asks: &str, name: &str) -> (&'e Value, &'e str) {
    let findings = explained["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["asks"] == asks && finding["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {asks} `{name}` in {explained}"));
    (&found["lets"], found["says"].as_str().expect("text"))
}

#[test]
fn a_new_version_is_signed_by_the_roots_and_never_goes_back() {
    // Two roots, both of whom must sign: one alone could make itself the only approver.
    let state = State::with(&["alice", "bob"], &["agent"]);
    let shown = state.run(&["--json", "trust", "show"]).expect(0).json();
    assert_eq!((&shown["serial"], &shown["expired"]), (&json!(1), &json!(false)));
    let next = draft(&state, "next.toml", |text| serial(text, 2).replace("people = 1", "people = 2"));
    let proposed = state.run(&["--json", "trust", "propose", text(&next)]).expect(0).json();
    assert_eq!((&proposed["ready"], &proposed["signatures"][0]["missing"]), (&json!(false), &json!(2)));
    let told: Vec<_> =
        proposed["differences"].as_array().expect("a list").iter().map(|d| d["section"].clone()).collect();
    assert_eq!(told, ["policy", "quorum"]);
    install(&state, &next).expect(3).says("2 of the roots of the policy in force must sign it, and 0 have");
    sign(&state, &next, "alice").expect(0);
    install(&state, &next).expect(3).says("and 1 have");
    // Neither the same root again, by OpenSSH's own tool, nor somebody else.
    ssh_keygen(&["-Y", "sign", "-q", "-n", "trust-policy@countersign", "-f", text(&state.path("alice")), text(&next)]);
    sign(&state, &next, "agent").expect(0);
    install(&state, &next).expect(3).says("and 1 have");
    fs::remove_file(state.path("next.toml.sig")).expect("it was made");
    ssh_keygen(&["-Y", "sign", "-q", "-n", "trust-policy@countersign", "-f", text(&state.path("bob")), text(&next)]);
    let ready = state.run(&["--json", "trust", "propose", text(&next)]).expect(0).json();
    assert_eq!(ready["ready"], true, "{ready}");
    install(&state, &next).expect(0);
    assert_eq!(policy(&state), fs::read_to_string(&next).expect("the draft"));
    assert_eq!(install(&state, &next).expect(0).json()["differences"], json!([]));
    let again = state.run(&["--json", "trust", "propose", text(&next)]).expect(3).json();
    assert!(again["why"].as_str().is_some_and(|why| why.contains("it was accepted here already")), "{again}");
    assert_eq!(state.run(&["--json", "trust", "show"]).expect(0).json()["serial"], 2);

    // The one before it was good, and is never taken again: not by hand either, nor where the configuration pins it.
    let second = policy(&state);
    let first = second.replace("serial = 2\n", "serial = 1\n").replace("people = 2", "people = 1");
    fs::write(state.path("state/trust-policy.toml"), &first).expect("it can be written");
    for verb in ["pending", "runs"] {
        state.run(&[verb]).expect(1).says("its serial is 1, and 2 was accepted here");
    }
    // What must go on goes on by the one in force.
    state.run(&["recover"]).expect(0).says("the one accepted before stays");
    state.run(&["pause", "--key", text(&state.path("alice")), "--reason", "look"]).expect(0);
    assert_eq!(state.run(&["--json", "trust", "show"]).expect(0).json()["serial"], 2);
    // To install it again puts its file right.
    install(&state, &next).expect(0);
    assert_eq!(policy(&state), second);
    state.run(&["pending"]).expect(0);
}

/// A state that was restored from an old copy takes what the configuration asks for, and no less.
#[test]
fn an_old_copy_of_the_state_is_held_by_the_configuration() {
    let state = State::new();
    state.run(&["pending"]).expect(0);
    let config = fs::read_to_string(state.config()).expect("a configuration");
    fs::write(state.config(), config.replace("least-serial = 1", "least-serial = 2")).expect("it can be written");
    state.run(&["pending"]).expect(1).says("its serial is 1, and the configuration takes none below 2");
    // Nor is the first one taken where it is pinned no more, and nobody signed it.
    let unpinned: Vec<_> = config.lines().filter(|line| !line.starts_with("digest = ")).collect();
    fs::write(state.config(), unpinned.join("\n")).expect("it can be written");
    state.run(&["pending"]).expect(1).says("signed by the roots that the configuration pins");
    // Signed by them, it is.
    let file = state.path("state/trust-policy.toml");
    sign(&state, &file, "alice").expect(0);
    fs::write(state.config(), config).expect("it can be put back");
    state.run(&["pending"]).expect(0);
}

#[test]
fn an_expired_policy_stops_everything_but_undoing() {
    let place = Place::new();
    let proposal = place.approved();
    let later =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock").as_millis() as u64;
    let later = (later + 366 * 86_400_000).to_string();
    let at = |words: &[&str]| place.command(words).env("COUNTERSIGN_TEST_NOW", &later).ran();
    at(&["run", &proposal]).expect(3).says("the trust policy expired at").says("countersign trust propose");
    let mut again = place.proposing(two_faced());
    again.env("COUNTERSIGN_TEST_NOW", &later).ran().expect(3).says("the trust policy expired");
    let alice = place.state.path("alice");
    at(&["pause", "--key", text(&alice), "--reason", "look"]).expect(0);
    assert_eq!(at(&["--json", "trust", "show"]).expect(0).json()["expired"], true);
}

#[test]
fn rules_bind_agents_before_anything_is_read() {
    let place = Place::new();
    let folder = place.folder.display().to_string();
    place
        .state
        .policy(|policy| policy.replace("within-ceilings = true", &format!("grants = [\"files.read {folder}/a\"]")));
    let read = |name: &str, more: &[&str]| {
        place.command(&["read", "place", &format!("files.read {folder}/{name}")]).args(more).ran()
    };
    let agent = place.state.path("agent");
    read("a", &["--key", text(&agent)]).expect(0);
    read("b", &["--key", text(&agent)]).expect(3).says("agent `agent` may not investigate this on `place`");
    read("b", &[]).expect(0);
    place.try_propose().expect(3).says("may not propose this on `place`").says("countersign trust show");
    place.state.keygen("stranger");
    read("a", &["--key", text(&place.state.path("stranger"))]).expect(3).says("no rule names them");
    let rehearse = ["rehearse", text(two_faced()), "--target=place", &place.argument(), "--key", text(&agent)];
    place.command(&rehearse).ran().expect(3).says("may not propose this");
    // A grant that no capability knows is no rule.
    place.state.policy(|policy| policy.replace("files.read", "filez.read"));
    place.state.run(&["pending"]).expect(1).says("rule `whatever the ceilings allow`").says("filez");
}

/// What a new version still allows goes on, and what it does not is void.
#[test]
fn approvals_are_judged_by_the_policy_in_force() {
    let place = Place::new();
    let (kept, voided) = (place.approved(), place.approved());
    let digest = |name: &str| {
        let shown = place.state.run(&["--json", "review", name]).expect(0).json();
        shown["digest"].as_str().expect("a digest").to_owned()
    };
    let change = format!("\n[[revocations]]\nproposal = \"{}\"\nreason = \"seen through\"\n", digest(&voided));
    let next = draft(&place.state, "next.toml", |text| serial(text, 2) + &change);
    sign(&place.state, &next, "alice").expect(0);
    install(&place.state, &next).expect(0);
    place.run(&voided).expect(3).says("is revoked: seen through");
    let (lets, says) = (explain(&place, &voided)["may_run"].clone(), explain(&place, &kept)["may_run"].clone());
    assert_eq!((lets, says), (json!(false), json!(true)));
    place.run(&kept).expect(0);
}

#[test]
fn explain_names_each_rule_and_what_is_missing() {
    let place = Place::new();
    place.state.keygen("bob");
    let bob = fs::read_to_string(place.state.path("bob.pub")).expect("a key");
    place.state.policy(|policy| {
        format!(
            "{policy}\n[[people]]\nname = \"bob\"\ngroups = [\"sre\"]\nkeys = [\"{}\"]\nmay = [\"approve\"]\n\
             [[quorums]]\nname = \"many subjects\"\nsubjects-over = 1\npeople = 1\ngroups = [\"sre\"]\n\
             [[quorums]]\nname = \"a great many\"\nsubjects-over = 100\npeople = 2\n\
             [[ceilings]]\nname = \"elsewhere\"\ntargets = [\"db-*\"]\ngrants = []\n",
            bob.trim()
        )
    });
    let proposal = place.propose();
    let before = explain(&place, &proposal);
    assert_eq!(before["may_run"], false);
    assert_eq!(said(&before, "rule", "whatever the ceilings allow"), (&json!(true), "takes it in"));
    let missing = "wants 1 person of `sre`, and has nobody yet: 1 missing; may sign: bob";
    assert_eq!(said(&before, "quorum", "many subjects"), (&json!(false), missing));
    assert_eq!(said(&before, "quorum", "a great many"), (&Value::Null, "its conditions do not hold"));
    assert_eq!(said(&before, "ceiling", "elsewhere"), (&Value::Null, "is for other targets"));
    place.approve(&proposal);
    place.run(&proposal).expect(3).says("1 person of `sre` must approve by the quorum `many subjects`");
    let approvals = place.state.run(&["--json", "review", &proposal]).expect(0).json()["approvals"].clone();
    let approval = approvals[0]["approval"].as_str().expect("a digest");
    let bob = place.state.path("bob");
    let cosign = ["approve", &proposal, "--cosign", approval, "--key", text(&bob)];
    place.state.run(&cosign).expect(0);
    let after = explain(&place, &proposal);
    assert_eq!((&after["may_run"], &after["why"]), (&json!(true), &Value::Null), "{after}");
    place.run(&proposal).expect(0);
}

/// What is revoked while a run is under way does not stay.
#[test]
fn a_run_whose_approval_is_revoked_meanwhile_is_rolled_back() {
    let place = Place::new();
    let (started, go) = (place.state.path("started"), place.state.path("go"));
    place.state.configure(&format!(
        "[[targets.place.validators]]\nname = \"waits\"\npaths = [\"{}/**\"]\ntimeout = 60\n\
         command = [\"/bin/sh\", \"-c\", \"touch {}; while [ ! -e {} ]; do sleep 0.05; done\"]\n",
        place.folder.display(),
        started.display(),
        go.display()
    ));
    let proposal = place.approved();
    let before = place.standing();
    let run = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    eventually("the validator's start", || started.exists().then_some(()));
    let revoked = "\n[[revocations]]\nprincipal = \"agent\"\nreason = \"its key is out\"\n";
    let next = draft(&place.state, "next.toml", |text| serial(text, 2) + revoked);
    sign(&place.state, &next, "alice").expect(0);
    install(&place.state, &next).expect(0);
    fs::write(&go, "").expect("it can be written");
    let (code, report, said) = run.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(4), Some("rolled-back")), "{said}");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("is revoked: its key is out")), "{report}");
    assert_eq!(place.standing(), before);
}

/// A freeze keeps runs from beginning, and spends nothing.
#[test]
fn no_run_begins_in_a_freeze() {
    let place = Place::new();
    let proposal = name(&place.try_propose().expect(0).json());
    place.state.policy(|policy| {
        format!(
            "{policy}\n[[freezes]]\nname = \"sale\"\ntargets = [\"place\"]\nfrom = \"2020-01-01T00:00:00Z\"\n\
             until = \"2022-12-31T00:00:00Z\"\nreason = \"over\"\n[[freezes]]\nname = \"move\"\ntargets = [\"pl*\"]\n\
             from = \"2026-01-01T00:00:00Z\"\nuntil = \"2028-12-31T00:00:00Z\"\nreason = \"the database moves\"\n"
        )
    });
    place.approve(&proposal);
    let before = place.standing();
    place.run(&proposal).expect(3).says("by the freeze `move`: the database moves").says("no use is spent");
    assert_eq!(place.standing(), before);
    place.state.policy(|policy| policy.split_once("[[freezes]]").expect("one").0.to_owned());
    place.approve(&proposal);
    place.run(&proposal).expect(0);
}

/// An agent that floods its approvers is slowed down, and nobody else.
#[test]
fn who_proposes_too_often_waits_and_nobody_else_does() {
    let place = Place::new();
    place.state.policy(|policy| format!("{policy}\n[proposals]\nper-hour = 2\n"));
    for _ in 0..2 {
        place.propose();
    }
    let refused = place.proposing(two_faced()).ran().expect(3);
    refused.says("agent `agent` has made 2 proposals within an hour, and may make no more").says("per-hour");
    // Another agent goes on, and this one later.
    let mut second = place.command(&["propose", "--target=place", "--hypothesis", "another", "--key"]);
    second.arg(place.state.path("second")).arg(two_faced()).arg(place.argument()).ran().expect(0);
    let mut later = place.proposing(two_faced());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    later.env("COUNTERSIGN_TEST_NOW", (now + 3_700_000).to_string()).ran().expect(0);
}
