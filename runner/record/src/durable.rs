//! The only place that makes files durable: temporary file, sync, rename, sync of the directory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use countersign_capability::Stream;
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, RenameFlags};

use crate::error::shown;
use crate::{RecordError, streams};

/// How the name of a file begins that has none of its own yet.
pub(crate) const STAGED: &str = ".new-";
/// How much is written at once where a file only takes space, in bytes.
const CHUNK: usize = 64 * 1024;

/// The primitives of a disk. A simulated one can take the real one's place and drop, tear or
/// reorder what was not synced.
pub trait Disk: Send + Sync {
    /// Makes a new file with these bytes and exactly these permission bits, whatever the umask. Not durable yet.
    ///
    /// # Errors
    /// Also where something of this name exists, a symbolic link included.
    fn create(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<Box<dyn Unsynced>>;

    /// Like [`Disk::create`], with the bytes of a reader.
    ///
    /// # Errors
    /// Also where the reader fails.
    fn create_from(&self, path: &Path, from: &mut dyn Read, mode: u32) -> io::Result<Box<dyn Unsynced>>;

    /// Makes a new file, private to its owner but for these permission bits, that takes so many bytes of the disk for
    /// itself, whatever is in it. Not durable yet.
    ///
    /// # Errors
    /// Where there are not so many, or something of this name exists; nothing is left of it then.
    fn set_aside(&self, path: &Path, size: u64, mode: u32) -> io::Result<Box<dyn Unsynced>>;

    /// Gives a file or directory another name on the same file system. Not durable yet.
    ///
    /// # Errors
    /// `AlreadyExists` where something has that name and `replace` is not set.
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()>;

    /// Makes a directory with exactly these permission bits. Not durable yet.
    ///
    /// # Errors
    /// Also where something of this name exists.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Then what was not durable before may be lost, also if a later call succeeds.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file. Not durable yet.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The bytes of a regular file, at most `limit` of them.
    ///
    /// # Errors
    /// `FileTooLarge` where there are more; `InvalidInput` where it is something else, such as a symbolic link.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// A regular file, to be read piece by piece.
    ///
    /// # Errors
    /// `InvalidInput` where it is something else, such as a symbolic link.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Stream>>;
}

/// A file that was written but not yet synced. Synced through the descriptor that wrote it, since
/// only that one is sure to hear of an error in between.
pub trait Unsynced {
    /// Makes its bytes durable.
    ///
    /// # Errors
    /// Then its bytes may be lost, also if a later sync succeeds.
    fn sync(self: Box<Self>) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

impl Unsynced for RealFile {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl RealDisk {
    fn new_file(
        path: &Path,
        mode: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<Box<dyn Unsynced>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(fd);
        let written =
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(Into::into).and_then(|()| write(&mut file));
        if let Err(error) = written {
            // It is ours and of no use; if it stays, it is only untidy.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(Box::new(RealFile(file)))
    }

    fn regular(path: &Path) -> io::Result<(File, u64)> {
        // A FIFO would block without NONBLOCK; regular files ignore it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            rustix::io::Errno::LOOP => not_regular(),
            other => other.into(),
        })?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_regular());
        }
        Ok((file, metadata.len()))
    }
}

/// Takes so much of the disk for an empty file. Where the file system gives no blocks to what was not written, it is
/// written with what nothing compresses.
fn take(file: &mut File, size: u64) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, size) {
        Ok(()) if file.metadata()?.blocks().saturating_mul(512) >= size => return Ok(()),
        Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => return Err(error.into()),
        // It took nothing, or it cannot.
        _ => {}
    }
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get_mut(..count).unwrap_or_default();
        getrandom::fill(part).map_err(io::Error::other)?;
        file.write_all(part)?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<Box<dyn Unsynced>> {
        Self::new_file(path, mode, |file| file.write_all(bytes))
    }

    fn create_from(&self, path: &Path, from: &mut dyn Read, mode: u32) -> io::Result<Box<dyn Unsynced>> {
        Self::new_file(path, mode, |file| streams::copy(from, file))
    }

    fn set_aside(&self, path: &Path, size: u64, mode: u32) -> io::Result<Box<dyn Unsynced>> {
        Self::new_file(path, mode, |file| take(file, size))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        rustix::fs::mkdir(path, Mode::RWXU)?;
        Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let (file, size) = Self::regular(path)?;
        let bound = limit as u64;
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(bound)).unwrap_or_default());
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(Self::regular(path)?.0))
    }
}

