//! Files of the target, by absolute path.
//!
//! A call needs a grant of `files.read` or `files.write` that covers the path. Every write is atomic
//! and durable, keeps owner, mode, ACL and extended attributes, and can be undone byte for byte, but for [`discard`];
//! what cannot be kept that way is refused with `unsupported`.

pub use crate::bindings::countersign::files::types::{Entry, Kind, Space, Stat, Usage};
use crate::bindings::countersign::files::{read, write};
use crate::{Error, ErrorKind};

/// The whole content of a regular file of at most 8 MiB.
///
/// # Errors
/// `not-found`, `too-large`, `unsupported` where it is no regular file, `denied`.
pub fn read(path: impl AsRef<str>) -> Result<Vec<u8>, Error> {
    Ok(read::read(path.as_ref())?)
}

/// As [`read`], for a file in UTF-8.
///
/// # Errors
/// As for [`read`]; `unsupported` where it is not UTF-8.
pub fn read_text(path: impl AsRef<str>) -> Result<String, Error> {
    let path = path.as_ref();
    String::from_utf8(read(path)?).map_err(|_| Error {
        kind: ErrorKind::Unsupported,
        message: format!("`{path}` is not UTF-8"),
        reached: false,
    })
}

/// The last `bytes` bytes of a regular file, or all of it where it is shorter; at most 1 MiB.
///
/// # Errors
/// As for [`read`].
pub fn tail(path: impl AsRef<str>, bytes: u32) -> Result<Vec<u8>, Error> {
    Ok(read::tail(path.as_ref(), bytes)?)
}

/// As [`tail`], with U+FFFD for what is not UTF-8; for logs. The first line may lack its beginning.
///
/// # Errors
/// As for [`read`].
pub fn tail_text(path: impl AsRef<str>, bytes: u32) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&tail(path, bytes)?).into_owned())
}

/// `length` bytes of a regular file of any size, from `offset` on; fewer where the file ends, none past its end. At
/// most 1 MiB.
///
/// # Errors
/// As for [`read`].
pub fn read_range(path: impl AsRef<str>, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
    Ok(read::read_range(path.as_ref(), offset, length)?)
}

/// How full the file system is that a file or directory lies in.
///
/// # Errors
/// As for [`read`]; `unknowable` while a rehearsal has changes of files pending.
pub fn usage(path: impl AsRef<str>) -> Result<Usage, Error> {
    Ok(read::usage(path.as_ref())?)
}

/// What the path itself names: a symlink is not followed.
///
/// # Errors
/// `not-found`, `denied`.
pub fn stat(path: impl AsRef<str>) -> Result<Stat, Error> {
    Ok(read::stat(path.as_ref())?)
}

/// What a directory holds, sorted by the bytes of the names; at most 10,000 entries.
///
/// # Errors
/// `not-found`, `too-large`, `unsupported` where it is no directory, `denied`.
pub fn list(path: impl AsRef<str>) -> Result<Vec<Entry>, Error> {
    Ok(read::list(path.as_ref())?)
}

/// Gives an existing regular file new content, of at most 8 MiB.
///
/// # Errors
/// `not-found`, `too-large`, `unsupported`, `denied`, `changed` where somebody else wrote to it meanwhile.
pub fn replace(path: impl AsRef<str>, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    Ok(write::replace(path.as_ref(), contents.as_ref())?)
}

/// Makes a file that does not exist yet, with these permission bits (at most `0o777`), owned by the runner's user.
///
/// # Errors
/// `exists`, `not-found` where the directory does not exist, `too-large`, `invalid`, `denied`.
pub fn create(path: impl AsRef<str>, contents: impl AsRef<[u8]>, mode: u32) -> Result<(), Error> {
    Ok(write::create(path.as_ref(), contents.as_ref(), mode)?)
}

/// Removes a regular file of at most 8 MiB.
///
/// # Errors
/// `not-found`, `too-large`, `unsupported`, `denied`.
pub fn remove(path: impl AsRef<str>) -> Result<(), Error> {
    Ok(write::remove(path.as_ref())?)
}

/// Cuts a regular file of any size to its first `length` bytes, in place: a program that has it open goes on with the
/// same file. What is cut off is kept for undo, so it is at most 1 GiB.
///
/// # Errors
/// `not-found`, `too-large`, `invalid` where the file is shorter, `unsupported`, `denied`, `changed` where somebody else
/// wrote to it meanwhile, `timed-out` where it is too large to be read in a call's time.
pub fn truncate(path: impl AsRef<str>, length: u64) -> Result<(), Error> {
    Ok(write::truncate(path.as_ref(), length)?)
}

/// Gives a regular file these permission bits, at most `0o7777`, in place. Set-user-id, set-group-id and sticky can be
/// kept or taken away, never added.
///
/// # Errors
/// As for [`truncate`].
pub fn set_mode(path: impl AsRef<str>, mode: u32) -> Result<(), Error> {
    Ok(write::set_mode(path.as_ref(), mode)?)
}

/// Makes a regular file of any size empty, in place, which frees its space. Nothing undoes it: for what is too large
/// to be kept. Its size, its digest and its last 64 KiB are kept, to be read.
///
/// # Errors
/// As for [`truncate`].
pub fn discard(path: impl AsRef<str>) -> Result<(), Error> {
    Ok(write::discard(path.as_ref())?)
}
