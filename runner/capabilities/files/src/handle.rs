//! Safe opening: from `/` down, one name at a time, by descriptors only.
//!
//! No symbolic link is followed, wherever it stands. No mount point is crossed below a scope's fixed
//! directory. Every directory on the way, and what is opened in the end, is compared with the
//! runner's own files by device and inode. Nothing but regular files and directories is ever opened for reading.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use countersign_model::{Fault, FaultKind};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat2};
use rustix::io::Errno;

use crate::call::Kind;
use crate::fault::{Deadline, about, errno, failed, in_time};
use crate::guarded::Guarded;
use crate::path::Path;

/// How often an opening is tried that the kernel broke off because something was renamed meanwhile.
const TRIES: usize = 16;
/// How much is read between two looks at the deadline, in bytes.
const CHUNK: usize = 256 * 1024;

/// File systems whose files are switches of the kernel and not data, by `f_type` of statfs(2).
const KERNEL: [(u64, &str); 10] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x6265_6570, "configfs"),
    (0xcafe_4a11, "bpf"),
    (0xde5e_81e4, "efivarfs"),
];

/// Opens paths.
pub(crate) struct Opener {
    guarded: Guarded,
}

/// A directory, opened.
pub(crate) struct Directory<'a> {
    opener: &'a Opener,
    fd: OwnedFd,
    stat: Stat,
    /// Its path, ending in a slash.
    path: String,
    /// Whether a mount point in it may be crossed.
    crosses: bool,
}

/// A regular file of one link, opened for reading.
pub(crate) struct Opened {
    file: File,
    path: String,
}

impl Opener {
    pub(crate) const fn new(guarded: Guarded) -> Self {
        Self { guarded }
    }

    /// Opens the directory of these segments; mounts may be crossed in the first `fixed` of them.
    pub(crate) fn directory(&self, segments: &[&str], fixed: usize) -> Result<Directory<'_>, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| failed("opened", "/", errno))?;
        let mut directory = self.entered(fd, "/".to_owned(), fixed > 0, None)?;
        for (depth, segment) in segments.iter().enumerate() {
            let path = format!("{}{segment}", directory.path);
            let fd = directory.open(segment, flags)?;
            directory = self.entered(fd, format!("{path}/"), depth + 1 < fixed, Some(&directory.stat))?;
        }
        Ok(directory)
    }

    /// Opens the directory that a path lies in; the path must not be `/`.
    pub(crate) fn parent<'p>(&self, path: &'p Path, fixed: usize) -> Result<(Directory<'_>, &'p str), Fault> {
        match path.segments().split_last() {
            Some((name, above)) => Ok((self.directory(above, fixed)?, name)),
            None => Err(about(FaultKind::Unsupported, "/", "is a directory")),
        }
    }

    fn entered(&self, fd: OwnedFd, path: String, crosses: bool, above: Option<&Stat>) -> Result<Directory<'_>, Fault> {
        let stat = self.admitted(fd.as_fd(), &path, above)?;
        Ok(Directory { opener: self, fd, stat, path, crosses })
    }

    /// What the descriptor is, unless it is the runner's own or the kernel's.
    fn admitted(&self, fd: BorrowedFd<'_>, path: &str, above: Option<&Stat>) -> Result<Stat, Fault> {
        let stat = fstat(fd).map_err(|errno| failed("looked at", path, errno))?;
        if self.guarded.holds(&stat) {
            return Err(about(FaultKind::Denied, path, "belongs to the runner itself"));
        }
        // Another file system can only begin at another device.
        if above.is_none_or(|above| above.st_dev != stat.st_dev) {
            let system = fstatfs(fd).map_err(|errno| failed("looked at", path, errno))?;
            // The field's type differs between architectures; the numbers are of 32 bits.
            let magic = system.f_type as u64 & 0xffff_ffff;
            if let Some((_, name)) = KERNEL.iter().find(|(known, _)| *known == magic) {
                return Err(about(FaultKind::Denied, path, &format!("lies in {name}, which the kernel makes up")));
            }
        }
        Ok(stat)
    }
}

