//! Makes ready what puts back a change of an earlier run, long after its original was let go of.

use countersign_capability::{Context, Prepared};
use countersign_model::{Fault, FaultKind};

use crate::call::MAX_CONTENT;
use crate::change::{FilesChange, Operation, Record, changeable, standing};
use crate::fault::{about, in_time};
use crate::inplace;
use crate::metadata::unflagged;
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::{Snapshot, Standing};

/// The change from where `made` left the file to where it found it: content, owner, mode and extended attributes.
/// Changes nothing.
pub(crate) fn revert(
    session: &FilesSession,
    cx: &mut Context<'_>,
    scope: &Scope,
    made: &FilesChange,
) -> Result<Prepared<FilesChange>, Fault> {
    in_time(Some(cx.deadline))?;
    let path = made.path()?;
    if made.operation.is_in_place() {
        return inplace::revert(session, cx, made.fixed.min(scope.fixed()), &path, made);
    }
    let operation = match (&made.after, &made.before) {
        (Some(_), Some(_)) => Operation::Replace,
        (None, Some(_)) => Operation::Create,
        (Some(_), None) => Operation::Remove,
        (None, None) => return Err(Fault::new(FaultKind::Other, "a recorded change has no image at all")),
    };
    // As narrow as both: a mount that neither of them names is not crossed.
    let fixed = made.fixed.min(scope.fixed());
    let (directory, name) = session.opener.parent(&path, fixed).map_err(|fault| match fault.kind {
        // Where there is no such directory any more, the file is not as it was left either.
        FaultKind::NotFound | FaultKind::Unsupported => Fault { kind: FaultKind::Changed, ..fault },
        _ => fault,
    })?;
    let directory = directory.readable()?;
    changeable(&directory)?;

    let found = standing(session, cx, &directory, &path, name, MAX_CONTENT)?;
    if let Some(difference) = found.differences(made.after.as_ref()).into_iter().next() {
        let what = format!("is not as the run left it: {difference}");
        return Err(about(FaultKind::Changed, path.as_str(), &what));
    }
    let (before, identity) = match found {
        Standing::File(found) => {
            let Snapshot { image, identity, bytes } = *found;
            if identity.is_some() {
                unflagged(directory.file(name)?, path.as_str())?;
            }
            // This change must be undone exactly too, if the undoing fails.
            image.attributes.restorable(path.as_str())?;
            if let Some(bytes) = bytes {
                cx.blobs.put(&bytes)?;
            }
            (Some(image), identity)
        }
        _ => (None, None),
    };
    let after = made.before.clone();
    if let Some(after) = &after {
        after.attributes.restorable(path.as_str())?;
        let bytes = crate::change::content(cx, after).map_err(|fault| Fault {
            what: format!("`{path}` cannot be put back, its content before the run is not kept: {}", fault.what),
            ..fault
        })?;
        cx.blobs.put(&bytes)?;
    }
    Record { operation, path: &path, fixed, before, after, identity }.prepared(&directory, None, None)
}
