//! The changes: what is recorded of one, how it is made ready, how it is rehearsed.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_capability::{Context, Prepared};
use countersign_model::{Digest, Fault, FaultKind, Image, Kept, Reversibility};
use rustix::fs::{Access, AtFlags, accessat};
use rustix::process::{getegid, geteuid};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{FilesCall, MAX_CONTENT, octal};
use crate::fault::{about, failed, in_time};
use crate::handle::Directory;
use crate::inplace;
use crate::metadata::{Attributes, Time, unflagged, without_default_acl};
use crate::overlay::{Held, Layer};
use crate::path::{OWN_PREFIX, Path};
use crate::scope::Scope;
use crate::session::FilesSession;
use crate::snapshot::{FileImage, Identity, Snapshot, Standing};
use crate::source::Source;

/// The set-group-id bit: new files in such a directory get the directory's group.
const SETGID: u32 = 0o2000;
/// The most changes that one rehearsal holds pending.
const MAX_PENDING: usize = 10_000;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    Replace,
    Create,
    Remove,
    Truncate,
    SetMode,
    Discard,
    /// Puts back the end that an earlier run cut off.
    Extend,
}

impl Operation {
    /// Whether the file stays the same one, and none is staged beside it.
    pub(crate) const fn is_in_place(self) -> bool {
        matches!(self, Self::Truncate | Self::SetMode | Self::Discard | Self::Extend)
    }
}

/// The journaled record of one change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesChange {
    pub(crate) operation: Operation,
    pub(crate) path: String,
    /// In how many leading segments mounts may be crossed.
    pub(crate) fixed: usize,
    /// Names what is staged and kept beside the file; 32 hexadecimal digits.
    pub(crate) nonce: String,
    pub(crate) before: Option<FileImage>,
    pub(crate) after: Option<FileImage>,
    /// Which file it was; absent where there was none, or none but a pending one.
    pub(crate) identity: Option<Identity>,
    /// Device and inode of its directory.
    pub(crate) directory: (u64, u64),
    /// The end in which the contents before and after differ, where only that is kept.
    pub(crate) kept: Option<Kept>,
    /// When anything of the file was last changed; for changes in place of a file on the target.
    pub(crate) changed: Option<Time>,
}

impl FilesChange {
    /// The path, tested again: a journal is read by other versions too.
    pub(crate) fn path(&self) -> Result<Path, Fault> {
        Path::parse(&self.path)
    }

    /// The name beside the file of what is staged, and then of what is kept.
    pub(crate) fn own_name(&self) -> Result<String, Fault> {
        // It becomes a file's name: nothing but what `nonce` makes is taken.
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.nonce.len() != 32 || !self.nonce.bytes().all(digit) {
            return Err(Fault::new(FaultKind::Other, "a recorded change names no file of its own"));
        }
        Ok(format!("{OWN_PREFIX}{}", self.nonce))
    }

    /// The path of what is kept of a file that was replaced or removed.
    pub(crate) fn kept_beside(&self) -> Option<String> {
        let kept = matches!(self.operation, Operation::Replace | Operation::Remove);
        let (directory, _) = self.path.rsplit_once('/').filter(|_| kept)?;
        Some(format!("{directory}/{}", self.own_name().ok()?))
    }

    /// The name beside the file of what undo builds where nothing was kept.
    pub(crate) fn rebuilt_name(&self) -> Result<String, Fault> {
        Ok(format!("{}-undo", self.own_name()?))
    }

    /// Whether there is nothing to do: the file has this content already.
    pub(crate) fn is_nothing(&self) -> bool {
        self.before == self.after
    }
}

/// What stands at the path now: on the target, in a rehearsal under what is pending.
pub(crate) fn standing(
    session: &FilesSession,
    cx: &Context<'_>,
    directory: &Directory<'_>,
    path: &Path,
    name: &str,
    limit: u64,
) -> Result<Standing, Fault> {
    match session.overlay.at(path) {
        None => Standing::of(directory, name, limit, Some(cx.deadline)),
        Some(Layer { image: None, .. }) => Ok(Standing::Missing),
        Some(Layer { image: Some(image), .. }) => {
            let pending = Snapshot { image: image.clone(), identity: None, bytes: None };
            Ok(Standing::File(Box::new(pending)))
        }
    }
}

