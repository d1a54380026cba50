use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use crate::rows::{self, MAX_DOCUMENT, MAX_NAME, MAX_SIGNATURE, MAX_TEXT};
use crate::{Entry, RecordError, State};

/// Who may stop new runs, and whether they did; see [`State::pauses`].
pub struct Pauses<'a>(pub(crate) &'a State);

/// Why no new run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// Who paused them, by name.
    pub by: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Why, in their words.
    pub reason: String,
}

/// A person's word on new runs. The caller has verified all of it.
#[derive(Clone, Copy, Debug)]
pub struct NewPause<'a> {
    /// Whether they are paused from now on.
    pub paused: bool,
    /// Who says so, by name.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What was signed.
    pub document: &'a [u8],
    /// The signature.
    pub signature: &'a str,
}

impl Pauses<'_> {
    /// Records durably that new runs are paused, or may begin again; gives what was so before. A run that begins at the
    /// same time has begun before it, or is refused.
    ///
    /// # Errors
    /// Where it could not be recorded.
    pub fn add(&self, new: NewPause<'_>) -> Result<Option<Paused>, RecordError> {
        rows::bounded("bytes of a name", new.by.len(), MAX_NAME)?;
        rows::bounded("bytes of a reason", new.reason.len(), MAX_TEXT)?;
        rows::bounded("bytes of a word on a pause", new.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", new.signature.len(), MAX_SIGNATURE)?;
        let action = "record the pause";
        let kind = if new.paused { "pause" } else { "pause-lifted" };
        let entry = Entry::new(kind).with("person", new.by).with("reason", new.reason);
        let entry = entry.with("document", countersign_model::Digest::of(new.document));
        self.0.write(action, |tx| {
            let add = || {
                let before = paused(tx)?;
                let sql = "INSERT INTO pauses (paused, person, reason, at, document, signature)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let at = rows::time(new.at);
                tx.execute(sql, params![new.paused, new.by, new.reason, at, new.document, new.signature])?;
                self.0.log().append(tx, &entry)?;
                Ok(before)
            };
            add().map_err(|error| RecordError::database(action, error))
        })
    }

    /// Why no new run begins, if none does.
    ///
    /// # Errors
    /// Where it cannot be told; then none may begin.
    pub fn paused(&self) -> Result<Option<Paused>, RecordError> {
        self.0.read("look whether new runs are paused", paused)
    }
}

/// What the latest word is.
pub(crate) fn paused(connection: &Connection) -> rusqlite::Result<Option<Paused>> {
    let sql = "SELECT paused, person, at, reason FROM pauses ORDER BY position DESC LIMIT 1";
    let decode = |row: &Row<'_>| {
        let paused = Paused { by: row.get(1)?, at: rows::get_time(row, 2)?, reason: row.get(3)? };
        Ok(row.get::<_, bool>(0)?.then_some(paused))
    };
    Ok(connection.query_row(sql, [], decode).optional()?.flatten())
}
