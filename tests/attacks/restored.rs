//! A state that is copied, restored, or changed behind the runner's back, so that what was used or denied seems good again. What the
//! runner's key signed in the audit log is what counts.

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::{Connection, params};

use crate::signed::{Unsigned, database, digest};
use crate::support::Ran;
use crate::support::away::text;
use crate::support::place::Place;

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success(), "it can be copied");
}

/// A place whose target is as broken as it was before the one run that was approved: what keeps it from being run again is the
/// use that is spent.
struct Used {
    place: Place,
    proposal: String,
    run: String,
}

impl Used {
    fn new() -> Self {
        let place = Place::new();
        let proposal = place.approved();
        Self::once(place, proposal)
    }

    fn once(place: Place, proposal: String) -> Self {
        let run = place.run(&proposal).expect(0).json()["run"].as_str().expect("a run").to_owned();
        place.put("a", "broken\n");
        place.put("b", "broken too\n");
        Self { place, proposal, run }
    }

    /// A run that is refused, whatever it is that is said besides.
    #[track_caller]
    fn refused(&self, says: &str) -> Ran {
        let before = self.place.standing();
        let ran = self.place.run(&self.proposal).expect(3).says(says);
        assert_eq!(self.place.standing(), before, "nothing changed");
        ran
    }
}

/// Bends the database, sees the run refused, and takes it back.
#[track_caller]
fn bent(used: &Used, bend: impl Fn(&Connection), says: &str) {
    let (file, kept) = (used.place.state.path("state"), used.place.state.path("kept"));
    copy(&file, &kept);
    bend(&database(&used.place.state));
    used.refused(says);
    fs::remove_dir_all(&file).expect("it can be removed");
    fs::rename(&kept, &file).expect("it can be put back");
    used.refused("used up");
}

/// Whoever can write the database takes the use back; the log still says that it was spent.
#[test]
fn a_use_that_is_taken_back() {
    let used = Used::new();
    let says = "the audit log says that 1 use of the approval is spent on `place`, and the state knows of 0";
    bent(
        &used,
        |database| {
            for table in ["changes", "events", "open_subjects"] {
                database.execute(&format!("DELETE FROM {table}"), []).expect("they can be removed");
            }
            assert_eq!(database.execute("DELETE FROM runs", []).expect("it can be removed"), 1);
        },
        says,
    );
    for set in ["outcome = 'refused'", "target = 'another'", "manifest = NULL, outcome = 'refused'"] {
        let sql = format!("UPDATE runs SET {set} WHERE id = ?1");
        bent(&used, |database| assert_eq!(database.execute(&sql, [&used.run]).expect("it can be written"), 1), says);
    }
    // That it may wait for an approval makes no difference.
    let sql = "UPDATE runs SET outcome = 'refused'";
    database(&used.place.state).execute(sql, []).expect("it can be written");
    let waiting = used.place.state.run(&["--json", "run", &used.proposal, "--wait"]);
    waiting.expect(3).says("the audit log says").says("audit export");
}

/// The log's rows are changed with it: what is signed is their tree.
#[test]
fn a_use_that_is_taken_out_of_the_log_too() {
    let used = Used::new();
    let place = || "position = (SELECT max(position) FROM log_entries WHERE entry LIKE '%authorized%')";
    type Bend = Box<dyn Fn(&Connection)>;
    let rewritten = |leaf: bool| -> Bend {
        Box::new(move |database: &Connection| {
            let sql = format!("SELECT entry FROM log_entries WHERE {}", place());
            let entry: Vec<u8> = database.query_row(&sql, [], |row| row.get(0)).expect("an entry");
            let entry =
                String::from_utf8(entry).expect("JSON").replace("\"authorized\"", "\"authorised\"").into_bytes();
            let sql = format!("UPDATE log_entries SET entry = ?1, leaf = coalesce(?2, leaf) WHERE {}", place());
            let hash = countersign_tlog::leaf_hash(&entry).to_vec();
            assert_eq!(database.execute(&sql, params![entry, leaf.then_some(hash)]).expect("it can be written"), 1);
        })
    };
    let all: [(Bend, &str); 4] = [
        (rewritten(false), "was changed after it was signed"),
        (rewritten(true), "are not what was signed"),
        (
            Box::new(move |database| {
                database.execute(&format!("DELETE FROM log_entries WHERE {}", place()), []).expect("it can be removed");
            }),
            "missing",
        ),
        (
            // As if it had been long before the proposal.
            Box::new(move |database| {
                let sql = "UPDATE log_entries SET entry = CAST('{\"at\":1,\"kind\":\"x\"}' AS BLOB)";
                database.execute(sql, []).expect("they can be written");
            }),
            "was changed after it was signed",
        ),
    ];
    for (bend, says) in &all {
        let both = |database: &Connection| {
            database.execute("UPDATE runs SET outcome = 'refused'", []).expect("it can be written");
            bend(database);
        };
        bent(&used, both, says);
    }
}

