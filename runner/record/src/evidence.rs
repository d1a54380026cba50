use countersign_model::Digest;
use rusqlite::{OptionalExtension, Row, params};

use crate::rows::{self, MAX_NAME, MAX_SIGNATURE};
use crate::{RecordError, State};

/// The largest evidence record, in bytes.
const MAX_RECORD: usize = 256 * 1024;

/// Recorded reads, signed by the runner; see [`State::evidence`].
pub struct EvidenceStore<'a>(pub(crate) &'a State);

/// A read to record.
#[derive(Clone, Copy, Debug)]
pub struct NewEvidence<'a> {
    /// The record's id.
    pub id: &'a str,
    /// The target that was read.
    pub target: &'a str,
    /// Who asked.
    pub principal: &'a str,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The exact bytes that were signed, at most 256 KiB.
    pub record: &'a [u8],
    /// The armored signature.
    pub signature: &'a str,
}

/// A recorded read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// The record's id.
    pub id: String,
    /// The digest of `record`, as it was when it was recorded.
    pub digest: Digest,
    /// The target that was read.
    pub target: String,
    /// Who asked.
    pub principal: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The exact bytes that were signed.
    pub record: Vec<u8>,
    /// The armored signature.
    pub signature: String,
}

const COLUMNS: &str = "e.id, e.digest, e.target, e.principal, e.at, e.record, e.signature";

impl EvidenceStore<'_> {
    /// Records a read durably and gives the digest of its record. The same one twice is recorded once.
    ///
    /// # Errors
    /// [`RecordError::Duplicate`] where another record has the id.
    pub fn add(&self, new: NewEvidence<'_>) -> Result<Digest, RecordError> {
        for (what, text) in [
            ("bytes of an evidence id", new.id),
            ("bytes of a target's name", new.target),
            ("bytes of a principal's name", new.principal),
        ] {
            rows::bounded(what, text.len(), MAX_NAME)?;
        }
        rows::bounded("bytes of an evidence record", new.record.len(), MAX_RECORD)?;
        rows::bounded("bytes of a signature", new.signature.len(), MAX_SIGNATURE)?;
        let digest = Digest::of(new.record);
        let failed = |error| RecordError::database("record the evidence", error);
        self.0.write("record the evidence", |tx| {
            let sql = "INSERT INTO evidence (id, digest, target, principal, at, record, signature)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";
            let (at, text) = (rows::time(new.at), digest.to_string());
            let values = params![new.id, text, new.target, new.principal, at, new.record, new.signature];
            if tx.execute(sql, values).map_err(failed)? == 1 {
                self.0.log().append(tx, &crate::audit::entries::read(&new)).map_err(failed)?;
                return Ok(digest);
            }
            let sql = "SELECT digest FROM evidence WHERE id = ?1 AND record = ?2";
            let same: Option<String> =
                tx.query_row(sql, params![new.id, new.record], |row| row.get(0)).optional().map_err(failed)?;
            match same {
                Some(_) => Ok(digest),
                None => Err(RecordError::Duplicate { noun: "evidence", name: new.id.to_owned() }),
            }
        })
    }

    /// The record of this id.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is none.
    pub fn get(&self, id: &str) -> Result<EvidenceRecord, RecordError> {
        let sql = format!("SELECT {COLUMNS} FROM evidence e WHERE e.id = ?1");
        let found = self.0.read("read evidence", |connection| connection.query_row(&sql, [id], decode).optional())?;
        found.ok_or_else(|| RecordError::NotFound { noun: "evidence", name: countersign_model::text::excerpt(id, 80) })
    }

    /// The latest records of a target, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of_target(&self, target: &str, limit: usize) -> Result<Vec<EvidenceRecord>, RecordError> {
        self.list(
            &format!("SELECT {COLUMNS} FROM evidence e WHERE e.target = ?1 ORDER BY e.at DESC, e.id LIMIT ?2"),
            target,
            limit,
        )
    }

    /// The records that stand behind a proposal, cited or made in its rehearsals, oldest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of_proposal(&self, proposal: &Digest, limit: usize) -> Result<Vec<EvidenceRecord>, RecordError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM proposal_evidence p JOIN evidence e ON e.id = p.evidence
             WHERE p.proposal = ?1 ORDER BY e.at, e.id LIMIT ?2"
        );
        self.list(&sql, &proposal.to_string(), limit)
    }

    fn list(&self, sql: &str, key: &str, limit: usize) -> Result<Vec<EvidenceRecord>, RecordError> {
        self.0.read("list evidence", |connection| {
            connection.prepare(sql)?.query_map(params![key, rows::limit(limit)], decode)?.collect()
        })
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<EvidenceRecord> {
    Ok(EvidenceRecord {
        id: row.get(0)?,
        digest: rows::get_digest(row, 1)?,
        target: row.get(2)?,
        principal: row.get(3)?,
        at: rows::get_time(row, 4)?,
        record: row.get(5)?,
        signature: row.get(6)?,
    })
}
