//! Where images are kept, how much they may take, and what must stay free.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use countersign_model::{Digest, Image};
use rusqlite::Connection;

use crate::blobs::INLINE_LIMIT;
use crate::durable::STAGED;
use crate::error::shown;
use crate::names::random_hex;
use crate::scratch::SCRATCH;
use crate::state::{self, DIR_MODE, owned, private};
use crate::{Durable, RecordError};

/// How long nobody has written to what is staged when it was left behind: no write takes nearly as long.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// The place of images, as the operator's configuration says.
#[derive(Clone, Debug)]
pub struct ImagesPlace {
    /// An absolute path; the state directory's own `blobs` where there is none.
    pub directory: Option<PathBuf>,
    /// The most that all images may take, in bytes, those of up to [`INLINE_LIMIT`] in the database included.
    pub cap: u64,
    /// What must stay free on a file system that images are written to, in bytes.
    pub reserve: u64,
}

impl ImagesPlace {
    /// No bounds, in the state directory.
    pub(crate) const UNBOUNDED: Self = Self { directory: None, cap: u64::MAX, reserve: 0 };
}

/// How much images take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagesUse {
    /// Where they are kept.
    pub directory: PathBuf,
    /// What all of them take, in bytes.
    pub used: u64,
    /// The most that they may take.
    pub cap: u64,
    /// What is free on the directory's file system, in bytes.
    pub free: u64,
    /// What must stay free there.
    pub reserve: u64,
}

/// Asked before an image is kept.
pub(crate) struct Room {
    /// With one folder for each first byte of a digest.
    pub(crate) root: PathBuf,
    /// Where images were kept before another place was configured.
    pub(crate) earlier: Option<PathBuf>,
    state: PathBuf,
    cap: u64,
    reserve: u64,
    connection: Arc<Mutex<Connection>>,
    /// What all images take, as last counted, with what this process put since.
    counted: Mutex<Option<u64>>,
    /// What a run holds in memory for its next intent, which no count finds yet.
    waiting: AtomicU64,
}

impl Room {
    pub(crate) fn new(
        state: &Path,
        connection: Arc<Mutex<Connection>>,
        durable: &Durable,
        place: &ImagesPlace,
    ) -> Result<Self, RecordError> {
        let own = state.join("blobs/sha256");
        let (root, earlier) = match &place.directory {
            None => (own, None),
            Some(directory) => (made(durable, directory)?, Some(own)),
        };
        let (state, cap, reserve) = (state.to_owned(), place.cap, place.reserve);
        Ok(Self {
            root,
            earlier,
            state,
            cap,
            reserve,
            connection,
            counted: Mutex::new(None),
            waiting: AtomicU64::new(0),
        })
    }

    /// How much is used, and what is free.
    pub(crate) fn usage(&self) -> Result<ImagesUse, RecordError> {
        let directory = self.root.parent().unwrap_or(&self.root).to_owned();
        let (used, free) = (self.count()?, free(&self.root)?);
        Ok(ImagesUse { directory, used, cap: self.cap, free, reserve: self.reserve })
    }

    /// Refuses a place without one of its folders, which only goes with all images that were in it.
    pub(crate) fn whole(&self) -> Result<(), RecordError> {
        for first in 0..=u8::MAX {
            let folder = self.root.join(format!("{first:02x}"));
            if !folder.is_dir() {
                let what = "it is missing, with the images that were kept in it".to_owned();
                return Err(RecordError::Damaged { path: shown(&folder), what });
            }
        }
        Ok(())
    }

    /// Whether images of a plan can be kept.
    pub(crate) fn admit(&self, needs: &Needs) -> Result<(), RecordError> {
        let more = needs.written.saturating_add(needs.moved).saturating_add(needs.inline);
        self.admit_more(more)?;
        // The write-ahead log holds an image a second time until it is moved to the database.
        let (filed, inline) = (needs.written.saturating_add(needs.passing), needs.inline.saturating_mul(2));
        if self.is_of_the_state()? {
            return self.leaves_reserve(filed.saturating_add(inline), &self.root);
        }
        self.leaves_reserve(filed, &self.root)?;
        self.leaves_reserve(inline, &self.state)
    }

    /// Whether images are kept in the file system of the state.
    pub(crate) fn is_of_the_state(&self) -> Result<bool, RecordError> {
        Ok(device(&self.root)? == device(&self.state)?)
    }

    /// Whether this much more stays under the cap.
    pub(crate) fn admit_more(&self, more: u64) -> Result<(), RecordError> {
        if more > 0 && self.cap < u64::MAX { self.under_cap(more, self.count()?) } else { Ok(()) }
    }

    /// Whether the bytes of a small image may be put aside by a rehearsal that has put `aside` bytes there before: what
    /// could never be kept is refused there. Never counts more than once.
    pub(crate) fn admit_aside(&self, size: u64, aside: u64) -> Result<(), RecordError> {
        let more = aside.saturating_add(size);
        match self.known() {
            Some(used) if size <= INLINE_LIMIT as u64 => self.under_cap(more, used),
            _ => self.admit_more(more),
        }
    }

