//! A committed run is undone later, by an approval of its own.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::place::Place;
use support::{Incident, Ran, Runs};

/// An incident whose fix is committed, with the run's name and the configuration as it was before.
fn fixed() -> (Incident, String, Vec<u8>) {
    let incident = Incident::new();
    let (run, before) = fix(&incident);
    (incident, run, before)
}

fn fix(incident: &Incident) -> (String, Vec<u8>) {
    let before = fs::read(&incident.config).expect("it is there");
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let report = incident.run(&proposal).expect(0).json();
    assert_eq!(incident.status("/orders"), 200);
    (report["run"].as_str().expect("a run").to_owned(), before)
}

fn rollback_by(incident: &Incident, key: &str, run: &str) -> Ran {
    let mut command = incident.state.command(&["--json", "rollback", run, "--reason", "the sale is over", "--key"]);
    command.arg(incident.state.path(key)).ran()
}

#[track_caller]
fn rollback(incident: &Incident, run: &str) -> String {
    let proposed = rollback_by(incident, "second", run).expect(0).json();
    assert_eq!(proposed["undoes"], run);
    proposed["proposal"].as_str().expect("a proposal").to_owned()
}

#[track_caller]
fn undo(incident: &Incident, run: &str) -> Value {
    let proposal = rollback(incident, run);
    incident.approve(&proposal);
    incident.run(&proposal).expect(0).json()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it can be read");
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('.'))
        .collect()
}

#[test]
fn what_would_put_back_what_is_not_kept_any_more_is_refused_before_its_first_change() {
    let (incident, run, _) = fixed();
    let proposal = rollback(&incident, &run);
    incident.approve(&proposal);
    let left = fs::read(&incident.config).expect("it is there");
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    database.execute("DELETE FROM images", []).expect("removed");
    for folder in fs::read_dir(incident.state.path("state/blobs/sha256")).expect("listed") {
        for file in fs::read_dir(folder.expect("a folder").path()).expect("listed") {
            fs::remove_file(file.expect("a file").path()).expect("removed");
        }
    }
    let refused = incident.run(&proposal).expect(3).says("is not kept any more").says("from a backup").json();
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(fs::read(&incident.config).expect("it is there"), left);
}

#[test]
fn a_committed_run_is_undone_by_an_approval_of_its_own() {
    let (incident, run, before) = fixed();
    let metadata = fs::metadata(&incident.config).expect("it is there");
    let left = fs::read(&incident.config).expect("it is there");
    let proposal = rollback(&incident, &run);
    assert_eq!(fs::read(&incident.config).expect("it is there"), left, "proposing changes nothing");
    assert_eq!(incident.status("/orders"), 200);

    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["undoes"]["run"], run.as_str());
    assert_eq!(reviewed["undoes"]["proposer"], "agent `agent`");
    assert_eq!(reviewed["undoes"]["not_undone"].as_array().map(Vec::len), Some(1), "the signal");
    assert!(reviewed["changes"][0]["diff"].as_str().is_some_and(|diff| diff.contains("+pool-size = 0")), "{reviewed}");
    assert_eq!(reviewed["restores"], true);
    let success = &reviewed["targets"][0]["success"];
    assert_eq!(success["hold-ms"], success["every-ms"], "it is looked at twice");
    let text = incident.state.run(&["review", &proposal]).expect(0).stdout;
    for words in [
        &format!("UNDOES run {run} on orders"),
        "NOT undone, since nothing undoes it: send HUP",
        "1. undo: replace",
        "no guard on orders may be worse than before, at one look within 10 s (a look every 250 ms), and at every look for \
         250 ms after that",
        "the check is shown and not required",
        "the rollback step runs again",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    assert!(!text.contains("the check already passes"), "{text}");

    incident.run(&proposal).expect(3).says("not approved");
    let approved = incident.approve(&proposal);
    let manifest = fs::read_to_string(approved["manifest"].as_str().expect("a manifest")).expect("it is text");
    assert!(manifest.contains(&format!("\"undoes\":{{\"run\":\"{run}\"")), "{manifest}");
    let ran = incident.run(&proposal).expect(0);
    let report = ran.json();
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["undoes"]["run"], run.as_str());
    assert_eq!(report["undoes"]["not_undone"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["check"]["verdict"], "unhealthy", "it is shown, and was not required");
    assert!(ran.stderr.contains("every subject read back equals what it was before run"), "{}", ran.stderr);
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    let after = fs::metadata(&incident.config).expect("it is there");
    assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (after.mode(), after.uid(), after.gid()));
    assert_eq!(names(incident.config.parent().expect("a folder")), Vec::<String>::new());
    assert_eq!(incident.status("/orders"), 503, "the rollback step made the service load it");

    let second = report["run"].as_str().expect("a run");
    let shown = incident.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!((shown["outcome"].as_str(), shown["undone_by"].as_str()), (Some("committed"), Some(second)));
    let shown = incident.state.run(&["show", second]).expect(0).stdout;
    assert!(shown.contains(&format!("undoes   {run}")), "{shown}");
    let runs = incident.state.run(&["runs"]).expect(0).stdout;
    assert!(runs.contains(&format!("undone by {second}")) && runs.contains(&format!("undoes {run}")), "{runs}");

    // Once is enough, and an undoing is not undone.
    rollback_by(&incident, "second", &run).expect(3).says("was undone already").says(second);
    rollback_by(&incident, "agent", second).expect(3).says("itself undid");
    incident.run(&proposal).expect(3).says("was undone already");
    incident.approve_with(&proposal, &[]).expect(3).says("was undone already");
    // The incident can be fixed again, and that undone again.
    let (again, _) = fix(&incident);
    undo(&incident, &again);
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}

