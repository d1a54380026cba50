//! The ends of files: cut off by a truncation, put back by its undo or by an extension, and cut off again by that one's.

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind, Image, Kept, State};

use crate::change::{FilesChange, Operation};
use crate::durable::{append, cut, sync};
use crate::handle::{Directory, Opened, size};
use crate::inplace::{incomplete, left_alone};
use crate::metadata::Attributes;
use crate::path::Path;
use crate::snapshot::{ANY_SIZE, Standing};
use crate::undo::state;

/// How much of a kept end is compared at once, in bytes.
const PIECE: u32 = 256 * 1024;

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
    let found = size(&file.stat()?);
    if found == full && full != kept.from {
        return match state(change, &Standing::of(directory, name, ANY_SIZE, Some(cx.deadline))?) {
            State::Before => sync(&file, path.as_str()),
            _ => Err(left_alone(path, "its content is another")),
        };
    }
    if let Some(what) = restorable(cx, &file, &ends)? {
        return Err(left_alone(path, &what));
    }
    let mut rest = cx.blobs.open(&kept.image.digest)?;
    let skipped = std::io::SeekFrom::Start(found - kept.from);
    rest.seek(skipped).map_err(|error| unreadable(&error))?;
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
    let found = size(&file.stat()?);
    if let Some(what) = restorable(cx, &file, &ends)? {
        return Err(left_alone(path, &what));
    }
    if found == ends.short.size {
        return sync(&file, path.as_str());
    }
    let now = size(&file.stat()?);
    if now != found {
        return Err(left_alone(path, &format!("it has {now} bytes")));
    }
    cut(&file, ends.short.size)
}

/// What keeps a file from being put back, if anything does: it must begin with what a truncation leaves, and go on with
/// nothing or with the beginning of what is cut off.
pub(crate) fn restorable(cx: &mut Context<'_>, file: &Opened, ends: &Ends<'_>) -> Result<Option<String>, Fault> {
    let Ends { full, short, attributes, kept } = ends;
    let deadline = Some(cx.deadline);
    let found = size(&file.stat()?);
    if found < kept.from || found > full.size {
        return Ok(Some(format!("it has {found} bytes, neither {} nor {}", full.size, short.size)));
    }
    if let Some(difference) = attributes.differences(&Attributes::of(file, file.path())?).into_iter().next() {
        return Ok(Some(difference));
    }
    let beginning = file.image(0..kept.from, deadline)?;
    if beginning != *short {
        return Ok(Some(format!("content is {}, not {}", beginning.digest, short.digest)));
    }
    if found == kept.from {
        return Ok(None);
    }
    let mut rest = cx.blobs.open(&kept.image.digest)?;
    let mut at = kept.from;
    while at < found {
        let count = u32::try_from(found - at).unwrap_or(PIECE).min(PIECE);
        let mut expected = vec![0; count as usize];
        rest.read_exact(&mut expected).map_err(|error| unreadable(&error))?;
        if file.range(at, count as usize, deadline)? != expected {
            return Ok(Some(format!("somebody else wrote to it from byte {} on", kept.from)));
        }
        at += u64::from(count);
    }
    Ok(None)
}

fn unreadable(error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Other, format!("what was kept cannot be read: {error}"))
}