    /// Whether the bytes fit into a new file of the place. A small image is measured against what was counted before,
    /// so that it costs no walk; a large one against a new count.
    pub(crate) fn admit_file(&self, size: u64) -> Result<(), RecordError> {
        if size <= INLINE_LIMIT as u64 {
            self.admit_small(size)?;
        } else {
            self.admit_more(size)?;
        }
        self.leaves_reserve(size, &self.root)
    }

    /// Whether the bytes may be staged: they may turn out to be kept already.
    pub(crate) fn admit_stream(&self, size: u64) -> Result<(), RecordError> {
        if size > self.cap {
            self.under_cap(size, self.count()?)?;
        }
        self.leaves_reserve(size, &self.root)
    }

    /// Whether what is staged may stay.
    pub(crate) fn admit_staged(&self, size: u64) -> Result<(), RecordError> {
        if self.cap == u64::MAX {
            return Ok(());
        }
        // It is among what is counted.
        self.under_cap(size, self.count()?.saturating_sub(size))
    }

    /// Whether the bytes fit into the database.
    pub(crate) fn admit_inline(&self, size: u64) -> Result<(), RecordError> {
        self.admit_small(size)?;
        self.leaves_reserve(size.saturating_mul(2), &self.state)
    }

    /// Whether so much more stays under the cap by what was counted before, or else by a new count: others may have
    /// made room, and what was noted since may have been there already.
    fn admit_small(&self, more: u64) -> Result<(), RecordError> {
        if more == 0 || self.cap == u64::MAX {
            return Ok(());
        }
        match self.known().map(|used| self.under_cap(more, used)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => self.under_cap(more, self.count()?),
        }
    }

    /// Notes what a run holds for its next intent.
    pub(crate) fn waits(&self, size: u64) {
        self.waiting.fetch_add(size, Ordering::Relaxed);
        self.kept(size);
    }

    /// Notes that so much waits no more.
    pub(crate) fn waited(&self, size: u64) {
        self.waiting.fetch_sub(size, Ordering::Relaxed);
    }

    fn known(&self) -> Option<u64> {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was kept.
    pub(crate) fn kept(&self, size: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = counted.map(|known| known.saturating_add(size));
    }

    fn under_cap(&self, needed: u64, used: u64) -> Result<(), RecordError> {
        if used.saturating_add(needed) <= self.cap {
            return Ok(());
        }
        Err(RecordError::OverCap { path: self.shown(), needed, used, cap: self.cap })
    }

    /// Whether the reserve stays free where so much is written.
    pub(crate) fn leaves_reserve(&self, needed: u64, path: &Path) -> Result<(), RecordError> {
        if needed == 0 || self.reserve == 0 {
            return Ok(());
        }
        let free = free(path)?;
        if free >= needed.saturating_add(self.reserve) {
            return Ok(());
        }
        Err(RecordError::UnderReserve { path: shown(path), needed, free, reserve: self.reserve })
    }

    /// What all images take now, wherever they are kept.
    fn count(&self) -> Result<u64, RecordError> {
        let mut used = count_files(&self.root)?;
        if let Some(earlier) = &self.earlier {
            used = used.saturating_add(count_files(earlier)?);
        }
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM images";
        let inline: i64 = connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| RecordError::database("count the images", error))?;
        used = used.saturating_add(inline.unsigned_abs()).saturating_add(self.waiting.load(Ordering::Relaxed));
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
        Ok(used)
    }

    /// The bytes of an image that is kept in the database.
    pub(crate) fn inline(&self, digest: &Digest) -> Result<Option<Vec<u8>>, RecordError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        state::image(&connection, digest).map_err(|error| RecordError::database("read an image", error))
    }

    /// Whether an image is kept in the database.
    pub(crate) fn has_inline(&self, digest: &Digest) -> Result<bool, RecordError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        state::has_image(&connection, digest).map_err(|error| RecordError::database("look for an image", error))
    }

    fn shown(&self) -> String {
        shown(self.root.parent().unwrap_or(&self.root))
    }
}

/// Where an image is already.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// As a file, for good.
    pub(crate) filed: bool,
    /// In the database, for good.
    pub(crate) inline: bool,
    /// In this process's scratch folder.
    pub(crate) aside: bool,
}

/// What the images of a plan need that are not kept yet, in bytes.
#[derive(Default)]
pub(crate) struct Needs {
    seen: BTreeSet<Digest>,
    /// Of files that a run writes.
    written: u64,
    /// Of files that are there, and count once a proposal keeps them.
    moved: u64,
    /// Of the largest file that is written beside one that it replaces.
    passing: u64,
    /// In the database.
    inline: u64,
}

