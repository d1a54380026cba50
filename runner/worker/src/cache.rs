//! Compiled steps, kept on disk.
//!
//! Native code is as good as the runner's own binary to whoever runs it, so it is only taken from a directory
//! that nobody else can write: owned by this process's user, mode 0700, held open by descriptor. A file must be
//! regular, owned, mode 0600 and have one link, and what is loaded is the descriptor that was tested. It is loaded
//! by workers only. Where the file system is mounted `noexec`, no worker could map code from it: a copy in memory is loaded then.
//!
//! A file is written under another name, synced and renamed, so it is whole or absent. This program's version stands in
//! its name, the engine's version and settings in its header, which the engine compares: what another release or
//! processor made is compiled again. It ends with a CRC-32 of all before it and of the step's digest: the engine trusts what it
//! loads, and one flipped bit can make it panic or run something else. That is against accidents, which the
//! directory's permissions do not stop; against people, it is the permissions. (A SHA-256 would take up to three
//! times as long as loading does; the CRC takes about a tenth of it.)

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_model::Digest;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SealFlags, Stat, StatVfsMountFlags};
use rustix::io::Errno;

/// The most compiled steps that are kept; the oldest go first.
const MAX_ENTRIES: usize = 64;
/// The most bytes that are kept.
const MAX_BYTES: u64 = 2 << 30;
/// The most names that are looked at.
const MAX_NAMES: usize = 4096;
/// The end of a file: the CRC-32 of all before it and of the step's digest, little-endian, and this.
const TRAILER: &[u8; 4] = b"CSc2";
/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// Begins the name of a file that is being written.
const UNFINISHED: &str = ".new-";

pub(crate) struct Cache {
    dir: OwnedFd,
    written: AtomicU64,
}

