//! Applies changes to the target, and lets go of what was kept.
//!
//! A replaced or removed file is not deleted: it stays beside its place, as `.countersign-` and the change's
//! nonce, until [`settle`]. Undo then gives back the very same file.

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind};

use crate::call::MAX_CONTENT;
use crate::change::{FilesChange, Operation, content};
use crate::durable::{discard, is, shift, stage, swap};
use crate::fault::{about, in_time};
use crate::handle::Directory;
use crate::inplace;
use crate::path::Path;
use crate::session::FilesSession;
use crate::snapshot::{FileImage, Standing};

/// Applies the change if the file still is as it was prepared for.
pub(crate) fn apply(session: &FilesSession, cx: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
    in_time(Some(cx.deadline))?;
    let path = change.path()?;
    let own = change.own_name()?;
    let (directory, name) = session.opener.parent(&path, change.fixed)?;
    let directory = directory.readable()?;
    let changed = |what: &str| about(FaultKind::Changed, path.as_str(), what);
    if change.directory != (directory.stat().st_dev, directory.stat().st_ino) {
        return Err(changed("lies in another directory now"));
    }
    if change.operation.is_in_place() {
        return inplace::apply(cx, &directory, change, &path, name);
    }
    if let Some(wrong) = unexpected(change, &Standing::of(&directory, name, MAX_CONTENT, Some(cx.deadline))?) {
        return Err(changed(&format!("is not as the change was prepared for: {wrong}")));
    }
    if change.is_nothing() {
        return Ok(());
    }
    // Past the rename there is no stopping: what came out is looked at however late it is.
    let displaced = || Ok(unexpected(change, &Standing::of(&directory, &own, MAX_CONTENT, None)?));
    match (change.operation, &change.after) {
        (Operation::Remove, _) => shift(&directory, name, &own, displaced),
        (Operation::Replace, Some(after)) => {
            let staged = put(cx, &directory, &own, after)?;
            swap(&directory, &own, name, staged, displaced).map_err(|fault| cleared(&directory, &own, fault))
        }
        (Operation::Create, Some(after)) => {
            let staged = put(cx, &directory, &own, after)?;
            let placed = || Ok((!is(&directory, name, staged)?).then(|| "somebody else put it there".to_owned()));
            shift(&directory, &own, name, placed).map_err(|fault| {
                let kind = if fault.kind == FaultKind::Exists { FaultKind::Changed } else { fault.kind };
                cleared(&directory, &own, Fault { kind, ..fault })
            })
        }
        _ => Err(Fault::new(FaultKind::Other, "a recorded change has no after-image")),
    }
}

/// Writes the after-image beside the file, complete and synced.
fn put(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    own: &str,
    after: &FileImage,
) -> Result<crate::snapshot::Identity, Fault> {
    let deadline = Some(cx.deadline);
    let bytes = content(cx, after)?;
    let staged = stage(directory, own, &bytes, &after.attributes, None, deadline)?;
    in_time(deadline).map_err(|fault| cleared(directory, own, fault))?;
    Ok(staged)
}

/// Removes what was staged where nothing was changed; otherwise it may be the original.
fn cleared(directory: &Directory<'_>, own: &str, fault: Fault) -> Fault {
    if !fault.reached {
        // The first failure is the one to report; undo looks for the file again.
        let _ = discard(directory, own);
    }
    fault
}

/// What of the file is not as it was prepared, and as the same file.
fn unexpected(change: &FilesChange, found: &Standing) -> Option<String> {
    if let Some(difference) = found.differences(change.before.as_ref()).into_iter().next() {
        return Some(difference);
    }
    (found.identity() != change.identity).then(|| "it is another file, or was written to".to_owned())
}

/// Whether what stands here is the very file that the change displaced, and as it was.
pub(crate) fn is_original(change: &FilesChange, found: &Standing) -> bool {
    // The number of a device may be another after the host was started again.
    let same = match (found.identity(), change.identity) {
        (Some(found), Some(before)) => found.inode == before.inode && found.modified == before.modified,
        _ => false,
    };
    same && found.is(change.before.as_ref())
}

/// Removes what was staged or kept beside the file.
///
/// # Errors
/// `Changed` where something stands under such a name that is neither; it is left alone.
pub(crate) fn settle(session: &FilesSession, cx: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
    if change.operation.is_in_place() {
        return Ok(());
    }
    let path = change.path()?;
    let directory = match session.opener.parent(&path, change.fixed) {
        Ok((directory, _)) => directory.readable()?,
        // Nothing is beside a file whose directory is gone.
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(()),
        Err(fault) => return Err(fault),
    };
    for own in [change.own_name()?, change.rebuilt_name()?] {
        clear(cx, &directory, change, &path, &own)?;
    }
    Ok(())
}

/// Removes the file under this name of the change's own, if it is one of its images or the beginning of one: what was
/// staged may be incomplete.
pub(crate) fn clear(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    own: &str,
) -> Result<(), Fault> {
    let bytes = match Standing::of(directory, own, MAX_CONTENT, None)? {
        Standing::Missing => return Ok(()),
        Standing::File(found) => found.bytes,
        Standing::Other(_) => None,
    };
    for image in [&change.before, &change.after].into_iter().flatten() {
        if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 <= image.content.size)
            && content(cx, image)?.starts_with(bytes.as_deref().unwrap_or_default())
        {
            return discard(directory, own);
        }
    }
    let what = format!("has `{own}` beside it, which is not what was kept there: it is left alone");
    Err(about(FaultKind::Changed, path.as_str(), &what))
}
