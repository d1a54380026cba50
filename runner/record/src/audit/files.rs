//! The log's files, by `tlog-tiles` of C2SP, made from its rows: whatever is missing or torn of them is made again, and they
//! never say more than what is durable.

use std::path::{Path, PathBuf};

use countersign_tlog::{
    BUNDLE_WIDTH, Edge, File, FileKind, Hash, bundle, files_after, leaf_hash, partial_files, path, tile,
};
use rusqlite::{Connection, params};

use super::{Audit, LogHead, damaged, head};
use crate::rows;
use crate::state::{DIR_MODE, FILE_MODE, transact};
use crate::{Durable, RecordError};

/// The folder of the log, in the state directory.
pub const AUDIT: &str = "audit";
/// The file of its signed checkpoint, there.
pub const CHECKPOINT: &str = "checkpoint";
/// The file of the newest checkpoint that witnesses cosigned, beside it.
pub const WITNESSED: &str = "checkpoint.witnessed";
/// The largest file of the log, in bytes: a bundle of the longest entries.
const MAX_FILE: usize = 256 * (65_535 + 2);

/// What was made of a log's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// How many entries they say.
    pub size: u64,
    /// How many files were written.
    pub written: u64,
}

/// The rows behind one file.
pub(super) struct Rows {
    hashes: Vec<Hash>,
    pub(super) entries: Vec<Vec<u8>>,
}

impl Audit<'_> {
    /// The folder of the log's files.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.0.dir().join(AUDIT)
    }

    /// Makes the log's files say what its rows say. Where `sync` is set, full ones are synced as well, and not looked at again;
    /// a run that waits for nothing leaves that to the next command.
    ///
    /// # Errors
    /// Where they cannot be written, and [`RecordError::Damaged`] where the rows are not what was signed; then the files are
    /// as they were, or hold more of what was signed.
    pub fn publish(&self, sync: bool) -> Result<Published, RecordError> {
        let durable = self.0.durable();
        durable.check()?;
        let dir = self.dir();
        // One view of the rows, whoever adds to them meanwhile.
        let (head, from, made) = self.0.with_connection(|connection| {
            let failed = |error| RecordError::database("read the audit log", error);
            let tx = connection.transaction().map_err(failed)?;
            let head = head(&tx).map_err(failed)?;
            let synced: u64 =
                tx.query_row("SELECT synced FROM log_head", [], |row| rows::get_count(row, 0)).map_err(failed)?;
            // Whoever removed the files removed the latest ones too.
            let from = if is_there(&dir, synced) { synced } else { 0 };
            let made = make(&tx, durable, &dir, &head, from, sync)?;
            Ok((head, from, made))
        })?;
        let Some(checkpoint) = head.checkpoint.as_ref().filter(|_| self.0.log().is_signed()) else {
            return Ok(Published { size: 0, written: made });
        };
        let place = dir.join(CHECKPOINT);
        let stands = durable.read(&place, MAX_FILE)?;
        let differs = stands.as_deref() != Some(checkpoint.as_bytes());
        if differs {
            durable.replace_lazily(&place, checkpoint.as_bytes(), FILE_MODE)?;
        }
        let full = head.size / BUNDLE_WIDTH * BUNDLE_WIDTH;
        if sync && full > from {
            self.0.with_connection(|connection| {
                transact(connection, "note what is synced of the audit log", |tx| {
                    let sql = "UPDATE log_head SET synced = ?1 WHERE synced < ?1 OR ?2";
                    tx.execute(sql, params![rows::time(full), from == 0])
                        .map_err(|error| RecordError::database("note what is synced of the audit log", error))
                })
            })?;
        }
        Ok(Published { size: head.size, written: made.saturating_add(differs.into()) })
    }
}

/// Whether the latest full file of so many synced entries is there.
fn is_there(dir: &Path, synced: u64) -> bool {
    let Some(last) = (synced / BUNDLE_WIDTH).checked_sub(1) else { return true };
    [FileKind::Bundle, FileKind::Tile(0)].into_iter().all(|kind| {
        let file = File { kind, index: last, width: 256 };
        dir.join(path(&file)).symlink_metadata().is_ok_and(|metadata| metadata.is_file())
    })
}

