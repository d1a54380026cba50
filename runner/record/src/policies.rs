use rusqlite::{Row, params};

use crate::rows::{self, MAX_DOCUMENT, MAX_LISTED, MAX_SIGNATURE};
use crate::{MAX_SIGNATURES, RecordError, State};

/// The trust policies that were accepted here; see [`State::policies`].
pub struct Policies<'a>(pub(crate) &'a State);

/// A trust policy that was accepted, with the signatures by which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPolicy {
    /// Its serial.
    pub serial: u64,
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// Armored signatures.
    pub signatures: Vec<String>,
    /// When it was accepted, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

impl Policies<'_> {
    /// Records durably that a policy is in force from now on. The caller has verified it; the very same one again is no
    /// error, since two processes may accept it at once.
    ///
    /// # Errors
    /// [`RecordError::LowerPolicy`] where its serial is not above all that were accepted; or it could not be recorded.
    pub fn add(&self, new: &AcceptedPolicy) -> Result<(), RecordError> {
        rows::bounded("bytes of a trust policy", new.document.len(), MAX_DOCUMENT)?;
        rows::bounded("signatures on a trust policy", new.signatures.len(), MAX_SIGNATURES)?;
        for signature in &new.signatures {
            rows::bounded("bytes of a signature", signature.len(), MAX_SIGNATURE)?;
        }
        let action = "record the trust policy";
        let signatures = serde_json::to_string(&new.signatures)
            .map_err(|error| RecordError::database(action, rows::bad_column(2, error)))?;
        self.0.write(action, |tx| {
            let failed = |error| RecordError::database(action, error);
            let sql = "SELECT serial, document FROM policies ORDER BY serial DESC LIMIT 1";
            let newest = tx.prepare(sql).and_then(|mut newest| {
                newest
                    .query_map([], |row| Ok((rows::get_count(row, 0)?, row.get::<_, Vec<u8>>(1)?)))?
                    .next()
                    .transpose()
            });
            if let Some((accepted, document)) = newest.map_err(failed)? {
                if accepted == new.serial && document == new.document {
                    return Ok(());
                }
                if new.serial <= accepted {
                    return Err(RecordError::LowerPolicy { found: new.serial, accepted });
                }
            }
            let sql = "INSERT INTO policies (serial, document, signatures, at) VALUES (?1, ?2, ?3, ?4)";
            let values = params![rows::time(new.serial), new.document, signatures, rows::time(new.at)];
            tx.execute(sql, values).map(drop).map_err(failed)
        })
    }

    /// The latest that were accepted, oldest first, at most [`MAX_LISTED`].
    ///
    /// # Errors
    /// Where they cannot be read; then none is in force.
    pub fn accepted(&self) -> Result<Vec<AcceptedPolicy>, RecordError> {
        let mut all = self.0.read("read the trust policies", |connection| {
            let sql = "SELECT serial, document, signatures, at FROM policies ORDER BY serial DESC LIMIT ?1";
            let mut statement = connection.prepare(sql)?;
            let all = statement.query_map([rows::limit(MAX_LISTED)], decode)?;
            all.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        all.reverse();
        Ok(all)
    }

    /// The highest serial that was accepted.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn newest(&self) -> Result<Option<u64>, RecordError> {
        self.0.read("look for a newer trust policy", |connection| {
            connection.query_row("SELECT max(serial) FROM policies", [], |row| {
                let newest: Option<i64> = row.get(0)?;
                Ok(newest.and_then(|serial| u64::try_from(serial).ok()))
            })
        })
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<AcceptedPolicy> {
    let signatures: String = row.get(2)?;
    let signatures = serde_json::from_str(&signatures).map_err(|error| rows::bad_column(2, error))?;
    Ok(AcceptedPolicy {
        serial: rows::get_count(row, 0)?,
        document: row.get(1)?,
        signatures,
        at: rows::get_time(row, 3)?,
    })
}
