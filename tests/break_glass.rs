//! Breaking the glass: one person's key in place of a quorum, within bounds of its own, told first and reviewed afterwards.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::place::Place;
use support::spoken::Spoken;
use support::{Ran, Runs, eventually, ssh_keygen};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A place where two people must approve, and where one of carol's and dave's keys breaks the glass; dave approves besides.
struct Glass {
    place: Place,
    notices: PathBuf,
}

const WRITE: &str = "verbs=replace,create,remove,truncate,set-mode,discard";

impl Glass {
    fn new() -> Self {
        Self::with("")
    }

    /// With more in the table of the trust policy.
    fn with(more: &str) -> Self {
        Self::within(more, |folder| format!("\"files.read {folder}/**\", \"files.write {folder}/** {WRITE}\""))
    }

    fn within(more: &str, grants: impl Fn(&str) -> String) -> Self {
        let place = Place::new();
        for name in ["bob", "carol", "carols-glass", "dave", "daves-glass"] {
            place.state.keygen(name);
        }
        let key = |name: &str| {
            let line = fs::read_to_string(place.state.path(&format!("{name}.pub"))).expect("a key");
            line.trim().to_owned()
        };
        let person = |name: &str, may: &str| {
            format!("[[people]]\nname = \"{name}\"\nkeys = [\"{}\"]\nmay = [\"{may}\"]\n", key(name))
        };
        let people = [person("bob", "approve"), person("carol", "operate"), person("dave", "approve")].concat();
        let table = format!(
            "[[break-glass]]\nname = \"nobody else\"\ntargets = [\"pl*\"]\ngrants = [{}]\nmax-validity = \"1h\"\n\
             keys = [{{ person = \"carol\", key = \"{}\" }}, {{ person = \"dave\", key = \"{}\" }}]\n{more}",
            grants(text(&place.folder)),
            key("carols-glass"),
            key("daves-glass")
        );
        place.state.policy(|policy| format!("{}\n{people}{table}", policy.replace("people = 1", "people = 2")));
        let notices = place.state.path("notices");
        let glass = Self { place, notices };
        let told = text(&glass.notices);
        glass.place.state.configure(&format!(
            "\n[notice]\ncommand = [\"/bin/sh\", \"-c\", \"test -e {told}.off && echo gone && exit 7; cat >>{told}\"]\n"
        ));
        glass
    }

    fn key(&self, name: &str) -> PathBuf {
        self.place.state.path(name)
    }

    fn by(&self, key: &str, arguments: &[&str]) -> Ran {
        self.place.command(&["--json"]).args(arguments).arg("--key").arg(self.key(key)).ran()
    }

    fn breaks_with(&self, key: &str, proposal: &str, more: &[&str]) -> Ran {
        self.by(key, &[&["break-glass", "approve", proposal, "--reason", "it burns"], more].concat())
    }

    /// Breaks it with carol's key; gives the approval's digest.
    #[track_caller]
    fn breaks(&self, proposal: &str) -> String {
        let broken = self.breaks_with("carols-glass", proposal, &[]).expect(0).json();
        broken["approval"].as_str().expect("a digest").to_owned()
    }

    fn closes(&self, key: &str, approval: &str) -> Ran {
        self.by(key, &["break-glass", "close", approval, "--reason", "it did burn"])
    }

