//! What a read costs, from inside a guest and back.

use std::path::{Path, PathBuf};

use countersign_capability::LogLine;
use countersign_gate::{Bounds, ReadRecord, Witness};
use countersign_model::{Digest, Fault, Role};
use countersign_sandbox::{Linked, Sandbox, Settings};

use crate::guest::{self, Silent};
use crate::harness::{Row, each};
use crate::raw::{Check, Raw};

const ROUNDS: usize = 60;
/// Reads of one step, which may make 10,000.
const READS: u32 = 1000;
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
    ]
}

/// A file, and both ways to it.
struct Stage {
    path: PathBuf,
    linked: Linked,
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
        let (sandbox, raw) = (Sandbox::new(Settings::default(), None).expect("a sandbox"), Raw::new());
        let (linked, check) = (guest::linked(&sandbox, &component), raw.check(&component, directory));
        let bounds = guest::bounds(&[format!("files.read {text}")]);
        Self { path, linked, bounds, check, _sandbox: sandbox, _raw: raw }
    }

    fn gated(&self, witness: Box<dyn Witness>) -> std::time::Duration {
        let gate = guest::gate(witness);
        guest::begin(&gate, &self.bounds);
        each(READS, || guest::run(&self.linked, Box::new(gate.clone())))
    }

    fn raw(&self) -> std::time::Duration {
        each(READS, || self.check.run())
    }

    /// Where the time goes.
    fn share(&self) -> String {
        String::from("")
    }
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
