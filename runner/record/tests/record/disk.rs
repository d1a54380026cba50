//! Blobs, and what happens when a sync fails.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use countersign_capability::{Blobs, Stream};
use countersign_model::{Digest, Image, Kept};
use countersign_record::{Disk, INLINE_LIMIT, RealDisk, RecordError, State, Unsynced};

use crate::support::{begin, change, fixture};

/// Notes every operation, and fails the syncs that it is told to.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Watch>>);

#[derive(Default)]
struct Watch {
    done: Vec<String>,
    fail: Option<&'static str>,
    synced: Vec<PathBuf>,
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

    pub(crate) fn fail(&self, what: Option<&'static str>) {
        self.0.lock().expect("a watch").fail = what;
    }

    /// The directories that were synced since this was last asked.
    fn synced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0.lock().expect("a watch").synced)
    }

    pub(crate) fn take(&self) -> Vec<String> {
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
    fn create_from(&self, path: &Path, from: &mut dyn Read, mode: u32) -> io::Result<Box<dyn Unsynced>> {
        self.note("create", path)?;
        Ok(Box::new(WatchedFile(self.clone(), RealDisk.create_from(path, from, mode)?)))
    }
    fn set_aside(&self, path: &Path, size: u64, mode: u32) -> io::Result<Box<dyn Unsynced>> {
        self.note("set-aside", path)?;
        Ok(Box::new(WatchedFile(self.clone(), RealDisk.set_aside(path, size, mode)?)))
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
        self.0.lock().expect("a watch").synced.push(path.to_owned());
        RealDisk.sync_dir(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note("remove", path)?;
        RealDisk.remove(path)
    }
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        RealDisk.read(path, limit)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Stream>> {
        RealDisk.open(path)
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

    // It is synced where it stands, which is not where it would be put now.
    let images = countersign_record::ImagesPlace {
        directory: Some(run.path().with_file_name("images")),
        cap: u64::MAX,
        reserve: 0,
    };
    let state = State::open_with(run.path(), Box::new(disk.clone())).and_then(|state| state.keeping_images(&images));
    let (state, own) = (state.expect("opens"), blob(&run.state, &digest));
    disk.synced();
    state.blobs().put(b"bytes").expect("it is there");
    assert_eq!(disk.synced(), [own.parent().expect("a folder").to_owned()]);
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
    assert!(run.state.rehearsal_blobs().get(&digest).is_err());
    blobs.put(b"bytes").expect("put again");
    assert_eq!(run.state.rehearsal_blobs().get(&digest).expect("sound"), b"bytes");
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
    assert_eq!(run.state.rehearsal_blobs().get(&Digest::of(&large)).expect("large"), large);
    assert_eq!(run.state.rehearsal_blobs().get(&Digest::of(&small)).expect("small"), small);
    assert_eq!(journal.blobs().get(&Digest::of(&large)).expect("large"), large);
    assert_eq!(journal.blobs().get(&Digest::of(&small)).expect("small"), small);
}

/// Gives `size` bytes that differ from place to place, and at most so many at once.
struct Numbers {
    next: u64,
    size: u64,
}

impl Read for Numbers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.size - self.next).min(buffer.len() as u64).min(4099) as usize;
        for byte in &mut buffer[..count] {
            *byte = (self.next % 251) as u8;
            self.next += 1;
        }
        Ok(count)
    }
}

pub(crate) fn numbers(size: u64) -> impl Read {
    Numbers { next: 0, size }
}

fn read(mut stream: Box<dyn Stream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read");
    bytes
}

fn names(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry"));
    let files = files.filter(|entry| entry.file_type().expect("a type").is_file());
    files.map(|entry| entry.file_name().into_string().expect("text")).collect()
}

#[test]
fn a_stream_is_synced_before_and_after_it_gets_its_name() {
    let run = fixture();
    let disk = Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    disk.take();
    let image = state.blobs().put_from(3_000_000, &mut numbers(3_000_000)).expect("put");
    let (hex, folder) = (image.digest.hex(), image.digest.hex()[..2].to_owned());
    assert_eq!(
        disk.take(),
        ["create temporary".to_owned(), "sync file".to_owned(), format!("rename {hex}"), format!("sync-dir {folder}"),]
    );
    let bytes = read(state.blobs().open(&image.digest).expect("opened"));
    assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (image.size, image.digest));
    assert_eq!(state.blobs().put(&bytes).expect("the same blob"), image.digest);
}