    /// What was told, in order.
    fn told(&self) -> Vec<Value> {
        let all = fs::read_to_string(&self.notices).unwrap_or_default();
        all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn reviews(&self, more: &[&str]) -> Value {
        let listed = self.place.command(&["--json", "break-glass", "list"]).args(more).ran().expect(0).json();
        listed["reviews"].clone()
    }

    /// The entries of the audit log of one kind.
    fn logged(&self, kind: &str) -> Vec<Value> {
        let out = self.place.state.path("audit.jsonl");
        let _ = fs::remove_file(&out);
        self.place.state.run(&["audit", "export", "--out", text(&out)]).expect(0);
        let all = fs::read_to_string(&out).expect("it was written");
        let entries = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.map(|line| line["entry"].clone()).filter(|entry| entry["kind"] == kind).collect()
    }

    fn config(&self, change: impl FnOnce(&str) -> String) {
        let config = fs::read_to_string(self.place.state.config()).expect("a configuration");
        fs::write(self.place.state.config(), change(&config)).expect("it can be written");
    }

    /// Nothing that was refused left anything behind.
    #[track_caller]
    fn is_whole(&self, proposal: &str) {
        assert_eq!((self.reviews(&["--all"]), self.logged("break-glass").len()), (json!([]), 0));
        let reviewed = self.place.state.run(&["--json", "review", proposal]).expect(0).json();
        assert_eq!(reviewed["approvals"], json!([]), "{reviewed}");
        self.place.run(proposal).expect(3);
    }
}

/// A validator that tells when it was asked, and waits for a file.
fn waiting_validator(place: &Place, started: &Path, go: &Path) -> String {
    format!(
        "[[targets.place.validators]]\nname = \"waits\"\npaths = [\"{}/**\"]\ntimeout = 60\n\
         command = [\"/bin/sh\", \"-c\", \"touch {}; while [ ! -e {} ]; do sleep 0.05; done\"]\n",
        text(&place.folder),
        started.display(),
        go.display()
    )
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()).expect("not that late")
}

/// The whole way: a quorum of two that nobody meets, a key that breaks the glass, a run, and somebody else's review.
#[test]
fn one_key_stands_in_for_a_quorum_and_leaves_a_review() {
    let glass = Glass::new();
    let place = &glass.place;
    let proposal = place.propose();
    place.approve(&proposal);
    place.run(&proposal).expect(3).says("2 people must approve by the quorum `every run`");
    let approval = glass.breaks(&proposal);

    // Somebody was told, before it counted, and of what.
    let told = glass.told();
    assert_eq!(told.len(), 1, "{told:?}");
    for (key, expected) in [
        ("event", json!("break-glass")),
        ("break_glass", json!("nobody else")),
        ("person", json!("carol")),
        ("proposal", json!(proposal)),
        ("proposer", json!("agent")),
        ("targets", json!(["place"])),
        ("reason", json!("it burns")),
        ("approval", json!(approval)),
    ] {
        assert_eq!(told[0][key], expected, "{told:?}");
    }
    let expires = told[0]["expires"].as_u64().expect("a moment");
    assert!((29 * 60_000..=30 * 60_000).contains(&(expires - now())), "{told:?}");

    // It is plain what it is, wherever it is looked at.
    let pending = place.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!((&pending["pending"][0]["status"], &pending["pending"][0]["signed"]), (&json!("approved"), &json!(1)));
    assert_eq!(pending["break_glass"][0]["approval"], approval);
    place.state.run(&["pending"]).expect(0).shows("the glass nobody else was broken by carol").shows("it burns");
    let reviewed = place.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(reviewed.contains("THE GLASS WAS BROKEN: nobody else"), "{reviewed}");
    let explained = place.state.run(&["trust", "explain", &proposal]).expect(0).stdout;
    assert!(explained.contains("yes break-glass `nobody else`") && explained.contains("it may run"), "{explained}");

    // An exported file has it as any other, and brings back nothing new.
    let file = place.state.path("out.proposal");
    place.state.run(&["export", &proposal, text(&file)]).expect(0);
    let imported = place.state.run(&["--json", "import", text(&file)]).expect(0).json();
    let paper = imported["approvals"].as_array().expect("a list").iter().find(|paper| paper["digest"] == approval);
    assert_eq!(paper.map(|paper| (&paper["by"], &paper["new"])), Some((&json!("carol"), &json!(false))), "{imported}");

    // While a run may begin by it, there is nothing to review yet.
    glass.closes("bob", &approval).expect(3).says("a run may begin by it until");
    let report = place.run(&proposal).expect(0).json();
    assert_eq!((&report["outcome"], &report["break_glass"]), (&json!("committed"), &json!("nobody else")));
    assert_eq!(report["approvers"], json!(["carol"]));
    place.run(&proposal).expect(3);
    let run = report["run"].as_str().expect("a run");
    place.state.run(&["show", run]).expect(0).shows("glass    BROKEN: nobody else");
    let told = glass.told();
    assert_eq!((told.len(), &told[1]["event"], &told[1]["outcome"]), (2, &json!("run-ended"), &json!("committed")));
    assert_eq!(told[1]["run"], run);

    // It stays open until somebody else closes it: neither who broke it, nor the agent, nor a break-glass key.
    assert_eq!(glass.reviews(&[])[0]["runs"][0]["outcome"], "committed");
    glass.closes("carol", &approval).expect(3).says("may not close the review of the broken glass");
    glass.closes("agent", &approval).expect(3).says("only a person may");
    glass.closes("daves-glass", &approval).expect(3).says("only a person may");
    assert_eq!(glass.reviews(&[]).as_array().map(Vec::len), Some(1));
    let closed = glass.closes("bob", &approval[..20]).expect(0).json();
    assert_eq!((&closed["closed_by"], &closed["review"]["closing_reason"]), (&json!("bob"), &json!("it did burn")));
    assert_eq!(glass.reviews(&[]), json!([]));
    assert_eq!(place.state.run(&["--json", "pending"]).expect(0).json()["break_glass"], json!([]));
    assert_eq!(glass.reviews(&["--all"])[0]["closed_by"], "bob");
    glass.closes("dave", &approval).expect(3).says("was closed already, by bob");

    // Sandbox, journal and audit log were where they always are.
    let changes = report["changes"].as_array().expect("a list").len();
    assert!(changes > 0 && glass.logged("change").len() == changes);
    let (broken, reviewed) = (glass.logged("break-glass"), glass.logged("break-glass-reviewed"));
    assert_eq!((broken.len(), reviewed.len(), glass.logged("authorized").len()), (1, 1, 1));
    for (key, expected) in [("person", "carol"), ("reason", "it burns"), ("break-glass", "nobody else")] {
        assert_eq!(broken[0][key], expected, "{broken:?}");
    }
    assert_eq!((&broken[0]["manifest"], &reviewed[0]["manifest"]), (&json!(approval), &json!(approval)));
    assert_eq!((&reviewed[0]["person"], &reviewed[0]["reason"]), (&json!("bob"), &json!("it did burn")));
    place.state.run(&["audit", "verify"]).expect(0);
}

