//! Safe opening: from `/` down, one name at a time, by descriptors only.
//!
//! No symbolic link is followed, wherever it stands. No mount point is crossed below a scope's fixed
//! directory. Every directory on the way, and what is opened in the end, is compared with the
//! runner's own files by device and inode. Nothing but regular files and directories is ever opened for reading.
//! A directory that was walked to before is not opened again while its name still leads to it, see [`crate::walked`].

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use countersign_model::{Fault, FaultKind};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat2};
use rustix::io::{Errno, pread};

use crate::call::Kind;
use crate::fault::{Deadline, about, errno, failed, in_time};
use crate::guarded::Guarded;
use crate::path::Path;
use crate::span::PIECE;
use crate::walked::{Node, Seen, Walked};

/// How often an opening is tried that the kernel broke off because something was renamed meanwhile.
const TRIES: usize = 16;

/// How the directories on the way are opened.
const WALKED: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

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
    walked: RefCell<Walked>,
}

/// A directory, opened.
pub(crate) struct Directory<'a> {
    opener: &'a Opener,
    node: Arc<Node>,
    /// Whether a mount point in it may be crossed.
    crosses: bool,
}

/// A regular file of one link, opened for reading.
pub(crate) struct Opened {
    file: File,
    path: String,
    /// What it was when it was opened.
    stat: Stat,
}

impl Opener {
    pub(crate) fn new(guarded: Guarded) -> Self {
        Self { guarded, walked: RefCell::default() }
    }