/// One denial ends a proposal, whatever becomes of it; so does one that takes its place.
#[test]
fn a_denial_or_a_successor_that_is_taken_back() {
    let used = Place::new();
    let proposal = used.approved();
    let alice = used.state.path("alice");
    used.state.run(&["deny", &proposal, "--reason", "no", "--key", text(&alice)]).expect(0);
    let before = used.standing();
    used.run(&proposal).expect(3).says("denied");
    database(&used.state).execute("DELETE FROM denials", []).expect("it can be removed");
    used.run(&proposal)
        .expect(3)
        .says("the audit log says that the proposal was denied, and the state knows of no denial");

    let first = used.approved();
    let mut revise = used.command(&["--json", "propose", "--revise", &first, "--key"]);
    crate::support::Runs::ran(revise.arg(used.state.path("agent"))).expect(0);
    used.run(&first).expect(3).says("superseded");
    database(&used.state).execute("UPDATE proposals SET revises = NULL", []).expect("it can be written");
    used.run(&first).expect(3).says("the audit log says that another proposal took this one's place");
    assert_eq!(used.standing(), before, "nothing changed");
}

/// The database alone is an old copy: what lies beside it was signed with more.
#[test]
fn a_database_from_before() {
    let place = Place::new();
    let proposal = place.approved();
    let old = place.state.path("old.db");
    database(&place.state).execute("VACUUM INTO ?1", [text(&old)]).expect("it can be copied");
    let used = Used::once(place, proposal);
    used.refused("used up");
    let file = |end: &str| used.place.state.path(&format!("state/countersign.db{end}"));
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(file(end));
    }
    fs::write(file(""), fs::read(&old).expect("the copy")).expect("it can be written over");
    used.refused("was signed with").says("restored from an old copy").says("nothing was changed");
    for verb in ["pending", "runs", "recover"] {
        used.place.state.run(&[verb]).expect(3).says("restored from an old copy");
    }
    // What no key of this runner signed says nothing, and is made anew.
    let checkpoint = used.place.state.path("state/audit/checkpoint");
    let forged = fs::read_to_string(&checkpoint).expect("text");
    let signature = forged.lines().next_back().expect("a signature").to_owned();
    fs::write(&checkpoint, forged.replace(&signature, &signature.replace(['A', 'B', 'C'], "D"))).expect("written");
    used.place.state.run(&["pending"]).expect(0);
}

/// The whole state is an old copy, or a copy that is used beside it: a checkpoint that is kept elsewhere tells, before anything runs.
#[test]
fn a_whole_state_from_before() {
    let place = Place::new();
    let kept = place.state.path("kept.checkpoint");
    place.state.configure(&format!("\n[audit]\ncheckpoint = {kept:?}\n"));
    let proposal = place.approved();
    let (state, old) = (place.state.path("state"), place.state.path("old"));
    copy(&state, &old);
    let used = Used::once(place, proposal);
    let before = used.place.standing();
    // Beside it: both name the one file.
    let mut run = crate::support::countersign();
    run.arg("--state").arg(&old).args(["run", &used.proposal]);
    let ran = crate::support::Runs::ran(&mut run);
    ran.expect(3).says("cut, or restored from an old copy").says("nothing was changed");
    // In its place.
    fs::remove_dir_all(&state).expect("it can be removed");
    copy(&old, &state);
    used.refused("cut, or restored from an old copy");
    assert_eq!(used.place.standing(), before, "nothing changed");
}

/// Nor is an old copy's trust policy taken where the configuration asks for a later one.
#[test]
fn a_trust_policy_from_before() {
    let place = Place::new();
    let old = place.state.path("old");
    let proposal = place.approved();
    copy(&place.state.path("state"), &old);
    // The next policy has the proposal revoked.
    let revoked = digest(&place.state, &proposal);
    let policy = fs::read_to_string(place.state.path("state/trust-policy.toml")).expect("a policy");
    let next = place.state.path("next.toml");
    let revoked = format!("[[revocations]]\nproposal = \"{revoked}\"\nreason = \"seen through\"\n");
    fs::write(&next, policy.replace("serial = 1\n", "serial = 2\n") + "\n" + &revoked).expect("it can be written");
    place.state.run(&["trust", "sign", text(&next), "--key", text(&place.state.path("alice"))]).expect(0);
    place.state.run(&["trust", "install", text(&next)]).expect(0);
    place.run(&proposal).expect(3).says("is revoked: seen through");
    let config = fs::read_to_string(place.state.config()).expect("a configuration");
    let least = config.replace("least-serial = 1", "least-serial = 2");
    assert_ne!(least, config);
    let before = place.standing();
    fs::remove_dir_all(place.state.path("state")).expect("it can be removed");
    copy(&old, &place.state.path("state"));
    // The configuration is kept where a backup of the state does not reach.
    fs::write(place.state.config(), least).expect("it can be written");
    place.run(&proposal).expect(1).says("the configuration takes none below 2");
    assert_eq!(place.standing(), before, "nothing changed");
}

/// Whoever only looks at a copy that was made of the state is told what it says, and runs nothing by the first one's approvals once
/// they are used: the use is known where it was made, and the copy goes another way from there on.
#[test]
fn what_was_used_stays_used_whatever_is_approved_since() {
    let used = Used::new();
    used.refused("used up");
    let again = Unsigned::of_proposal(&used.place, &used.proposal);
    again.hand_in(&again.sign("alice", crate::signed::APPROVAL)).expect(0);
    used.place.run(&used.proposal).expect(0);
    used.place.put("a", "broken\n");
    used.place.put("b", "broken too\n");
    // The second one's use is taken back, and the first one's is known.
    let sql = "UPDATE runs SET outcome = 'refused' WHERE id != ?1 AND outcome = 'committed'";
    assert_eq!(database(&used.place.state).execute(sql, [&used.run]).expect("it can be written"), 1);
    used.refused("the audit log says that 1 use of the approval is spent");
}
