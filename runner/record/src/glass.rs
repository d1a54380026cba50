//! Broken glass: approvals in place of the quorums, and the review that each leaves open until somebody closes it.

use countersign_model::{Digest, text};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::approvals::{Approvals, KeptFiles};
use crate::rows::{self, MAX_DOCUMENT, MAX_LISTED, MAX_NAME, MAX_SIGNATURE, MAX_TEXT, bad_column};
use crate::{Entry, RecordError};

const BREAK: &str = "record that the glass was broken";
const CLOSE: &str = "close the review of a broken glass";
const COLUMNS: &str = "manifest, proposal, name, broken_by, reason, opened, expires, closed, closed_by, closing_reason";
const OPEN: &str = "WHERE closed IS NULL ORDER BY opened, manifest LIMIT ?1";

/// A signature by which the glass is broken. The caller has verified all of it, and has given notice.
#[derive(Clone, Copy, Debug)]
pub struct BrokenGlass<'a> {
    /// The proposal that it is for.
    pub proposal: &'a Digest,
    /// The approval manifest's exact bytes.
    pub manifest: &'a [u8],
    /// The armored signature on it.
    pub signature: &'a str,
    /// What the trust policy calls this break-glass.
    pub name: &'a str,
    /// Who signed, by name.
    pub person: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// From when on no run starts by it any more.
    pub expires: u64,
}

/// The review of a broken glass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlassReview {
    /// Digest of the approval manifest.
    pub approval: Digest,
    /// The proposal.
    pub proposal: Digest,
    /// What the trust policy called this break-glass.
    pub name: String,
    /// Who broke it, by name, in order.
    pub broken_by: Vec<String>,
    /// Why.
    pub reason: String,
    /// Since when it is open, in milliseconds since 1970-01-01 UTC.
    pub opened: u64,
    /// From when on no run starts by the approval any more.
    pub expires: u64,
    /// Who closed it; none while it is open.
    pub closed: Option<ClosedReview>,
}

/// How a review was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedReview {
    /// Whose word it is, by name.
    pub by: String,
    /// What they found, in their words.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// A word that closes a review. The caller has verified all of it.
#[derive(Clone, Copy, Debug)]
pub struct ClosingReview<'a> {
    /// Digest of the approval manifest.
    pub approval: &'a Digest,
    /// Whose word it is, by name.
    pub by: &'a str,
    /// What they found.
    pub reason: &'a str,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The exact bytes that were signed.
    pub document: &'a [u8],
    /// The armored signature.
    pub signature: &'a str,
}