/// A file that is complete and durable, but has no name yet. It is removed where it gets none.
#[must_use]
pub(crate) struct Staged<'a> {
    durable: &'a Durable,
    /// Until it is published.
    temporary: Option<PathBuf>,
}

impl Staged<'_> {
    /// Gives it this name, durably, in the place of what has it. It must be on the same file system.
    pub(crate) fn publish(mut self, path: &Path) -> Result<(), RecordError> {
        let stood = !matches!(self.durable.open(path), Ok(None));
        if let Some(temporary) = &self.temporary {
            self.durable.rename(temporary, path)?;
            self.temporary = None;
        }
        self.durable.sync_dir(parent(path)?).inspect_err(|_| {
            if !stood {
                // So that no later process takes it for durable.
                self.durable.tidy(path);
            }
        })
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            self.durable.tidy(temporary);
        }
    }
}

/// Durable writes over a [`Disk`]. The first sync that fails stops every later write, since the
/// kernel may have dropped what it could not write and a second sync would succeed without it.
pub struct Durable {
    disk: Box<dyn Disk>,
    stopped: OnceLock<String>,
}

impl Durable {
    /// Durable writes on this disk.
    #[must_use]
    pub fn new(disk: Box<dyn Disk>) -> Self {
        Self { disk, stopped: OnceLock::new() }
    }