#[test]
fn nobody_rolls_back_a_run_of_their_own() {
    let (incident, run, _) = fixed();
    rollback_by(&incident, "agent", &run).expect(3).says("nobody rolls back a run of their own").says("somebody else");
    incident.state.keygen("stranger");
    rollback_by(&incident, "stranger", &run).expect(3).says("may not propose");
    let pending = incident.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"].as_array().map(Vec::len), Some(0));
}

#[test]
fn who_proposed_the_run_does_not_approve_its_undoing() {
    // Alice may propose and approve; bob may approve.
    let incident = Incident::on(support::State::with(&["alice", "bob"], &["alice", "second"]));
    let command = |arguments: &[&str], key: &str| {
        let mut command = incident.state.command(arguments);
        command.arg("--key").arg(incident.state.path(key));
        command
    };
    let mut propose = command(&["--json", "propose", "--hypothesis", "no worker"], "alice");
    let proposed = propose.arg(support::bundle("pool-size")).args(incident.arguments()).ran().expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a proposal");
    command(&["approve", proposal, "--reason", "mine"], "alice").ran().expect(3);
    command(&["approve", proposal, "--reason", "agreed"], "bob").ran().expect(0);
    let report = incident.run(proposal).expect(0).json();

    let undoing = rollback(&incident, report["run"].as_str().expect("a run"));
    let refused = command(&["approve", &undoing, "--reason", "back to my own"], "alice").ran();
    refused.expect(3).says("proposed the run");
    incident.run(&undoing).expect(3).says("not approved");
    command(&["approve", &undoing, "--reason", "agreed"], "bob").ran().expect(0);
    incident.run(&undoing).expect(0);
}