#[test]
fn a_stream_of_another_size_or_one_that_breaks_off_is_not_kept() {
    let run = fixture();
    let root = run.path().join("blobs/sha256");
    let mut journal = run.begin(1).expect("begins");
    for size in [2_000_000, 1_000] {
        for wrong in [size - 1, size + 1] {
            for fault in [
                Blobs::put_from(&mut run.state.blobs(), size, &mut numbers(wrong)),
                Blobs::put_from(journal.blobs(), size, &mut numbers(wrong)),
            ] {
                assert_eq!(fault.expect_err("another size").kind, countersign_model::FaultKind::Changed);
            }
        }
    }
    struct Late;
    impl Read for Late {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the time for the call is over"))
        }
    }
    for size in [2_000_000, 1_000] {
        let fault = Blobs::put_from(journal.blobs(), size, &mut numbers(size / 2).chain(Late)).expect_err("late");
        assert_eq!(fault.kind, countersign_model::FaultKind::TimedOut, "{fault}");
        assert!(fault.what.contains("the time for the call is over"), "{fault}");
    }
    assert_eq!(names(&root), [""; 0]);
    let huge = run.state.blobs().put_from(u64::MAX, &mut io::empty()).expect_err("too large");
    assert!(matches!(huge, RecordError::TooLarge { .. }), "{huge}");
}

#[test]
fn a_sync_of_a_stream_that_failed_is_final() {
    for what in ["sync", "sync-dir"] {
        let run = fixture();
        let disk = Watched::default();
        let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
        disk.fail(Some(what));
        let error = state.blobs().put_from(9, &mut numbers(9)).expect_err("not durable");
        assert!(matches!(error, RecordError::NotDurable { .. }), "{error}");
        disk.fail(None);
        assert!(matches!(state.blobs().put_from(9, &mut numbers(9)), Err(RecordError::Stopped(_))), "{what}");
        let mut bytes = Vec::new();
        numbers(9).read_to_end(&mut bytes).expect("read");
        assert!(!blob(&state, &Digest::of(&bytes)).exists(), "{what}: nobody takes it for durable");
        assert_eq!(names(&run.path().join("blobs/sha256")), [""; 0]);
    }
}

#[test]
fn a_damaged_stream_is_told_before_a_byte_of_it_is_given() {
    let run = fixture();
    let blobs = run.state.blobs();
    let image = blobs.put_from(2_000_000, &mut numbers(2_000_000)).expect("put");
    let mut bytes = fs::read(blob(&run.state, &image.digest)).expect("read");
    bytes[1_999_999] ^= 1;
    fs::write(blob(&run.state, &image.digest), &bytes).expect("damaged");
    assert!(matches!(blobs.open(&image.digest).err(), Some(RecordError::Damaged { .. })));
    blobs.put_from(2_000_000, &mut numbers(2_000_000)).expect("put again");
    assert_eq!(Digest::of(&read(blobs.open(&image.digest).expect("sound"))), image.digest);
    assert!(matches!(blobs.open(&Digest::of(b"missing")).err(), Some(RecordError::NotFound { .. })));
}

#[test]
fn what_is_kept_of_a_content_is_enough_for_its_intent() {
    let run = fixture();
    let mut journal = run.begin(1).expect("begins");
    let size = INLINE_LIMIT as u64 + 1;
    let kept = journal.blobs().put_from(size, &mut numbers(size)).expect("put");
    let small = journal.blobs().put_from(10, &mut numbers(10)).expect("put");
    assert!(blob(&run.state, &kept.digest).exists() && !blob(&run.state, &small.digest).exists());
    assert_eq!(Digest::of(&read(journal.blobs().open(&small.digest).expect("pending"))), small.digest);
    let mut change = change(&mut journal, b"a", b"b");
    let never = |name: &[u8]| Some(Image { size: 1 << 40, ..Image::of(name) });
    (change.before, change.after) = (never(b"before"), never(b"after"));
    change.kept = Some(Kept { from: 5, image: kept });
    journal.intend(countersign_model::Role::Fix, &change).expect("intended");
    change.kept = Some(Kept { from: 5, image: small });
    journal.intend(countersign_model::Role::Fix, &change).expect("intended");
    assert_eq!(Digest::of(&read(journal.blobs().open(&small.digest).expect("inline"))), small.digest);
    change.kept = Some(Kept { from: 5, image: Image::of(b"never") });
    let error = journal.intend(countersign_model::Role::Fix, &change).expect_err("never put").to_string();
    assert!(error.contains("was never put"), "{error}");
}