/// Why a directory or file is not trusted, or could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it belongs to user {owner}, not to {user}")]
    Owner { owner: u32, user: u32 },
    #[error("its mode is {found:03o}, not {expected:03o}")]
    Mode { found: u32, expected: u32 },
    #[error("it is no {0}")]
    Kind(&'static str),
    #[error("it has several names")]
    Links,
    #[error("it is damaged")]
    Damaged,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Cache {
    /// Opens the directory, and makes it where its parent has none.
    pub(crate) fn open(path: &Path) -> Result<Self, Unusable> {
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => Unusable::Kind("directory"),
            other => other.into(),
        })?;
        owned(&rustix::fs::fstat(&dir)?, 0o700)?;
        Ok(Self { dir, written: AtomicU64::new(0) })
    }

    /// The native code of the step of this digest, if it is here and can be trusted. What cannot is warned of and left to be
    /// replaced.
    pub(crate) fn load(&self, digest: Digest) -> Option<OwnedFd> {
        self.try_load(digest).unwrap_or_else(|why| {
            tracing::warn!(file = name(digest), "a cached step is compiled again: {why}");
            None
        })
    }

    fn try_load(&self, digest: Digest) -> Result<Option<OwnedFd>, Unusable> {
        let name = name(digest);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, &name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Unusable::Kind("regular file")),
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unusable::Kind("regular file"));
        }
        owned(&stat, 0o600)?;
        if stat.st_nlink != 1 {
            return Err(Unusable::Links);
        }
        let file = File::from(file);
        undamaged(&file, u64::try_from(stat.st_size).unwrap_or(0), digest)?;
        if rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
            return Ok(Some(copied(file)?));
        }
        Ok(Some(file.into()))
    }

    /// Keeps native code, and gives it as it is kept. That it could not is worth a warning and nothing more.
    pub(crate) fn store(&self, code: &OwnedFd, digest: Digest) -> Option<OwnedFd> {
        self.try_store(code, digest).unwrap_or_else(|why| {
            tracing::warn!(file = name(digest), "a compiled step was not kept: {why}");
            None
        })
    }

    fn try_store(&self, code: &OwnedFd, digest: Digest) -> Result<Option<OwnedFd>, Unusable> {
        let name = name(digest);
        let unfinished = format!("{UNFINISHED}{}-{}", std::process::id(), self.written.fetch_add(1, Ordering::Relaxed));
        let written = self.write(&unfinished, code, digest).and_then(|()| {
            rustix::fs::renameat(&self.dir, &unfinished, &self.dir, &name)?;
            Ok(rustix::fs::fsync(&self.dir)?)
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.dir, &unfinished, AtFlags::empty());
        }
        written?;
        self.trim(&name)?;
        self.try_load(digest)
    }

    fn write(&self, name: &str, code: &OwnedFd, digest: Digest) -> Result<(), Unusable> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let open = || rustix::fs::openat(&self.dir, name, flags, mode);
        let file = match open() {
            // Left by a process that had this identifier and died.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?;
                open()?
            }
            other => other?,
        };
        let mut file = File::from(file);
        let mut source = File::from(code.try_clone()?);
        source.rewind()?;
        let (mut hasher, mut buffer) = (crc32fast::Hasher::new(), vec![0; CHUNK]);
        loop {
            let some = source.read(&mut buffer)?;
            let chunk = buffer.get(..some).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            hasher.update(chunk);
            file.write_all(chunk)?;
        }
        hasher.update(digest.hex().as_bytes());
        file.write_all(&hasher.finalize().to_le_bytes())?;
        file.write_all(TRAILER)?;
        Ok(file.sync_all()?)
    }

    /// Removes the oldest files until the bounds hold, and what dying writers left. The newest one stays.
    fn trim(&self, newest: &str) -> Result<(), Unusable> {
        let mut files = Vec::new();
        let mut now = 0;
        for entry in Dir::read_from(&self.dir)?.take(MAX_NAMES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !(name.ends_with(".cwasm") || name.starts_with(UNFINISHED)) {
                continue;
            }
            let stat = match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Another process trims too.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if name == newest {
                now = stat.st_mtime;
            }
            files.push((name == newest, stat.st_mtime, stat.st_mtime_nsec, name.to_owned(), stat.st_size));
        }
        files.sort();
        let (mut kept, mut bytes) = (0, 0_u64);
        for (_, modified, _, name, size) in files.iter().rev() {
            let size = u64::try_from(*size).unwrap_or(u64::MAX);
            let stays = if name.starts_with(UNFINISHED) {
                // An hour is more than any write takes.
                *modified + 3600 > now
            } else {
                kept += 1;
                bytes = bytes.saturating_add(size);
                name == newest || (kept <= MAX_ENTRIES && bytes <= MAX_BYTES)
            };
            if !stays {
                match rustix::fs::unlinkat(&self.dir, name.as_str(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

fn name(digest: Digest) -> String {
    format!("{}-{}.cwasm", env!("CARGO_PKG_VERSION"), digest.hex())
}

/// That the file of this size ends with the checksum of what it begins with, and is of this step.
fn undamaged(mut file: &File, size: u64, digest: Digest) -> Result<(), Unusable> {
    let mut left = size.checked_sub(8).ok_or(Unusable::Damaged)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
    while left > 0 {
        let some = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
        let chunk = buffer.get_mut(..some).unwrap_or_default();
        file.read_exact(chunk)?;
        hasher.update(chunk);
        left = left.saturating_sub(chunk.len() as u64);
    }
    hasher.update(digest.hex().as_bytes());
    let (mut sum, mut end) = ([0; 4], [0; 4]);
    file.read_exact(&mut sum)?;
    file.read_exact(&mut end)?;
    if sum != hasher.finalize().to_le_bytes() || &end != TRAILER {
        return Err(Unusable::Damaged);
    }
    Ok(())
}

/// The same bytes in memory, which may become code whatever the file lies in.
fn copied(mut file: File) -> std::io::Result<OwnedFd> {
    file.rewind()?;
    let copy = crate::workers::memory("countersign-code")?;
    std::io::copy(&mut file, &mut File::from(copy.try_clone()?))?;
    rustix::fs::fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(copy)
}

/// That this process's user owns it, with exactly these permissions.
fn owned(stat: &Stat, expected: u32) -> Result<(), Unusable> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user {
        return Err(Unusable::Owner { owner: stat.st_uid, user });
    }
    let found = stat.st_mode & 0o7777;
    if found != expected {
        return Err(Unusable::Mode { found, expected });
    }
    Ok(())
}