#[test]
fn a_later_edit_is_a_conflict_and_nothing_is_touched() {
    let (incident, run, _) = fixed();
    let left = fs::read_to_string(&incident.config).expect("it is there");
    let edited = format!("{left}# somebody's\n");
    let digest = |text: &str| countersign_model::Digest::of(text.as_bytes()).to_string();

    // Before it is proposed.
    fs::write(&incident.config, &edited).expect("it can be edited");
    rollback_by(&incident, "second", &run)
        .expect(3)
        .says(&format!("is not as the run `{run}` left it"))
        .says(&digest(&edited))
        .says(&digest(&left))
        .says("a later edit is never overwritten");
    assert_eq!(fs::read_to_string(&incident.config).expect("it is there"), edited);

    // After it was approved; no use is spent.
    fs::write(&incident.config, &left).expect("it can be put back");
    let proposal = rollback(&incident, &run);
    incident.approve(&proposal);
    fs::write(&incident.config, &edited).expect("it can be edited");
    incident
        .run(&proposal)
        .expect(3)
        .says(&format!("is not as the run `{run}` left it"))
        .says(&digest(&edited))
        .says(&digest(&left));
    assert_eq!(fs::read_to_string(&incident.config).expect("it is there"), edited);
    fs::write(&incident.config, &left).expect("it can be put back");
    fs::set_permissions(&incident.config, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    incident.run(&proposal).expect(3).says("mode");
    fs::set_permissions(&incident.config, fs::Permissions::from_mode(0o640)).expect("its mode can be set");
    assert_eq!(incident.status("/orders"), 200);
    incident.run(&proposal).expect(0);
}

#[test]
fn only_what_was_committed_is_undone() {
    let incident = Incident::new();
    incident.state.run(&["rollback", "r-000000000000", "--reason", "x", "--key", "/dev/null"]).expect(1);
    let proposal = incident.propose("pool-size-twin");
    let refused = incident.run(&proposal).expect(3).json();
    let refused = refused["run"].as_str().expect("a run").to_owned();
    incident.approve(&proposal);
    let rolled_back = incident.run(&proposal).expect(4).json();
    let rolled_back = rolled_back["run"].as_str().expect("a run").to_owned();
    rollback_by(&incident, "second", &refused).expect(3).says("changed nothing that could be undone");
    rollback_by(&incident, "second", &rolled_back).expect(3).says("was rolled back already");
    rollback_by(&incident, "second", "r-000000000000").expect(1).says("there is no run");
}

/// A guard that holds while the configuration has a pool of workers.
fn guard(incident: &Incident, script: &str) {
    let guard = incident.state.path("guard");
    fs::write(&guard, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
    fs::set_permissions(&guard, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    let text = format!("[[targets.orders.guards]]\nname = \"pool\"\ncommand = [\"{}\"]\n", guard.display());
    incident.state.configure(&text);
}

#[test]
fn an_undoing_that_leaves_a_guard_worse_is_rolled_back_itself() {
    let incident = Incident::new();
    let marker = incident.state.path("strict");
    guard(
        &incident,
        &format!("[ ! -e {} ] || ! grep -q 'pool-size = 0' {}", marker.display(), incident.config.display()),
    );
    let (run, _) = fix(&incident);
    let left = fs::read(&incident.config).expect("it is there");
    fs::write(&marker, "").expect("it can be written");
    let proposal = rollback(&incident, &run);
    incident.approve(&proposal);
    let ran = incident.run(&proposal).expect(4);
    let report = ran.json();
    assert_eq!(
        (report["outcome"].as_str(), report["undoes"]["run"].as_str()),
        (Some("rolled-back"), Some(run.as_str()))
    );
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("guard `pool` does not hold")), "{report}");
    assert_eq!(fs::read(&incident.config).expect("it is there"), left, "the run stands");
    assert_eq!(incident.status("/orders"), 200, "the rollback step made the service load it again");
    assert_eq!(names(incident.config.parent().expect("a folder")), Vec::<String>::new());
    let shown = incident.state.run(&["--json", "show", &run]).expect(0).json();
    assert_eq!(shown["undone_by"], Value::Null);
    let text = incident.state.run(&["runs"]).expect(0).stdout;
    assert!(text.contains(&format!("undoes {run}")), "{text}");
}

/// The proof reads the target, and reads it after everything else was asked.
#[test]
fn an_edit_while_it_is_undone_is_left_alone_and_said() {
    let incident = Incident::new();
    let (run, _) = fix(&incident);
    // Asked once before the undoing, and then after what was changed was put back.
    let count = incident.state.path("count");
    guard(
        &incident,
        &format!(
            "echo asked >> {0}; [ $(wc -l < {0}) -ne 2 ] || echo '# edited' >> {1}; true",
            count.display(),
            incident.config.display()
        ),
    );
    let proposal = rollback(&incident, &run);
    incident.approve(&proposal);
    let report = incident.run(&proposal).expect(5).json();
    assert_eq!(report["outcome"], "rollback-incomplete");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("is not as before run")), "{report}");
    assert!(fs::read_to_string(&incident.config).expect("it is there").ends_with("# edited\n"), "it is left alone");
}