    /// Makes a new file appear under its name with all its bytes, durably, or not at all.
    ///
    /// # Errors
    /// [`RecordError::Duplicate`] where something has that name. [`RecordError::NotDurable`] where a
    /// sync failed; then nothing more is written.
    pub fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), RecordError> {
        self.write(path, bytes, mode, false)
    }

    /// Like [`Durable::write_new`], in the place of what has that name.
    ///
    /// # Errors
    /// As for [`Durable::write_new`]; the earlier file stays where the new one was not written.
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), RecordError> {
        self.write(path, bytes, mode, true)
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), RecordError> {
        self.check()?;
        let folder = parent(path)?;
        let temporary = folder.join(format!("{STAGED}{}", crate::names::random_hex()?));
        let file =
            self.disk.create(&temporary, bytes, mode).map_err(|error| RecordError::file("write", path, error))?;
        if let Err(error) = file.sync() {
            self.tidy(&temporary);
            return Err(self.stop(path, error));
        }
        if let Err(error) = self.disk.rename(&temporary, path, replace) {
            self.tidy(&temporary);
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => RecordError::Duplicate { noun: "file", name: shown(path) },
                _ => RecordError::file("rename", path, error),
            });
        }
        self.sync_dir(folder).inspect_err(|_| {
            if !replace {
                // So that no later process takes it for durable.
                self.tidy(path);
            }
        })
    }

    /// Like [`Durable::replace`], and durable only some time later: for what can be made again from what is.
    ///
    /// # Errors
    /// Where it cannot be written; the earlier file stays then.
    pub(crate) fn replace_lazily(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), RecordError> {
        self.check()?;
        let temporary = parent(path)?.join(format!("{STAGED}{}", crate::names::random_hex()?));
        self.disk.create(&temporary, bytes, mode).map_err(|error| RecordError::file("write", path, error))?;
        self.disk.rename(&temporary, path, true).map_err(|error| {
            self.tidy(&temporary);
            RecordError::file("rename", path, error)
        })
    }

    /// Writes a reader's bytes to a file in this folder that nobody finds before it is published, and syncs it.
    ///
    /// # Errors
    /// As for [`Durable::write_new`]; also where the reader fails.
    pub(crate) fn stage(&self, folder: &Path, from: &mut dyn Read, mode: u32) -> Result<Staged<'_>, RecordError> {
        self.check()?;
        let temporary = folder.join(format!("{STAGED}{}", crate::names::random_hex()?));
        let created = self.disk.create_from(&temporary, from, mode);
        let file = created.map_err(|error| RecordError::file("write", &temporary, error))?;
        if let Err(error) = file.sync() {
            self.tidy(&temporary);
            return Err(self.stop(&temporary, error));
        }
        Ok(Staged { durable: self, temporary: Some(temporary) })
    }

    /// Makes a new file that takes so many bytes of the disk for itself, durably.
    ///
    /// # Errors
    /// As for [`Durable::write_new`]; nothing is left of it then.
    pub(crate) fn set_aside(&self, path: &Path, size: u64, mode: u32) -> Result<(), RecordError> {
        self.check()?;
        let set_aside = self.disk.set_aside(path, size, mode);
        let file = set_aside.map_err(|error| RecordError::file("set space aside in", path, error))?;
        file.sync().map_err(|error| {
            self.tidy(path);
            self.stop(path, error)
        })?;
        self.sync_dir(parent(path)?)
    }

    /// Removes a file. Durable once the directory is synced.
    ///
    /// # Errors
    /// Also where there is none.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), RecordError> {
        self.disk.remove(path).map_err(|error| RecordError::file("remove", path, error))
    }

    /// Gives a file that was made durable another name on the same file system, in the place of what has it. The name
    /// is durable once the directory is synced.
    ///
    /// # Errors
    /// Then the file has its earlier name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), RecordError> {
        self.check()?;
        self.disk.rename(from, to, true).map_err(|error| RecordError::file("rename", to, error))
    }

    /// The same for a file or a directory where nothing has that name.
    ///
    /// # Errors
    /// Also where something has it.
    pub(crate) fn rename_new(&self, from: &Path, to: &Path) -> Result<(), RecordError> {
        self.check()?;
        self.disk.rename(from, to, false).map_err(|error| RecordError::file("rename", to, error))
    }

    /// A regular file, to be read piece by piece; `None` where there is none.
    ///
    /// # Errors
    /// Where it is something else, or cannot be read.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<Box<dyn Stream>>, RecordError> {
        match self.disk.open(path) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::file("read", path, error)),
        }
    }

    /// Makes a directory. Durable once the directory that it stands in is synced.
    ///
    /// # Errors
    /// Where something has that name, or the system refuses.
    pub fn make_dir(&self, path: &Path, mode: u32) -> Result<(), RecordError> {
        self.check()?;
        self.disk.make_dir(path, mode).map_err(|error| RecordError::file("create", path, error))
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// [`RecordError::NotDurable`]; then nothing more is written.
    pub fn sync_dir(&self, path: &Path) -> Result<(), RecordError> {
        self.check()?;
        self.disk.sync_dir(path).map_err(|error| self.stop(path, error))
    }

    /// The bytes of a regular file, at most `limit` of them; `None` where there is none. No symbolic
    /// link is followed.
    ///
    /// # Errors
    /// Where it is larger, something else, or cannot be read.
    pub fn read(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, RecordError> {
        match self.disk.read(path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::file("read", path, error)),
        }
    }

    /// Refuses where an earlier write could not be made durable.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        self.stopped.get().map_or(Ok(()), |why| Err(RecordError::Stopped(why.clone())))
    }

    /// Stops every later write, also those of the database, where the disk did not do as it was told.
    pub(crate) fn stop_if_final(&self, error: &RecordError) {
        if error.is_final() {
            // Only the first reason counts.
            let _ = self.stopped.set(error.full());
        }
    }

    fn stop(&self, path: &Path, source: io::Error) -> RecordError {
        let error = RecordError::NotDurable { path: shown(path), source };
        self.stop_if_final(&error);
        error
    }

    pub(crate) fn tidy(&self, path: &Path) {
        // The error that led here is the one to report; what stays behind is never read.
        let _ = self.disk.remove(path);
    }
}

fn parent(path: &Path) -> Result<&Path, RecordError> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok_or_else(|| {
        RecordError::file("write", path, io::Error::new(io::ErrorKind::InvalidInput, "not a file's path"))
    })
}
