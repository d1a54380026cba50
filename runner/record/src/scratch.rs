//! Contents of rehearsals: apart from what is kept, and gone with the process that put them, unless a proposal keeps them.
//!
//! Beside the folder of images stands `scratch`, with a folder for each process that rehearses and, beside that, a lock
//! of the same name. The lock is taken before its folder is made and let go of after the folder is removed; so whoever
//! gets the lock of another's folder knows that its process ended, and removes both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_capability::{Blobs, Stream};
use countersign_model::{Digest, Fault, Image};

use crate::blobs::{MAX_BLOB, MAX_STREAM, MODE, fault, verified};
use crate::images::{Room, existing, remove_staged};
use crate::lock::FileLock;
use crate::names::random_hex;
use crate::state::{DIR_MODE, owned, private};
use crate::streams::{self, Digesting};
use crate::{Durable, FileBlobs, RecordError, rows};

/// The name of what stands beside the folder of images.
pub(crate) const SCRATCH: &str = "scratch";
/// How often a name is tried whose lock another takes for one that was left behind.
const ATTEMPTS: u32 = 100;

/// What this process puts aside, until it is dropped. Nothing is made before something is put.
pub(crate) struct Scratch {
    room: Arc<Room>,
    durable: Arc<Durable>,
    folder: Mutex<Option<Folder>>,
}

/// A folder of this process's own.
struct Folder {
    path: PathBuf,
    lock: PathBuf,
    /// The size of each content in it.
    holds: BTreeMap<Digest, u64>,
    _held: FileLock,
}

impl Scratch {
    pub(crate) const fn new(room: Arc<Room>, durable: Arc<Durable>) -> Self {
        Self { room, durable, folder: Mutex::new(None) }
    }

    fn folder(&self) -> MutexGuard<'_, Option<Folder>> {
        // Each use leaves it whole.
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder's path. It is made where it is missing, and what was left behind by others is removed then.
    fn made(&self) -> Result<PathBuf, RecordError> {
        let mut folder = self.folder();
        if let Some(folder) = folder.as_ref() {
            return Ok(folder.path.clone());
        }
        let above = self.room.root.with_file_name(SCRATCH);
        self.durable.make_dir(&above, DIR_MODE).or_else(existing)?;
        let failed = |error| RecordError::file("open", &above, error);
        let metadata = above.symlink_metadata().map_err(failed)?;
        if !metadata.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        owned(&above, &metadata)?;
        private(&above, &metadata, 0o077, DIR_MODE)?;
        remove_stale(&above)?;
        let made = self.make(&above)?;
        // A lock that was just made tells the time of the very file system.
        let now = made.lock.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
        remove_staged(&self.room.root, now)?;
        let path = made.path.clone();
        *folder = Some(made);
        Ok(path)
    }

    fn make(&self, above: &Path) -> Result<Folder, RecordError> {
        for _ in 0..ATTEMPTS {
            let path = above.join(random_hex()?);
            let lock = path.with_extension("lock");
            let Some(held) = FileLock::take(&lock)? else { continue };
            // Before it was taken, another may have taken it and removed the file, as left behind.
            if held.is_of(&lock) {
                self.durable.make_dir(&path, DIR_MODE)?;
                return Ok(Folder { path, lock, holds: BTreeMap::new(), _held: held });
            }
        }
        Err(RecordError::file("lock", above, io::ErrorKind::ResourceBusy.into()))
    }

    /// Where a content is that was put aside.
    pub(crate) fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let folder = self.folder();
        let folder = folder.as_ref()?;
        folder.holds.contains_key(digest).then(|| folder.path.join(digest.hex()))
    }

    /// Whether so much more could be kept with all that was put aside before.
    fn admit(&self, size: u64) -> Result<(), RecordError> {
        let aside = self.folder().as_ref().map_or(0, |folder| folder.holds.values().sum());
        self.room.admit_aside(size, aside)
    }

    fn note(&self, image: Image) {
        if let Some(folder) = self.folder().as_mut() {
            folder.holds.insert(image.digest, image.size);
        }
    }

    fn forget(&self, digest: &Digest) {
        if let Some(folder) = self.folder().as_mut() {
            folder.holds.remove(digest);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the next one is made, or said then.
        let _ = remove(&self.path, &self.lock);
    }
}

/// Removes the folders whose processes have ended.
fn remove_stale(above: &Path) -> Result<(), RecordError> {
    let failed = |error| RecordError::file("look for what was left behind in", above, error);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(above).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_str().map(|name| name.strip_suffix(".lock").unwrap_or(name));
        // Whatever else is there is not ours.
        if let Some(name) = name.filter(|name| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            names.insert(above.join(name));
        }
    }
    for path in names {
        let lock = path.with_extension("lock");
        if let Some(_held) = FileLock::take(&lock)? {
            remove(&path, &lock)?;
        }
    }
    Ok(())
}

/// Removes a folder and then its lock, which must be held. No link is followed.
fn remove(folder: &Path, lock: &Path) -> Result<(), RecordError> {
    // Its process may have removed either before its lock could be taken.
    let gone = |path: &Path, done: io::Result<()>| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RecordError::file("remove", path, error)),
        _ => Ok(()),
    };
    match folder.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let failed = |error| RecordError::file("remove", folder, error);
            for entry in std::fs::read_dir(folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                gone(&path, std::fs::remove_file(&path))?;
            }
            gone(folder, std::fs::remove_dir(folder))?;
        }
        Ok(_) => gone(folder, std::fs::remove_file(folder))?,
        Err(error) => gone(folder, Err(error))?,
    }
    gone(lock, std::fs::remove_file(lock))
}

