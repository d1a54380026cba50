//! Locks that are lost when the process that holds them ends: one per target, and one per scratch folder.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use countersign_model::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::RecordError;

/// The lock of a file, until it is dropped.
pub(crate) struct FileLock(OwnedFd);

impl FileLock {
    /// Takes the lock of this file, which is made where it is missing. `None` where another holds it, in this process
    /// or another.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>, RecordError> {
        let failed = |errno: Errno| RecordError::file("lock", path, errno.into());
        // Closed on exec, so that no child keeps a lock alive.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Whether the file of this name is still the one that is locked.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        let locked = rustix::fs::fstat(&self.0).map(|stat| (stat.st_dev, stat.st_ino));
        path.symlink_metadata().is_ok_and(|there| Ok((there.dev(), there.ino())) == locked)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing would release it too, but not while a child that was just forked still has it.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// A target's lock, until it is dropped.
///
/// It is only taken and tested inside an immediate transaction of the database. So a test, which takes the lock for
/// a moment, is never mistaken for a run.
pub(crate) struct TargetLock {
    _held: FileLock,
}

impl TargetLock {
    /// Takes the lock. `None` where another run holds it, in this process or another.
    pub(crate) fn take(state: &Path, target: &str) -> Result<Option<Self>, RecordError> {
        Self::take_file(&Self::path(state, target))
    }

    /// The same by the lock's file.
    pub(crate) fn take_file(path: &Path) -> Result<Option<Self>, RecordError> {
        Ok(FileLock::take(path)?.map(|held| Self { _held: held }))
    }

    /// The file whose lock it is.
    pub(crate) fn path(state: &Path, target: &str) -> PathBuf {
        state.join("locks").join(format!("{}.lock", Digest::of(target.as_bytes()).hex()))
    }
}