    /// Opens the directory of these segments; mounts may be crossed in the first `fixed` of them.
    pub(crate) fn directory(&self, segments: &[&str], fixed: usize) -> Result<Directory<'_>, Fault> {
        let mut directory = Directory { opener: self, node: self.root(segments.is_empty())?, crosses: fixed > 0 };
        for (depth, segment) in segments.iter().enumerate() {
            directory = directory.below(segment, depth + 1 < fixed)?;
        }
        Ok(directory)
    }

    /// The root of the file system, opened anew where it is itself what is asked for.
    fn root(&self, anew: bool) -> Result<Arc<Node>, Fault> {
        let mut walked = self.walked.borrow_mut();
        if let (Some(root), false) = (&walked.root, anew) {
            return Ok(Arc::clone(root));
        }
        let fd = rustix::fs::open("/", WALKED, Mode::empty()).map_err(|errno| failed("opened", "/", errno))?;
        let stat = self.admitted(fd.as_fd(), "/", None)?;
        let root = Arc::new(Node::new(fd, stat, "/".to_owned()));
        if walked.root.is_none() {
            walked.root = Some(Arc::clone(&root));
        }
        Ok(root)
    }

    /// Opens the directory that a path lies in; the path must not be `/`.
    pub(crate) fn parent<'p>(&self, path: &'p Path, fixed: usize) -> Result<(Directory<'_>, &'p str), Fault> {
        match path.segments().split_last() {
            Some((name, above)) => Ok((self.directory(above, fixed)?, name)),
            None => Err(about(FaultKind::Unsupported, "/", "is a directory")),
        }
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

impl Directory<'_> {
    /// The path of a name in here.
    pub(crate) fn path_of(&self, name: &str) -> String {
        [self.node.path.as_str(), name].concat()
    }

    /// What the directory was when it was opened. Device and inode are the same still; for anything else take
    /// that of a [`Directory::readable`] one, which was opened just now.
    pub(crate) fn stat(&self) -> &Stat {
        &self.node.stat
    }

    /// Opens the directory under a name in here, or takes the one that was opened before if it is still the same.
    fn below(self, name: &str, crosses: bool) -> Result<Self, Fault> {
        let walked = self.opener.walked.borrow_mut().find(&self.node, name, self.crosses);
        if let Some(node) = walked {
            return Ok(Self { node, crosses, ..self });
        }
        let fd = self.open(name, WALKED)?;
        let path = self.path_of(name) + "/";
        let stat = self.opener.admitted(fd.as_fd(), &path, Some(self.stat()))?;
        let node = Arc::new(Node::new(fd, stat, path));
        self.opener.walked.borrow_mut().add(&self.node, name, &node);
        Ok(Self { node, crosses, ..self })
    }

    /// The same directory with a descriptor that can be listed and synced.
    pub(crate) fn readable(self) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = self.open(".", flags)?;
        let path = &self.node.path;
        let stat = self.opener.admitted(fd.as_fd(), path, Some(self.stat()))?;
        if !same(&stat, self.stat()) {
            return Err(about(FaultKind::Changed, path, "was replaced while it was opened"));
        }
        let node = Arc::new(Node::new(fd, stat, path.clone()));
        Ok(Self { node, ..self })
    }

    /// What a name in here is, itself; `None` where there is nothing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<Stat>, Fault> {
        let fd = match self.try_open(name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|errno| failed("opened", &self.path_of(name), errno))?,
        };
        self.opener.admitted(fd.as_fd(), &self.path_of(name), Some(self.stat())).map(Some)
    }

    /// Opens a regular file of one link for reading.
    pub(crate) fn file(&self, name: &str) -> Result<Opened, Fault> {
        self.regular(name, OFlags::RDONLY)
    }

    /// Opens a regular file of one link for reading, and for writing where it ends at that moment and nowhere else.
    pub(crate) fn appendable(&self, name: &str) -> Result<Opened, Fault> {
        self.regular(name, OFlags::RDWR | OFlags::APPEND)
    }

    /// It is looked at before it is opened, since opening alone can set off a device.
    fn regular(&self, name: &str, access: OFlags) -> Result<Opened, Fault> {
        let path = self.path_of(name);
        let seen = match self.node.glance(name) {
            Some(seen) => seen,
            // In another mount, or nothing to be opened: the closer look decides, and says why.
            None => {
                let stat = self.look(name)?.ok_or_else(|| failed("opened", &path, Errno::NOENT))?;
                plain(&stat, &path)?;
                Seen { device: stat.st_dev, inode: stat.st_ino }
            }
        };
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = self.open(name, access | flags)?;
        let stat = self.opener.admitted(fd.as_fd(), &path, Some(self.stat()))?;
        plain(&stat, &path)?;
        if (stat.st_dev, stat.st_ino) != (seen.device, seen.inode) {
            return Err(about(FaultKind::Changed, &path, "was replaced while it was opened"));
        }
        Ok(Opened { file: File::from(fd), path, stat })
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
            match openat2(&self.node, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        openat2(&self.node, name, flags, Mode::empty(), resolve)
    }
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
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
        let size = size(&self.stat);
        if size > limit {
            return Err(too_large());
        }
        let size = usize::try_from(size).unwrap_or_default();
        // Room for one byte more than there should be: a read that leaves it empty has met the end.
        let mut bytes = Vec::with_capacity(size.saturating_add(1));
        // It may grow or shrink while it is read.
        while bytes.len() as u64 <= limit {
            in_time(deadline)?;
            if bytes.len() == bytes.capacity() {
                bytes.reserve(PIECE);
            }
            if self.fill(&mut bytes)? == 0 || bytes.len() == size {
                return Ok(bytes);
            }
        }
        Err(too_large())
    }

    /// Reads what there is room for; less where the file ends, or by chance.
    fn fill(&self, bytes: &mut Vec<u8>) -> Result<usize, Fault> {
        let from = bytes.len() as u64;
        loop {
            match pread(&self.file, spare_capacity(bytes), from) {
                Err(Errno::INTR) => {}
                other => return other.map_err(|errno| failed("read", &self.path, errno)),
            }
        }
    }

    /// `count` bytes from `from` on, read at once; fewer where the file ends.
    pub(crate) fn part(&self, from: u64, count: usize) -> Result<Vec<u8>, Fault> {
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