/// What auditors are told, before and after.
#[test]
fn a_report_tells_of_broken_glass_and_whether_it_is_reviewed() {
    let glass = Glass::new();
    let proposal = glass.place.propose();
    let approval = glass.breaks(&proposal);
    let report = |since: &str| {
        let report = ["--json", "audit", "report", "--since", since, "--format", "json"];
        glass.place.state.run(&report).expect(0).json()
    };
    glass.place.run(&proposal).expect(0);
    let told = report("1h");
    let line = &told["break_glass"][0];
    assert_eq!((&line["person"], &line["reviewed"]), (&json!("carol"), &Value::Null), "{told}");
    assert!(line["receipt"].as_str().is_some_and(|receipt| receipt.starts_with("c2sp.org/tlog-proof")), "{line}");
    assert_eq!(told["counts"]["break_glass_reviews_open"], 1, "{told}");
    assert_eq!(told["changes"][0]["break_glass"], "nobody else", "{told}");
    assert_eq!(told["changes"][0]["reasons"][0]["reason"], "it burns", "{told}");
    glass.closes("bob", &approval).expect(0);
    let told = report("1h");
    assert_eq!(
        (&told["break_glass"][0]["reviewed_by"], &told["counts"]["break_glass_reviews_open"]),
        (&json!("bob"), &json!(0))
    );
}

