//! What /proc tells of a process, read so that all of it is of one process.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use countersign_model::text::{excerpt, visible};
use countersign_model::{Fault, FaultKind};
use rustix::fs::{AtFlags, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::call::Process;
use crate::path::DELETED;

/// The most entries of /proc that one call looks at.
const MAX_SCANNED: usize = 65_536;
/// The most processes of one executable.
pub(crate) const MAX_FOUND: usize = 1_000;
/// The longest file of a process, in bytes.
const MAX_FILE: u64 = 16 * 1024;

/// The process file system.
pub(crate) struct Proc(OwnedFd);

/// An executable as it is on disk now.
pub(crate) struct Executable<'a> {
    path: &'a str,
    device: u64,
    inode: u64,
}

/// What a directory of /proc is, for one executable.
enum Look {
    /// A process of it.
    Is(Process),
    /// Something else, and what.
    Other(String),
    /// It ran this path, but the file was replaced or deleted since.
    Replaced,
    /// It ended.
    Gone,
}

impl Proc {
    pub(crate) fn open() -> Result<Self, Fault> {
        let directory = rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| other("/proc was not opened", error))?;
        let system = fstatfs(&directory).map_err(|error| other("/proc was not read", error))?;
        if system.f_type != PROC_SUPER_MAGIC {
            return Err(Fault::new(FaultKind::Unsupported, "/proc is not the kernel's process file system"));
        }
        Ok(Self(directory))
    }

    /// The process of this identifier, if it runs the executable.
    ///
    /// # Errors
    /// `NotFound` when there is no such process, `Changed` when it is another.
    pub(crate) fn process(&self, pid: u32, executable: &Executable<'_>) -> Result<Process, Fault> {
        let path = executable.path;
        match self.look(pid, executable)? {
            Look::Is(process) => Ok(process),
            Look::Gone => Err(Fault::new(FaultKind::NotFound, format!("there is no process {pid}"))),
            Look::Other(what) => Err(Fault::new(FaultKind::Changed, format!("process {pid} {what}, not `{path}`"))),
            Look::Replaced => Err(Fault::new(FaultKind::Changed, replaced(&format!("process {pid}"), path))),
        }
    }

    /// The processes of the executable, by identifier.
    ///
    /// # Errors
    /// `Changed` when all there are run a file that was replaced, `TooLarge` past the bounds.
    pub(crate) fn processes(&self, executable: &Executable<'_>, deadline: Instant) -> Result<Vec<Process>, Fault> {
        let entries = std::fs::read_dir("/proc")
            .map_err(|error| Fault::new(FaultKind::Other, format!("/proc was not read: {error}")))?;
        let mut found = Vec::new();
        let mut any_replaced = false;
        for (at, entry) in entries.enumerate() {
            in_time(deadline)?;
            if at >= MAX_SCANNED {
                let what = format!("/proc has more than {MAX_SCANNED} entries");
                return Err(Fault::new(FaultKind::TooLarge, what));
            }
            let entry = entry.map_err(|error| Fault::new(FaultKind::Other, format!("/proc was not read: {error}")))?;
            let Some(pid) = entry.file_name().to_str().and_then(number) else { continue };
            match self.look(pid, executable) {
                Ok(Look::Is(process)) if found.len() < MAX_FOUND => found.push(process),
                Ok(Look::Is(_)) => {
                    let what = format!("`{}` has more than {MAX_FOUND} processes", executable.path);
                    return Err(Fault::new(FaultKind::TooLarge, what));
                }
                Ok(Look::Replaced) => any_replaced = true,
                // A process that may not be looked at is somebody else's.
                Ok(Look::Other(_) | Look::Gone) => {}
                Err(fault) if fault.kind == FaultKind::Denied => {}
                Err(fault) => return Err(fault),
            }
        }
        if found.is_empty() && any_replaced {
            return Err(Fault::new(FaultKind::Changed, replaced("every process", executable.path)));
        }
        found.sort_unstable_by_key(|process| process.pid);
        Ok(found)
    }

    fn look(&self, pid: u32, executable: &Executable<'_>) -> Result<Look, Fault> {
        let looked = self.directory(pid).and_then(|directory| look(directory.as_fd(), pid, executable));
        match looked {
            Ok(look) => Ok(look),
            // The directory outlives its process, empty.
            Err(Errno::NOENT | Errno::SRCH) => Ok(Look::Gone),
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                Err(Fault::new(FaultKind::Denied, format!("the runner may not look at process {pid}: {error}")))
            }
            Err(error) => Err(other(&format!("process {pid} was not read"), error)),
        }
    }

    fn directory(&self, pid: u32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, pid.to_string(), flags, Mode::empty())
    }

    /// The parent's identifier, 0 where there is none.
    pub(crate) fn parent(&self, pid: u32) -> Result<u32, Fault> {
        let parent = self
            .directory(pid)
            .and_then(|directory| read(directory.as_fd(), "stat"))
            .map_err(|error| other(&format!("process {pid} was not read"), error))?;
        stat(&parent).map(|(_, parent, _)| parent).ok_or_else(|| unread(pid))
    }
}

