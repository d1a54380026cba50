//! What the journal costs around a durable write.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_capability::{Phase, Port, Protected};
use countersign_files::FilesCall;
use countersign_gate::{Allowance, Bounds, Gate, GatePort, Live, Sessions, Step, Validators, Work};
use countersign_model::{Call, Digest, Mode, Plan, Reply, Role};
use countersign_record::{NewProposal, RunStart, State};

use crate::guest;
use crate::harness::{Row, each_passing};

const ROUNDS: usize = 60;
const REPLACES: u32 = 5;

pub fn measure() -> Vec<Row> {
    [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("2 MiB", 2 << 20)]
        .map(|(name, size)| {
            let run = Run::new(size);
            let row = Row::of(
                &format!("a journaled replace of {name}"),
                "temporary file, fsync, rename, fsync of the directory",
                ROUNDS,
                || run.journaled(),
                || run.bare(),
            );
            if size <= 1 << 20 {
                row.goal(2.0)
            } else {
                row.note("over 1 MiB the before-image is a file of its own".to_owned())
            }
        })
        .into()
}

struct Never;

impl Validators for Never {
    fn validate(&mut self, _: &[String]) -> Result<(), String> {
        Ok(())
    }
}

/// A run under way, on the file system that the target directory is on.
struct Run {
    gate: GatePort,
    bounds: Bounds,
    target: PathBuf,
    bare: PathBuf,
    size: usize,
    _state: State,
    _place: tempfile::TempDir,
}

impl Run {
    fn new(size: usize) -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let root = place.path().canonicalize().expect("it resolves");
        let state = State::create(&root.join("state")).expect("a state directory");
        let new = NewProposal {
            document: b"{}",
            signature: "signed",
            bundle: &Digest::of(b"bundle"),
            proposer: "bench",
            created: 1,
            expires: 9,
            evidence: &[],
            fix: None,
            subjects: &[],
        };
        let proposal = state.proposals().add(new).expect("a proposal");
        let manifest = state.approvals().add_manifest(&proposal, b"{}").expect("a manifest");
        let plan = Plan::default();
        let start = RunStart {
            proposal: &proposal,
            manifest: &manifest,
            target: "bench",
            max_uses: 1,
            sources: &[],
            standing: None,
            approvers: &["bench".to_owned()],
            independent: true,
            at: 2,
            plan: &plan,
            guards: &[],
            actor: "bench".into(),
        };
        let journal = state.runs().begin(start).expect("a run");
        let live = Live::new(journal, Mode::Scoped, &plan, Box::new(Never), Arc::default());
        let registry = Arc::new(guest::registry());
        let protected = Protected { paths: vec![root.join("state")], processes: Vec::new() };
        let sessions = Sessions::new(registry, Default::default(), Phase::Live, Arc::new(protected));
        let gate = GatePort::new(Gate::new(sessions, Work::Live(Box::new(live)), Box::new(guest::Silent)));
        let (target, bare) = (root.join("target/file"), root.join("bare/file"));
        for path in [&target, &bare] {
            std::fs::create_dir(path.parent().expect("a directory")).expect("made");
            std::fs::write(path, vec![b'x'; size]).expect("written");
        }
        let bounds = guest::bounds(&[format!("files.write {}", target.display())]);
        Self { gate, bounds, target, bare, size, _state: state, _place: place }
    }

    fn contents(&self) -> Vec<u8> {
        // Another content each time, or there would be nothing to do.
        let mut contents = vec![b'y'; self.size];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        contents[..16].copy_from_slice(&now.as_nanos().to_le_bytes());
        contents
    }

    /// Permitted, prepared, journaled, applied and marked; what was replaced is kept beside it until the run has ended.
    fn journaled(&self) -> Duration {
        let mut port = self.gate.clone();
        // A step may move 256 MiB; each round is a step's first writes.
        let allowance = Allowance::new(self.bounds.unused(), self.bounds.unused());
        port.lock().begin(Step { role: Some(Role::Fix), allowance });
        each_passing(REPLACES, || {
            for _ in 0..REPLACES {
                let path = self.target.to_str().expect("UTF-8").to_owned();
                let typed = FilesCall::Replace { path, contents: self.contents() };
                let arguments = postcard::to_stdvec(&typed).expect("encoded");
                let call = Call { capability: "files".to_owned(), function: "replace".to_owned(), arguments };
                match port.call(call) {
                    Ok(Reply::Value(_)) => {}
                    other => panic!("not replaced: {other:?}"),
                }
            }
        })
    }

    fn bare(&self) -> Duration {
        each_passing(REPLACES, || (0..REPLACES).for_each(|_| replace(&self.bare, &self.contents())))
    }
}

fn replace(path: &Path, contents: &[u8]) {
    let staged = path.with_extension("new");
    let mut file = File::create(&staged).expect("made");
    file.write_all(contents).expect("written");
    file.sync_all().expect("synced");
    std::fs::rename(&staged, path).expect("renamed");
    File::open(path.parent().expect("a directory")).and_then(|directory| directory.sync_all()).expect("synced");
}
