//! One lock per target, held by the process that runs on it and lost when that process ends.
//!
//! Locks are only taken and tested inside an immediate transaction of the database. So a test, which
//! takes the lock for a moment, is never mistaken for a run.

use std::os::fd::OwnedFd;
use std::path::Path;

use countersign_model::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::RecordError;

/// A target's lock, until it is dropped.
pub(crate) struct TargetLock(OwnedFd);

impl TargetLock {
    /// Takes the lock. `None` where another run holds it, in this process or another.
    pub(crate) fn take(state: &Path, target: &str) -> Result<Option<Self>, RecordError> {
        let path = state.join("locks").join(format!("{}.lock", Digest::of(target.as_bytes()).hex()));
        let failed = |errno: Errno| RecordError::file("lock", &path, errno.into());
        // Closed on exec, so that no child keeps a lock alive.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        // Closing would release it too, but not while a child that was just forked still has it.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}