#[test]
fn what_is_recorded_of_the_run_must_be_what_was_proposed_to_be_undone() {
    let (incident, run, _) = fixed();
    let proposal = rollback(&incident, &run);
    incident.approve(&proposal);
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    let change = |from: &str, to: &str| {
        let sql = "UPDATE changes SET change = replace(change, ?1, ?2) WHERE run = ?3 AND seq = 1";
        assert_eq!(database.execute(sql, [from, to, &run]).expect("it can be written"), 1);
    };
    change("\"mode\":\"0640\"", "\"mode\":\"0666\"");
    incident.run(&proposal).expect(3).says("is not what was proposed to be undone");
    incident.approve_with(&proposal, &[]).expect(3);
    assert_eq!(incident.status("/orders"), 200);
    change("\"mode\":\"0666\"", "\"mode\":\"0640\"");
    incident.run(&proposal).expect(0);
}

#[test]
fn an_image_that_is_kept_no_longer_is_said_and_nothing_is_touched() {
    let (incident, run, before) = fixed();
    let left = fs::read(&incident.config).expect("it is there");
    let digest = countersign_model::Digest::of(&before);
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    let hex = digest.hex();
    let blob = incident.state.path("state/blobs/sha256").join(&hex[..2]).join(&hex);

    // In the journal's own images it is found just as well, and not kept twice.
    fs::remove_file(&blob).expect("the proposal kept it");
    let proposal = rollback(&incident, &run);
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert!(reviewed["changes"][0]["diff"].as_str().is_some_and(|diff| diff.contains("+pool-size = 0")), "{reviewed}");
    assert!(!blob.exists());

    database.execute("DELETE FROM images WHERE digest = ?1", [digest.to_string()]).expect("it can be removed");
    rollback_by(&incident, "second", &run).expect(3).says("cannot be put back as it was before the run").says("backup");
    assert_eq!(fs::read(&incident.config).expect("it is there"), left);
}

#[test]
fn a_ceiling_that_was_narrowed_since_holds_for_the_undoing_too() {
    let (incident, run, _) = fixed();
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let own = format!(", \"files.write {} max-calls=2\"", incident.config.display());
    assert!(config.contains(&own), "{config}");
    fs::write(incident.state.config(), config.replace(&own, "")).expect("it can be written");
    rollback_by(&incident, "second", &run).expect(3).says("remediation ceiling does not contain");
    assert_eq!(incident.status("/orders"), 200);
}

/// A log beside what is fixed, and a fix that does to it what `mood` says.
struct Log(Place);

impl Deref for Log {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

/// Longer than the 64 KiB that are kept of what is discarded.
fn lines() -> String {
    "a line\n".repeat(10_000)
}

impl Log {
    fn new(mood: &str) -> Self {
        let log = Self(Place::new());
        log.put("mood", mood);
        log.put("log", &lines());
        fs::set_permissions(log.path("log"), fs::Permissions::from_mode(0o644)).expect("its mode can be set");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(log.path("log"), Some(12), Some(34)).expect("its owner can be set");
        }
        log
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The log's inode, mode, owner and group.
    fn attributes(&self) -> [u64; 4] {
        let found = fs::metadata(self.path("log")).expect("it is there");
        [found.ino(), u64::from(found.mode() & 0o7777), u64::from(found.uid()), u64::from(found.gid())]
    }

    /// Proposes, approves and runs the fix; gives the run's name.
    #[track_caller]
    fn fix(&self) -> String {
        let report = self.run(&self.approved()).expect(0).json();
        assert_eq!(report["outcome"], "committed");
        report["run"].as_str().expect("a run").to_owned()
    }

    fn rollback(&self, run: &str) -> Ran {
        let mut rollback = self.command(&["--json", "rollback", run, "--reason", "it was not it", "--key"]);
        rollback.arg(self.state.path("second")).ran()
    }