/// Makes a write ready. Changes nothing.
pub(crate) fn prepare(
    session: &FilesSession,
    cx: &mut Context<'_>,
    scope: &Scope,
    call: FilesCall,
) -> Result<Prepared<FilesChange>, Fault> {
    in_time(Some(cx.deadline))?;
    let path = call.path()?;
    let (operation, contents, mode) = match call {
        FilesCall::Truncate { .. } | FilesCall::SetMode { .. } | FilesCall::Discard { .. } => {
            return inplace::prepare(session, cx, scope, &call);
        }
        FilesCall::Replace { contents, .. } => (Operation::Replace, Some(contents), 0),
        FilesCall::Create { contents, mode, .. } => (Operation::Create, Some(contents), mode),
        FilesCall::Remove { .. } => (Operation::Remove, None, 0),
        _ => return Err(Fault::new(FaultKind::Denied, "a read was sent as a write")),
    };
    if contents.as_ref().is_some_and(|contents| contents.len() as u64 > MAX_CONTENT) {
        return Err(about(FaultKind::TooLarge, path.as_str(), &format!("would have more than {MAX_CONTENT} bytes")));
    }
    let fixed = scope.fixed();
    let (directory, name) = session.opener.parent(&path, fixed)?;
    let directory = directory.readable()?;
    changeable(&directory)?;

    let before = standing(session, cx, &directory, &path, name, MAX_CONTENT)?;
    let (before, identity) = match before {
        Standing::Other(fault) => return Err(fault),
        Standing::Missing if operation != Operation::Create => {
            return Err(about(FaultKind::NotFound, path.as_str(), "does not exist"));
        }
        Standing::File(_) if operation == Operation::Create => {
            return Err(about(FaultKind::Exists, path.as_str(), "exists already"));
        }
        Standing::Missing => (None, None),
        Standing::File(found) => {
            let Snapshot { image, identity, bytes } = *found;
            if identity.is_some() {
                unflagged(directory.file(name)?, path.as_str())?;
            }
            image.attributes.restorable(path.as_str())?;
            if operation == Operation::Replace {
                image.attributes.unsealed(path.as_str())?;
            }
            let bytes = match bytes {
                Some(bytes) => bytes,
                // It is only pending, and perhaps no blob as a whole.
                None => {
                    let source = Source::of(session, cx.blobs, &directory, &path, name)?;
                    source.content(&path, MAX_CONTENT, Some(cx.deadline))?
                }
            };
            cx.blobs.put(&bytes)?;
            (Some(image), identity)
        }
    };
    let after = match contents {
        None => None,
        Some(contents) => {
            let attributes = match &before {
                Some(before) => before.attributes.clone(),
                None => new_attributes(&directory, &path, mode)?,
            };
            cx.blobs.put(&contents)?;
            Some(FileImage { content: Image::of(&contents), attributes })
        }
    };
    Record { operation, path: &path, fixed, before, after, identity }.prepared(&directory, None, None)
}

/// What is known of a change when it is made ready.
pub(crate) struct Record<'a> {
    pub(crate) operation: Operation,
    pub(crate) path: &'a Path,
    pub(crate) fixed: usize,
    pub(crate) before: Option<FileImage>,
    pub(crate) after: Option<FileImage>,
    pub(crate) identity: Option<Identity>,
}

impl Record<'_> {
    pub(crate) fn prepared(
        self,
        directory: &Directory<'_>,
        kept: Option<Kept>,
        changed: Option<Time>,
    ) -> Result<Prepared<FilesChange>, Fault> {
        let Self { operation, path, fixed, before, after, identity } = self;
        let effect = effect(operation, before.as_ref(), after.as_ref());
        let summary = summary(operation, path, before.as_ref(), after.as_ref(), kept);
        Ok(Prepared {
            subject: path.as_str().to_owned(),
            reversibility: match operation {
                Operation::Discard => Reversibility::Irreversible,
                _ => Reversibility::Exact,
            },
            summary,
            before: before.as_ref().map(|image| image.content),
            after: after.as_ref().map(|image| image.content),
            kept,
            effect,
            change: FilesChange {
                operation,
                path: path.as_str().to_owned(),
                fixed,
                nonce: nonce()?,
                before,
                after,
                identity,
                directory: (directory.stat().st_dev, directory.stat().st_ino),
                kept,
                changed,
            },
        })
    }
}

/// A fault if nothing can be renamed in this directory.
pub(crate) fn changeable(directory: &Directory<'_>) -> Result<(), Fault> {
    let path = directory.path_of(".");
    unflagged(directory, &path)?;
    accessat(directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|errno| failed("changed", &path, errno))
}

/// What a new file in this directory gets.
fn new_attributes(directory: &Directory<'_>, path: &Path, mode: u32) -> Result<Attributes, Fault> {
    if mode > 0o777 {
        return Err(about(FaultKind::Invalid, path.as_str(), "can only be made with a mode of at most 0777"));
    }
    without_default_acl(directory, &directory.path_of("."))?;
    let parent = directory.stat();
    let gid = if parent.st_mode & SETGID == 0 { getegid().as_raw() } else { parent.st_gid };
    Ok(Attributes { mode, uid: geteuid().as_raw(), gid, xattrs: Default::default() })
}