impl Approvals<'_> {
    /// Keeps a signature by which the glass is broken, with its manifest, opens the review of it where it is the first, and
    /// puts the entry into the audit log: all of it, or nothing. The same one twice is kept once.
    ///
    /// # Errors
    /// As for [`Approvals::add_all`].
    pub fn break_glass(&self, broken: &BrokenGlass<'_>, entry: &Entry) -> Result<KeptFiles, RecordError> {
        rows::bounded("bytes of a person's name", broken.person.len(), MAX_NAME)?;
        rows::bounded("bytes of a break-glass's name", broken.name.len(), MAX_NAME)?;
        rows::bounded("bytes of a reason", broken.reason.len(), MAX_TEXT)?;
        let failed = |error| RecordError::database(BREAK, error);
        let mut fresh = None;
        let kept = self.0.write(BREAK, |tx| {
            let digest = self.index(tx, broken.proposal, broken.manifest)?;
            let (signature, new) = self.sign(&digest, broken.signature)?;
            fresh = new.then(|| signature.clone());
            let opened = review(tx, &digest).map_err(failed)?;
            let mut people = opened.map(|review| review.broken_by).unwrap_or_default();
            if new || people.is_empty() {
                if !people.iter().any(|person| person == broken.person) {
                    people.push(broken.person.to_owned());
                }
                let people = serde_json::to_string(&people).map_err(|error| failed(bad_column(0, error)))?;
                let sql = "INSERT INTO glass_reviews (manifest, proposal, name, broken_by, reason, opened, expires)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (manifest) DO UPDATE SET broken_by = ?4";
                let (at, expires) = (rows::time(broken.at), rows::time(broken.expires));
                let (manifest, proposal) = (digest.to_string(), broken.proposal.to_string());
                let values = params![manifest, proposal, broken.name, people, broken.reason, at, expires];
                tx.execute(sql, values).and_then(|_| self.0.log().append(tx, entry)).map_err(failed)?;
            }
            Ok(KeptFiles { manifest: self.path(&digest, "json"), signature })
        });
        kept.inspect_err(|_| fresh.iter().for_each(|path| self.0.durable().tidy(path)))
    }

    /// The reviews that are open, oldest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn open_reviews(&self) -> Result<Vec<GlassReview>, RecordError> {
        self.listed(OPEN)
    }

    /// The latest reviews, open and closed, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn reviews(&self) -> Result<Vec<GlassReview>, RecordError> {
        self.listed("ORDER BY opened DESC, manifest LIMIT ?1")
    }

    fn listed(&self, what: &str) -> Result<Vec<GlassReview>, RecordError> {
        let sql = format!("SELECT {COLUMNS} FROM glass_reviews {what}");
        self.0.read("list the reviews of broken glass", |connection| {
            connection.prepare(&sql)?.query_map([rows::limit(MAX_LISTED)], decode)?.collect()
        })
    }

    /// The review of an approval, if the glass was broken by it.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn review(&self, approval: &Digest) -> Result<Option<GlassReview>, RecordError> {
        self.0.read("find the review of a broken glass", |connection| review(connection, approval))
    }

    /// Records durably that a review is closed, and puts the entry into the audit log with it.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where there is no such review that is open.
    pub fn close_review(&self, closing: &ClosingReview<'_>, entry: &Entry) -> Result<(), RecordError> {
        rows::bounded("bytes of a person's name", closing.by.len(), MAX_NAME)?;
        rows::bounded("bytes of a reason", closing.reason.len(), MAX_TEXT)?;
        rows::bounded("bytes of a word on a review", closing.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", closing.signature.len(), MAX_SIGNATURE)?;
        self.0.write(CLOSE, |tx| {
            let failed = |error| RecordError::database(CLOSE, error);
            let sql = "UPDATE glass_reviews SET closed = ?2, closed_by = ?3, closing_reason = ?4, document = ?5, signature = ?6
                       WHERE manifest = ?1 AND closed IS NULL";
            let approval = closing.approval.to_string();
            let at = rows::time(closing.at);
            let values = params![approval, at, closing.by, closing.reason, closing.document, closing.signature];
            if tx.execute(sql, values).map_err(failed)? == 0 {
                return Err(RecordError::NotFound {
                    noun: "open review of a broken glass",
                    name: text::excerpt(&approval, 80),
                });
            }
            self.0.log().append(tx, entry).map(drop).map_err(failed)
        })
    }
}

fn review(connection: &Connection, approval: &Digest) -> rusqlite::Result<Option<GlassReview>> {
    let sql = format!("SELECT {COLUMNS} FROM glass_reviews WHERE manifest = ?1");
    connection.query_row(&sql, [approval.to_string()], decode).optional()
}

fn decode(row: &Row<'_>) -> rusqlite::Result<GlassReview> {
    let people: String = row.get(3)?;
    let closed = match row.get::<_, Option<i64>>(7)? {
        None => None,
        Some(_) => Some(ClosedReview { at: rows::get_time(row, 7)?, by: row.get(8)?, reason: row.get(9)? }),
    };
    Ok(GlassReview {
        approval: rows::get_digest(row, 0)?,
        proposal: rows::get_digest(row, 1)?,
        name: row.get(2)?,
        broken_by: serde_json::from_str(&people).map_err(|error| bad_column(3, error))?,
        reason: row.get(4)?,
        opened: rows::get_time(row, 5)?,
        expires: rows::get_time(row, 6)?,
        closed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is closed must not make the next command slower.
    #[test]
    fn what_is_open_is_found_by_an_index() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("schema.sql")).expect("the tables");
        let sql = format!("EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM glass_reviews {OPEN}");
        let mut statement = connection.prepare(&sql).expect("it parses");
        let steps = statement.query_map([1], |row| row.get::<_, String>(3)).expect("a plan");
        let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
        assert!(steps.iter().any(|step| step.contains("open_glass_reviews")), "{steps:?}");
    }
}
