//! The audit log: in the transaction of what it tells of, and its files as another crate verifies them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use countersign_model::{Digest, Outcome, Role};
use countersign_proof::{Checkpoint, Directory, KeyKind, VerifierKey, verify_log};
use countersign_record::{Entry, LogKey, NewEvidence, RecordError, State};
use countersign_tlog::NoteSigner;
use serde_json::{Value, json};

use crate::disk::Watched;
use crate::support::{Fixture, approve, change, fail, fixture};

/// A key whose signatures anybody can make, and no two of one text differ: what is tested here is when it signs.
pub(crate) struct TestKey(pub(crate) u8);

impl NoteSigner for TestKey {
    fn name(&self) -> &str {
        "example.com/audit"
    }
    fn public_key(&self) -> [u8; 32] {
        self.key().verifying_key().to_bytes()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        Ok(ed25519_dalek::Signer::sign(&self.key(), text).to_bytes())
    }
}

impl TestKey {
    fn key(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&[self.0; 32])
    }
}

impl LogKey for TestKey {
    fn now(&self) -> u64 {
        1_000
    }
    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        Digest::of(format!("{} {name} {content}", self.0).as_bytes())
    }
}

fn verifier() -> VerifierKey {
    VerifierKey::new("example.com/audit", KeyKind::Note, &TestKey(1).public_key()).expect("a key")
}

pub(crate) fn logged() -> Fixture {
    let run = fixture();
    let dir = run.dir.path().join("logged");
    let state = State::create(&dir).and_then(|state| state.logging(Arc::new(TestKey(1)))).expect("a state");
    let (proposal, manifest) = approve(&state, b"{\"proposal\":1}");
    Fixture { state, proposal, manifest, dir: run.dir }
}

fn entries(state: &State) -> Vec<Value> {
    let entries = state.audit().entries(0, 1_000).expect("entries");
    entries.iter().map(|entry| serde_json::from_slice(&entry.bytes).expect("JSON")).collect()
}

pub(crate) fn kinds(state: &State) -> Vec<String> {
    entries(state).iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// Verifies the files by the crate that shares nothing with what wrote them; how many entries they have.
fn verified(dir: &Path) -> u64 {
    let whole = verify_log(&Directory::new(dir), &verifier(), &[], &[], &mut |_, _| Ok(()));
    whole.unwrap_or_else(|error| panic!("{error}")).opened.checkpoint.size
}

#[test]
fn a_run_is_in_the_log_with_what_it_does() {
    let run = logged();
    let mut journal = run.begin(1).expect("begins");
    let made = change(&mut journal, b"before", b"after");
    let seq = journal.intend(Role::Fix, &made).expect("intended");
    assert_eq!(kinds(&run.state), ["authorized", "change"]);
    journal.done(seq).expect("done");
    journal.finish(Outcome::Committed, "all is well", &json!({}), 3_000).expect("finished");
    let logged = entries(&run.state);
    assert_eq!(kinds(&run.state), ["authorized", "change", "outcome"]);
    assert_eq!(logged[0]["approvers"], json!(["alice"]));
    assert_eq!((&logged[1]["subject"], &logged[1]["change"]), (&json!("/etc/app.conf"), &json!(1)));
    assert_eq!((&logged[2]["outcome"], &logged[2]["changes"]), (&json!("committed"), &json!(1)));
    // What a content is can be told neither from its digest nor by comparing entries.
    let text = serde_json::to_string(&logged).expect("JSON");
    for content in [&b"before"[..], b"after"] {
        assert!(!text.contains(&Digest::of(content).hex()), "{text}");
    }
    assert_eq!(logged[1]["before"], json!(TestKey(1).keyed_digest("audit log entry 1 before", &Digest::of(b"before"))));
    assert_eq!(run.state.audit().of_run(journal.run()).expect("entries").len(), 3);
}

/// What is taken back is not in the log, and what cannot be logged is not done.
#[test]
fn an_entry_is_there_exactly_where_what_it_tells_of_is() {
    let run = logged();
    let mut journal = run.begin(1).expect("begins");
    let made = change(&mut journal, b"before", b"after");
    fail(&run.second(), "INSERT ON changes");
    journal.intend(Role::Fix, &made).expect_err("no change");
    assert_eq!(kinds(&run.state), ["authorized"]);
    let other = logged();
    fail(&other.second(), "INSERT ON log_entries");
    other.begin(1).expect_err("no entry");
    let runs: i64 = other.second().query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).expect("a count");
    assert_eq!(runs, 0);
    other.state.approvals().add_denial(&other.proposal, b"no", "s", &[Entry::new("denial")]).expect_err("no entry");
    assert!(other.state.approvals().denials_of(&other.proposal).expect("none").is_empty());
}

#[test]
fn every_decision_is_logged_once() {
    let run = logged();
    let denial = Entry::new("denial").with("person", "bob");
    for _ in 0..2 {
        let entries = std::slice::from_ref(&denial);
        run.state.approvals().add_denial(&run.proposal, b"no", "s", entries).expect("denied");
        let new = NewEvidence {
            id: "ev-1",
            target: "web-1",
            principal: "agent",
            at: 1,
            record: b"{\"call\":\"files.read /etc/hosts\"}",
            signature: "s",
        };
        run.state.evidence().add(new).expect("recorded");
        let policy = Entry::new("policy").with("policy", "one");
        run.state.audit().record_once("policy", "one", &policy).expect("recorded");
    }
    assert_eq!(kinds(&run.state), ["denial", "read", "policy"]);
    assert_eq!(entries(&run.state)[1]["call"], json!("files.read /etc/hosts"));
    let policy = Entry::new("policy").with("policy", "two");
    assert!(run.state.audit().record_once("policy", "two", &policy).expect("recorded"));
    assert_eq!(kinds(&run.state).len(), 4);
}

