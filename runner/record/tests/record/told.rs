//! What the log tells of a proposal, whatever else was done to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_model::{Digest, Outcome};
use countersign_record::{About, Entry, LogKey, RecordError, State, Told};
use countersign_tlog::{NoteSigner, leaf_hash};
use rusqlite::params;
use serde_json::json;

use crate::audit::TestKey;
use crate::support::{Fixture, TARGET, approve, begin, fixture};

/// A key whose clock goes on by a second each time that it is asked.
struct Ticking(TestKey, AtomicU64);

impl NoteSigner for Ticking {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        self.0.sign(text)
    }
}

impl LogKey for Ticking {
    fn now(&self) -> u64 {
        self.1.fetch_add(1000, Ordering::Relaxed)
    }
    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        self.0.keyed_digest(name, content)
    }
}

fn fill(state: &State, count: u64) {
    for _ in 0..count {
        state.audit().record(&Entry::new("read")).expect("recorded");
    }
}

/// A state whose log has 300 entries, one of each second, then a use of the approval, and 300 more.
fn used() -> Fixture {
    let run = fixture();
    let key = Arc::new(Ticking(TestKey(1), AtomicU64::new(1_000)));
    let dir = run.dir.path().join("ticking");
    let state = State::create(&dir).and_then(|state| state.logging(key)).expect("a state");
    fill(&state, 300);
    let (proposal, manifest) = approve(&state, b"{\"proposal\":1}");
    let run = Fixture { state, proposal, manifest, dir: run.dir };
    let mut journal = run.begin(9).expect("begins");
    journal.finish(Outcome::Committed, "ok", &json!({}), 3_000).expect("finished");
    drop(journal);
    fill(&run.state, 300);
    run
}

/// Since the 300th second, and so from the bundle that begins with the entry 256.
fn told(run: &Fixture) -> Result<Told, RecordError> {
    let about = About { proposal: &run.proposal, manifest: &run.manifest, target: TARGET, since: 300_000 };
    run.state.audit().told(&about)
}

#[track_caller]
fn damaged(run: &Fixture, says: &str) {
    match told(run).expect_err("it is damaged") {
        RecordError::Damaged { what, .. } => assert!(what.contains(says), "{what}"),
        other => panic!("{other}"),
    }
}

#[test]
fn uses_denials_and_successors_are_told() {
    let run = used();
    assert_eq!(told(&run).expect("told"), Told { uses: 1, denied: false, superseded: false });
    // Of another approval, on another target, and what was refused, nothing.
    let (other, manifest) = approve(&run.state, b"other");
    for (target, proposal, manifest) in [(TARGET, &other, &manifest), ("web-2", &run.proposal, &run.manifest)] {
        let mut journal = begin(&run.state, target, proposal, manifest, 1).expect("begins");
        journal.finish(Outcome::Committed, "ok", &json!({}), 3_000).expect("finished");
    }
    assert_eq!(told(&run).expect("told").uses, 1);
    let mut journal = run.begin(9).expect("begins");
    assert_eq!(told(&run).expect("told").uses, 2);
    journal.finish(Outcome::Refused, "drifted", &json!({}), 3_000).expect("finished");
    assert_eq!(told(&run).expect("told").uses, 1);
    for (entry, denied, superseded) in [
        (Entry::new("denial").with("proposal", other), false, false),
        (Entry::new("proposal").with("revises", other), false, false),
        (Entry::new("denial").with("proposal", run.proposal), true, false),
        (Entry::new("proposal").with("revises", run.proposal), true, true),
    ] {
        run.state.audit().record(&entry).expect("recorded");
        assert_eq!(told(&run).expect("told"), Told { uses: 1, denied, superseded });
    }
}

/// What is bent since that moment is found, and what is older is not looked at.
#[test]
fn rows_that_are_bent_tell_nothing() {
    let run = used();
    let database = run.second();
    let entry = |at: u64| -> Vec<u8> {
        let sql = "SELECT entry FROM log_entries WHERE position = ?1";
        database.query_row(sql, [at as i64], |row| row.get(0)).expect("an entry")
    };
    let put = |at: u64, bytes: &[u8], leaf: &[u8]| {
        let sql = "UPDATE log_entries SET entry = ?2, leaf = ?3 WHERE position = ?1";
        assert_eq!(database.execute(sql, params![at as i64, bytes, leaf]).expect("written"), 1);
    };
    let good = entry(300);
    assert!(String::from_utf8_lossy(&good).contains("authorized"));
    let other = String::from_utf8(good.clone()).expect("JSON").replace("authorized", "authorised").into_bytes();
    put(300, &other, &leaf_hash(&good));
    damaged(&run, "the entry 300 was changed after it was signed");
    put(300, &other, &leaf_hash(&other));
    damaged(&run, "are not what was signed");
    // With the tile's root changed as well, the level above does not fit.
    let node = "SELECT hash FROM log_nodes WHERE level = 1 AND position = 1";
    let hash: Vec<u8> = database.query_row(node, [], |row| row.get(0)).expect("a node");
    let mut edge = countersign_tlog::Edge::default();
    (256..512).for_each(|at| drop(edge.append(&entry(at))));
    let set = |hash: &[u8]| {
        let sql = "UPDATE log_nodes SET hash = ?1 WHERE level = 1 AND position = 1";
        assert_eq!(database.execute(sql, [hash]).expect("written"), 1);
    };
    set(&edge.root());
    damaged(&run, "are not what was signed");
    set(&hash);
    put(300, &good, &leaf_hash(&good));
    // As if all of that had been long before: where the search for the first entry ends, the rows are looked at.
    let early = b"{\"at\":1,\"kind\":\"read\"}";
    let kept: Vec<_> = (256..512).map(|at| (at, entry(at))).collect();
    kept.iter().for_each(|(at, _)| put(*at, early, &leaf_hash(early)));
    damaged(&run, "are not what was signed");
    kept.iter().for_each(|(at, bytes)| put(*at, bytes, &leaf_hash(bytes)));
    // The head itself.
    let head: String = database.query_row("SELECT checkpoint FROM log_head", [], |row| row.get(0)).expect("a head");
    database.execute("UPDATE log_head SET checkpoint = 'x'", []).expect("written");
    damaged(&run, "are not those that the runner's key signed last");
    database.execute("UPDATE log_head SET checkpoint = ?1", [head]).expect("written");
    assert_eq!(told(&run).expect("told").uses, 1);
    // Entries from before are not read, so that it costs no more in a long log.
    database.execute("UPDATE log_entries SET entry = x'00' WHERE position < 100", []).expect("written");
    assert_eq!(told(&run).expect("told").uses, 1);
}
