//! The files of a log, by `tlog-tiles` of C2SP: tiles of 256 hashes, and bundles of the entries behind the lowest ones.

use crate::Hash;

/// The longest entry, in bytes: its length stands before it in two.
pub const MAX_ENTRY: usize = 65_535;
/// How many hashes a full tile has, and how many entries a full bundle.
pub const BUNDLE_WIDTH: u64 = 256;
/// Above this level no tile ever has a hash: a size is less than 2^64.
const MAX_LEVEL: u8 = 7;

/// An entry that no bundle can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {size} bytes is longer than the {MAX_ENTRY} that a log takes")]
pub struct TooLong {
    /// Its size in bytes.
    pub size: usize,
}

/// What a file of a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Entries.
    Bundle,
    /// Hashes of this level, 0 for those of entries.
    Tile(u8),
}

/// A file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    /// What it holds.
    pub kind: FileKind,
    /// Its place among its kind, from 0.
    pub index: u64,
    /// How many it holds, 1 to 256; less than 256 is a partial one.
    pub width: u16,
}

impl File {
    /// Whether it never changes any more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width as u64 == BUNDLE_WIDTH
    }

    /// The place of its first hash or entry among those of its level.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.index.saturating_mul(BUNDLE_WIDTH)
    }
}

/// A file's name below the log's prefix: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[must_use]
pub fn path(file: &File) -> String {
    let kind = match file.kind {
        FileKind::Bundle => "entries".to_owned(),
        FileKind::Tile(level) => level.to_string(),
    };
    let mut number = format!("{:03}", file.index % 1000);
    let mut rest = file.index / 1000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1000);
        rest /= 1000;
    }
    if file.is_full() { format!("tile/{kind}/{number}") } else { format!("tile/{kind}/{number}.p/{}", file.width) }
}

/// The files that a log of `to` entries has and one of `from` entries has not: each bundle, then the tiles from the lowest
/// level up. A file comes after all that its hashes are made of.
pub fn files_after(from: u64, to: u64) -> impl Iterator<Item = File> {
    let kinds = std::iter::once(FileKind::Bundle).chain((0..=MAX_LEVEL).map(FileKind::Tile));
    kinds.flat_map(move |kind| {
        let height = match kind {
            FileKind::Bundle => 0,
            FileKind::Tile(level) => u32::from(level).saturating_mul(8),
        };
        // How many hashes this level has, before and after.
        let (before, after) = (from.checked_shr(height).unwrap_or(0), to.checked_shr(height).unwrap_or(0));
        let first = before / BUNDLE_WIDTH;
        let full = (first..after / BUNDLE_WIDTH).map(move |index| File { kind, index, width: 256 });
        let last = (after % BUNDLE_WIDTH) as u16;
        let partial = File { kind, index: after / BUNDLE_WIDTH, width: last };
        full.chain((last > 0 && after > before).then_some(partial))
    })
}

/// The partial files of a log of this size: what its right edge is in.
pub fn partial_files(size: u64) -> impl Iterator<Item = File> {
    let kinds = std::iter::once(FileKind::Bundle).chain((0..=MAX_LEVEL).map(FileKind::Tile));
    kinds.filter_map(move |kind| {
        let height = match kind {
            FileKind::Bundle => 0,
            FileKind::Tile(level) => u32::from(level).saturating_mul(8),
        };
        let hashes = size.checked_shr(height).unwrap_or(0);
        let width = (hashes % BUNDLE_WIDTH) as u16;
        (width > 0).then_some(File { kind, index: hashes / BUNDLE_WIDTH, width })
    })
}

/// A tile's bytes.
#[must_use]
pub fn tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// A bundle's bytes: each entry after its length, in two bytes, the higher first.
///
/// # Errors
/// Where an entry is longer than [`MAX_ENTRY`].
pub fn bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TooLong> {
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| TooLong { size: entry.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
