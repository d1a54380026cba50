//! The audit log: everything decided and done, each as an entry of a Merkle tree, written in the transaction that records it.
//!
//! The database is the log. Its rows hold the entries, the tree's right edge and the newest signed checkpoint, so an entry is
//! as durable as what it tells of and costs no sync of its own. The files of `tlog-tiles` are made from the rows afterwards
//! (`audit/files.rs`).

use std::sync::{Arc, OnceLock};

use countersign_model::Digest;
use countersign_tlog::{Edge, NoteSigner, leaf_hash, sign_checkpoint};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rows::{self, MAX_LISTED};
use crate::{RecordError, State};

pub(crate) mod entries;
mod entry;
mod files;
mod told;

pub use entry::Entry;
pub use files::{AUDIT, CHECKPOINT, Published, WITNESSED};
pub use told::{About, Told};

/// The key that signs the log's checkpoints. Its name is the log's origin. It also makes the digests that stand in entries,
/// and tells their times.
pub trait LogKey: NoteSigner {
    /// The time, in milliseconds since 1970-01-01 UTC. Where it went back, the latest entry's is taken.
    fn now(&self) -> u64;

    /// What stands for a content in the entry of this name: only the key's holder can make it, and it is another one in
    /// each entry.
    fn keyed_digest(&self, name: &str, content: &Digest) -> Digest;
}

/// What signs, once that is known. A state that was opened without a key records entries all the same; whoever opens it with
/// one finds that they were not signed.
#[derive(Default)]
pub(crate) struct Log {
    key: OnceLock<Arc<dyn LogKey>>,
}

/// How far the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries there are.
    pub size: u64,
    /// The signed checkpoint of all of them; none before the first, and where it was not signed.
    pub checkpoint: Option<String>,
    edge: Edge,
    /// The time of the latest entry.
    latest: u64,
}

impl LogHead {
    /// The time of the latest entry, in milliseconds since 1970-01-01 UTC; 0 where there is none.
    #[must_use]
    pub const fn time(&self) -> u64 {
        self.latest
    }

    /// The root of the tree of all entries.
    #[must_use]
    pub fn root(&self) -> countersign_tlog::Hash {
        self.edge.root()
    }
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Its place, from 0.
    pub index: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The audit log; see [`State::audit`].
pub struct Audit<'a>(pub(crate) &'a State);

impl Log {
    /// Puts an entry into the log, inside the transaction that records what it tells of. Costs the same whatever the size.
    pub(crate) fn append(&self, tx: &Connection, entry: &Entry) -> rusqlite::Result<u64> {
        let head = head(tx)?;
        let (index, mut edge) = (head.size, head.edge);
        let key = self.key.get();
        let now = key.map_or(0, |key| key.now()).max(head.latest);
        let bytes = entry.to_bytes(index, now, key.map(|key| &**key));
        let leaf = leaf_hash(&bytes);
        let at = rows::time(index);
        let sql = "INSERT INTO log_entries (position, leaf, entry, run) VALUES (?1, ?2, ?3, ?4)";
        tx.prepare(sql)?.execute(params![at, leaf, bytes, entry.run()])?;
        for node in edge.append_leaf(leaf) {
            let sql = "INSERT INTO log_nodes (level, position, hash) VALUES (?1, ?2, ?3)";
            tx.prepare(sql)?.execute(params![node.level, rows::time(node.index), node.hash])?;
        }
        let unsigned = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        let checkpoint = key.map(|key| sign_checkpoint(&edge, &**key)).transpose().map_err(unsigned)?;
        let sql = "UPDATE log_head SET size = ?1, edge = ?2, checkpoint = coalesce(?3, checkpoint), latest = ?4";
        tx.prepare(sql)?.execute(params![rows::time(edge.size()), edge.to_bytes(), checkpoint, rows::time(now)])?;
        Ok(index)
    }

    /// Puts these entries into the log, in their order.
    pub(crate) fn append_all(&self, tx: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
        entries.iter().try_for_each(|entry| self.append(tx, entry).map(drop))
    }

    fn is_signed(&self) -> bool {
        self.key.get().is_some()
    }
}

