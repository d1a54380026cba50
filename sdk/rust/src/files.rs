//! Files of the target, by absolute path.
//!
//! A call needs a grant of `files.read` or `files.write` that covers the path. Every write is atomic
//! and durable, keeps owner, mode, ACL and extended attributes, and can be undone byte for byte;
//! what cannot be kept that way is refused with `unsupported`.

pub use crate::bindings::countersign::files::types::{Entry, Kind, Stat};
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
