//! Changes in place: `truncate`, `set-mode` and `discard`. The file stays the same one for whoever has it open.

use countersign_capability::{Context, Prepared};
use countersign_model::{Fault, FaultKind, Image, Kept, State};
use rustix::fs::{Access, AtFlags, Stat, accessat};

use crate::call::{FilesCall, KEPT_END, MAX_CONTENT, MAX_CUT};
use crate::change::{FilesChange, Operation, Record, standing};
use crate::durable::{append, cut, set_mode, sync};
use crate::ends::{Ends, cut_again, put_back, restorable};
use crate::fault::{about, after_all, failed, in_time};
use crate::handle::{Directory, Opened, plain, size};
use crate::metadata::{Attributes, changed, unflagged};
use crate::path::Path;
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::{ANY_SIZE, FileImage, Identity, Standing, still};
use crate::source::Source;
use crate::undo::{between, state};

/// Every permission bit.
const BITS: u32 = 0o7777;
/// Set-user-id, set-group-id and sticky.
const SPECIAL: u32 = 0o7000;

/// Makes a change in place ready. Changes nothing.
///
/// # Errors
/// `Changed` where the file is written to meanwhile, `TooLarge` where more than [`MAX_CUT`] would have to be kept,
/// `TimedOut` where it is too large to be read in the call's time.
pub(crate) fn prepare(
    session: &FilesSession,
    cx: &mut Context<'_>,
    scope: &Scope,
    call: &FilesCall,
) -> Result<Prepared<FilesChange>, Fault> {
    in_time(Some(cx.deadline))?;
    let path = call.path()?;
    if let FilesCall::Truncate { length, .. } = call {
        // Before any of it is read, which may take as long as a call has.
        let (directory, name) = session.opener.parent(&path, scope.fixed())?;
        cuttable(&path, Source::of(session, cx.blobs, &directory, &path, name)?.size(), *length)?;
    }
    let found = Found::at(session, cx, &path, scope.fixed())?;
    let before = &found.image;
    let (operation, after, kept) = match call {
        FilesCall::Truncate { length, .. } => {
            found.writable(&path)?;
            let (after, kept) = shorter(cx, &found.source, &path, before, *length)?;
            (Operation::Truncate, after, Some(kept))
        }
        FilesCall::Discard { .. } => {
            found.writable(&path)?;
            let from = before.content.size.saturating_sub(KEPT_END);
            let image = found.source.keep(cx, from..before.content.size)?;
            let after = FileImage { content: Image::of(&[]), attributes: before.attributes.clone() };
            (Operation::Discard, after, Some(Kept { from, image }))
        }
        FilesCall::SetMode { mode, .. } => {
            let has = before.attributes.mode;
            if mode & SPECIAL & !has != 0 {
                let why = "cannot be given a set-user-id, set-group-id or sticky bit that it does not have";
                return Err(about(FaultKind::Unsupported, path.as_str(), why));
            }
            (Operation::SetMode, with_mode(&path, before, *mode)?, None)
        }
        _ => return Err(Fault::new(FaultKind::Other, "a change in place was expected")),
    };
    found.prepared(cx, operation, &path, after, kept)
}

/// Makes ready what puts back a change in place of an earlier run. Changes nothing.
///
/// # Errors
/// `Changed` where the file is not as the run left it; for a mode, where its attributes are not.
pub(crate) fn revert(
    session: &FilesSession,
    cx: &mut Context<'_>,
    fixed: usize,
    path: &Path,
    made: &FilesChange,
) -> Result<Prepared<FilesChange>, Fault> {
    let (Some(was), Some(left)) = (&made.before, &made.after) else { return Err(incomplete()) };
    let found = Found::at(session, cx, path, fixed).map_err(|fault| {
        if fault.kind == FaultKind::NotFound { Fault { kind: FaultKind::Changed, ..fault } } else { fault }
    })?;
    let differences = match made.operation {
        Operation::Discard => {
            return Err(about(FaultKind::Unsupported, path.as_str(), "was discarded, which nothing undoes"));
        }
        Operation::SetMode => left.attributes.differences(&found.image.attributes),
        _ => left.differences(&found.image),
    };
    if let Some(difference) = differences.first() {
        return Err(about(FaultKind::Changed, path.as_str(), &format!("is not as the run left it: {difference}")));
    }
    match made.operation {
        Operation::SetMode => {
            let after = with_mode(path, &found.image, was.attributes.mode)?;
            found.prepared(cx, Operation::SetMode, path, after, None)
        }
        Operation::Extend => {
            found.writable(path)?;
            let (after, kept) = shorter(cx, &found.source, path, &found.image, was.content.size)?;
            found.prepared(cx, Operation::Truncate, path, after, Some(kept))
        }
        _ => {
            found.writable(path)?;
            let kept = made.kept.ok_or_else(incomplete)?;
            let missing = |fault: Fault| Fault {
                what: format!("`{path}` cannot be put back, what was cut off is not kept: {}", fault.what),
                ..fault
            };
            let mut end = cx.blobs.open(&kept.image.digest).map_err(missing)?;
            cx.blobs.put_from(kept.image.size, &mut end)?;
            if was.content.size <= MAX_CONTENT {
                // In a rehearsal it is read as a whole.
                let mut bytes =
                    found.source.range(0, u32::try_from(kept.from).unwrap_or(u32::MAX), Some(cx.deadline))?;
                bytes.extend(cx.blobs.get(&kept.image.digest)?);
                cx.blobs.put(&bytes)?;
            }
            found.prepared(cx, Operation::Extend, path, was.clone(), Some(kept))
        }
    }
}

