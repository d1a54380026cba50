//! What people say of a run that waits for their word.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use rusqlite::params;

use crate::rows::{self, MAX_DOCUMENT, MAX_SIGNATURE};
use crate::state::FILE_MODE;
use crate::watch::{TOLD, WAITING};
use crate::{Entry, RecordError, Runs, State};

/// The most words on one run that are kept.
const MAX_PER_RUN: usize = 16;

/// A person's word on a run, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptConfirmation {
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signature.
    pub signature: String,
}

impl Runs<'_> {
    /// Keeps a person's word durably, while the run waits for one: from here on it counts, whatever happens to the
    /// process that waits, and these entries are in the audit log. `now` is in milliseconds since 1970-01-01 UTC. Gives
    /// whether the run waited still.
    ///
    /// # Errors
    /// Where it could not be recorded, or was said too often already.
    pub fn add_confirmation(
        &self,
        run: &str,
        word: &KeptConfirmation,
        now: u64,
        entries: &[Entry],
    ) -> Result<bool, RecordError> {
        rows::bounded("bytes of a confirmation", word.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", word.signature.len(), MAX_SIGNATURE)?;
        let action = "record the confirmation";
        self.0.write(action, |tx| {
            let failed = |error| RecordError::database(action, error);
            let sql = "SELECT count(*) FROM confirmations WHERE run = ?1";
            let count = tx.query_row(sql, [run], |row| rows::get_count(row, 0)).map_err(failed)?;
            let size = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1);
            rows::bounded("confirmations of a run", size, MAX_PER_RUN)?;
            let sql = "INSERT INTO confirmations (run, position, document, signature)
                       SELECT id, ?2, ?3, ?4 FROM runs
                       WHERE id = ?1 AND outcome IS NULL AND rollback IS NULL AND kept IS NULL AND waiting_until > ?5";
            let values = params![run, rows::limit(size), word.document, word.signature, rows::time(now)];
            let kept = tx.execute(sql, values).map_err(failed)? == 1;
            if kept {
                self.0.log().append_all(tx, entries).map_err(failed)?;
            }
            Ok(kept)
        })
    }

    /// Every word on a run, in the order in which they were kept. Nothing of them is verified.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn confirmations(&self, run: &str) -> Result<Vec<KeptConfirmation>, RecordError> {
        let sql = "SELECT document, signature FROM confirmations WHERE run = ?1 ORDER BY position LIMIT ?2";
        self.0.read("list the confirmations of a run", |connection| {
            let word = |row: &rusqlite::Row<'_>| Ok(KeptConfirmation { document: row.get(0)?, signature: row.get(1)? });
            connection.prepare(sql)?.query_map(params![run, rows::limit(MAX_PER_RUN)], word)?.collect()
        })
    }
}

impl State {
    /// Ends [`Watch::wait`](crate::Watch::wait) of every run that waits, once something was kept that they wait for.
    ///
    /// # Errors
    /// Where nobody could be told: they look by themselves, a little later.
    pub fn tell_waiting(&self) -> Result<(), RecordError> {
        let path = self.dir().join(WAITING).join(TOLD);
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        // To open it for writing is enough: closing it is what is told.
        let mut told = OpenOptions::new();
        told.write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(flags);
        told.open(&path).map(drop).map_err(|error| RecordError::file("open", &path, error))
    }
}
