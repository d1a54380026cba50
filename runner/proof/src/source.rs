//! Where the files of a log are read from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::{Hash, ProofError};

/// How many hashes a full tile has, and how many entries a full bundle.
pub(crate) const WIDTH: u64 = 256;
/// The largest bundle, in bytes.
const MAX_BUNDLE: usize = 256 * (65_535 + 2);
/// The file of the signed checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The files of a log, by the names that `tlog-tiles` gives them. It is only read from.
pub trait Source {
    /// The bytes of a file, at most `limit` of them; none where there is no such file.
    ///
    /// # Errors
    /// `FileTooLarge` where there are more, and as the system says.
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;
}

/// A log in a directory.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The log in this directory, which has the file `checkpoint`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }
}

impl Source for Directory {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(path);
        // Opening anything else, such as a pipe, could wait for ever.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut bytes = Vec::new();
        File::open(path)?.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
        }
        Ok(Some(bytes))
    }
}

/// A file's index in its level as its name has it: groups of three digits, an `x` before all but the last.
fn number(index: u64) -> String {
    let digits = index.to_string();
    let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3).saturating_mul(3));
    let groups: Vec<&str> = padded.as_bytes().chunks(3).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    match groups.split_last() {
        Some((last, before)) => before.iter().map(|group| format!("x{group}/")).chain([(*last).to_owned()]).collect(),
        None => padded,
    }
}

/// A file of so many hashes or entries: the partial one, or the full one that took its place.
fn read_wide(
    source: &dyn Source,
    stem: &str,
    index: u64,
    width: u64,
    limit: usize,
) -> Result<(String, Vec<u8>), ProofError> {
    let full = format!("{stem}/{}", number(index));
    let partial = (width < WIDTH).then(|| format!("{full}.p/{width}"));
    let wanted = partial.as_ref().unwrap_or(&full).clone();
    for path in partial.into_iter().chain([full]) {
        match source.read(&path, limit) {
            Ok(Some(bytes)) => return Ok((path, bytes)),
            Ok(None) => {}
            Err(source) => return Err(ProofError::Unreadable { path, source }),
        }
    }
    Err(ProofError::Missing { path: wanted })
}

/// The first so many hashes of a tile, and its name.
pub(crate) fn tile(source: &dyn Source, level: u32, index: u64, width: u64) -> Result<(String, Vec<Hash>), ProofError> {
    let limit = (WIDTH as usize).saturating_mul(32);
    let (path, bytes) = read_wide(source, &format!("tile/{level}"), index, width, limit)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    let has = hashes.len() as u64;
    // A full tile that took a partial one's place has more.
    if !rest.is_empty() || (has != width && has != WIDTH) {
        return Err(ProofError::Damaged { path, why: "it has more or fewer hashes than its name says" });
    }
    let hashes = hashes.iter().take(width as usize).copied().collect();
    Ok((path, hashes))
}

/// The first so many entries of a bundle, and its name.
pub(crate) fn bundle(source: &dyn Source, index: u64, width: u64) -> Result<(String, Vec<Vec<u8>>), ProofError> {
    let (path, bytes) = read_wide(source, "tile/entries", index, width, MAX_BUNDLE)?;
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let entry = rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((entry, after)) = entry else {
            return Err(ProofError::Damaged { path, why: "an entry is cut off" });
        };
        entries.push(entry.to_vec());
        rest = after;
    }
    let has = entries.len() as u64;
    if has != width && has != WIDTH {
        return Err(ProofError::Damaged { path, why: "it has more or fewer entries than its name says" });
    }
    entries.truncate(width as usize);
    Ok((path, entries))
}

/// The signed checkpoint, as it stands.
pub(crate) fn checkpoint(source: &dyn Source) -> Result<Vec<u8>, ProofError> {
    let path = CHECKPOINT.to_owned();
    match source.read(CHECKPOINT, crate::MAX_NOTE) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(ProofError::Missing { path }),
        Err(source) => Err(ProofError::Unreadable { path, source }),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_those_of_the_specification() {
        let numbers = [(0, "000"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")];
        numbers.iter().for_each(|(index, name)| assert_eq!(super::number(*index), *name));
    }
}
