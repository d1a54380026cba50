//! Performs read calls; in a rehearsal they see what is pending.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind};
use rustix::fs::{AtFlags, Dir, FileType, Stat as RawStat, fstatvfs, statat};
use rustix::io::Errno;
use serde::Serialize;

use crate::call::{Content, Entry, FilesCall, Kind, MAX_CONTENT, MAX_ENTRIES, MAX_RANGE, MAX_TAIL, Space, Stat, Usage};
use crate::fault::{Deadline, about, failed, in_time};
use crate::handle::{Directory, kind, size};
use crate::metadata::modified;
use crate::path::Path;
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::FileImage;
use crate::source::{Source, image};

/// Performs one read call.
pub(crate) fn perform(
    session: &FilesSession,
    cx: &mut Context<'_>,
    scope: &Scope,
    call: &FilesCall,
) -> Result<Vec<u8>, Fault> {
    let deadline = Some(cx.deadline);
    in_time(deadline)?;
    let path = call.path()?;
    let fixed = scope.fixed();
    match call {
        FilesCall::Read { .. } => {
            let (directory, name) = session.opener.parent(&path, fixed)?;
            let content = match session.overlay.at(&path) {
                None => directory.file(name)?.content(MAX_CONTENT, deadline)?,
                Some(_) => {
                    let source = Source::of(session, cx.blobs, &directory, &path, name)?;
                    source.content(&path, MAX_CONTENT, deadline)?
                }
            };
            encode(&Content::from(content))
        }
        FilesCall::Tail { bytes, .. } => {
            bounded("tail", *bytes, MAX_TAIL)?;
            let (directory, name) = session.opener.parent(&path, fixed)?;
            let source = Source::of(session, cx.blobs, &directory, &path, name)?;
            encode(&Content::from(source.tail(*bytes, deadline)?))
        }
        FilesCall::ReadRange { offset, length, .. } => {
            bounded("read-range", *length, MAX_RANGE)?;
            let (directory, name) = session.opener.parent(&path, fixed)?;
            let source = Source::of(session, cx.blobs, &directory, &path, name)?;
            encode(&Content::from(source.range(*offset, *length, deadline)?))
        }
        FilesCall::Usage { .. } => encode(&usage(session, &path, fixed)?),
        FilesCall::Stat { .. } => encode(&stat(session, &path, fixed)?),
        FilesCall::List { .. } => encode(&list(session, &path, fixed, deadline)?),
        FilesCall::Replace { .. }
        | FilesCall::Create { .. }
        | FilesCall::Remove { .. }
        | FilesCall::Truncate { .. }
        | FilesCall::SetMode { .. }
        | FilesCall::Discard { .. } => Err(Fault::new(FaultKind::Denied, "a write was sent as a read")),
    }
}

/// A reply as the guest's side decodes it.
pub(crate) fn encode<T: Serialize>(reply: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_stdvec(reply)
        .map_err(|error| Fault::new(FaultKind::Other, format!("a reply was not encoded: {error}")))
}

fn bounded(function: &str, bytes: u32, most: u32) -> Result<(), Fault> {
    if bytes <= most {
        return Ok(());
    }
    Err(Fault::new(FaultKind::TooLarge, format!("{bytes} bytes are more than the {most} that `{function}` gives")))
}

