//! What it costs to put an entry into the audit log, to verify the log and to prove an entry, however many there are.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::Digest;
use countersign_pipeline::log_origin;
use countersign_proof::{Checkpoint, Directory, KeyKind, Tree, VerifierKey};
use countersign_record::{Entry, LogKey, State};
use countersign_tlog::{Edge, NoteSigner, leaf_hash, sign_checkpoint};
use countersign_trust::SigningKey;

use crate::harness::{Row, each_passing};
use crate::{peak, support};

const ROUNDS: usize = 40;
const APPENDS: u32 = 20;
/// Of a command, which takes its time.
const RUNS: usize = 7;
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// The ratio of the logarithms of the largest and the smallest of these.
const LOGARITHMIC: f64 = 1.5;

pub fn measure() -> Vec<Row> {
    let mut rows = vec![appending()];
    let logs = SIZES.map(Log::new);
    rows.extend(verifying(&logs));
    rows.extend(proving(&logs));
    rows
}

/// To a log of a million entries against one that is empty to begin with.
fn appending() -> Row {
    let (many, few) = (Appended::new(1_000_000), Appended::new(0));
    let row = Row::of(
        "an entry appended to a log of a million",
        "the same to an empty one",
        ROUNDS,
        || many.append(),
        || few.append(),
    );
    row.goal(1.2)
}

/// By `countersign audit verify`, which reads every entry.
fn verifying(logs: &[Log; 3]) -> Vec<Row> {
    // The first makes the files of what was recorded, which is not what is measured, and is told.
    let first = logs.each_ref().map(|log| log.verify().1);
    let [small, middle, large] = logs.each_ref().map(|log| {
        let peaks: Vec<u64> = (0..RUNS).map(|_| log.verify().1).collect();
        peaks
    });
    let notes = |text: &str, peaks: [u64; 3]| {
        let [small, middle, large] = peaks;
        format!("{text}: {small} KiB of 10,000 entries, {middle} of 100,000, {large} of 1,000,000")
    };
    let most = [&small, &middle, &large].map(|peaks| peaks.iter().copied().max().unwrap_or_default());
    let memory =
        Row::counted("peak memory of `audit verify` of a million", "the same of ten thousand", "KiB", &large, &small);
    let time = Row::of(
        "`audit verify` of a million",
        "the same of ten thousand, a hundred times",
        3,
        || logs[2].verify().0,
        || logs[0].verify().0 * 100,
    );
    let memory = memory.goal(1.2).note(notes("at most", most));
    vec![memory.note(notes("where it makes the log's files first", first)), time]
}

/// From the log's files, and by `countersign audit prove`.
fn proving(logs: &[Log; 3]) -> Vec<Row> {
    let heads = logs.each_ref().map(Log::head);
    let by_tiles = Row::of(
        "an inclusion proof from the tiles of a million",
        "the same of ten thousand",
        ROUNDS,
        || logs[2].prove(&heads[2]),
        || logs[0].prove(&heads[0]),
    );
    let receipts = logs.each_ref().map(|log| log.receipt().1);
    let size = Row::counted(
        "a receipt by `audit prove` of a million",
        "the same of ten thousand",
        "bytes",
        &receipts[2..],
        &receipts[..1],
    );
    let time = Row::of(
        "`audit prove` of a million, the whole command",
        "the same of ten thousand",
        RUNS,
        || logs[2].receipt().0,
        || logs[0].receipt().0,
    );
    let [small, middle, large] = receipts;
    let note = format!("{small} bytes of 10,000 entries, {middle} of 100,000, {large} of 1,000,000");
    vec![by_tiles.goal(LOGARITHMIC), size.goal(LOGARITHMIC).note(note), time.goal(LOGARITHMIC)]
}

struct Key {
    key: SigningKey,
    origin: String,
}

impl Key {
    fn of(key: SigningKey) -> Self {
        let origin = log_origin(key.public_key());
        Self { key, origin }
    }

    fn verifier(&self) -> VerifierKey {
        VerifierKey::new(&self.origin, KeyKind::Note, &self.public_key()).expect("a key")
    }

