use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_capability::{Blobs, Capability, Context, Opening, Phase, Protected, Session, Stream, TypedCall};
use countersign_model::{Digest, Image, Selector};

use memory::Memory;

use super::*;
use crate::guarded::Guarded;
use crate::handle::Opener;
use crate::{Files, FilesCall, FilesChange, FilesSession};

#[path = "../../../../../sdk/capability/tests/support/memory.rs"]
mod memory;

thread_local! {
    static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// How many syncs succeed before one fails.
    static SYNCS: Cell<usize> = const { Cell::new(usize::MAX) };
}

pub(super) fn note(step: &str) {
    STEPS.with_borrow_mut(|steps| steps.push(step.to_owned()));
}

pub(super) fn before_sync(path: &str) -> Result<(), Fault> {
    let what = if path.contains("/.countersign-") { "sync own" } else { "sync" };
    note(what);
    let left = SYNCS.get();
    SYNCS.set(left.saturating_sub(1));
    if left == 0 { Err(after_all(failed("made durable", path, Errno::IO))) } else { Ok(()) }
}

fn opener() -> Opener {
    Opener::new(Guarded::look_up(&Protected::default()).expect("nothing guarded"))
}

fn with_directory(test: impl FnOnce(&Path, &Directory<'_>)) {
    let temporary = tempfile::tempdir().expect("directory");
    let root = temporary.path().canonicalize().expect("resolved");
    let opener = opener();
    let path = crate::path::Path::parse(root.to_str().expect("text")).expect("path");
    let directory = opener.directory(&path.segments(), 100).and_then(Directory::readable).expect("opened");
    test(&root, &directory);
}

fn identity(directory: &Directory<'_>, name: &str) -> Identity {
    Identity::of(&directory.look(name).expect("looked").expect("there"))
}

fn put(root: &Path, name: &str, content: &str) {
    let staged = root.join("their-staged");
    std::fs::write(&staged, content).expect("written");
    std::fs::rename(staged, root.join(name)).expect("renamed");
}

fn content(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join(name)).expect("read")
}

#[test]
fn what_came_out_wrong_is_put_back() {
    with_directory(|root, directory| {
        put(root, "own", "ours");
        put(root, "file", "theirs");
        let (ours, theirs) = (identity(directory, "own"), identity(directory, "file"));
        let wrong = || {
            assert_eq!((content(root, "own").as_str(), content(root, "file").as_str()), ("theirs", "ours"));
            Ok(Some("it is theirs".to_owned()))
        };
        let fault = swap(directory, "own", "file", ours, wrong).expect_err("put back");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false), "{fault:?}");
        // A look that fails is a look that found it wrong.
        let failing = || Err(Fault::new(FaultKind::Other, "it cannot be read"));
        let fault = swap(directory, "own", "file", ours, failing).expect_err("put back");
        assert!(fault.what.contains("cannot be read") && !fault.reached, "{fault:?}");
        assert_eq!((identity(directory, "own"), identity(directory, "file")), (ours, theirs));

        let fault = shift(directory, "file", "moved", || Ok(Some("it is theirs".to_owned()))).expect_err("put back");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false), "{fault:?}");
        assert_eq!(identity(directory, "file"), theirs);
        let fault = shift(directory, "file", "own", || Ok(None)).expect_err("taken");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Exists, false), "{fault:?}");
        assert_eq!((identity(directory, "own"), identity(directory, "file")), (ours, theirs));
    });
}