/// What is signed besides the content.
fn effect(operation: Operation, before: Option<&FileImage>, after: Option<&FileImage>) -> serde_json::Value {
    let described = |image: Option<&FileImage>| image.map(|image| image.attributes.describe());
    json!({ "op": operation, "before": described(before), "after": described(after) })
}

fn summary(
    operation: Operation,
    path: &Path,
    before: Option<&FileImage>,
    after: Option<&FileImage>,
    kept: Option<Kept>,
) -> String {
    let size = |image: Option<&FileImage>| image.map_or(0, |image| image.content.size);
    let mode = |image: Option<&FileImage>| octal(image.map_or(0, |image| image.attributes.mode));
    let (old, new) = (size(before), size(after));
    match operation {
        Operation::Replace => format!("replace `{path}` ({old} bytes become {new})"),
        Operation::Create => format!("create `{path}` ({new} bytes)"),
        Operation::Remove => format!("remove `{path}` ({old} bytes)"),
        Operation::Extend => format!("append to `{path}` what was cut off ({old} bytes become {new})"),
        Operation::Truncate => format!("truncate `{path}` ({old} bytes become {new})"),
        Operation::SetMode => format!("set the mode of `{path}` ({} becomes {})", mode(before), mode(after)),
        Operation::Discard => {
            let kept = kept.map_or(0, |kept| kept.image.size);
            format!("discard the content of `{path}` ({old} bytes, of which the last {kept} are kept to be read)")
        }
    }
}

pub(crate) fn nonce() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(FaultKind::Other, format!("the system gave no random bytes: {error}")))?;
    Ok(hex::encode(bytes))
}

/// Applies a change to the overlay.
pub(crate) fn rehearse(session: &mut FilesSession, cx: &Context<'_>, change: &FilesChange) -> Result<(), Fault> {
    let path = change.path()?;
    if change.operation.is_in_place() {
        inplace::expect(session, cx, change, &path)?;
    } else {
        expect(session, cx, change, &path, change.before.as_ref())?;
    }
    if session.overlay.len() >= MAX_PENDING {
        return Err(Fault::new(FaultKind::TooLarge, format!("a rehearsal holds at most {MAX_PENDING} changes")));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let held = held(session, change, &path);
    session.overlay.push(path, Layer { nonce: change.nonce.clone(), image: change.after.clone(), held, at });
    Ok(())
}

/// Where the content is that the change would leave.
fn held(session: &FilesSession, change: &FilesChange, path: &Path) -> Held {
    match (change.operation, session.overlay.at(path), change.identity) {
        (Operation::Truncate | Operation::SetMode, Some(below), _) => below.held,
        (Operation::Truncate | Operation::SetMode, None, Some(Identity { device, inode, .. })) => {
            Held::Target { device, inode }
        }
        (Operation::Extend, ..) if change.after.as_ref().is_some_and(|after| after.content.size > MAX_CONTENT) => {
            Held::Nowhere
        }
        _ => Held::Blob,
    }
}

/// Undoes a change on the overlay; the file's latest must be undone first.
pub(crate) fn rehearse_undo(session: &mut FilesSession, change: &FilesChange) -> Result<(), Fault> {
    let path = change.path()?;
    match session.overlay.at(&path) {
        Some(layer) if layer.nonce == change.nonce => {
            session.overlay.pop(&path);
            Ok(())
        }
        _ => Err(about(FaultKind::Changed, path.as_str(), "is not pending as this change left it")),
    }
}

/// A fault unless what stands at the path is as `wanted`.
fn expect(
    session: &FilesSession,
    cx: &Context<'_>,
    change: &FilesChange,
    path: &Path,
    wanted: Option<&FileImage>,
) -> Result<(), Fault> {
    let (directory, name) = session.opener.parent(path, change.fixed)?;
    match standing(session, cx, &directory, path, name, MAX_CONTENT)?.differences(wanted).first() {
        None => Ok(()),
        Some(difference) => Err(about(
            FaultKind::Changed,
            path.as_str(),
            &format!("is not as the change was prepared for: {difference}"),
        )),
    }
}

/// The bytes of an image.
pub(crate) fn content(cx: &mut Context<'_>, image: &FileImage) -> Result<Vec<u8>, Fault> {
    let bytes = cx.blobs.get(&image.content.digest)?;
    if Digest::of(&bytes) != image.content.digest {
        return Err(Fault::new(FaultKind::Other, format!("the kept bytes of {} are damaged", image.content.digest)));
    }
    Ok(bytes)
}
