//! What a read costs, from inside a guest and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_capability::{LogLine, Port};
use countersign_files::FilesCall;
use countersign_gate::{Bounds, ReadRecord, Witness};
use countersign_model::documents::namespace;
use countersign_model::{Call, Digest, Evidence, Fault, Reply, Role, Stop};
use countersign_record::{NewEvidence, State};
use countersign_sandbox::{Linked, Sandbox, Settings};
use countersign_trust::SigningKey;

use crate::guest::{self, Silent};
use crate::harness::{Row, each, median, shown};
use crate::raw::{Check, Raw};
use crate::support::ssh_keygen;

const ROUNDS: usize = 60;
/// Reads of one step, which may make 10,000.
const READS: u32 = 1000;
/// Reads of one step where each waits for the disk.
const FEW: u32 = 20;
const SIZE: usize = 4096;

pub fn measure() -> Vec<Row> {
    let place = tempfile::tempdir().expect("a temporary directory");
    let root = place.path().canonicalize().expect("it resolves");
    let stage = Stage::new(&root);
    let deep = Stage::new(&root.join("srv/app/releases/current/config"));
    vec![
        Row::of(
            "a gated 4 KiB read, from a guest",
            "a raw host call: openat2 below a kept handle, fstat, read to the end, close",
            ROUNDS,
            || stage.gated(Box::new(Silent)),
            || stage.raw(),
        )
        .goal(1.3)
        .note(stage.share()),
        Row::of(
            "the same, five directories deeper",
            "the same raw host call, its handle on the directory itself",
            ROUNDS,
            || deep.gated(Box::new(Silent)),
            || deep.raw(),
        ),
        Row::of(
            "a gated 4 KiB read",
            "std::fs::read, no guest at all",
            ROUNDS,
            || stage.gated(Box::new(Silent)),
            || each(READS, || (0..READS).for_each(|_| drop(std::fs::read(&stage.path).expect("it can be read")))),
        ),
        Row::of(
            "a gated 4 KiB read with its digest as evidence",
            "a raw host call",
            ROUNDS,
            || stage.gated(Box::new(Digested)),
            || stage.raw(),
        )
        .goal(2.0),
        {
            let keeper = Keeper::new();
            Row::of(
                "a gated 4 KiB read, signed and durable before its reply",
                "a raw host call",
                20,
                || stage.gated_few(Box::new(keeper.witness())),
                || stage.raw(),
            )
            .note(keeper.share())
        },
    ]
}

/// A file, and both ways to it.
struct Stage {
    path: PathBuf,
    linked: Linked,
    few: Linked,
    bounds: Bounds,
    check: Check,
    // What they run in.
    _sandbox: Sandbox,
    _raw: Raw,
}

impl Stage {
    fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("it can be made");
        let path = directory.join("file");
        std::fs::write(&path, vec![b'x'; SIZE]).expect("it can be written");
        let text = path.to_str().expect("UTF-8");
        let component = guest::reading(text, SIZE, READS);
        let (sandbox, raw) = (Sandbox::new(Settings::default()).expect("a sandbox"), Raw::new());
        let (linked, check) = (guest::linked(&sandbox, &component), raw.check(&component, directory));
        let few = guest::linked(&sandbox, &guest::reading(text, SIZE, FEW));
        let bounds = guest::bounds(&[format!("files.read {text}")]);
        Self { path, linked, few, bounds, check, _sandbox: sandbox, _raw: raw }
    }

    fn gated(&self, witness: Box<dyn Witness>) -> Duration {
        let gate = guest::gate(witness);
        guest::begin(&gate, &self.bounds);
        each(READS, || guest::run(&self.linked, Box::new(gate.clone())))
    }

    /// The same with fewer reads.
    fn gated_few(&self, witness: Box<dyn Witness>) -> Duration {
        let gate = guest::gate(witness);
        guest::begin(&gate, &self.bounds);
        each(FEW, || guest::run(&self.few, Box::new(gate.clone())))
    }

    fn raw(&self) -> Duration {
        each(READS, || self.check.run())
    }

    /// Where the time goes: the way from the guest and back, and what the gate does with a call.
    fn share(&self) -> String {
        let way = median(ROUNDS, || each(READS, || guest::run(&self.linked, Box::new(Ready::new()))));
        let path = self.path.to_str().expect("UTF-8").to_owned();
        let arguments = postcard::to_stdvec(&FilesCall::Read { path }).expect("encoded");
        let call = Call { capability: "files".to_owned(), function: "read".to_owned(), arguments };
        let performed = median(ROUNDS, || {
            let mut gate = guest::gate(Box::new(Silent));
            guest::begin(&gate, &self.bounds);
            each(READS, || (0..READS).for_each(|_| assert!(matches!(gate.call(call.clone()), Ok(Reply::Value(_))))))
        });
        let system = median(ROUNDS, || each(READS, || (0..READS).for_each(|_| self.check.read(&self.path))));
        format!(
            "of it {} from the guest and back, {} in the gate; the raw call's system calls take {}",
            shown(way),
            shown(performed),
            shown(system)
        )
    }
}

