//! The ends of files: cut off by a truncation, put back by its undo or by an extension, and cut off again by that one's.

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind, Image, Kept};

use crate::change::{FilesChange, Operation};
use crate::durable::{append, cut, sync};
use crate::handle::{Directory, Opened, size};
use crate::inplace::{incomplete, left_alone};
use crate::metadata::Attributes;
use crate::path::Path;
use crate::span::PIECE;

/// What a truncation cuts and an extension puts back.
pub(crate) struct Ends<'a> {
    pub(crate) full: Image,
    pub(crate) short: Image,
    pub(crate) attributes: &'a Attributes,
    pub(crate) kept: Kept,
}

impl<'a> Ends<'a> {
    pub(crate) fn of(change: &'a FilesChange) -> Option<Self> {
        let (before, after) = (change.before.as_ref()?, change.after.as_ref()?);
        let (full, short) = match change.operation {
            Operation::Truncate => (before.content, after.content),
            Operation::Extend => (after.content, before.content),
            _ => return None,
        };
        Some(Self { full, short, attributes: &before.attributes, kept: change.kept? })
    }
}

/// Appends what was cut off where the file is as the change left it, or goes on where an earlier undo broke off.
pub(crate) fn put_back(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    let ends = Ends::of(change).ok_or_else(incomplete)?;
    let (full, kept) = (ends.full.size, ends.kept);
    let file = directory.appendable(name)?;
    if change.is_nothing() {
        return sync(&file, path.as_str());
    }
    let found = restorable(cx, &file, &ends)?.map_err(|what| left_alone(path, &what))?;
    if found == full {
        // Whoever put it back may have died before it was durable.
        return sync(&file, path.as_str());
    }
    let back = found.checked_sub(kept.from).ok_or_else(incomplete)?;
    let mut rest = cx.blobs.open(&kept.image.digest)?;
    rest.seek(std::io::SeekFrom::Start(back)).map_err(|error| unreadable(&error))?;
    let modified = change.identity.map(|identity| identity.modified);
    append(&file, &mut rest, found, full, modified, Some(cx.deadline))
}

/// Cuts off again what an extension appended, or a part of it where that broke off.
pub(crate) fn cut_again(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    let ends = Ends::of(change).ok_or_else(incomplete)?;
    let file = directory.appendable(name)?;
    let found = restorable(cx, &file, &ends)?.map_err(|what| left_alone(path, &what))?;
    if found == ends.short.size {
        return sync(&file, path.as_str());
    }
    let now = size(&file.stat()?);
    if now != found {
        return Err(left_alone(path, &format!("it has {now} bytes")));
    }
    cut(&file, ends.short.size)
}

/// How many bytes the file has of which all were found to be its own: it must begin with what a truncation leaves, and
/// go on with nothing or with the beginning of what is cut off. What it is instead, where it is something else.
pub(crate) fn restorable(cx: &mut Context<'_>, file: &Opened, ends: &Ends<'_>) -> Result<Result<u64, String>, Fault> {
    let Ends { full, short, attributes, kept } = ends;
    let deadline = Some(cx.deadline);
    let found = size(&file.stat()?);
    if found < kept.from || found > full.size {
        return Ok(Err(format!("it has {found} bytes, neither {} nor {}", full.size, short.size)));
    }
    if let Some(difference) = attributes.differences(&Attributes::of(file, file.path())?).into_iter().next() {
        return Ok(Err(difference));
    }
    let beginning = file.image(0..kept.from, deadline)?;
    if beginning != *short {
        return Ok(Err(format!("content is {}, not {}", beginning.digest, short.digest)));
    }
    if found == kept.from {
        return Ok(Ok(found));
    }
    let mut rest = cx.blobs.open(&kept.image.digest)?;
    let mut at = kept.from;
    while at < found {
        let count = usize::try_from(found - at).unwrap_or(PIECE).min(PIECE);
        let mut expected = vec![0; count];
        rest.read_exact(&mut expected).map_err(|error| unreadable(&error))?;
        if file.range(at, count, deadline)? != expected {
            return Ok(Err(format!("somebody else wrote to it from byte {} on", kept.from)));
        }
        at += count as u64;
    }
    Ok(Ok(found))
}

fn unreadable(error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Other, format!("what was kept cannot be read: {error}"))
}