/// How full the file system is that the path lies in. What it would be after pending changes depends on how the file
/// system keeps its files, on holes, snapshots and whoever still has a removed file open: it is not guessed.
fn usage(session: &FilesSession, path: &Path, fixed: usize) -> Result<Usage, Fault> {
    if !session.overlay.is_empty() {
        return Err(about(
            FaultKind::Unknowable,
            path.as_str(),
            "lies beside pending changes, so its usage is not known",
        ));
    }
    // Of a mount point it is what is mounted there that is asked about: no name in it is looked at.
    let depth = path.segments().len();
    let fixed = if fixed + 1 >= depth { depth } else { fixed };
    let asked = |fd: BorrowedFd<'_>| fstatvfs(fd).map_err(|errno| failed("asked for its usage", path.as_str(), errno));
    let is_file = match session.opener.parent(path, fixed) {
        Ok((directory, name)) => {
            let stat = directory.look(name)?.ok_or_else(|| failed("opened", path.as_str(), Errno::NOENT))?;
            kind(&stat) != Kind::Directory
        }
        // The root lies in no directory.
        Err(_) if path.segments().is_empty() => false,
        Err(fault) => return Err(fault),
    };
    let found = if is_file {
        let (directory, name) = session.opener.parent(path, fixed)?;
        asked(directory.file(name)?.as_fd())?
    } else {
        asked(session.opener.directory(&path.segments(), fixed)?.as_fd())?
    };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Usage {
        bytes: Space { total: bytes(found.f_blocks), free: bytes(found.f_bfree), available: bytes(found.f_bavail) },
        inodes: Space { total: found.f_files, free: found.f_ffree, available: found.f_favail },
    })
}

fn stat(session: &FilesSession, path: &Path, fixed: usize) -> Result<Stat, Fault> {
    if path.segments().is_empty() {
        return Ok(described(session.opener.directory(&[], fixed)?.stat()));
    }
    let (directory, name) = session.opener.parent(path, fixed)?;
    if let Some(layer) = session.overlay.at(path) {
        let FileImage { content, attributes } = image(layer, path)?;
        return Ok(Stat {
            kind: Kind::File,
            size: content.size,
            mode: attributes.mode,
            owner: attributes.uid,
            group: attributes.gid,
            modified: layer.at,
        });
    }
    let stat = directory.look(name)?.ok_or_else(|| failed("opened", path.as_str(), Errno::NOENT))?;
    Ok(described(&stat))
}

fn described(stat: &RawStat) -> Stat {
    let modified = modified(stat);
    Stat {
        kind: kind(stat),
        size: size(stat),
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        group: stat.st_gid,
        modified: u64::try_from(modified.seconds).map_or(0, |seconds| {
            seconds.saturating_mul(1000).saturating_add(u64::from(modified.nanoseconds / 1_000_000))
        }),
    }
}

/// The names in a directory, those of kept files among them: who administers the target sees them too.
fn list(session: &FilesSession, path: &Path, fixed: usize, deadline: Deadline) -> Result<Vec<Entry>, Fault> {
    let too_many = || about(FaultKind::TooLarge, path.as_str(), &format!("has more than {MAX_ENTRIES} entries"));
    let directory = session.opener.directory(&path.segments(), fixed)?.readable()?;
    let unreadable = |errno| failed("listed", path.as_str(), errno);
    let mut names: BTreeMap<Vec<u8>, Kind> = BTreeMap::new();
    for entry in Dir::read_from(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            return Err(too_many());
        }
        if names.len().is_multiple_of(1024) {
            in_time(deadline)?;
        }
        if let Some(kind) = kind_of(&directory, name, entry.file_type()).map_err(unreadable)? {
            names.insert(name.to_bytes().to_vec(), kind);
        }
    }
    for (name, layer) in session.overlay.within(path) {
        match layer.image {
            Some(_) => names.insert(name.as_bytes().to_vec(), Kind::File),
            None => names.remove(name.as_bytes()),
        };
    }
    if names.len() > MAX_ENTRIES {
        return Err(too_many());
    }
    Ok(names
        .into_iter()
        .map(|(name, kind)| Entry { name: String::from_utf8_lossy(&name).into_owned(), kind })
        .collect())
}

/// Some file systems do not tell the kind; `None` where the entry is gone again.
fn kind_of(directory: &Directory<'_>, name: &CStr, told: FileType) -> Result<Option<Kind>, Errno> {
    Ok(Some(match told {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => kind(&stat?),
        },
        _ => Kind::Other,
    }))
}