#[test]
fn the_latest_of_several_edits_stands() {
    with_directory(|root, directory| {
        put(root, "own", "ours");
        put(root, "file", "theirs");
        let ours = identity(directory, "own");
        let wrong = || {
            put(root, "file", "theirs, later");
            Ok(Some("it is theirs".to_owned()))
        };
        let fault = swap(directory, "own", "file", ours, wrong).expect_err("exchanged");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, true), "{fault:?}");
        assert_eq!((content(root, "own").as_str(), content(root, "file").as_str()), ("theirs", "theirs, later"));
    });
    with_directory(|root, directory| {
        put(root, "file", "theirs");
        let wrong = || {
            put(root, "file", "theirs, later");
            Ok(Some("it is theirs".to_owned()))
        };
        let fault = shift(directory, "file", "own", wrong).expect_err("taken");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, true), "{fault:?}");
        assert!(fault.what.contains("kept as `own`"), "{fault:?}");
        assert_eq!((content(root, "own").as_str(), content(root, "file").as_str()), ("theirs", "theirs, later"));
    });
}

#[test]
fn what_went_in_must_be_what_was_staged() {
    with_directory(|root, directory| {
        put(root, "own", "ours");
        put(root, "file", "before");
        let ours = identity(directory, "own");
        // Kept, so that its number is not given again.
        std::fs::rename(root.join("own"), root.join("aside")).expect("renamed");
        put(root, "own", "slipped in");
        let fault = swap(directory, "own", "file", ours, || Ok(None)).expect_err("another file");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, true), "{fault:?}");
        assert_eq!(content(root, "own"), "before", "the original is kept");
    });
}

#[test]
fn what_could_not_be_staged_is_gone() {
    with_directory(|root, directory| {
        let plain = Attributes { mode: 0o600, uid: 0, gid: 0, xattrs: BTreeMap::new() };
        let user = rustix::process::geteuid().as_raw();
        let own = Attributes { uid: user, gid: rustix::process::getegid().as_raw(), ..plain };
        let mut impossible = own.clone();
        impossible.xattrs.insert("nowhere.note".to_owned(), crate::metadata::Bytes(vec![1]));
        stage(directory, "own", b"x", &impossible, None, None).expect_err("no such attribute");
        assert!(!root.join("own").exists());
        let late = Some(Instant::now());
        let fault = stage(directory, "own", b"x", &own, None, late).expect_err("too late");
        assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false));
        assert!(!root.join("own").exists());
        put(root, "own", "theirs");
        let fault = stage(directory, "own", b"x", &own, None, None).expect_err("taken");
        assert_eq!((fault.kind, content(root, "own").as_str()), (FaultKind::Exists, "theirs"));
    });
}

struct Run {
    session: FilesSession,
    blobs: Memory,
    root: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        let protected = Protected::default();
        let opening = Opening { settings: &serde_json::Value::Null, phase: Phase::Live, protected: &protected };
        let root = tempfile::tempdir().expect("directory");
        let run = Self { session: Files::open(&opening).expect("session"), blobs: Memory::default(), root };
        std::fs::write(run.root.path().join("file"), "before").expect("written");
        run
    }

    fn prepare(&mut self, operation: &str) -> FilesChange {
        let root = self.root.path().canonicalize().expect("resolved");
        let path = |name: &str| root.join(name).to_str().expect("text").to_owned();
        let call = match operation {
            "replace" => FilesCall::Replace { path: path("file"), contents: b"after".to_vec() },
            "create" => FilesCall::Create { path: path("new"), contents: b"after".to_vec(), mode: 0o600 },
            "truncate" => FilesCall::Truncate { path: path("file"), length: 3 },
            "set-mode" => FilesCall::SetMode { path: path("file"), mode: 0o600 },
            "discard" => FilesCall::Discard { path: path("file") },
            _ => FilesCall::Remove { path: path("file") },
        };
        let scope = Files::parse_scope(call.access(), &Selector::word(path("**"))).expect("scope");
        self.with(|session, cx| session.prepare(cx, &scope, call)).expect("prepared").change
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut FilesSession, &mut Context<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        act(&mut self.session, &mut Context { blobs: &mut self.blobs, deadline })
    }

    /// The steps that this takes.
    fn steps(&mut self, act: impl FnOnce(&mut FilesSession, &mut Context<'_>) -> Result<(), Fault>) -> Vec<String> {
        STEPS.take();
        self.with(act).expect("done");
        STEPS.take()
    }
}