impl<'a> Directory<'a> {
    /// The path of a name in here.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// What the directory is.
    pub(crate) const fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The same directory with a descriptor that can be listed and synced.
    pub(crate) fn readable(self) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = self.open(".", flags)?;
        let stat = self.opener.admitted(fd.as_fd(), &self.path, Some(&self.stat))?;
        if !same(&stat, &self.stat) {
            return Err(about(FaultKind::Changed, &self.path, "was replaced while it was opened"));
        }
        Ok(Self { fd, ..self })
    }

    /// What a name in here is, itself; `None` where there is nothing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<Stat>, Fault> {
        let fd = match self.try_open(name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|errno| failed("opened", &self.path_of(name), errno))?,
        };
        self.opener.admitted(fd.as_fd(), &self.path_of(name), Some(&self.stat)).map(Some)
    }

    /// Opens a regular file of one link for reading.
    ///
    /// It is looked at before it is opened, since opening alone can set off a device.
    pub(crate) fn file(&self, name: &str) -> Result<Opened, Fault> {
        let path = self.path_of(name);
        let seen = self.look(name)?.ok_or_else(|| failed("opened", &path, Errno::NOENT))?;
        plain(&seen, &path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = self.open(name, flags)?;
        let stat = self.opener.admitted(fd.as_fd(), &path, Some(&self.stat))?;
        plain(&stat, &path)?;
        if !same(&stat, &seen) {
            return Err(about(FaultKind::Changed, &path, "was replaced while it was opened"));
        }
        Ok(Opened { file: File::from(fd), path })
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Fault> {
        self.try_open(name, flags).map_err(|errno| failed("opened", &self.path_of(name), errno))
    }

    fn try_open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if !self.crosses {
            resolve |= ResolveFlags::NO_XDEV;
        }
        for _ in 1..TRIES {
            match openat2(&self.fd, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        openat2(&self.fd, name, flags, Mode::empty(), resolve)
    }
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Opened {
    /// What the file is now.
    pub(crate) fn stat(&self) -> Result<Stat, Fault> {
        fstat(&self.file).map_err(|errno| failed("looked at", &self.path, errno))
    }

    /// The path by which it was opened.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The whole content, of at most `limit` bytes.
    pub(crate) fn content(&self, limit: u64, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let too_large = || about(FaultKind::TooLarge, &self.path, &format!("has more than {limit} bytes"));
        let size = size(&self.stat()?);
        if size > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let mut from = 0;
        // It may grow while it is read.
        while from <= limit {
            in_time(deadline)?;
            let part = self.part(from, CHUNK)?;
            if part.is_empty() {
                return Ok(bytes);
            }
            from += part.len() as u64;
            bytes.extend_from_slice(&part);
        }
        Err(too_large())
    }

    /// The last `count` bytes, or all where there are fewer.
    pub(crate) fn tail(&self, count: u32, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let count = usize::try_from(count).unwrap_or_default();
        let mut from = size(&self.stat()?).saturating_sub(count as u64);
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            in_time(deadline)?;
            let part = self.part(from, (count - bytes.len()).min(CHUNK))?;
            if part.is_empty() {
                break;
            }
            from += part.len() as u64;
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    fn part(&self, from: u64, count: usize) -> Result<Vec<u8>, Fault> {
        let mut part = vec![0; count];
        let mut filled = 0;
        while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, from + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &self.path, errno(&error))),
            }
        }
        part.truncate(filled);
        Ok(part)
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A fault unless it is a regular file of exactly one link.
pub(crate) fn plain(stat: &Stat, path: &str) -> Result<(), Fault> {
    match kind(stat) {
        Kind::File => {}
        Kind::Directory => return Err(about(FaultKind::Unsupported, path, "is a directory, not a regular file")),
        Kind::Symlink => {
            return Err(about(FaultKind::Unsupported, path, "is a symbolic link, which is not followed"));
        }
        Kind::Other => {
            return Err(about(FaultKind::Unsupported, path, "is a FIFO, socket or device, not a regular file"));
        }
    }
    // A second name may stand outside every scope.
    match stat.st_nlink {
        1 => Ok(()),
        0 => Err(about(FaultKind::Changed, path, "was removed while it was opened")),
        links => Err(about(
            FaultKind::Unsupported,
            path,
            &format!("has {links} hard links: it may be a file outside the grant under another name"),
        )),
    }
}

/// Whether both are the same file.
pub(crate) const fn same(one: &Stat, other: &Stat) -> bool {
    one.st_dev == other.st_dev && one.st_ino == other.st_ino
}

/// What sort of file it is.
pub(crate) fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// Its size in bytes.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}
