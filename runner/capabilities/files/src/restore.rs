//! Makes ready what puts a file back to how a run found it, over whatever stands there now, since a person said so.

use countersign_capability::{Context, Prepared};
use countersign_model::{Fault, FaultKind, Image};

use crate::call::MAX_CONTENT;
use crate::change::{FilesChange, Operation, Record, changeable, content, standing};
use crate::fault::{about, in_time};
use crate::inplace::{Found, incomplete, shorter, with_mode};
use crate::metadata::unflagged;
use crate::path::Path;
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::{ANY_SIZE, FileImage, Snapshot, Standing};

/// The content that the file has now.
///
/// # Errors
/// `Unsupported` where something else stands there than a regular file of one link.
pub(crate) fn image(session: &FilesSession, cx: &Context<'_>, change: &FilesChange) -> Result<Option<Image>, Fault> {
    in_time(Some(cx.deadline))?;
    let path = change.path()?;
    let (directory, name) = match session.opener.parent(&path, change.fixed) {
        Ok(parent) => parent,
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    match standing(session, cx, &directory, &path, name, ANY_SIZE)? {
        Standing::Missing => Ok(None),
        Standing::File(found) => Ok(Some(found.image.content)),
        Standing::Other(fault) => Err(fault),
    }
}

/// The next change on the way back to how the first of `made` found the file. Changes nothing.
///
/// A file of which the whole content is kept is replaced; one that was truncated, or given another mode, stays the same
/// file for whoever has it open.
pub(crate) fn restore(
    session: &FilesSession,
    cx: &mut Context<'_>,
    scope: &Scope,
    made: &[FilesChange],
) -> Result<Prepared<FilesChange>, Fault> {
    in_time(Some(cx.deadline))?;
    let first = made.first().ok_or_else(incomplete)?;
    let path = first.path()?;
    // As narrow as both: a mount that neither of them names is not crossed.
    let fixed = first.fixed.min(scope.fixed());
    if made.iter().any(|change| change.operation == Operation::Discard) {
        return Err(about(FaultKind::Unsupported, path.as_str(), "was discarded, which nothing undoes"));
    }
    // A change of mode says nothing of the content, which the next one found.
    match made.iter().find(|change| change.operation != Operation::SetMode) {
        None => mode(Found::at(session, cx, &path, fixed)?, cx, &path, first),
        Some(cut) if cut.operation.is_in_place() => {
            let found = Found::at(session, cx, &path, fixed)?;
            let whole = first.before.as_ref().ok_or_else(incomplete)?;
            if found.image.content == whole.content {
                mode(found, cx, &path, first)
            } else {
                ends(found, cx, &path, cut)
            }
        }
        Some(_) => replaced(session, cx, &path, fixed, first),
    }
}

/// Gives the file the mode that it had.
fn mode(found: Found<'_>, cx: &Context<'_>, path: &Path, first: &FilesChange) -> Result<Prepared<FilesChange>, Fault> {
    let was = first.before.as_ref().ok_or_else(incomplete)?;
    let after = with_mode(path, &found.image, was.attributes.mode)?;
    if let Some(difference) = was.attributes.differences(&after.attributes).first() {
        let why = format!("cannot be put back but for its content and its mode: {difference}");
        return Err(about(FaultKind::Unsupported, path.as_str(), &why));
    }
    found.prepared(cx, Operation::SetMode, path, after, None)
}

/// Cuts off what follows the part of the content that no run touched, or puts the end back that follows it.
fn ends(
    found: Found<'_>,
    cx: &mut Context<'_>,
    path: &Path,
    made: &FilesChange,
) -> Result<Prepared<FilesChange>, Fault> {
    let (Some(was), Some(left)) = (&made.before, &made.after) else { return Err(incomplete()) };
    let kept = made.kept.ok_or_else(incomplete)?;
    let stays = if made.operation == Operation::Truncate { left.content } else { was.content };
    let size = found.image.content.size;
    if size < stays.size || found.source.image(0..stays.size, Some(cx.deadline))? != stays {
        let why = format!("cannot be put back: of what it was, only what follows byte {} is kept", kept.from);
        return Err(about(FaultKind::NotFound, path.as_str(), &why));
    }
    found.writable(path)?;
    if size > stays.size {
        let (after, kept) = shorter(cx, &found.source, path, &found.image, stays.size)?;
        return found.prepared(cx, Operation::Truncate, path, after, Some(kept));
    }
    let mut end = cx.blobs.open(&kept.image.digest)?;
    cx.blobs.put_from(kept.image.size, &mut end)?;
    let after = FileImage { content: was.content, attributes: found.image.attributes.clone() };
    found.prepared(cx, Operation::Extend, path, after, Some(kept))
}

/// Puts the file with its whole content in the place of what stands there, or takes away what stands there.
fn replaced(
    session: &FilesSession,
    cx: &mut Context<'_>,
    path: &Path,
    fixed: usize,
    first: &FilesChange,
) -> Result<Prepared<FilesChange>, Fault> {
    let (directory, name) = session.opener.parent(path, fixed)?;
    let directory = directory.readable()?;
    changeable(&directory)?;
    let (before, identity) = match standing(session, cx, &directory, path, name, MAX_CONTENT)? {
        Standing::Missing => (None, None),
        Standing::Other(fault) => return Err(fault),
        Standing::File(found) => {
            let Snapshot { image, identity, bytes } = *found;
            unflagged(directory.file(name)?, path.as_str())?;
            // What a person lets be written over must be there to be looked at, and to be put back.
            image.attributes.restorable(path.as_str())?;
            cx.blobs.put(&bytes.ok_or_else(incomplete)?)?;
            (Some(image), identity)
        }
    };
    let after = first.before.clone();
    if let Some(after) = &after {
        after.attributes.restorable(path.as_str())?;
        let bytes = content(cx, after)?;
        cx.blobs.put(&bytes)?;
    }
    let operation = match (&before, &after) {
        (Some(_), Some(_)) => Operation::Replace,
        (None, Some(_)) => Operation::Create,
        (Some(_), None) => Operation::Remove,
        (None, None) => return Err(about(FaultKind::NotFound, path.as_str(), "does not exist, as before")),
    };
    Record { operation, path, fixed, before, after, identity }.prepared(&directory, None, None)
}
