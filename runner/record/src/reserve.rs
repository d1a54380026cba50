//! What a rollback may need on the disk, set aside before a run's first change.
//!
//! A file per target, beside its lock, takes the space until the run ends; only whoever holds the target's lock touches
//! it, so it outlives a process that died and waits for whoever recovers its run. When the rollback begins the file is
//! removed, and what it took goes to the write-ahead log at once, as blocks behind its end: from then on nobody else can
//! write them full. Where a file system cannot do that, the space is only free.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_model::{Change, Digest, Image, Plan};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::blobs::INLINE_LIMIT;
use crate::lock::TargetLock;
use crate::state::{DATABASE, FILE_MODE, transact};
use crate::{Durable, RecordError, Runs, schema};

/// What every rollback may write: why it is, three times over with its run's row, and its report.
const FIXED: u64 = 1024 * 1024;
/// What is written of one change besides its JSON: a page for each of its marks, its note, what the report says of it, and its
/// entry in the audit log with that of the index.
const PER_CHANGE: u64 = 32 * 1024;
/// How often the plan and the guards are written at most: with the run's row, which holds both, when the rollback is
/// marked, when the run ends and when it is settled; in the report; and change by change, in intents and marks.
const WRITINGS: u64 = 12;
/// The database's pages, and how the index of its write-ahead log grows, in bytes and pages.
const PAGE: u64 = 4096;
const INDEX_PART: u64 = 32 * 1024;
const INDEX_PAGES: u64 = 4096;
/// How often less is asked for where the log cannot have all of it.
const HALVINGS: u32 = 4;
/// How such a file's name ends.
const SUFFIX: &str = "reserve";

/// How much a rollback may write at most, in bytes; by default nothing, as of what sets nothing aside. What a rollback step does beside what was rehearsed is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    /// To the database.
    journal: u64,
    /// To files of images.
    images: u64,
}

impl Needed {
    /// For a plan and what the guards said, whose JSON has so many bytes.
    pub(crate) fn of(plan: &Plan, json: usize) -> Self {
        let changes = plan.forward.len().saturating_add(plan.back.len()) as u64;
        let mut journal = FIXED
            .saturating_add(WRITINGS.saturating_mul(json as u64))
            .saturating_add(PER_CHANGE.saturating_mul(changes));
        let mut images: u64 = 0;
        for change in plan.back.iter().filter(|change| has_content(change)) {
            // What the rollback step finds may be another content than in the rehearsal, of any size that is kept there.
            journal = journal.saturating_add(INLINE_LIMIT as u64);
            for Image { size, .. } in change.images() {
                let part = if size > INLINE_LIMIT as u64 { &mut images } else { &mut journal };
                *part = part.saturating_add(size);
            }
        }
        Self { journal, images }
    }

    /// The same where images have another file system, whose own reserve a rollback may take.
    pub(crate) const fn without_images(self) -> Self {
        Self { images: 0, ..self }
    }

    pub(crate) const fn total(self) -> u64 {
        self.journal.saturating_add(index_of(self.journal)).saturating_add(self.images)
    }
}

fn has_content(change: &Change) -> bool {
    change.before.is_some() || change.after.is_some()
}

/// The reserve of one target's run. Made and used only while the target's lock is held.
pub(crate) struct Reserve {
    path: PathBuf,
    state: PathBuf,
    needed: Needed,
    durable: Arc<Durable>,
}

impl Reserve {
    pub(crate) fn new(state: &Path, target: &str, needed: Needed, durable: &Arc<Durable>) -> Self {
        let path = TargetLock::path(state, target).with_extension(SUFFIX);
        Self { path, state: state.to_owned(), needed, durable: Arc::clone(durable) }
    }

