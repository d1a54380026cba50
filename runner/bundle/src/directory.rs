//! Reading an untrusted directory: plain files only, each once, and none that is not asked for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use countersign_model::text::{excerpt, visible};
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::BundleError;

/// An open directory, with the name that errors call it by.
pub(crate) struct Directory {
    descriptor: OwnedFd,
    /// Relative to the bundle, with a slash at its end; empty for the bundle itself.
    name: String,
}

impl Directory {
    /// Opens a bundle's directory. The path is the caller's own, so it may lead through links.
    pub(crate) fn open(path: &Path) -> Result<Self, BundleError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|source| BundleError::Io { what: visible(&path.to_string_lossy()), source: source.into() })?;
        Ok(Self { descriptor, name: String::new() })
    }

    pub(crate) fn directory(&self, name: &str) -> Result<Self, BundleError> {
        let descriptor = self.open_entry(name, OFlags::DIRECTORY, "a directory")?;
        Ok(Self { descriptor, name: format!("{}{name}/", self.name) })
    }

    /// A file that can be read once, and its size.
    pub(crate) fn file(&self, name: &str) -> Result<(OpenFile, u64), BundleError> {
        const EXPECTED: &str = "a regular file";
        // A pipe without a writer must not hold the reader up.
        let descriptor = self.open_entry(name, OFlags::NONBLOCK, EXPECTED)?;
        let what = format!("{}{name}", self.name);
        let stat =
            fstat(&descriptor).map_err(|source| BundleError::Io { what: what.clone(), source: source.into() })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(BundleError::WrongKind { what, expected: EXPECTED });
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        Ok((OpenFile { file: File::from(descriptor), what }, size))
    }

    /// Refuses an entry that is not one of these.
    pub(crate) fn holds_only(&self, names: &BTreeSet<String>) -> Result<(), BundleError> {
        let failed = |source: Errno| BundleError::Io {
            what: if self.name.is_empty() { ".".to_owned() } else { self.name.clone() },
            source: source.into(),
        };
        // Ends at the first stranger, so there are never more turns than names.
        for entry in Dir::read_from(&self.descriptor).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if !str::from_utf8(name).is_ok_and(|name| names.contains(name)) {
                let name = excerpt(&String::from_utf8_lossy(name), 120);
                return Err(BundleError::Unexpected { what: format!("{}{name}", self.name) });
            }
        }
        Ok(())
    }

    fn open_entry(&self, name: &str, flags: OFlags, expected: &'static str) -> Result<OwnedFd, BundleError> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.descriptor, name, flags, Mode::empty()).map_err(|source| {
            let what = format!("{}{name}", self.name);
            match source {
                Errno::NOENT => BundleError::Missing { what },
                // In this order: a symbolic link, a file for a directory, a socket.
                Errno::LOOP | Errno::NOTDIR | Errno::NXIO => BundleError::WrongKind { what, expected },
                source => BundleError::Io { what, source: source.into() },
            }
        })
    }
}

/// A regular file that was opened and not yet read.
pub(crate) struct OpenFile {
    file: File,
    what: String,
}

impl OpenFile {
    /// Its bytes, one more than `size` at the most: a file that grows meanwhile shows it.
    pub(crate) fn read(self, size: usize) -> Result<Vec<u8>, BundleError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::with_capacity(size.saturating_add(1));
            self.file.take(size as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let what = self.what;
        read().map_err(|source| BundleError::Io { what, source })
    }
}