#[test]
fn no_key_does_what_the_other_is_for() {
    let glass = Glass::new();
    let place = &glass.place;
    let proposal = place.propose();
    // An ordinary key breaks nothing, whoever's it is.
    for key in ["alice", "carol", "agent"] {
        glass.breaks_with(key, &proposal, &[]).expect(3).says("breaks no glass").says("countersign trust show");
    }
    place.state.keygen("stranger");
    glass.breaks_with("stranger", &proposal, &[]).expect(3).says("unlisted key").says("under [[break-glass]]");
    // And one that breaks the glass does nothing else.
    let its = |arguments: &[&str]| glass.by("daves-glass", arguments);
    its(&["approve", &proposal, "--reason", "seen"]).expect(3).says("break-glass key of `dave` may not approve");
    its(&["deny", &proposal, "--reason", "no"]).expect(3).says("break-glass key of `dave` may not deny");
    its(&["pause", "--reason", "no"]).expect(3).says("break-glass key of `dave` may not pause");
    let file = format!("files.read {}/a", text(&place.folder));
    its(&["read", "place", &file]).expect(3).says("break-glass key of `dave` may not investigate");
    let (bundle, argument) = (text(support::place::two_faced()).to_owned(), place.argument());
    its(&["propose", &bundle, "--target=place", &argument, "--hypothesis", "mine"]).expect(3).says("may not propose");
    glass.is_whole(&proposal);

    // Nor by a manifest of its own, handed in beside the notice.
    let manifest = place.state.path("manifest.json");
    let write = ["approve", &proposal, "--reason", "seen", "--write-manifest", text(&manifest)];
    place.state.run(&write).expect(0);
    let signed = |manifest: &Path, key: &str| {
        let _ = fs::remove_file(format!("{}.sig", text(manifest)));
        let key = glass.key(key);
        ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", text(&key), text(manifest)]);
        let signature = format!("{}.sig", text(manifest));
        place.state.run(&["approve", &proposal, "--manifest", text(manifest), "--signature", &signature])
    };
    signed(&manifest, "daves-glass").expect(3).says("break-glass key of `dave` may not approve");
    let plain = fs::read_to_string(&manifest).expect("text");
    let named = plain.replace("\"reason\":\"seen\"", "\"reason\":\"seen\",\"break-glass\":\"nobody else\"");
    assert_ne!(named, plain);
    fs::write(&manifest, named).expect("it can be written");
    signed(&manifest, "daves-glass")
        .expect(3)
        .says("is by the break-glass `nobody else`")
        .says("gives the notice first");
    signed(&manifest, "alice").expect(3).says("countersign break-glass approve");
    glass.is_whole(&proposal);
    assert_eq!(glass.told(), Vec::<Value>::new());
}

/// One that was put into the state by hand has no review, and nobody was told: nothing runs by it.
#[test]
fn what_was_kept_without_a_notice_starts_nothing() {
    let glass = Glass::new();
    let place = &glass.place;
    let proposal = place.propose();
    glass.breaks(&proposal);
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    database.execute("DELETE FROM glass_reviews", []).expect("it can be written");
    let before = place.standing();
    place.run(&proposal).expect(3).says("no notice was given of it here");
    assert_eq!(place.standing(), before);
}

#[test]
fn it_reaches_no_further_than_its_own_ceiling() {
    let glass = Glass::within("", |folder| format!("\"files.read {folder}/**\", \"files.write {folder}/a\""));
    let proposal = glass.place.propose();
    let broken = glass.breaks_with("carols-glass", &proposal, &[]);
    broken.expect(3).says("is outside of the break-glass `nobody else`").says("files.write").says("--narrow");
    glass.is_whole(&proposal);
    assert_eq!(glass.told(), Vec::<Value>::new());

    // Nor to other targets, nor for longer.
    let glass = Glass::new();
    let proposal = glass.place.propose();
    let longer = glass.breaks_with("carols-glass", &proposal, &["--expires", "61m"]);
    longer.expect(3).says("it is good for 1h at most, and this is for 61m").says("shorter `--expires`");
    glass.place.state.policy(|policy| policy.replace("targets = [\"pl*\"]", "targets = [\"db-*\"]"));
    glass.breaks_with("carols-glass", &proposal, &[]).expect(3).says("it is for other targets than `place`");
    glass.is_whole(&proposal);
}

