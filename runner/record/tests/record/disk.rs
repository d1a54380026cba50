//! Blobs, and what happens when a sync fails.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use countersign_capability::Blobs;
use countersign_model::Digest;
use countersign_record::{Disk, INLINE_LIMIT, RealDisk, RecordError, State, Unsynced};

use crate::support::{begin, change, fixture};

/// Notes every operation, and fails the syncs that it is told to.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Watch>>);

#[derive(Default)]
struct Watch {
    done: Vec<String>,
    fail: Option<&'static str>,
}

struct WatchedFile(Watched, Box<dyn Unsynced>);

impl Watched {
    fn note(&self, what: &'static str, path: &Path) -> io::Result<()> {
        let mut watch = self.0.lock().expect("a watch");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = if name.starts_with(".new-") { "temporary".into() } else { name };
        watch.done.push(format!("{what} {name}"));
        if watch.fail == Some(what) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn fail(&self, what: Option<&'static str>) {
        self.0.lock().expect("a watch").fail = what;
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("a watch").done)
    }
}

impl Unsynced for WatchedFile {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.note("sync", Path::new("file"))?;
        self.1.sync()
    }
}

impl Disk for Watched {
    fn create(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<Box<dyn Unsynced>> {
        self.note("create", path)?;
        Ok(Box::new(WatchedFile(self.clone(), RealDisk.create(path, bytes, mode)?)))
    }
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.note("rename", to)?;
        RealDisk.rename(from, to, replace)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.note("make", path)?;
        RealDisk.make_dir(path, mode)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note("sync-dir", path)?;
        RealDisk.sync_dir(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note("remove", path)?;
        RealDisk.remove(path)
    }
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        RealDisk.read(path, limit)
    }
}

fn blob(state: &State, digest: &Digest) -> std::path::PathBuf {
    state.dir().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
}

#[test]
fn a_blob_is_synced_before_and_after_it_gets_its_name() {
    let run = fixture();
    let disk = Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    disk.take();
    let digest = state.blobs().put(b"bytes").expect("put");
    let (hex, folder) = (digest.hex(), digest.hex()[..2].to_owned());
    let once =
        ["create temporary".to_owned(), "sync file".to_owned(), format!("rename {hex}"), format!("sync-dir {folder}")];
    assert_eq!(disk.take(), once);
    // Whoever put it first may have died before its name was durable.
    assert_eq!(state.blobs().put(b"bytes").expect("put again"), digest);
    assert_eq!(disk.take(), [format!("sync-dir {folder}")]);
    assert_eq!(state.blobs().get(&digest).expect("got"), b"bytes");
}

#[test]
fn the_name_of_a_new_write_ahead_log_is_durable_before_anything_is_in_it() {
    let run = fixture();
    let (path, disk) = (run.path().to_owned(), Watched::default());
    drop(run.state);
    assert!(!path.join("countersign.db-wal").exists());
    disk.fail(Some("sync-dir"));
    let error = State::open_with(&path, Box::new(disk.clone())).expect_err("not durable");
    assert!(matches!(error, RecordError::NotDurable { .. }), "{error}");
    disk.fail(None);
    disk.take();
    let _state = State::open_with(&path, Box::new(disk.clone())).expect("opens");
    assert!(path.join("countersign.db-wal").exists());
    assert_eq!(disk.take(), ["sync-dir state"]);
}

#[test]
fn nothing_is_written_after_a_sync_that_failed() {
    for what in ["sync", "sync-dir"] {
        let run = fixture();
        let disk = Watched::default();
        let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
        let mut journal = begin(&state, "web-1", &run.proposal, &run.manifest, 1).expect("begins");
        let change = change(&mut journal, b"a", b"b");

        disk.fail(Some(what));
        let error = state.blobs().put(b"bytes").expect_err("not durable");
        assert!(matches!(error, RecordError::NotDurable { .. }), "{error}");
        let digest = Digest::of(b"bytes");
        assert!(!blob(&state, &digest).exists(), "{what}: nobody takes it for durable");
        assert!(disk.take().contains(&if what == "sync" {
            "remove temporary".to_owned()
        } else {
            format!("remove {}", digest.hex())
        }));

        // Also where the disk seems to work again, and also for the database.
        disk.fail(None);
        assert!(matches!(state.blobs().put(b"bytes"), Err(RecordError::Stopped(_))));
        assert!(matches!(state.write_new(Path::new("x"), b"", 0o600), Err(RecordError::Stopped(_))));
        assert!(matches!(state.rehearsals().add(b"{}", ""), Err(RecordError::Stopped(_))));
        let error = journal.intend(countersign_model::Role::Fix, &change).expect_err("stopped").to_string();
        assert!(error.contains("nothing more is written since"), "{error}");
        assert_eq!(disk.take(), Vec::<String>::new());
        assert_eq!(state.runs().changes(journal.run()).expect("changes"), []);
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_and_may_be_tried_again() {
    let run = fixture();
    let disk = Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    for what in ["create", "rename"] {
        disk.fail(Some(what));
        let error = state.blobs().put(b"bytes").expect_err("fails").full();
        assert!(error.contains("nothing was recorded"), "{error}");
        let folder = blob(&state, &Digest::of(b"bytes"));
        assert_eq!(fs::read_dir(folder.parent().expect("a folder")).expect("a folder").count(), 0);
    }
    disk.fail(None);
    state.blobs().put(b"bytes").expect("put");
}

#[test]
fn damaged_blobs_are_told_and_replaced() {
    let run = fixture();
    let mut blobs = run.state.blobs();
    let digest = blobs.put(b"bytes").expect("put");
    fs::write(blob(&run.state, &digest), b"other").expect("damaged");
    let error = blobs.get(&digest).expect_err("damaged");
    assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
    assert!(run.state.content(&digest).is_err());
    blobs.put(b"bytes").expect("put again");
    assert_eq!(run.state.content(&digest).expect("sound"), b"bytes");
    // Through the trait that capabilities see.
    let missing = Blobs::get(&mut blobs, &Digest::of(b"missing")).expect_err("missing");
    assert_eq!((missing.kind, missing.reached), (countersign_model::FaultKind::NotFound, false));
}

#[test]
fn large_images_are_synced_files_before_the_intent() {
    let run = fixture();
    let mut journal = run.begin(1).expect("begins");
    let (small, large) = (vec![1; INLINE_LIMIT], vec![2; INLINE_LIMIT + 1]);
    let change = change(&mut journal, &large, &small);
    assert!(blob(&run.state, &Digest::of(&large)).exists());
    assert!(!blob(&run.state, &Digest::of(&small)).exists());
    journal.intend(countersign_model::Role::Fix, &change).expect("intended");
    let inline: i64 = run.second().query_row("SELECT count(*) FROM images", [], |row| row.get(0)).expect("a count");
    assert_eq!(inline, 1);
    assert_eq!(run.state.content(&Digest::of(&large)).expect("large"), large);
    assert_eq!(run.state.content(&Digest::of(&small)).expect("small"), small);
    assert_eq!(journal.blobs().get(&Digest::of(&large)).expect("large"), large);
    assert_eq!(journal.blobs().get(&Digest::of(&small)).expect("small"), small);
}
