//! What it costs to put an entry into the audit log, and to prove one: the same however many there are.

use std::sync::Arc;
use std::time::Duration;

use countersign_model::Digest;
use countersign_proof::{Checkpoint, Directory, Tree, VerifierKey};
use countersign_record::{Entry, LogKey, State};
use countersign_tlog::{Edge, NoteSigner, leaf_hash, sign_checkpoint};
use countersign_trust::SigningKey;

use crate::harness::{Row, each_passing};

const ROUNDS: usize = 40;
const APPENDS: u32 = 20;
const ORIGIN: &str = "example.com/bench";
const MANY: u64 = 1_000_000;

/// A log of a million entries against one that is empty to begin with.
pub fn measure() -> Vec<Row> {
    let (many, few) = (Logged::new(MANY), Logged::new(0));
    let appended = Row::of(
        "an entry appended to a log of a million",
        "the same to an empty one",
        ROUNDS,
        || many.append(),
        || few.append(),
    );
    few.fill();
    for logged in [&many, &few] {
        logged.state.audit().publish(true).expect("published");
    }
    let (large, small) = (many.head(), few.head());
    let proven = Row::of(
        "an inclusion proof from the tiles of a million",
        "the same of some thousand",
        ROUNDS,
        || many.prove(&large),
        || few.prove(&small),
    );
    vec![appended.goal(1.2), proven]
}

struct Key(SigningKey);

impl NoteSigner for Key {
    fn name(&self) -> &str {
        ORIGIN
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().ed25519().unwrap_or_default()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        self.0.sign_note(text).map_err(|error| error.to_string())
    }
}

impl LogKey for Key {
    fn now(&self) -> u64 {
        1
    }
    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        self.0.keyed_digest(name, content)
    }
}

/// A state directory with a log.
struct Logged {
    state: State,
    key: VerifierKey,
    _place: tempfile::TempDir,
}

impl Logged {
    fn new(count: u64) -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let state = State::create(&place.path().join("state")).expect("a state directory");
        let key = Key(SigningKey::generate("bench").expect("a key"));
        // By hand, since a commit each would take minutes.
        let mut database = rusqlite::Connection::open(state.dir().join("countersign.db")).expect("the database");
        let tx = database.transaction().expect("a transaction");
        let mut edge = Edge::default();
        for index in 0..count {
            let entry = entry(index).into_bytes();
            let leaf = leaf_hash(&entry);
            let sql = "INSERT INTO log_entries (position, leaf, entry) VALUES (?1, ?2, ?3)";
            tx.prepare(sql).expect("it parses").execute((index as i64, leaf, entry)).expect("inserted");
            for node in edge.append_leaf(leaf) {
                let sql = "INSERT INTO log_nodes (level, position, hash) VALUES (?1, ?2, ?3)";
                tx.execute(sql, (node.level, node.index as i64, node.hash)).expect("inserted");
            }
        }
        let checkpoint = sign_checkpoint(&edge, &key).expect("signed");
        let sql = "UPDATE log_head SET size = ?1, edge = ?2, checkpoint = ?3";
        tx.execute(sql, (count as i64, edge.to_bytes(), checkpoint)).expect("updated");
        tx.commit().expect("committed");
        let verifier = VerifierKey::new(ORIGIN, countersign_proof::KeyKind::Note, &key.public_key()).expect("a key");
        let state = state.logging(Arc::new(key)).expect("its own log");
        Self { state, key: verifier, _place: place }
    }

    fn append(&self) -> Duration {
        let entry =
            Entry::new("bench").with("subject", "/etc/app.conf").with_keyed("after", Some(&Digest::of(b"after")));
        each_passing(APPENDS, || {
            (0..APPENDS).for_each(|_| _ = self.state.audit().record(&entry).expect("recorded"));
        })
    }

    fn fill(&self) {
        (0..20).for_each(|_| _ = self.append());
    }

    fn head(&self) -> Checkpoint {
        let checkpoint = self.state.audit().head().expect("a head").checkpoint.expect("signed");
        Checkpoint::open(checkpoint.as_bytes(), &self.key, &[]).expect("a checkpoint").checkpoint
    }

    fn prove(&self, head: &Checkpoint) -> Duration {
        let source = Directory::new(&self.state.audit().dir());
        each_passing(APPENDS, || {
            for step in 0..u64::from(APPENDS) {
                let index = head.size * step / u64::from(APPENDS);
                Tree::new(&source, head).inclusion(index).expect("proven");
            }
        })
    }
}

/// As long as one mostly is.
fn entry(index: u64) -> String {
    format!("{{\"at\":1,\"index\":{index},\"kind\":\"filler\",\"subject\":\"{}\"}}", "x".repeat(200))
}