    /// The undoing's proposal, its review and its report.
    #[track_caller]
    fn undo(&self, run: &str) -> (String, Value, Value) {
        let proposed = self.rollback(run).expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a proposal").to_owned();
        let reviewed = self.state.run(&["--json", "review", &proposal]).expect(0).json();
        self.approve(&proposal);
        let report = self.run(&proposal).expect(0).json();
        (proposal, reviewed, report)
    }

    /// Nothing of the runner's own is beside what it changed.
    #[track_caller]
    fn left_clean(&self) {
        assert_eq!(names(&self.folder), Vec::<String>::new());
        assert_eq!((self.text("a"), self.text("b"), self.text("c")), {
            ("broken\n".to_owned(), "broken too\n".to_owned(), "as ever\n".to_owned())
        });
    }
}

/// In place, both ways: whoever has the log open goes on with it.
#[test]
fn a_run_that_truncated_a_file_and_set_its_mode_is_undone_in_the_same_file() {
    for (mood, left) in [("cut", (7, 0o644)), ("closed", (70_000, 0o600)), ("cut closed", (7, 0o600))] {
        let log = Log::new(mood);
        let before = log.attributes();
        let run = log.fix();
        let after = log.attributes();
        assert_eq!((log.text("log").len(), after[1]), left, "{mood}");
        assert_eq!((after[0], after[2], after[3]), (before[0], before[2], before[3]), "{mood}");

        let (_, reviewed, report) = log.undo(&run);
        assert_eq!(reviewed["undoes"]["not_undone"], serde_json::json!([]), "{mood}");
        assert_eq!(reviewed["restores"], true);
        let plan = reviewed["changes"].to_string();
        assert_eq!(plan.contains("what was cut off (7 bytes become 70000)"), mood.contains("cut"), "{plan}");
        assert_eq!(plan.contains("(0600 becomes 0644)"), mood.contains("closed"), "{plan}");
        assert_eq!(report["outcome"], "committed", "{report}");
        assert!(log.text("log") == lines(), "{mood}: every byte is back");
        assert_eq!(log.attributes(), before, "{mood}");
        log.left_clean();
        log.rollback(&run).expect(3).says("was undone already");
    }
}

#[test]
fn what_was_logged_since_a_cut_is_a_conflict_and_stays() {
    let log = Log::new("cut");
    let run = log.fix();
    let logged = format!("{}later\n", log.text("log"));
    fs::write(log.path("log"), &logged).expect("it can be written");
    log.rollback(&run).expect(3).says("a later edit is never overwritten").says("it has 13 bytes, not 70000 as before");
    assert_eq!((log.text("log"), log.text("a")), (logged, "fixed\n".to_owned()));
}

#[test]
fn what_a_run_discarded_is_listed_as_not_undone_and_the_rest_is_undone() {
    let log = Log::new("discard");
    let before = log.attributes();
    let run = log.fix();
    assert_eq!(log.text("log"), "");
    let (proposal, reviewed, report) = log.undo(&run);
    let what = format!(
        "discard the content of `{}` (70000 bytes, of which the last 65536 are kept to be read)",
        log.path("log").display()
    );
    assert_eq!(reviewed["undoes"]["not_undone"], serde_json::json!([what]));
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["undoes"]["not_undone"], serde_json::json!([what]));
    let text = log.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(text.contains(&format!("NOT undone, since nothing undoes it: {what}")), "{text}");
    assert_eq!((log.text("log").as_str(), log.attributes()), ("", before), "it is left as it is");
    log.left_clean();
}

#[test]
fn a_run_that_only_discarded_has_nothing_to_undo() {
    let log = Log::new("gone");
    let run = log.fix();
    let refused = log.rollback(&run).expect(3).says("changed nothing that can be put back");
    refused.says("what it did is irreversible");
    assert_eq!(log.text("a"), "");
}

/// No run is ever to be undone whose changes are buried under what nothing undoes.
#[test]
fn what_changes_a_file_and_then_discards_it_is_not_proposed() {
    for mood in ["cut discard", "closed discard"] {
        let log = Log::new(mood);
        log.try_propose()
            .expect(3)
            .says("the rollback failed in rehearsal")
            .says("is not pending as this change left it");
        assert!(log.text("log") == lines());
    }
}
