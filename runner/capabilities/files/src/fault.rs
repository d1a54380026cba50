//! Errors of the operating system as faults.

use std::time::Instant;

use countersign_model::{Fault, FaultKind};
use rustix::io::Errno;

/// A fault before anything was changed: `what` could not be done to `path`, because of `errno`.
pub(crate) fn failed(what: &str, path: &str, errno: Errno) -> Fault {
    let path = countersign_model::text::excerpt(path, 200);
    let (kind, why) = match errno {
        Errno::NOENT => (FaultKind::NotFound, "it does not exist".to_owned()),
        Errno::EXIST => (FaultKind::Exists, "it exists already".to_owned()),
        Errno::LOOP => (FaultKind::Unsupported, "it is a symbolic link, which is not followed".to_owned()),
        Errno::NOTDIR => (FaultKind::Unsupported, "it is not a directory".to_owned()),
        Errno::XDEV => (FaultKind::Unsupported, "another file system is mounted there".to_owned()),
        Errno::NXIO => (FaultKind::Unsupported, "it is not a regular file".to_owned()),
        Errno::NOSYS => {
            (FaultKind::Unsupported, "the kernel lacks `openat2` (Linux 5.6 or later is needed)".to_owned())
        }
        Errno::ROFS => (FaultKind::Unsupported, "its file system is read-only".to_owned()),
        Errno::ACCESS | Errno::PERM => (FaultKind::Other, "the runner's user may not".to_owned()),
        Errno::NAMETOOLONG => (FaultKind::Invalid, "its name is too long".to_owned()),
        errno => (FaultKind::Other, std::io::Error::from(errno).to_string()),
    };
    Fault::new(kind, format!("`{path}` could not be {what}: {why}"))
}

/// A fault of this kind about `path`.
pub(crate) fn about(kind: FaultKind, path: &str, why: &str) -> Fault {
    Fault::new(kind, format!("`{}` {why}", countersign_model::text::excerpt(path, 200)))
}

/// The same fault, but the target may have changed.
pub(crate) fn after_all(fault: Fault) -> Fault {
    Fault { reached: true, ..fault }
}

/// The error number of an error that came through the standard library.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Until when work may go on; `None` where stopping would leave more doubt than going on.
pub(crate) type Deadline = Option<Instant>;

/// A fault once the deadline has passed.
pub(crate) fn in_time(deadline: Deadline) -> Result<(), Fault> {
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(Fault::new(FaultKind::TimedOut, "the time for the call is over"));
    }
    Ok(())
}