#[test]
fn it_expires_and_only_what_is_over_is_reviewed() {
    let glass = Glass::new();
    let proposal = glass.place.propose();
    let approval = glass.breaks(&proposal);
    let later = (now() + 31 * 60_000).to_string();
    let mut run = glass.place.command(&["run", &proposal]);
    run.env("COUNTERSIGN_TEST_NOW", &later).ran().expect(3).says("the approval expired at");
    let mut close = glass.place.command(&["break-glass", "close", &approval, "--reason", "unused", "--key"]);
    close.arg(glass.key("alice")).env("COUNTERSIGN_TEST_NOW", &later).ran().expect(0).shows("closed by alice");

    // A denial ends it as any other approval, and then there is nothing more to come.
    let glass = Glass::new();
    let proposal = glass.place.propose();
    let approval = glass.breaks(&proposal);
    glass.closes("bob", &approval).expect(3).says("countersign deny");
    glass.by("bob", &["deny", &proposal, "--reason", "wait for the morning"]).expect(0);
    glass.place.run(&proposal).expect(3).says("wait for the morning");
    glass.closes("bob", &approval).expect(0);
}

#[test]
fn nothing_is_broken_that_nobody_is_told_of() {
    let glass = Glass::new();
    let proposal = glass.place.propose();
    // A notice that fails.
    let off = format!("{}.off", text(&glass.notices));
    fs::write(&off, "").expect("it can be written");
    let failed = glass.breaks_with("carols-glass", &proposal, &[]).expect(3);
    failed.says("nobody was told that the glass is broken: `/bin/sh` exited with 7: gone").says("/usr/bin/logger");
    glass.is_whole(&proposal);
    // A notice that takes too long.
    fs::remove_file(&off).expect("it is there");
    let config = fs::read_to_string(glass.place.state.config()).expect("a configuration");
    let (before, _) = config.split_once("[notice]").expect("a notice");
    let slow = format!("{before}[notice]\ncommand = [\"/bin/sleep\", \"600\"]\ntimeout = 1\n");
    glass.config(|_| slow.clone());
    glass.breaks_with("carols-glass", &proposal, &[]).expect(3).says("took longer than 1 s");
    glass.is_whole(&proposal);
    // None at all.
    glass.config(|_| before.to_owned());
    glass.breaks_with("carols-glass", &proposal, &[]).expect(3).says("no notice is configured").says("[notice]");
    glass.is_whole(&proposal);
    // One that is no program's path is no configuration.
    glass.config(|config| format!("{config}\n[notice]\ncommand = [\"logger\"]\n"));
    glass.place.state.run(&["pending"]).expect(1).says("notice: `logger` must be an absolute path");
    glass.config(|_| config.clone());
    glass.breaks(&proposal);
    glass.place.run(&proposal).expect(0);
}

/// Who answers for a proposal never breaks the glass for it, nor reviews that.
#[test]
fn whose_proposal_it_is_breaks_nothing_and_reviews_nothing() {
    let glass = Glass::new();
    let place = &glass.place;
    let owned = |policy: &str| {
        let (before, agent) = policy.split_once("name = \"agent\"\n").expect("the agent");
        format!("{before}name = \"agent\"\nowner = \"carol\"\nenrolled-by = \"bob\"\n{agent}")
    };
    place.state.policy(owned);
    let proposal = place.propose();
    glass.breaks_with("carols-glass", &proposal, &[]).expect(3).says("they own the proposer, agent `agent`");
    glass.is_whole(&proposal);
    let broken = glass.breaks_with("daves-glass", &proposal, &[]).expect(0).json();
    let approval = broken["approval"].as_str().expect("a digest");
    place.run(&proposal).expect(0);
    glass.closes("dave", approval).expect(3).says("they broke the glass");
    glass.closes("bob", approval).expect(3).says("they enrolled the key of agent `agent`");
    glass.closes("alice", approval).expect(0);
}