/// How far the log is, as the rows say.
fn head(connection: &Connection) -> rusqlite::Result<LogHead> {
    let sql = "SELECT size, edge, checkpoint, latest FROM log_head";
    connection.prepare(sql)?.query_row([], |row| {
        let (size, bytes): (u64, Vec<u8>) = (rows::get_count(row, 0)?, row.get(1)?);
        let edge = Edge::from_bytes(size, &bytes).map_err(|error| rows::bad_column(1, error))?;
        Ok(LogHead { size, checkpoint: row.get(2)?, edge, latest: rows::get_time(row, 3)? })
    })
}

fn damaged(what: String) -> RecordError {
    RecordError::Damaged { path: "the audit log".to_owned(), what }
}

impl State {
    /// From here on, what is recorded is signed by this key.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] where the newest checkpoint is not what this key signs of the log as it is: then somebody
    /// changed it, or wrote to it without the key.
    pub fn logging(self, key: Arc<dyn LogKey>) -> Result<Self, RecordError> {
        let head = self.audit().head()?;
        let signed = sign_checkpoint(&head.edge, &*key).map_err(|error| damaged(error.to_string()))?;
        // The same tree and key always give the same bytes.
        if head.size > 0 && head.checkpoint.as_ref() != Some(&signed) {
            return Err(damaged(format!("its {} entries are not those that the runner's key signed last", head.size)));
        }
        // Whoever comes second has the same key.
        let _ = self.log().key.set(key);
        Ok(self)
    }

    /// The audit log.
    #[must_use]
    pub const fn audit(&self) -> Audit<'_> {
        Audit(self)
    }
}

impl Audit<'_> {
    /// How far the log is.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn head(&self) -> Result<LogHead, RecordError> {
        self.0.read("read the head of the audit log", head)
    }

    /// Puts an entry into the log, durably, in a transaction of its own; gives its place. For what is not recorded elsewhere:
    /// what is gets its entry in the transaction that records it.
    ///
    /// # Errors
    /// Where it could not be recorded.
    pub fn record(&self, entry: &Entry) -> Result<u64, RecordError> {
        let action = "write to the audit log";
        self.0.write(action, |tx| self.0.log().append(tx, entry).map_err(|error| RecordError::database(action, error)))
    }

    /// Puts an entry into the log unless the last one that was recorded under this name is of the same value, durably;
    /// whether it did. For what is to be told when it changes, such as the trust policy in force.
    ///
    /// # Errors
    /// Where it could not be recorded.
    pub fn record_once(&self, name: &str, value: &str, entry: &Entry) -> Result<bool, RecordError> {
        let action = "write to the audit log";
        let last = |connection: &Connection| -> rusqlite::Result<Option<String>> {
            let sql = "SELECT value FROM log_latest WHERE name = ?1";
            connection.query_row(sql, [name], |row| row.get(0)).optional()
        };
        if self.0.read(action, last)?.as_deref() == Some(value) {
            return Ok(false);
        }
        self.0.write(action, |tx| {
            let record = || {
                if last(tx)?.as_deref() == Some(value) {
                    return Ok(false);
                }
                let sql = "INSERT INTO log_latest (name, value) VALUES (?1, ?2)
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                tx.execute(sql, params![name, value])?;
                self.0.log().append(tx, entry)?;
                Ok(true)
            };
            record().map_err(|error| RecordError::database(action, error))
        })
    }

    /// The entries from this place on, in order, [`MAX_LISTED`] at most.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<LoggedEntry>, RecordError> {
        self.0.read("read the audit log", |connection| entries_of(connection, from, limit.min(MAX_LISTED)))
    }

    /// The latest entries of a run, newest first, [`MAX_LISTED`] at most.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of_run(&self, run: &str) -> Result<Vec<LoggedEntry>, RecordError> {
        let sql = "SELECT position, entry FROM log_entries WHERE run = ?1 ORDER BY position DESC LIMIT ?2";
        self.0.read("read the audit log", |connection| {
            let values = params![run, rows::limit(MAX_LISTED)];
            connection.prepare(sql)?.query_map(values, logged)?.collect()
        })
    }
}

fn entries_of(connection: &Connection, from: u64, limit: usize) -> rusqlite::Result<Vec<LoggedEntry>> {
    let sql = "SELECT position, entry FROM log_entries WHERE position >= ?1 ORDER BY position LIMIT ?2";
    connection.prepare(sql)?.query_map(params![rows::time(from), rows::limit(limit)], logged)?.collect()
}

fn logged(row: &rusqlite::Row<'_>) -> rusqlite::Result<LoggedEntry> {
    Ok(LoggedEntry { index: rows::get_count(row, 0)?, bytes: row.get(1)? })
}
