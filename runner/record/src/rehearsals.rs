use countersign_model::Digest;
use rusqlite::{OptionalExtension, params};

use crate::rows::{self, MAX_DOCUMENT, MAX_SIGNATURE};
use crate::{RecordError, State};

/// Rehearsals, signed by the runner; see [`State::rehearsals`].
pub struct Rehearsals<'a>(pub(crate) &'a State);

/// A recorded rehearsal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RehearsalRecord {
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signature.
    pub signature: String,
}

impl Rehearsals<'_> {
    /// Records a rehearsal durably and gives the digest of its document. The same one twice is recorded once.
    ///
    /// # Errors
    /// Where it is larger than [`MAX_DOCUMENT`] or could not be recorded.
    pub fn add(&self, document: &[u8], signature: &str) -> Result<Digest, RecordError> {
        rows::bounded("bytes of a rehearsal", document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", signature.len(), MAX_SIGNATURE)?;
        let digest = Digest::of(document);
        let action = "record the rehearsal";
        self.0.write(action, |tx| {
            let sql = "INSERT INTO rehearsals (digest, document, signature) VALUES (?1, ?2, ?3)
                       ON CONFLICT (digest) DO NOTHING";
            tx.execute(sql, params![digest.to_string(), document, signature])
                .map_err(|error| RecordError::database(action, error))?;
            Ok(digest)
        })
    }

    /// The rehearsal whose document has this digest. The caller verifies both.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is none.
    pub fn get(&self, digest: &Digest) -> Result<RehearsalRecord, RecordError> {
        let sql = "SELECT document, signature FROM rehearsals WHERE digest = ?1";
        let found = self.0.read("read a rehearsal", |connection| {
            connection
                .query_row(sql, [digest.to_string()], |row| {
                    Ok(RehearsalRecord { document: row.get(0)?, signature: row.get(1)? })
                })
                .optional()
        })?;
        found.ok_or_else(|| RecordError::NotFound { noun: "rehearsal", name: digest.to_string() })
    }
}