/// A file as it stands, on the target or pending, and where its content is.
pub(crate) struct Found<'a> {
    directory: Directory<'a>,
    fixed: usize,
    pub(crate) source: Source,
    /// The file on the target; `None` where it is pending.
    seen: Option<Stat>,
    pub(crate) image: FileImage,
    identity: Option<Identity>,
}

impl<'a> Found<'a> {
    pub(crate) fn at(
        session: &'a FilesSession,
        cx: &mut Context<'_>,
        path: &Path,
        fixed: usize,
    ) -> Result<Self, Fault> {
        let (directory, name) = session.opener.parent(path, fixed)?;
        let source = Source::of(session, cx.blobs, &directory, path, name)?;
        let seen = match &source {
            Source::File(file, _) if session.overlay.at(path).is_none() => Some(file.stat()?),
            _ => None,
        };
        let (image, identity) = match standing(session, cx, &directory, path, name, ANY_SIZE)? {
            Standing::File(found) => (found.image, found.identity),
            Standing::Missing => return Err(about(FaultKind::NotFound, path.as_str(), "does not exist")),
            Standing::Other(fault) => return Err(fault),
        };
        if let (Some(_), Source::File(file, _)) = (&seen, &source) {
            unflagged(file, path.as_str())?;
        }
        Ok(Self { directory, fixed, source, seen, image, identity })
    }

    /// A fault if the file cannot be written to without losing more than content.
    pub(crate) fn writable(&self, path: &Path) -> Result<(), Fault> {
        self.image.attributes.kept_by_a_write(path.as_str())?;
        if let (Some(_), Some(name)) = (&self.seen, path.segments().last()) {
            accessat(&self.directory, *name, Access::WRITE_OK, AtFlags::EACCESS)
                .map_err(|errno| failed("written", path.as_str(), errno))?;
        }
        Ok(())
    }

    /// The change, if what was kept and what was digested are of one content.
    pub(crate) fn prepared(
        self,
        cx: &Context<'_>,
        operation: Operation,
        path: &Path,
        after: FileImage,
        kept: Option<Kept>,
    ) -> Result<Prepared<FilesChange>, Fault> {
        let Self { directory, fixed, source, seen, image, identity } = self;
        if let (Some(seen), Source::File(file, _)) = (&seen, &source) {
            let now = file.stat()?;
            let same = size(&now) == size(seen) && identity.is_none_or(|found| found.inode == seen.st_ino);
            let content = image.content;
            if !same || (!still(seen, &now) && source.image(0..content.size, Some(cx.deadline))? != content) {
                return Err(about(FaultKind::Changed, path.as_str(), "is being written to"));
            }
        }
        let record = Record { operation, path, fixed, before: Some(image), after: Some(after), identity };
        record.prepared(&directory, kept, seen.as_ref().map(changed))
    }
}

/// A fault unless a file of this size can be cut to its first `length` bytes, and what goes be kept.
fn cuttable(path: &Path, size: u64, length: u64) -> Result<(), Fault> {
    let cut = size.checked_sub(length).ok_or_else(|| {
        about(FaultKind::Invalid, path.as_str(), &format!("has {size} bytes: it cannot be truncated to {length}"))
    })?;
    if cut <= MAX_CUT {
        return Ok(());
    }
    let why = format!("would lose {cut} bytes: no more than {MAX_CUT} are kept, and only `discard` keeps less");
    Err(about(FaultKind::TooLarge, path.as_str(), &why))
}