impl<'a> Executable<'a> {
    /// Finds the file.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unsupported` when the path is not the file's own.
    pub(crate) fn find(path: &'a str) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Fault::new(FaultKind::NotFound, format!("there is no file `{path}`"))
            }
            _ => Fault::new(FaultKind::Other, format!("`{path}` was not looked at: {error}")),
        };
        // The kernel names executables by where they really are.
        let real = std::fs::canonicalize(path).map_err(failed)?;
        if real != Path::new(path) {
            let real = excerpt(&real.to_string_lossy(), 200);
            return Err(Fault::new(FaultKind::Unsupported, format!("`{path}` leads to `{real}`: name that")));
        }
        let file = std::fs::symlink_metadata(path).map_err(failed)?;
        if !file.is_file() {
            return Err(Fault::new(FaultKind::Unsupported, format!("`{path}` is not a regular file")));
        }
        Ok(Self { path, device: file.dev(), inode: file.ino() })
    }
}

/// `NOENT` and `SRCH` mean that the process ended, now or while it was looked at.
fn look(directory: impl AsFd, pid: u32, executable: &Executable<'_>) -> Result<Look, Errno> {
    let directory = directory.as_fd();
    let link = match readlinkat(directory, "exe", Vec::new()) {
        Ok(link) => link,
        Err(Errno::NOENT) => {
            // A kernel thread has none; a process that ended has none any more.
            let text = read(directory, "stat")?;
            return Ok(match stat(&text) {
                Some(("Z" | "X", ..)) => Look::Gone,
                _ => Look::Other("has no executable".to_owned()),
            });
        }
        Err(error) => return Err(error),
    };
    let link = link.to_string_lossy();
    if link.strip_suffix(DELETED) == Some(executable.path) {
        return Ok(Look::Replaced);
    }
    if link != executable.path {
        return Ok(Look::Other(format!("runs `{}`", excerpt(&link, 200))));
    }
    let file = statat(directory, "exe", AtFlags::empty())?;
    if (file.st_dev, file.st_ino) != (executable.device, executable.inode) {
        return Ok(Look::Other("runs another file of the same name".to_owned()));
    }
    let (text, status) = (read(directory, "stat")?, read(directory, "status")?);
    let facts = stat(&text).and_then(|(state, parent, started)| {
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()
        };
        Some((
            field("Tgid").and_then(number)?,
            Process {
                pid,
                started,
                executable: executable.path.to_owned(),
                parent,
                user: field("Uid")?.parse().ok()?,
                state: visible(state),
                // In kB; a process that ends has none.
                memory: field("VmRSS").map_or(Some(0), |kilobytes| kilobytes.parse::<u64>().ok())? * 1024,
                threads: field("Threads").and_then(number)?,
            },
        ))
    });
    Ok(match facts {
        None => Look::Other("was not understood".to_owned()),
        Some((_, process)) if matches!(process.state.as_str(), "Z" | "X") => Look::Gone,
        Some((leader, _)) if leader != pid => Look::Other(format!("is a thread of process {leader}")),
        Some((_, process)) => Look::Is(process),
    })
}

/// State, parent and start of `/proc/PID/stat`; see proc_pid_stat(5).
fn stat(text: &str) -> Option<(&str, u32, u64)> {
    // The second field is the command in parentheses, which may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // The state is field 3 and the parent field 4, so that 22 is the 18th after them.
    let started = fields.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

fn read(directory: impl AsFd, name: &str) -> Result<String, Errno> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file)
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number as the kernel writes it: no sign, no leading zero.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|number| number.to_string() == text)
}

/// # Errors
/// `TimedOut` once the deadline has passed.
pub(crate) fn in_time(deadline: Instant) -> Result<(), Fault> {
    if Instant::now() < deadline { Ok(()) } else { Err(Fault::new(FaultKind::TimedOut, "the call's time is over")) }
}

fn replaced(who: &str, path: &str) -> String {
    format!("{who} runs a `{path}` that was deleted or replaced since it started")
}

fn unread(pid: u32) -> Fault {
    Fault::new(FaultKind::Other, format!("what /proc tells of process {pid} was not understood"))
}

fn other(what: &str, error: Errno) -> Fault {
    Fault::new(FaultKind::Other, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_cannot_forge_its_own_start() {
        let tail = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9 9";
        for name in ["sh", "a b", "x) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "(", ")"] {
            assert_eq!(stat(&format!("99 ({name}) {tail}")), Some(("S", 7, 4242)), "{name}");
        }
        assert_eq!(stat("99 (sh) S 7 1"), None);
        assert_eq!(stat(""), None);
    }

    /// As in another mount namespace, where the same path is another file.
    #[test]
    fn a_path_alone_is_not_an_executable() {
        let path = std::env::current_exe().and_then(|path| path.canonicalize()).expect("this test");
        let mut executable = Executable::find(path.to_str().expect("UTF-8")).expect("this test");
        let (proc, own) = (Proc::open().expect("/proc"), std::process::id());
        assert_eq!(proc.process(own, &executable).map(|process| process.pid), Ok(own));
        executable.inode += 1;
        let fault = proc.process(own, &executable).expect_err("another inode");
        assert!(fault.kind == FaultKind::Changed && fault.what.contains("another file of the same name"), "{fault}");
        executable.inode -= 1;
        executable.device += 1;
        assert!(proc.process(own, &executable).is_err());
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(number("17"), Some(17));
        for text in ["", "017", "+17", "-1", "1 ", "4294967296", "self"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