#[test]
fn everything_is_synced_in_order() {
    for (operation, applied, undone, rebuilt) in [
        (
            "replace",
            vec!["sync own", "exchange", "sync"],
            vec!["exchange", "sync", "remove", "sync own"],
            vec!["sync own", "exchange", "sync", "remove", "sync own"],
        ),
        (
            "create",
            vec!["sync own", "rename", "sync own"],
            vec!["rename", "sync", "remove", "sync own"],
            vec!["rename", "sync", "remove", "sync own"],
        ),
        ("remove", vec!["rename", "sync"], vec!["rename", "sync own"], vec!["sync own", "rename", "sync own"]),
    ] {
        let mut run = Run::new();
        let change = run.prepare(operation);
        assert_eq!(run.steps(|session, cx| session.apply(cx, &change).map(drop)), applied, "{operation}");
        assert_eq!(run.steps(|session, cx| session.undo(cx, &change)), undone, "{operation}");
        // Whoever undoes again may do so because the first one died before its sync.
        assert_eq!(run.steps(|session, cx| session.undo(cx, &change)), ["sync"], "{operation}");

        let mut run = Run::new();
        let change = run.prepare(operation);
        run.steps(|session, cx| session.apply(cx, &change).map(drop));
        let settled = run.steps(|session, cx| session.settle(cx, &change));
        assert_eq!(settled, if operation == "create" { vec![] } else { vec!["remove", "sync own"] }, "{operation}");
        assert_eq!(run.steps(|session, cx| session.undo(cx, &change)), rebuilt, "{operation}");
    }
}

#[test]
fn a_sync_that_failed_is_fatal_and_undo_still_restores() {
    for (operation, syncs) in [("replace", 2), ("create", 2), ("remove", 1)] {
        for failing in 0..syncs {
            let mut run = Run::new();
            let change = run.prepare(operation);
            SYNCS.set(failing);
            STEPS.take();
            let fault = run.with(|session, cx| session.apply(cx, &change)).expect_err("the sync failed");
            SYNCS.set(usize::MAX);
            assert!(fault.reached && fault.what.contains("made durable"), "{operation}: {fault:?}");
            let tried = STEPS.take().iter().filter(|step| step.starts_with("sync")).count();
            assert_eq!(tried, failing + 1, "{operation}: tried again");
            run.with(|session, cx| session.undo(cx, &change)).expect("undone");
            assert_eq!(content(run.root.path(), "file"), "before", "{operation}");
            assert_eq!(std::fs::read_dir(run.root.path()).expect("directory").count(), 1, "{operation}");
        }
    }
}

#[test]
fn what_is_changed_in_place_is_synced() {
    for (operation, applied, undone) in
        [("truncate", ["cut", "sync"], ["append", "sync"]), ("set-mode", ["set-mode", "sync"], ["set-mode", "sync"])]
    {
        let mut run = Run::new();
        let change = run.prepare(operation);
        assert_eq!(run.steps(|session, cx| session.apply(cx, &change).map(drop)), applied, "{operation}");
        assert_eq!(run.steps(|session, cx| session.undo(cx, &change)), undone, "{operation}");
        // Whoever undoes again may do so because the first one died before its sync.
        assert_eq!(run.steps(|session, cx| session.undo(cx, &change)), ["sync"], "{operation}");
        assert!(run.steps(|session, cx| session.settle(cx, &change)).is_empty(), "{operation}");
    }
    let mut run = Run::new();
    let change = run.prepare("discard");
    assert_eq!(run.steps(|session, cx| session.apply(cx, &change).map(drop)), ["cut", "sync"]);
    assert_eq!(content(run.root.path(), "file"), "");
}

