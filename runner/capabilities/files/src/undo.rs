//! Tells where a file stands relative to a change, and undoes changes on the target.

use countersign_capability::Context;
use countersign_model::{Fault, FaultKind, State};

use crate::apply::{clear, is_original};
use crate::call::MAX_CONTENT;
use crate::change::{FilesChange, Operation, content, standing};
use crate::durable::{discard, shift, stage, swap, sync};
use crate::fault::{about, in_time};
use crate::handle::Directory;
use crate::inplace;
use crate::path::Path;
use crate::session::FilesSession;
use crate::snapshot::{FileImage, Standing};

/// Where the file stands: on the target, in a rehearsal under what is pending.
///
/// A change that changes nothing is always `Before`.
pub(crate) fn probe(session: &FilesSession, cx: &mut Context<'_>, change: &FilesChange) -> Result<State, Fault> {
    in_time(Some(cx.deadline))?;
    let path = change.path()?;
    let (directory, name) = match session.opener.parent(&path, change.fixed) {
        Ok(parent) => parent,
        Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Unsupported | FaultKind::Denied) => {
            return Ok(State::Elsewhere(fault.what));
        }
        Err(fault) => return Err(fault),
    };
    if change.operation.is_in_place() && session.overlay.at(&path).is_none() {
        return inplace::probe(cx, &directory, change, name);
    }
    let found = standing(session, cx, &directory, &path, name, MAX_CONTENT)?;
    Ok(state(change, &found))
}

/// Where what was found stands relative to a change.
pub(crate) fn state(change: &FilesChange, found: &Standing) -> State {
    let differences = |wanted: Option<&FileImage>| match (change.operation, found, wanted) {
        (Operation::SetMode, Standing::File(found), Some(wanted)) => {
            wanted.attributes.differences(&found.image.attributes)
        }
        _ => found.differences(wanted),
    };
    between(&differences(change.before.as_ref()), &differences(change.after.as_ref()))
}

/// Where something stands that differs so from before and so from after.
pub(crate) fn between(from_before: &[String], from_after: &[String]) -> State {
    if from_before.is_empty() {
        return State::Before;
    }
    if from_after.is_empty() {
        return State::After;
    }
    let (before, after) = (from_before.join(", "), from_after.join(", "));
    State::Elsewhere(format!("against before: {before}; against after: {after}"))
}

/// Restores the before-image where the file is as the change left it.
pub(crate) fn undo(session: &FilesSession, cx: &mut Context<'_>, change: &FilesChange) -> Result<(), Fault> {
    in_time(Some(cx.deadline))?;
    let path = change.path()?;
    let (directory, name) = session.opener.parent(&path, change.fixed)?;
    let directory = directory.readable()?;
    if change.operation.is_in_place() {
        return inplace::undo(cx, &directory, change, &path, name);
    }
    let (own, rebuilt) = (change.own_name()?, change.rebuilt_name()?);
    match state(change, &Standing::of(&directory, name, MAX_CONTENT, Some(cx.deadline))?) {
        State::Before => sync(&directory, path.as_str())?,
        State::After => restore(cx, &directory, change, &path, name)?,
        State::Elsewhere(what) => {
            let what = format!("is neither as before nor as after the change ({what}): it is left alone");
            return Err(about(FaultKind::Changed, path.as_str(), &what));
        }
        State::Unknowable => {
            return Err(about(FaultKind::Unknowable, path.as_str(), "cannot be compared with the change"));
        }
    }
    // It is as before now; what was staged or kept for it goes. What is not ours stays: `settle` reports it.
    for own in [&own, &rebuilt] {
        match clear(cx, &directory, change, &path, own) {
            Err(fault) if fault.kind == FaultKind::Changed => {}
            cleared => cleared?,
        }
    }
    Ok(())
}

fn restore(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    let (own, rebuilt) = (change.own_name()?, change.rebuilt_name()?);
    // Whoever wrote to the file since it was looked at gets it back.
    let displaced = |own: &str| Ok(Standing::of(directory, own, MAX_CONTENT, None)?.unlike(change.after.as_ref()));
    let Some(before) = &change.before else {
        // What the change made is taken away under a name of our own first, and looked at there.
        clear(cx, directory, change, path, &own)?;
        shift(directory, name, &own, || displaced(&own))?;
        return discard(directory, &own);
    };
    let kept = Standing::of(directory, &own, MAX_CONTENT, Some(cx.deadline))?;
    let (source, identity) = match kept.identity() {
        Some(identity) if is_original(change, &kept) => (&own, identity),
        // It was taken away or written to: its bytes and attributes are in the journal.
        _ => {
            clear(cx, directory, change, path, &rebuilt)?;
            let bytes = content(cx, before)?;
            let modified = change.identity.map(|identity| identity.modified);
            let deadline = Some(cx.deadline);
            (&rebuilt, stage(directory, &rebuilt, &bytes, &before.attributes, modified, deadline)?)
        }
    };
    let restored = match &change.after {
        Some(_) => swap(directory, source, name, identity, || displaced(source)),
        None => shift(directory, source, name, || Ok(None)),
    };
    restored.map_err(|fault| match fault.kind {
        // Somebody made a file where there was none.
        FaultKind::Exists => Fault { kind: FaultKind::Changed, ..fault },
        _ => fault,
    })
}
