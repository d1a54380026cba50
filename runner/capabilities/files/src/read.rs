//! Performs read calls; in a rehearsal they see what is pending.

use std::collections::BTreeMap;
use std::ffi::CStr;

use countersign_capability::{Blobs, Context};
use countersign_model::{Fault, FaultKind};
use rustix::fs::{AtFlags, Dir, FileType, Stat as RawStat, statat};
use rustix::io::Errno;
use serde::Serialize;

use crate::call::{Content, Entry, FilesCall, Kind, MAX_CONTENT, MAX_ENTRIES, MAX_TAIL, Stat};
use crate::fault::{Deadline, about, failed, in_time};
use crate::handle::{Directory, kind, size};
use crate::metadata::modified;
use crate::overlay::Layer;
use crate::path::Path;
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::FileImage;

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
                Some(layer) => pending(cx.blobs, layer, &path)?,
                None => directory.file(name)?.content(MAX_CONTENT, deadline)?,
            };
            encode(&Content::from(content))
        }
        FilesCall::Tail { bytes, .. } => {
            if *bytes > MAX_TAIL {
                let why = format!("{bytes} bytes are more than the {MAX_TAIL} that `tail` gives");
                return Err(Fault::new(FaultKind::TooLarge, why));
            }
            let (directory, name) = session.opener.parent(&path, fixed)?;
            let content = match session.overlay.at(&path) {
                Some(layer) => {
                    let content = pending(cx.blobs, layer, &path)?;
                    let from = content.len().saturating_sub(usize::try_from(*bytes).unwrap_or_default());
                    content.get(from..).unwrap_or_default().to_vec()
                }
                None => directory.file(name)?.tail(*bytes, deadline)?,
            };
            encode(&Content::from(content))
        }
        FilesCall::Stat { .. } => encode(&stat(session, &path, fixed)?),
        FilesCall::List { .. } => encode(&list(session, &path, fixed, deadline)?),
        FilesCall::Replace { .. } | FilesCall::Create { .. } | FilesCall::Remove { .. } => {
            Err(Fault::new(FaultKind::Denied, "a write was sent as a read"))
        }
    }
}

/// A reply as the guest's side decodes it.
pub(crate) fn encode<T: Serialize>(reply: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_stdvec(reply)
        .map_err(|error| Fault::new(FaultKind::Other, format!("a reply was not encoded: {error}")))
}

fn image<'a>(layer: &'a Layer, path: &Path) -> Result<&'a FileImage, Fault> {
    layer.image.as_ref().ok_or_else(|| failed("opened", path.as_str(), Errno::NOENT))
}

fn pending(blobs: &mut dyn Blobs, layer: &Layer, path: &Path) -> Result<Vec<u8>, Fault> {
    blobs.get(&image(layer, path)?.content.digest)
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