/// Makes every file that a log of `from` entries has not, and compares the rows with what was signed; how many were written.
fn make(
    connection: &Connection,
    durable: &Durable,
    dir: &Path,
    head: &LogHead,
    from: u64,
    sync: bool,
) -> Result<u64, RecordError> {
    let mut written: u64 = 0;
    // What is partial is never synced, so it is looked at each time.
    let full = files_after(from, head.size).filter(File::is_full);
    for file in full.chain(partial_files(head.size)) {
        let rows = rows_of(connection, &file).map_err(|error| RecordError::database("read the audit log", error))?;
        agrees(connection, head, &file, &rows)?;
        let bytes = match file.kind {
            FileKind::Bundle => bundle(&rows.entries).map_err(|error| damaged(error.to_string()))?,
            FileKind::Tile(_) => tile(&rows.hashes),
        };
        let place = dir.join(path(&file));
        let stands = durable.read(&place, MAX_FILE).ok().flatten();
        if stands.as_deref() == Some(bytes.as_slice()) && !(sync && file.is_full()) {
            continue;
        }
        if let Some(folder) = place.parent() {
            folders(durable, dir, folder)?;
        }
        if sync && file.is_full() {
            durable.replace(&place, &bytes, FILE_MODE)?;
        } else {
            durable.replace_lazily(&place, &bytes, FILE_MODE)?;
        }
        if file.is_full() {
            forget_partial(&place);
        }
        written = written.saturating_add(1);
    }
    Ok(written)
}

pub(super) fn rows_of(connection: &Connection, file: &File) -> rusqlite::Result<Rows> {
    let first = rows::time(file.first());
    let end = first.saturating_add(file.width.into());
    let mut read = Rows { hashes: Vec::new(), entries: Vec::new() };
    match file.kind {
        FileKind::Bundle | FileKind::Tile(0) => {
            let sql = "SELECT leaf, entry FROM log_entries WHERE position >= ?1 AND position < ?2 ORDER BY position";
            let mut statement = connection.prepare(sql)?;
            let mut found = statement.query(params![first, end])?;
            while let Some(row) = found.next()? {
                read.hashes.push(row.get(0)?);
                read.entries.push(row.get(1)?);
            }
        }
        FileKind::Tile(level) => {
            let sql =
                "SELECT hash FROM log_nodes WHERE level = ?3 AND position >= ?1 AND position < ?2 ORDER BY position";
            let mut statement = connection.prepare(sql)?;
            read.hashes =
                statement.query_map(params![first, end, level], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        }
    }
    Ok(read)
}

/// Compares a file's rows with what lies below and above them, up to the edge, which was signed.
pub(super) fn agrees(connection: &Connection, head: &LogHead, file: &File, rows: &Rows) -> Result<(), RecordError> {
    if rows.hashes.len() != usize::from(file.width) {
        return Err(damaged(format!("rows of `{}` are missing", path(file))));
    }
    let level = match file.kind {
        FileKind::Bundle => {
            let hashed = rows.entries.iter().zip(&rows.hashes).position(|(entry, leaf)| leaf_hash(entry) != *leaf);
            return hashed.map_or(Ok(()), |at| {
                Err(damaged(format!(
                    "the entry {} was changed after it was signed",
                    file.first().saturating_add(at as u64)
                )))
            });
        }
        FileKind::Tile(level) => level,
    };
    let mut edge = Edge::default();
    rows.hashes.iter().for_each(|hash| drop(edge.append_leaf(*hash)));
    let same = if file.is_full() {
        let sql = "SELECT hash FROM log_nodes WHERE level = ?1 AND position = ?2";
        let above: Result<Hash, _> =
            connection.query_row(sql, params![level.saturating_add(1), rows::time(file.index)], |row| row.get(0));
        above.is_ok_and(|above| above == edge.root())
    } else {
        // The bits of the size that this level stands for are as many hashes of the edge, after those of higher levels.
        let above = head.size.checked_shr(u32::from(level).saturating_mul(8).saturating_add(8)).unwrap_or(0);
        let skipped = (above.count_ones() as usize).saturating_mul(32);
        let own = edge.to_bytes();
        head.edge.to_bytes().get(skipped..).is_some_and(|rest| rest.starts_with(&own))
    };
    if same { Ok(()) } else { Err(damaged(format!("the rows of `{}` are not what was signed", path(file)))) }
}

/// Makes a folder below this one, and those between.
fn folders(durable: &Durable, dir: &Path, folder: &Path) -> Result<(), RecordError> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder != dir
        && let Some(above) = folder.parent()
    {
        folders(durable, dir, above)?;
    }
    match durable.make_dir(folder, DIR_MODE) {
        Err(_) if folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Removes the partial files that a full one takes the place of. What stays is only untidy.
fn forget_partial(full: &Path) {
    let mut name = full.file_name().unwrap_or_default().to_owned();
    name.push(".p");
    let _ = std::fs::remove_dir_all(full.with_file_name(name));
}