/// Where two must break it, one is not enough, and both sign the same.
#[test]
fn two_people_break_it_where_two_must() {
    let glass = Glass::with("people = 2\n");
    let place = &glass.place;
    let proposal = place.propose();
    let first = glass.breaks_with("carols-glass", &proposal, &[]).expect(0).json();
    assert_eq!((&first["people"], &first["needed"]), (&json!(["carol"]), &json!(2)));
    let approval = first["approval"].as_str().expect("a digest");
    // OpenSSH's own tool takes it as it takes any approval.
    let allowed = place.state.path("allowed_signers");
    let key = fs::read_to_string(place.state.path("carols-glass.pub")).expect("a key");
    fs::write(&allowed, format!("carol {key}")).expect("it can be written");
    let manifest = fs::File::open(first["manifest"].as_str().expect("a file")).expect("the manifest");
    let signature = first["signature"].as_str().expect("a file");
    let verify = ["-Y", "verify", "-n", "approval@countersign", "-I", "carol", "-f", text(&allowed), "-s", signature];
    assert!(Command::new("ssh-keygen").args(verify).stdin(manifest).status().expect("it starts").success());

    place.run(&proposal).expect(3).says("2 people must break the glass `nobody else`, and carol did");
    let cosign = ["break-glass", "approve", &proposal, "--cosign", approval];
    let second = glass.by("daves-glass", &cosign).expect(0).json();
    assert_eq!((&second["people"], glass.told().len()), (&json!(["carol", "dave"]), 2));
    assert_eq!(glass.reviews(&[])[0]["broken_by"], json!(["carol", "dave"]));
    place.run(&proposal).expect(0);
    glass.closes("dave", approval).expect(3).says("they broke the glass");
    glass.closes("bob", approval).expect(0);
}

/// Whoever signed an approval that waits for somebody who does not answer breaks the glass all the same; and where theirs is
/// good for a run already, there is nothing to break.
#[test]
fn who_signed_what_waits_for_others_may_break_it() {
    let glass = Glass::new();
    let place = &glass.place;
    let proposal = place.propose();
    glass.by("dave", &["approve", &proposal, "--reason", "seen"]).expect(0);
    glass.breaks_with("daves-glass", &proposal, &[]).expect(0);
    // By now one more approval of theirs would be for another run.
    glass.by("dave", &["approve", &proposal, "--reason", "again"]).expect(3).says("dave has approved this already");

    let again = place.propose();
    let first = glass.by("dave", &["approve", &again, "--reason", "seen"]).expect(0).json();
    let approval = first["approval"].as_str().expect("a digest");
    glass.by("bob", &["approve", &again, "--cosign", approval]).expect(0);
    glass.breaks_with("daves-glass", &again, &[]).expect(3).says("dave has approved this already");
    place.run(&proposal).expect(0);
}

/// A freeze holds, unless the trust policy says that this glass goes through it.
#[test]
fn a_freeze_holds_unless_it_goes_through_them() {
    let freeze = "[[freezes]]\nname = \"move\"\ntargets = [\"place\"]\nfrom = \"2026-01-01T00:00:00Z\"\n\
                  until = \"2028-12-31T00:00:00Z\"\nreason = \"the database moves\"\n";
    for (through, code) in [("", 3), ("through-freezes = true\n", 0)] {
        let glass = Glass::with(&format!("{through}{freeze}"));
        let proposal = glass.place.propose();
        glass.breaks(&proposal);
        let ran = glass.place.run(&proposal).expect(code);
        if code == 3 {
            ran.says("by the freeze `move`: the database moves");
        }
    }
}

/// A run by broken glass is rolled back as any other, and its review is open all the same.
#[test]
fn what_fails_its_check_is_rolled_back() {
    let glass = Glass::new();
    let place = &glass.place;
    place.put("mood", "bad\n");
    let proposal = place.propose();
    let before = place.standing();
    glass.breaks(&proposal);
    let report = place.run(&proposal).expect(4).json();
    assert_eq!((&report["outcome"], &report["break_glass"]), (&json!("rolled-back"), &json!("nobody else")));
    assert_eq!(place.standing(), before);
    assert_eq!(glass.told()[1]["outcome"], "rolled-back");
    assert_eq!(glass.reviews(&[])[0]["runs"][0]["outcome"], "rolled-back");
}

/// One that was killed is rolled back by whichever command comes next, and that is told too.
#[test]
fn what_became_of_a_run_that_died_is_told_too() {
    let glass = Glass::new();
    let place = &glass.place;
    let (started, go) = (place.state.path("started"), place.state.path("go"));
    place.state.configure(&waiting_validator(place, &started, &go));
    let proposal = place.propose();
    let before = place.standing();
    glass.breaks(&proposal);
    let run = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    eventually("the validator's start", || started.exists().then_some(()));
    run.kill();
    fs::write(&go, "").expect("it can be written");
    assert_eq!(glass.told().len(), 1);
    place.state.run(&["pending"]).expect(0).says("THE GLASS WAS BROKEN");
    assert_eq!(place.standing(), before);
    let told = glass.told();
    assert_eq!((&told[1]["outcome"], &told[1]["proposal"]), (&json!("rolled-back"), &json!(proposal)), "{told:?}");
    assert_eq!(told.len(), 2);
}