/// Contents by digest, wherever they are: put aside by this process, kept in the database or kept as files. What is put
/// is put aside, unless it is kept already.
#[derive(Clone)]
pub struct RehearsalBlobs {
    scratch: Arc<Scratch>,
    kept: FileBlobs,
}

impl RehearsalBlobs {
    pub(crate) const fn new(scratch: Arc<Scratch>, kept: FileBlobs) -> Self {
        Self { scratch, kept }
    }

    /// Puts the bytes aside and gives their digest.
    ///
    /// # Errors
    /// Where they are more than [`MAX_BLOB`], could not be kept with all that was put aside before, or have no room.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a blob", bytes.len(), MAX_BLOB)?;
        let image = Image::of(bytes);
        match self.get(&image.digest) {
            Ok(_) => return Ok(image.digest),
            // A damaged one is mended where this one is kept.
            Err(RecordError::NotFound { .. } | RecordError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let Scratch { room, durable, .. } = &*self.scratch;
        self.scratch.admit(image.size)?;
        room.leaves_reserve(image.size, &room.root)?;
        durable.replace(&self.scratch.made()?.join(image.digest.hex()), bytes, MODE)?;
        self.scratch.note(image);
        Ok(image.digest)
    }

    /// The bytes of this digest, verified.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        if let Some(path) = self.scratch.path(digest)
            && let Some(bytes) = self.scratch.durable.read(&path, MAX_BLOB)?
        {
            return verified(digest, bytes);
        }
        match self.scratch.room.inline(digest)? {
            Some(bytes) => verified(digest, bytes),
            None => self.kept.get(digest),
        }
    }

    /// Puts the `size` bytes of a reader aside, piece by piece, and gives their image.
    ///
    /// # Errors
    /// As for [`FileBlobs::put_from`].
    pub fn put_from(&self, size: u64, from: &mut dyn Read) -> Result<Image, RecordError> {
        if size > MAX_STREAM {
            return Err(RecordError::TooLarge { what: "bytes of a blob", size, limit: MAX_STREAM });
        }
        let Scratch { room, durable, .. } = &*self.scratch;
        room.admit_stream(size)?;
        let folder = self.scratch.made()?;
        let mut digesting = Digesting::new(from, size);
        let staged = durable.stage(&folder, &mut digesting, MODE);
        let staged = staged.map_err(|error| digesting.blame(error))?;
        let image = digesting.image()?;
        let (kept, path) = (self.kept.file(&image), self.kept.path(&image.digest));
        if kept.as_ref() == Some(&path) {
            // What is there takes no more room by it, and is mended where it was damaged.
            staged.publish(&path)?;
        } else if kept.is_none() && self.scratch.path(&image.digest).is_none() && !room.has_inline(&image.digest)? {
            self.scratch.admit(size)?;
            staged.publish(&folder.join(image.digest.hex()))?;
            self.scratch.note(image);
        }
        Ok(image)
    }

    /// The bytes of this digest as a reader, verified piece by piece.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] or [`RecordError::Damaged`].
    pub fn open(&self, digest: &Digest) -> Result<Box<dyn Stream>, RecordError> {
        if let Some(path) = self.scratch.path(digest)
            && let Some(stream) = self.scratch.durable.open(&path)?
        {
            return streams::verified(digest, MAX_STREAM, stream);
        }
        match self.scratch.room.inline(digest)? {
            Some(bytes) => Ok(Box::new(Cursor::new(verified(digest, bytes)?))),
            None => self.kept.open(digest),
        }
    }

    /// Keeps these images for good: durable when it returns.
    pub(crate) fn keep(&self, images: impl Iterator<Item = Image>) -> Result<(), RecordError> {
        let Scratch { room, durable, .. } = &*self.scratch;
        let (mut aside, mut folders, mut more): (BTreeMap<_, _>, BTreeSet<PathBuf>, u64) = Default::default();
        for image in images {
            let kept = self.kept.file(&image);
            if let Some(from) = self.scratch.path(&image.digest) {
                let counts = if kept.is_none() { image.size } else { 0 };
                if aside.insert(image.digest, (from, counts)).is_none() {
                    more = more.saturating_add(counts);
                }
            } else if let Some(folder) = kept.as_deref().and_then(Path::parent) {
                // Whoever put it may have died before its name was durable.
                folders.insert(folder.to_owned());
            } else if !room.has_inline(&image.digest)? {
                return Err(RecordError::NotFound { noun: "blob", name: image.digest.to_string() });
            }
        }
        room.admit_more(more)?;
        for (digest, (from, counts)) in aside {
            let to = self.kept.path(&digest);
            durable.rename(&from, &to)?;
            self.scratch.forget(&digest);
            room.kept(counts);
            folders.extend(to.parent().map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| durable.sync_dir(folder))
    }
}

impl Blobs for RehearsalBlobs {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        Self::put(self, bytes).map_err(|error| fault(&error))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        Self::get(self, digest).map_err(|error| fault(&error))
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        Self::put_from(self, size, from).map_err(|error| fault(&error))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Self::open(self, digest).map_err(|error| fault(&error))
    }
}