/// The file cut to its first `length` bytes, and what is kept of it.
pub(crate) fn shorter(
    cx: &mut Context<'_>,
    source: &Source,
    path: &Path,
    before: &FileImage,
    length: u64,
) -> Result<(FileImage, Kept), Fault> {
    let size = before.content.size;
    cuttable(path, size, length)?;
    let content = source.image(0..length, Some(cx.deadline))?;
    if let Source::Bytes(_) = source {
        // Only what the target has need not be kept for the rehearsal.
        source.keep(cx, 0..length)?;
    }
    let kept = Kept { from: length, image: source.keep(cx, length..size)? };
    Ok((FileImage { content, attributes: before.attributes.clone() }, kept))
}

/// The file with another mode. A call never adds set-user-id, set-group-id and sticky bits: no grant says whose
/// authority a program may have.
pub(crate) fn with_mode(path: &Path, before: &FileImage, mode: u32) -> Result<FileImage, Fault> {
    let attributes = &before.attributes;
    if mode & !BITS != 0 {
        return Err(about(FaultKind::Invalid, path.as_str(), "can only be given a mode of at most 07777"));
    }
    attributes.unsealed(path.as_str())?;
    attributes.restorable(path.as_str())?;
    Ok(FileImage { content: before.content, attributes: attributes.with_mode(mode) })
}

/// Applies the change if the file still is as it was prepared for.
pub(crate) fn apply(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    let not = |what: &str| {
        about(FaultKind::Changed, path.as_str(), &format!("is not as the change was prepared for: {what}"))
    };
    let sets_mode = change.operation == Operation::SetMode;
    let opened = if sets_mode { directory.file(name) } else { directory.appendable(name) };
    let file = opened.map_err(|fault| match fault.kind {
        FaultKind::NotFound => Fault { kind: FaultKind::Changed, ..fault },
        _ => fault,
    })?;
    let seen = file.stat()?;
    if let Some(what) = unlike(cx, change, &file, &seen)? {
        return Err(not(&what));
    }
    if change.is_nothing() {
        return Ok(());
    }
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Err(incomplete()) };
    if sets_mode {
        set_mode(&file, after.attributes.mode)?;
        return took(&file, path, &before.attributes, &after.attributes);
    }
    let kept = change.kept.ok_or_else(incomplete)?;
    let deadline = Some(cx.deadline);
    if change.operation == Operation::Extend {
        let mut end = cx.blobs.open(&kept.image.digest)?;
        return append(&file, &mut end, before.content.size, after.content.size, None, deadline);
    }
    if file.image(kept.from..before.content.size, deadline)? != kept.image {
        return Err(not("its end is another"));
    }
    if !still(&seen, &file.stat()?) && file.image(0..before.content.size, deadline)? != before.content {
        return Err(not("it was written to"));
    }
    // The last look: from here to the cut there is nothing but one system call.
    let found = size(&file.stat()?);
    if found != before.content.size {
        return Err(not(&format!("it has {found} bytes, not {}", before.content.size)));
    }
    cut(&file, after.content.size)
}

/// Proves that a new mode was taken as it was meant, and takes it back where it was not.
fn took(file: &Opened, path: &Path, before: &Attributes, after: &Attributes) -> Result<(), Fault> {
    let differs = after.differences(&Attributes::of(file, path.as_str()).map_err(after_all)?);
    let Some(difference) = differs.first() else { return Ok(()) };
    let what = format!("did not take its mode: {difference}");
    match set_mode(file, before.mode) {
        Ok(()) => Err(about(FaultKind::Unsupported, path.as_str(), &what)),
        Err(fault) => Err(after_all(fault)),
    }
}

/// What of the file on the target is not as it was when the change was prepared, and as the same file. Its content is
/// read only where its times have moved: a write that fails, as on a full file system, moves them too.
fn unlike(cx: &Context<'_>, change: &FilesChange, file: &Opened, seen: &Stat) -> Result<Option<String>, Fault> {
    let (Some(before), Some(identity)) = (&change.before, change.identity) else {
        return Ok(Some("it was prepared for a file that is only pending".to_owned()));
    };
    let found = Identity::of(seen);
    if (found.device, found.inode) != (identity.device, identity.inode) {
        return Ok(Some("it is another file".to_owned()));
    }
    if size(seen) != before.content.size {
        return Ok(Some(format!("it has {} bytes, not {}", size(seen), before.content.size)));
    }
    if let Some(difference) = before.attributes.differences(&Attributes::of(file, file.path())?).into_iter().next() {
        return Ok(Some(difference));
    }
    let untouched = found == identity && change.changed == Some(changed(seen));
    let same = untouched || file.image(0..before.content.size, Some(cx.deadline))? == before.content;
    Ok((!same).then(|| "it was written to".to_owned()))
}