/// What is revoked while a run is under way does not stay, a key that broke the glass among it.
#[test]
fn a_key_that_is_revoked_meanwhile_keeps_nothing() {
    let glass = Glass::new();
    let place = &glass.place;
    let (started, go) = (place.state.path("started"), place.state.path("go"));
    place.state.configure(&waiting_validator(place, &started, &go));
    let proposal = place.propose();
    let approval = glass.breaks(&proposal);
    let before = place.standing();
    let run = Spoken::start(&mut place.command(&["--json", "run", &proposal]));
    eventually("the validator's start", || started.exists().then_some(()));
    glass.closes("bob", &approval).expect(3).says("has not ended");
    let output = ssh_keygen(&["-lf", text(&place.state.path("carols-glass.pub"))]);
    let line = String::from_utf8(output.stdout).expect("text");
    let key = line.split(' ').nth(1).expect("a fingerprint");
    let policy = fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let next = place.state.path("next.toml");
    let revoked = format!("\n[[revocations]]\nkey = \"{key}\"\nreason = \"her bag was stolen\"\n");
    fs::write(&next, policy.replace("serial = 2\n", "serial = 3\n") + &revoked).expect("it can be written");
    place.state.run(&["trust", "sign", text(&next), "--key", text(&place.state.path("alice"))]).expect(0);
    place.state.run(&["trust", "install", text(&next)]).expect(0);
    fs::write(&go, "").expect("it can be written");
    let (code, report, said) = run.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(4), Some("rolled-back")), "{said}");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("her bag was stolen")), "{report}");
    assert_eq!(place.standing(), before);
    glass.closes("bob", &approval).expect(0);
}

/// Whose word counts on a run that waits for one is what it always is: an approver's.
#[test]
fn a_run_that_waits_is_confirmed_by_an_approver() {
    let glass = Glass::new();
    let proposal = glass.place.propose();
    glass.breaks(&proposal);
    let run = Spoken::start(&mut glass.place.command(&["--json", "run", &proposal, "--confirm-within", "1h"]));
    let line = run.says("waits for a confirmation until");
    let id = line.split(' ').nth(1).expect("a run");
    for key in ["carols-glass", "carol"] {
        glass.by(key, &["confirm", id]).expect(3).says("may not confirm");
    }
    glass.by("bob", &["confirm", id]).expect(0);
    let (code, report, said) = run.end();
    assert_eq!((code, report["outcome"].as_str()), (Some(0), Some("committed")), "{said}");
}

/// The policy says it in so many words, and a draft tells what of it changes.
#[test]
fn the_trust_policy_tells_its_glass() {
    let glass = Glass::with("pin = true\n");
    let state = &glass.place.state;
    let shown = state.run(&["trust", "show"]).expect(0).stdout;
    assert!(shown.contains("break-glass:\n  nobody else: 1 person with a PIN in place of every quorum"), "{shown}");
    assert!(shown.contains("for 1h at most") && shown.contains("of `carol`"), "{shown}");
    let policy = fs::read_to_string(state.path("state/trust-policy.toml")).expect("a policy");
    let next = state.path("next.toml");
    let changed = policy
        .replace("serial = 2\n", "serial = 3\n")
        .replace("max-validity = \"1h\"\nkeys", "max-validity = \"2h\"\nkeys");
    fs::write(&next, changed).expect("it can be written");
    let proposed = state.run(&["trust", "propose", text(&next)]).expect(0).stdout;
    assert!(proposed.contains("+ break-glass nobody else:") && proposed.contains("for 2h at most"), "{proposed}");
    // What it demands of keys is asked: these are in no hardware.
    let proposal = glass.place.propose();
    glass.breaks_with("carols-glass", &proposal, &[]).expect(3).says("a PIN is demanded");
    glass.is_whole(&proposal);
}