/// Answers every read with the same content at once.
struct Ready(Vec<u8>);

impl Ready {
    fn new() -> Self {
        Self(postcard::to_stdvec(&serde_bytes::Bytes::new(&[b'x'; SIZE])).expect("encoded"))
    }
}

impl Port for Ready {
    fn call(&mut self, _: Call) -> Result<Reply, Stop> {
        Ok(Reply::Value(self.0.clone()))
    }

    fn log(&mut self, _: LogLine) {}
}

/// Signs and keeps each read before its reply is handed on, as an investigation's are.
struct Keeper {
    state: Arc<State>,
    key: Arc<SigningKey>,
    _place: tempfile::TempDir,
}

struct Kept {
    state: Arc<State>,
    key: Arc<SigningKey>,
    next: u64,
}

impl Keeper {
    fn new() -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let state = Arc::new(State::create(&place.path().join("state")).expect("a state directory"));
        let key = place.path().join("key");
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", key.to_str().expect("UTF-8")]);
        let key = std::fs::read_to_string(key).expect("a key");
        let key = Arc::new(SigningKey::from_openssh(&key, &mut || None).expect("a key"));
        Self { state, key, _place: place }
    }

    fn witness(&self) -> Kept {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        Kept { state: Arc::clone(&self.state), key: Arc::clone(&self.key), next: now.as_nanos() as u64 }
    }

    /// Where the time goes.
    fn share(&self) -> String {
        let record = vec![b'x'; 3000];
        let signing = median(20, || each(20, || (0..20).for_each(|_| drop(sign(&self.key, &record)))));
        let mut kept = self.witness();
        let signature = sign(&self.key, &record);
        let keeping = median(20, || each(5, || (0..5).for_each(|_| kept.keep(&record, &signature))));
        format!("of it {} for the signature, {} for its own durable commit", shown(signing), shown(keeping))
    }
}

fn sign(key: &SigningKey, record: &[u8]) -> String {
    countersign_trust::sign(key, namespace::EVIDENCE, record).expect("signed")
}

impl Kept {
    fn keep(&mut self, record: &[u8], signature: &str) {
        self.next += 1;
        let id = format!("ev-{}", self.next);
        let new = NewEvidence { id: &id, target: "bench", principal: "bench", at: 1, record, signature };
        self.state.evidence().add(new).expect("kept");
    }
}

impl Witness for Kept {
    fn read(&mut self, record: &ReadRecord<'_>) -> Result<(), Fault> {
        let reply = record.reply.unwrap_or_default();
        let shown = record.call.describe_reply(reply);
        let evidence = Evidence {
            id: format!("ev-{}", self.next + 1),
            target: "bench".to_owned(),
            principal: "bench".to_owned(),
            purpose: "check".to_owned(),
            call: record.text(),
            digest: Digest::of(reply),
            bytes: Some(reply.len() as u64),
            excerpt: shown["content"].as_str().unwrap_or_default().chars().take(2048).collect(),
            withheld: record.withheld,
            failed: false,
            at: 1,
        };
        let record = serde_json::to_vec(&evidence).expect("encoded");
        let signature = sign(&self.key, &record);
        self.keep(&record, &signature);
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}

/// Digests what was read, and keeps it no longer than that.
struct Digested;

impl Witness for Digested {
    fn read(&mut self, record: &ReadRecord<'_>) -> Result<(), Fault> {
        std::hint::black_box(Digest::of(record.reply.unwrap_or_default()));
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}