/// A fault unless a change in place can be applied to what is pending, or to the file as it was prepared for.
pub(crate) fn expect(session: &FilesSession, cx: &Context<'_>, change: &FilesChange, path: &Path) -> Result<(), Fault> {
    let (directory, name) = session.opener.parent(path, change.fixed)?;
    let wrong = if session.overlay.at(path).is_some() {
        standing(session, cx, &directory, path, name, ANY_SIZE)?.unlike(change.before.as_ref())
    } else {
        let file = directory.file(name)?;
        unlike(cx, change, &file, &file.stat()?)?
    };
    wrong.map_or(Ok(()), |what| {
        let why = format!("is not as the change was prepared for: {what}");
        Err(about(FaultKind::Changed, path.as_str(), &why))
    })
}

/// Where a file stands relative to a change in place. It is only read where its size is one of the two, and not for a
/// mode: a change of that is none of the content, and what a service writes meanwhile is not its affair.
pub(crate) fn probe(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    name: &str,
) -> Result<State, Fault> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Err(incomplete()) };
    let Some(stat) = directory.look(name)? else { return Ok(State::Elsewhere("it is missing".to_owned())) };
    if let Err(fault) = plain(&stat, &directory.path_of(name)) {
        return Ok(State::Elsewhere(fault.what));
    }
    if change.operation == Operation::SetMode {
        let found = Attributes::of(&directory.file(name)?, &directory.path_of(name))?;
        return Ok(between(&before.attributes.differences(&found), &after.attributes.differences(&found)));
    }
    let found = size(&stat);
    if found == before.content.size || found == after.content.size {
        return Ok(state(change, &Standing::of(directory, name, ANY_SIZE, Some(cx.deadline))?));
    }
    if let Some(ends) = Ends::of(change)
        && (ends.kept.from..ends.full.size).contains(&found)
        && let Ok(found) = restorable(cx, &directory.file(name)?, &ends)?
    {
        let (there, all) = (found.saturating_sub(ends.kept.from), ends.kept.image.size);
        return Ok(State::Elsewhere(format!("{there} of the {all} bytes that were cut off are back")));
    }
    let (before, after) = (before.content.size, after.content.size);
    Ok(State::Elsewhere(format!("it has {found} bytes, not {before} as before nor {after} as after")))
}

/// Undoes a change in place.
pub(crate) fn undo(
    cx: &mut Context<'_>,
    directory: &Directory<'_>,
    change: &FilesChange,
    path: &Path,
    name: &str,
) -> Result<(), Fault> {
    match change.operation {
        Operation::Truncate => put_back(cx, directory, change, path, name),
        Operation::Extend => cut_again(cx, directory, change, path, name),
        Operation::SetMode => put_mode_back(directory, change, path, name),
        _ => match probe(cx, directory, change, name)? {
            State::Before => Ok(()),
            _ => Err(about(FaultKind::Unsupported, path.as_str(), "was discarded, which nothing undoes")),
        },
    }
}

/// Puts the mode back where it is as the change left it. What was written to the file meanwhile is not this change's.
fn put_mode_back(directory: &Directory<'_>, change: &FilesChange, path: &Path, name: &str) -> Result<(), Fault> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Err(incomplete()) };
    let file = directory.file(name)?;
    let found = Attributes::of(&file, path.as_str())?;
    let (from_before, from_after) = (before.attributes.differences(&found), after.attributes.differences(&found));
    if from_before.is_empty() {
        // Whoever put it back may have died before it was durable.
        return sync(&file, path.as_str());
    }
    if let Some(difference) = from_after.first() {
        return Err(left_alone(path, difference));
    }
    set_mode(&file, before.attributes.mode)?;
    match before.attributes.differences(&Attributes::of(&file, path.as_str()).map_err(after_all)?).first() {
        None => Ok(()),
        Some(difference) => {
            let what = format!("did not take its mode back: {difference}");
            Err(after_all(about(FaultKind::Other, path.as_str(), &what)))
        }
    }
}

pub(crate) fn left_alone(path: &Path, what: &str) -> Fault {
    let what = format!("is neither as before nor as after the change ({what}): it is left alone");
    about(FaultKind::Changed, path.as_str(), &what)
}

pub(crate) fn incomplete() -> Fault {
    Fault::new(FaultKind::Other, "a recorded change in place is incomplete")
}