impl Needs {
    /// Adds an image.
    pub(crate) fn add(&mut self, image: Image, found: Found) {
        if !self.seen.insert(image.digest) {
            return;
        }
        let (large, filed) = (image.size > INLINE_LIMIT as u64, found.filed || found.aside);
        if found.aside && !found.filed {
            self.moved = self.moved.saturating_add(image.size);
        }
        if large && filed {
            // It is written again beside the one that is there, and takes its place.
            self.passing = self.passing.max(image.size);
        } else if large {
            self.written = self.written.saturating_add(image.size);
        } else if !found.inline {
            self.inline = self.inline.saturating_add(image.size);
        }
    }
}

/// The configured directory, made where it is missing, and found to be the operator's own. Gives its folder of images.
fn made(durable: &Durable, directory: &Path) -> Result<PathBuf, RecordError> {
    let no_place = |why: &str| RecordError::NotAPlace { path: shown(directory), why: why.to_owned() };
    if !directory.is_absolute() {
        return Err(no_place("it is not an absolute path"));
    }
    let failed = |error| RecordError::file("open", directory, error);
    match directory.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            durable.make_dir(directory, DIR_MODE)?;
            if let Some(above) = directory.parent() {
                durable.sync_dir(above)?;
            }
        }
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_dir() => return Err(no_place("it is not a directory")),
        Ok(metadata) => {
            owned(directory, &metadata)?;
            private(directory, &metadata, 0o077, DIR_MODE)?;
        }
    }
    let directory = directory.canonicalize().map_err(failed)?;
    let root = directory.join("sha256");
    // The last folder is made last: where it is, all are.
    if root.join("ff").is_dir() {
        return Ok(root);
    }
    let begun = root.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let ours = |entry: &DirEntry| {
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // Nothing is put aside where no folder of images was made before.
        let staged = folder && entry.file_name().to_string_lossy().starts_with(STAGED);
        entry.file_name() == "sha256" || staged || (entry.file_name() == SCRATCH && folder && begun)
    };
    // What cannot be read is not ours.
    let foreign = std::fs::read_dir(&directory).map_err(failed)?.find(|entry| !entry.as_ref().is_ok_and(ours));
    if foreign.is_some() {
        return Err(no_place("it is not empty, and holds no images"));
    }
    if begun {
        // Whoever made it may have died before all of it was there.
        folders(durable, &root)?;
    } else {
        // It gets its name once all of it is there.
        let temporary = directory.join(format!("{STAGED}{}", random_hex()?));
        durable.make_dir(&temporary, DIR_MODE)?;
        let named = folders(durable, &temporary).and_then(|()| durable.rename_new(&temporary, &root));
        if let Err(error) = named {
            // Another process was faster, or nothing is to stay of it.
            let _ = std::fs::remove_dir_all(&temporary);
            if !root.join("ff").is_dir() {
                return Err(error);
            }
        }
    }
    durable.sync_dir(&directory)?;
    Ok(root)
}

/// The folders of a folder of images, durably.
fn folders(durable: &Durable, root: &Path) -> Result<(), RecordError> {
    for first in 0..=u8::MAX {
        durable.make_dir(&root.join(format!("{first:02x}")), DIR_MODE).or_else(existing)?;
    }
    durable.sync_dir(root)
}

/// Not to have made a directory that is there is no error.
pub(crate) fn existing(error: RecordError) -> Result<(), RecordError> {
    match error {
        RecordError::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        error => Err(error),
    }
}

/// What the files take that stand in a folder of images, staged ones included.
fn count_files(root: &Path) -> Result<u64, RecordError> {
    let mut used: u64 = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| RecordError::file("count the images in", &folder, error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if folder == root && entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => used = used.saturating_add(metadata.len()),
                // Another process published or removed it in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(used)
}

/// Removes what was staged in a folder of images a day before this time or earlier: whoever did was killed meanwhile.
pub(crate) fn remove_staged(root: &Path, now: SystemTime) -> Result<(), RecordError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| RecordError::file("look for what was left behind in", &folder, error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_string_lossy().starts_with(STAGED) {
                if folder == root && entry.file_type().map_err(failed)?.is_dir() {
                    folders.push(entry.path());
                }
                continue;
            }
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|at| now.duration_since(at));
            if age.is_ok_and(|age| age.is_ok_and(|age| age > LEFT_BEHIND)) {
                // Another process may remove it in this moment, and it harms nobody if it stays.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// What this user may still write on the file system, in bytes.
fn free(path: &Path) -> Result<u64, RecordError> {
    let answer = rustix::fs::statvfs(path).map_err(|error| RecordError::file("ask for room at", path, error.into()))?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

fn device(path: &Path) -> Result<u64, RecordError> {
    let stat = rustix::fs::stat(path).map_err(|error| RecordError::file("look at", path, error.into()))?;
    Ok(stat.st_dev)
}