#[test]
fn a_sync_in_place_that_failed_is_told_and_undo_still_restores() {
    for operation in ["truncate", "set-mode"] {
        let mut run = Run::new();
        let change = run.prepare(operation);
        SYNCS.set(0);
        let fault = run.with(|session, cx| session.apply(cx, &change)).expect_err("the sync failed");
        assert!(fault.reached && fault.what.contains("made durable"), "{operation}: {fault:?}");
        let fault = run.with(|session, cx| session.undo(cx, &change)).expect_err("the sync failed");
        assert!(fault.reached, "{operation}: {fault:?}");
        SYNCS.set(usize::MAX);
        run.with(|session, cx| session.undo(cx, &change)).expect("undone");
        assert_eq!(content(run.root.path(), "file"), "before", "{operation}");
    }
}

/// Gives the kept bytes up to a place, and then fails.
struct Broken(Memory, usize);

impl Blobs for Broken {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        self.0.put(bytes)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        self.0.get(digest)
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        self.0.put_from(size, from)
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        let mut bytes = self.0.get(digest)?;
        bytes.truncate(self.1);
        Ok(Box::new(Cursor::new(bytes)))
    }
}

#[test]
fn putting_back_goes_on_where_it_broke_off() {
    let mut run = Run::new();
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(run.root.path().join("file"), &bytes).expect("written");
    let change = run.prepare("truncate");
    run.with(|session, cx| session.apply(cx, &change)).expect("applied");
    let mut blobs = Broken(std::mem::take(&mut run.blobs), 0);
    for (until, back) in [(0, 0), (FIRST + 9, FIRST), (3 * PIECE + 9, 2 * (FIRST + PIECE))] {
        blobs.1 = until;
        let cx = &mut Context { blobs: &mut blobs, deadline: Instant::now() + Duration::from_secs(60) };
        let fault = run.session.undo(cx, &change).expect_err("it broke off");
        assert_eq!(fault.reached, back > 0, "{fault:?}");
        assert_eq!(std::fs::metadata(run.root.path().join("file")).expect("metadata").len(), 3 + back as u64);
    }
    run.blobs = blobs.0;
    run.with(|session, cx| session.undo(cx, &change)).expect("undone");
    assert!(std::fs::read(run.root.path().join("file")).expect("read") == bytes);
}

/// Kept bytes in whose middle somebody else appends to the file.
struct Meddling {
    bytes: Cursor<Vec<u8>>,
    file: std::path::PathBuf,
}

impl Read for Meddling {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.position() == (FIRST + PIECE) as u64 {
            let mut log = std::fs::OpenOptions::new().append(true).open(&self.file)?;
            log.write_all(b"<theirs>")?;
        }
        self.bytes.read(buffer)
    }
}

#[test]
fn what_is_appended_while_the_end_is_put_back_is_not_written_over() {
    let mut run = Run::new();
    let file = run.root.path().join("file");
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&file, &bytes).expect("written");
    let change = run.prepare("truncate");
    run.with(|session, cx| session.apply(cx, &change)).expect("applied");
    let root = run.root.path().canonicalize().expect("resolved");
    let opener = Opener::new(Guarded::look_up(&Protected::default()).expect("looked up"));
    let path = crate::path::Path::parse(root.join("file").to_str().expect("text")).expect("a path");
    let (directory, name) = opener.parent(&path, 0).expect("its directory");
    let log = directory.appendable(name).expect("opened");
    let mut end = Meddling { bytes: Cursor::new(bytes[3..].to_vec()), file: file.clone() };
    let fault = append(&log, &mut end, 3, bytes.len() as u64, None, None).expect_err("it is disturbed");
    assert!(fault.reached && fault.kind == FaultKind::Changed, "{fault:?}");
    let (found, third) = (std::fs::read(&file).expect("read"), 3 + FIRST + PIECE);
    assert!(found.starts_with(&bytes[..third]) && found[third..].starts_with(b"<theirs>"), "it is lost");
    let fault = run.with(|session, cx| session.undo(cx, &change)).expect_err("left alone");
    assert!(fault.what.contains("left alone"), "{fault:?}");
}