fn fill(state: &State, count: u64) {
    for number in 0..count {
        state.audit().record(&Entry::new("filler").with_number("number", number)).expect("recorded");
    }
}

#[test]
fn the_files_are_made_from_the_rows_and_made_again() {
    let run = logged();
    let audit = run.state.audit();
    let dir = audit.dir();
    let mut size = 0;
    for more in [1, 3, 250, 2, 1, 300] {
        fill(&run.state, more);
        size += more;
        let published = audit.publish(more == 300).expect("published");
        assert_eq!((published.size, verified(&dir)), (size, size));
        assert_eq!(audit.publish(true).and_then(|_| audit.publish(false)).expect("again").written, 0);
    }
    // Full files took the place of partial ones.
    assert!(!dir.join("tile/entries/000.p").exists());
    for file in ["checkpoint", "tile/entries/002.p/45", "tile/0/002.p/45", "tile/1/000.p/2"] {
        fs::write(dir.join(file), b"torn").expect("torn");
        assert_eq!(audit.publish(false).expect("made again").written, 1, "{file}");
        fs::remove_file(dir.join(file)).expect("removed");
        assert_eq!(audit.publish(false).expect("made again").written, 1, "{file}");
    }
    fs::remove_dir_all(dir.join("tile")).expect("removed");
    audit.publish(false).expect("made again");
    assert_eq!(verified(&dir), size);
}

/// A run's path has no sync that is the log's: neither of an entry, which is in a transaction, nor of a file.
#[test]
fn files_that_are_made_on_a_runs_path_are_not_synced() {
    let run = logged();
    fill(&run.state, 300);
    let disk = Watched::default();
    let state =
        State::open_with(run.path(), Box::new(disk.clone())).and_then(|state| state.logging(Arc::new(TestKey(1))));
    let state = state.expect("opens");
    disk.take();
    state.audit().publish(false).expect("published");
    let done = disk.take();
    assert!(done.len() > 5 && !done.iter().any(|what| what.starts_with("sync")), "{done:?}");
    state.audit().publish(true).expect("published");
    let done = disk.take();
    assert!(done.iter().any(|what| what == "sync file"), "{done:?}");
}

#[test]
fn rows_that_somebody_changed_are_not_signed_again() {
    let changes = [
        "UPDATE log_entries SET entry = x'7b7d' WHERE position = 3",
        "UPDATE log_entries SET leaf = zeroblob(32) WHERE position = 3",
        "DELETE FROM log_entries WHERE position = 3",
        "UPDATE log_entries SET entry = (SELECT entry FROM log_entries WHERE position = 299) WHERE position = 298",
        "UPDATE log_nodes SET hash = zeroblob(32)",
        "DELETE FROM log_nodes",
    ];
    let run = logged();
    fill(&run.state, 300);
    for (number, change) in changes.into_iter().enumerate() {
        let copy = run.dir.path().join(number.to_string());
        let copied = std::process::Command::new("cp").arg("-a").arg(run.path()).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()));
        let state = State::open(&copy).and_then(|state| state.logging(Arc::new(TestKey(1)))).expect("opens");
        let database = rusqlite::Connection::open(copy.join("countersign.db")).expect("a second connection");
        database.execute_batch(change).expect("changed");
        let error = state.audit().publish(false).expect_err(change);
        assert!(matches!(error, RecordError::Damaged { .. }), "{change}: {error}");
        assert!(!state.audit().dir().join("checkpoint").exists(), "{change}");
    }
    run.state.audit().publish(false).expect("as it was signed");
}

/// Whoever has no key cannot go on with the log, nor go back.
#[test]
fn a_log_that_was_not_signed_last_is_refused() {
    let opened =
        |dir: &Path, key: u8| State::open(dir).and_then(|state| state.logging(Arc::new(TestKey(key)))).map(drop);
    let run = logged();
    fill(&run.state, 5);
    opened(run.path(), 1).expect("as it was signed");
    opened(run.path(), 2).expect_err("another key");
    let unsigned = State::open(run.path()).expect("opens");
    fill(&unsigned, 1);
    opened(run.path(), 1).expect_err("an entry that was not signed");
    for change in [
        "UPDATE log_head SET size = 4",
        "UPDATE log_head SET edge = zeroblob(64)",
        "UPDATE log_head SET checkpoint = NULL",
    ] {
        let run = logged();
        fill(&run.state, 5);
        run.second().execute_batch(change).expect("changed");
        opened(run.path(), 1).expect_err(change);
    }
}

#[test]
fn times_never_go_back_and_checkpoints_are_what_they_say() {
    let run = logged();
    fill(&run.state, 2);
    run.second().execute_batch("UPDATE log_head SET latest = 5000").expect("a later entry");
    fill(&run.state, 1);
    let times: Vec<_> = entries(&run.state).iter().map(|entry| entry["at"].clone()).collect();
    assert_eq!(times, [json!(1_000), json!(1_000), json!(5_000)]);
    let head = run.state.audit().head().expect("a head");
    let opened =
        Checkpoint::open(head.checkpoint.clone().expect("signed").as_bytes(), &verifier(), &[]).expect("a checkpoint");
    assert_eq!((opened.checkpoint.size, opened.checkpoint.root), (3, run.state.audit().head().expect("a head").root()));
}
