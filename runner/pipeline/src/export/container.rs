//! The container of an exported proposal: a tar archive in the one encoding that there is for its content.
//!
//! Any tar program can take it apart. It is read by taking out names and contents, and by writing them again: what
//! is not byte for byte what would be written, from the first header to the last zero, is refused.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::sync::Arc;

use countersign_model::text::excerpt;
use tar::{Archive, Builder, EntryType, Header};

use crate::error::PipelineError;

/// The largest exported proposal, in bytes: a bundle of the largest size, its images, and what is signed.
pub const MAX_EXPORT: usize = 448 * 1024 * 1024;
/// The most entries.
const MAX_ENTRIES: usize = 16 * 1024;
/// The longest name of an entry, in bytes: what fits into a header.
const MAX_NAME: usize = 100;
/// The first entry: what this is, and the version of it.
const MARK: (&str, &[u8]) = ("countersign-proposal", b"1\n");

/// Every entry but the mark, by its name.
pub(crate) type Entries = BTreeMap<String, Arc<[u8]>>;

/// The archive of these entries: the mark, then each by its name, owned by nobody, of no time.
///
/// # Errors
/// When there are too many, or they are too large.
pub(crate) fn pack(entries: &Entries) -> Result<Vec<u8>, PipelineError> {
    let too_large = |what: String| {
        PipelineError::refused(format!("the proposal is too large to be exported: {what}"))
            .with_hint("review and approve it on the host")
    };
    if entries.len() >= MAX_ENTRIES {
        return Err(too_large(format!("{} entries are more than {MAX_ENTRIES}", entries.len())));
    }
    let size: usize = entries.values().map(|bytes| bytes.len().saturating_add(1024)).sum();
    if size > MAX_EXPORT - 4096 {
        return Err(too_large(format!("{size} bytes are more than {MAX_EXPORT}")));
    }
    write(entries, Vec::with_capacity(size + 4096)).map_err(|error| {
        PipelineError::failed(format!("the proposal cannot be packed: {error}")).with_hint("try again")
    })
}

/// Whether it begins as an exported proposal does.
pub(crate) fn recognizes(bytes: &[u8]) -> bool {
    bytes.starts_with(&[MARK.0.as_bytes(), b"\0"].concat())
}

/// The entries of an archive that may say anything.
///
/// # Errors
/// When it is not exactly what [`pack`] makes of its entries.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Entries, PipelineError> {
    let (mark, version) = MARK;
    if bytes.len() > MAX_EXPORT {
        let what = format!("{} bytes are more than the {MAX_EXPORT} of an exported proposal", bytes.len());
        return Err(PipelineError::failed(what).with_hint("name the file that `countersign export` wrote"));
    }
    if !recognizes(bytes) {
        return Err(PipelineError::failed("it is not an exported proposal")
            .with_hint("name the file that `countersign export` wrote"));
    }
    let mut entries = read(bytes)?;
    match entries.remove(mark) {
        Some(found) if *found == *version => {}
        _ => {
            return Err(PipelineError::failed("it is an exported proposal of another version")
                .with_hint("export it again with this version of `countersign`"));
        }
    }
    let mut rest = Expected(bytes);
    if write(&entries, &mut rest).is_err() || !rest.0.is_empty() {
        return Err(damaged("it is not in the one encoding that `countersign export` writes"));
    }
    Ok(entries)
}

/// A refusal of a file that was not written by `countersign export`, or was changed since.
pub(crate) fn damaged(why: impl std::fmt::Display) -> PipelineError {
    PipelineError::refused(format!("the exported proposal is damaged or was tampered with: {why}"))
        .with_hint("nothing was signed or kept; get the file again from where it was exported")
}

fn read(bytes: &[u8]) -> Result<Entries, PipelineError> {
    let unreadable = |error: io::Error| damaged(excerpt(&error.to_string(), 200));
    let mut archive = Archive::new(bytes);
    let mut entries = Entries::new();
    // Raw: what a long name or an extended header would say is not followed, since neither is ever written.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let shown = excerpt(&name, MAX_NAME);
        if entry.header().entry_type() != EntryType::Regular {
            return Err(damaged(format!("`{shown}` is not a regular file")));
        }
        if !is_name(&name) {
            return Err(damaged(format!("`{shown}` is not a name of anything in it")));
        }
        if entries.len() >= MAX_ENTRIES {
            return Err(damaged(format!("it has more than {MAX_ENTRIES} entries")));
        }
        // Never more than there is: the archive is in memory, and reading ends where it does.
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(unreadable)?;
        if content.len() as u64 != entry.size() {
            return Err(damaged(format!("`{shown}` is cut off")));
        }
        if entries.insert(name, content.into()).is_some() {
            return Err(damaged(format!("`{shown}` stands twice")));
        }
    }
    Ok(entries)
}

/// Lower-case letters, digits, `.` and `-` in parts that begin with a letter or a digit: nothing that leads
/// anywhere else where somebody unpacks it.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= MAX_NAME
        && name.split('/').all(|part| {
            part.bytes().next().is_some_and(plain) && part.bytes().all(|b| plain(b) || b == b'.' || b == b'-')
        })
}

fn write<W: Write>(entries: &Entries, to: W) -> io::Result<W> {
    let mut builder = Builder::new(to);
    append(&mut builder, MARK.0, MARK.1)?;
    for (name, bytes) in entries {
        append(&mut builder, name, bytes)?;
    }
    builder.into_inner()
}

fn append<W: Write>(builder: &mut Builder<W>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    builder.append(&header, bytes)
}

/// Takes only the bytes that are expected.
struct Expected<'a>(&'a [u8]);

impl Write for &mut Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or_else(|| io::Error::other("other bytes"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