    /// Puts so many entries behind those that a state's log has, by hand, since a commit each would take minutes.
    fn fill(&self, state: &Path, count: u64) {
        let mut database = rusqlite::Connection::open(state.join("countersign.db")).expect("the database");
        let tx = database.transaction().expect("a transaction");
        let sql = "SELECT size, edge, latest FROM log_head";
        let head =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?));
        let (size, edge, latest) = tx.query_row(sql, [], head).expect("a head");
        let mut edge = Edge::from_bytes(size as u64, &edge).expect("an edge");
        let prepare = |sql: &str| tx.prepare(sql).expect("it parses");
        let mut entries = prepare("INSERT INTO log_entries (position, leaf, entry) VALUES (?1, ?2, ?3)");
        let mut nodes = prepare("INSERT INTO log_nodes (level, position, hash) VALUES (?1, ?2, ?3)");
        for index in edge.size()..edge.size() + count {
            let entry = entry(index, latest).into_bytes();
            let leaf = leaf_hash(&entry);
            entries.execute((index as i64, leaf, entry)).expect("inserted");
            for node in edge.append_leaf(leaf) {
                nodes.execute((node.level, node.index as i64, node.hash)).expect("inserted");
            }
        }
        drop((entries, nodes));
        let checkpoint = sign_checkpoint(&edge, self).expect("signed");
        let sql = "UPDATE log_head SET size = ?1, edge = ?2, checkpoint = ?3";
        tx.execute(sql, (edge.size() as i64, edge.to_bytes(), checkpoint)).expect("updated");
        tx.commit().expect("committed");
    }
}

impl NoteSigner for Key {
    fn name(&self) -> &str {
        &self.origin
    }
    fn public_key(&self) -> [u8; 32] {
        self.key.public_key().ed25519().unwrap_or_default()
    }
    fn sign(&self, text: &[u8]) -> Result<[u8; 64], String> {
        self.key.sign_note(text).map_err(|error| error.to_string())
    }
}

impl LogKey for Key {
    fn now(&self) -> u64 {
        1
    }
    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest {
        self.key.keyed_digest(name, content)
    }
}

/// A log that is written to by hand.
struct Appended {
    state: State,
    _place: tempfile::TempDir,
}

impl Appended {
    fn new(count: u64) -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let state = State::create(&place.path().join("state")).expect("a state directory");
        let key = Key::of(SigningKey::generate("bench").expect("a key"));
        if count > 0 {
            key.fill(state.dir(), count);
        }
        Self { state: state.logging(Arc::new(key)).expect("its own log"), _place: place }
    }

    fn append(&self) -> Duration {
        let entry =
            Entry::new("bench").with("subject", "/etc/app.conf").with_keyed("after", Some(&Digest::of(b"after")));
        each_passing(APPENDS, || {
            (0..APPENDS).for_each(|_| _ = self.state.audit().record(&entry).expect("recorded"));
        })
    }
}

/// A runner's log of so many entries and the few that it had.
struct Log {
    state: support::State,
    key: VerifierKey,
}

impl Log {
    fn new(count: u64) -> Self {
        let state = support::State::below(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let text = std::fs::read_to_string(state.path("state/runner.key")).expect("the runner's key");
        let key = Key::of(SigningKey::from_openssh(&text, &mut || None).expect("a key"));
        key.fill(&state.path("state"), count);
        Self { key: key.verifier(), state }
    }

    fn verify(&self) -> (Duration, u64) {
        let mut command = self.state.command(&["--json", "audit", "verify"]);
        command.stdout(Stdio::null());
        let (time, peak, _) = peak::of(command);
        (time, peak)
    }

    /// The time that a receipt of an entry in the middle takes, and its size in bytes.
    fn receipt(&self) -> (Duration, u64) {
        let entry = (self.head().size / 2).to_string();
        let out = self.state.path("receipt");
        let mut command = self.state.command(&["--json", "audit", "prove", "--entry", &entry, "--out"]);
        command.arg(&out).stdout(Stdio::null());
        let (time, _, _) = peak::of(command);
        let size = std::fs::metadata(&out).expect("a receipt").len();
        std::fs::remove_file(&out).expect("it can be removed");
        (time, size)
    }

    fn files(&self) -> PathBuf {
        self.state.path("state").join(countersign_record::AUDIT)
    }

    fn head(&self) -> Checkpoint {
        let note = std::fs::read(self.files().join(countersign_record::CHECKPOINT)).expect("a checkpoint");
        Checkpoint::open(&note, &self.key, &[]).expect("the log's").checkpoint
    }

    fn prove(&self, head: &Checkpoint) -> Duration {
        let source = Directory::new(&self.files());
        each_passing(APPENDS, || {
            for step in 0..u64::from(APPENDS) {
                let index = head.size * step / u64::from(APPENDS);
                Tree::new(&source, head).inclusion(index).expect("proven");
            }
        })
    }
}

/// As long as one mostly is.
fn entry(index: u64, at: i64) -> String {
    format!("{{\"at\":{at},\"index\":{index},\"kind\":\"filler\",\"subject\":\"{}\"}}", "x".repeat(200))
}