    /// How much it takes, in bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.needed.total()
    }

    /// Sets it aside, durably, in the place of what was left behind.
    ///
    /// # Errors
    /// Where there is not so much; then nothing of it stays.
    pub(crate) fn set_aside(&self) -> Result<(), RecordError> {
        self.remove()?;
        self.durable.set_aside(&self.path, self.needed.total(), FILE_MODE)
    }

    /// Gives it to the journal. What was given back before, or could never be set aside, is no error.
    ///
    /// # Errors
    /// Where it cannot be removed; then it stays set aside.
    pub(crate) fn give_back(&self) -> Result<(), RecordError> {
        match self.path.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(RecordError::file("look at", &self.path, error)),
        }
        self.remove()?;
        // A file system that cannot, or a log that is not there: then it is only free.
        let _ = extend(&self.state, self.needed.journal);
        Ok(())
    }

    /// Removes it, where it is there.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), RecordError> {
        remove(&self.durable, &self.path)
    }
}

fn remove(durable: &Durable, path: &Path) -> Result<(), RecordError> {
    match durable.remove(path) {
        Err(RecordError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives the write-ahead log so many more blocks behind its end, and its index what it needs to hold them. Less, where others
/// took some of it in the meantime.
fn extend(state: &Path, more: u64) -> rustix::io::Result<()> {
    let log = open(&state.join(format!("{DATABASE}-wal")))?;
    let stat = rustix::fs::fstat(&log)?;
    let size = stat.st_size.unsigned_abs();
    // Those that another run was given are left to it.
    let others = stat.st_blocks.unsigned_abs().saturating_mul(512).saturating_sub(size);
    // Without it the log grows as far as its index holds it.
    let _ = extend_index(state, size.saturating_add(others).saturating_add(more));
    let mut extended = Ok(());
    for halving in 0..=HALVINGS {
        let more = others.saturating_add(more >> halving);
        extended = rustix::fs::fallocate(&log, FallocateFlags::KEEP_SIZE, size, more);
        if !matches!(extended, Err(Errno::NOSPC | Errno::DQUOT)) {
            break;
        }
    }
    extended
}

fn extend_index(state: &Path, log: u64) -> rustix::io::Result<()> {
    let path = state.join(format!("{DATABASE}-shm"));
    let size = rustix::fs::stat(&path)?.st_size.unsigned_abs();
    let needed = index_of(log);
    if needed <= size {
        return Ok(());
    }
    let index = open(&path)?;
    let extended = rustix::fs::fallocate(&index, FallocateFlags::KEEP_SIZE, size, needed.saturating_sub(size));
    // Never closed: whoever closes a file gives up all locks that its process has on it, and SQLite's are on this one.
    // One descriptor for each large rollback of a process.
    let _ = index.into_raw_fd();
    extended
}

/// The size of a log's index: a part of 32 KiB for each 4,096 pages of it, and one more for what it begins with.
const fn index_of(log: u64) -> u64 {
    (log / PAGE / INDEX_PAGES).saturating_add(2).saturating_mul(INDEX_PART)
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Runs<'_> {
    /// Removes what processes set aside that died before their run began, or after it had ended.
    ///
    /// # Errors
    /// Where it cannot be told, or not be removed.
    pub fn remove_left_reserves(&self) -> Result<(), RecordError> {
        let (dir, durable) = (self.0.dir(), self.0.durable());
        let locks = dir.join("locks");
        let failed = |error| RecordError::file("look for what was left behind in", &locks, error);
        let entries = std::fs::read_dir(&locks).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let found: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(|path| is_reserve(path)).collect();
        if found.is_empty() {
            return Ok(());
        }
        let mut connection = schema::open(&self.0.database())?;
        transact(&mut connection, "look for open runs", |tx| {
            let failed = |error| RecordError::database("look for open runs", error);
            let mut statement =
                tx.prepare("SELECT target FROM runs WHERE settled = 0 AND outcome IS NULL").map_err(failed)?;
            let open = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
            let open = open
                .map(|target| Ok(Digest::of(target?.as_bytes()).hex()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(failed)?;
            for path in &found {
                let of_open = path.file_stem().is_some_and(|stem| open.iter().any(|target| stem == target.as_str()));
                // Whoever holds the lock is about to begin.
                if !of_open && let Some(_held) = TargetLock::take_file(&path.with_extension("lock"))? {
                    remove(durable, path)?;
                }
            }
            Ok(())
        })
    }
}

fn is_reserve(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == SUFFIX)
}
