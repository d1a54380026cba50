//! What runs left otherwise than before, and what people said of it.

use std::sync::Arc;

use countersign_model::documents::OpenSubject;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::blobs::RunBlobs;
use crate::journal::Held;
use crate::lock::TargetLock;
use crate::reserve::{Needed, Reserve};
use crate::rows::{self, MAX_DOCUMENT, MAX_LISTED, MAX_NAME, MAX_SIGNATURE, bad_column};
use crate::state::transact;
use crate::{Entry, Hold, Journal, JournaledChange, RecordError, RunRecord, Runs, changes, schema};

/// The most resolutions of one run, those that failed among them.
const MAX_RESOLUTIONS: u32 = 1_000;
const AT_WORK: &str = "WHERE id IN (SELECT run FROM resolutions WHERE outcome IS NULL) ORDER BY started, id LIMIT ?1";
const OPEN: &str = "WHERE id IN (SELECT run FROM open_subjects WHERE closed_by IS NULL) ORDER BY started, id LIMIT ?1";

/// A resolution that is to be recorded. The caller has verified all of it.
#[derive(Clone, Copy, Debug)]
pub struct NewResolution<'a> {
    /// The subject, as it is named where it is open.
    pub subject: &'a str,
    /// Whose word it is, by name.
    pub person: &'a str,
    /// The exact bytes that were signed.
    pub document: &'a [u8],
    /// The armored signature.
    pub signature: &'a str,
}

/// A recorded resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Its place among the run's, from 1.
    pub position: u32,
    /// The subject.
    pub subject: String,
    /// Whose word it is, by name.
    pub person: String,
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// The armored signature.
    pub signature: String,
    /// Whether the subject was closed by it; none while it is at work, and where its process died.
    pub closed: Option<bool>,
    /// Why it failed, where it did; untrusted text.
    pub note: Option<String>,
}

/// A resolution at work: its target is held, and the journal of its run takes what it changes.
#[derive(Debug)]
pub struct Resolving {
    /// The run's journal, open again.
    pub journal: Journal,
    /// What is open.
    pub open: OpenSubject,
    position: u32,
}

impl Runs<'_> {
    /// What is open still of a run, in order.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn open_subjects(&self, run: &str) -> Result<Vec<OpenSubject>, RecordError> {
        self.0.read("read what is open", |connection| open_of(connection, run))
    }

    /// The runs of which something is open, oldest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn with_open_subjects(&self) -> Result<Vec<RunRecord>, RecordError> {
        self.matching(OPEN, [rows::limit(MAX_LISTED)])
    }

    /// A run's resolutions, in order.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn resolutions(&self, run: &str) -> Result<Vec<Resolution>, RecordError> {
        let sql = "SELECT position, subject, person, document, signature, outcome, note FROM resolutions
                   WHERE run = ?1 ORDER BY position LIMIT ?2";
        let decode = |row: &Row<'_>| {
            let outcome: Option<String> = row.get(5)?;
            Ok(Resolution {
                position: row.get(0)?,
                subject: row.get(1)?,
                person: row.get(2)?,
                document: row.get(3)?,
                signature: row.get(4)?,
                closed: outcome.map(|outcome| outcome == "closed"),
                note: row.get(6)?,
            })
        };
        self.0.read("read resolutions", |connection| {
            connection.prepare(sql)?.query_map(params![run, MAX_RESOLUTIONS], decode)?.collect()
        })
    }

    /// Records durably that a resolution begins, on a target that is held.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] where the subject is not open, or not any more; [`RecordError::JournalRule`] where another
    /// resolution of the run died and was not recovered.
    pub fn resolve(&self, run: &RunRecord, new: NewResolution<'_>, hold: Hold) -> Result<Resolving, RecordError> {
        rows::bounded("bytes of a person's name", new.person.len(), MAX_NAME)?;
        rows::bounded("bytes of a resolution", new.document.len(), MAX_DOCUMENT)?;
        rows::bounded("bytes of a signature", new.signature.len(), MAX_SIGNATURE)?;
        let durable = self.0.durable();
        durable.check()?;
        let mut connection = schema::open(&self.0.database())?;
        let (position, open, changes) = transact(&mut connection, "begin a resolution", |tx| {
            let failed = |error| RecordError::database("begin a resolution", error);
            let open = one_open(tx, &run.id, new.subject)?;
            let sql = "SELECT coalesce(max(position), 0), count(*) FILTER (WHERE outcome IS NULL) FROM resolutions
                       WHERE run = ?1";
            let (latest, at_work): (u32, u32) =
                tx.query_row(sql, [&run.id], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
            if at_work > 0 {
                let why = "a resolution of it began and never ended".to_owned();
                return Err(RecordError::JournalRule { run: run.id.clone(), why });
            }
            rows::bounded("resolutions of a run", latest as usize + 1, MAX_RESOLUTIONS as usize)?;
            let position = latest + 1;
            let sql = "INSERT INTO resolutions (run, position, subject, person, document, signature)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![run.id, position, new.subject, new.person, new.document, new.signature];
            tx.execute(sql, values).map_err(failed)?;
            let entry = Entry::new("resolution").of_run(&run.id).with_number("resolution", position.into());
            let entry = entry.with("subject", new.subject).with("person", new.person);
            let entry = entry.with("document", countersign_model::Digest::of(new.document));
            self.0.log().append(tx, &entry).map_err(failed)?;
            Ok((position, open, changes::of_run(tx, &run.id).map_err(failed)?))
        })
        .inspect_err(|error| durable.stop_if_final(error))?;
        let images = RunBlobs::new(connection, self.0.blobs());
        let held = self.held(run, hold.0);
        let journal = Journal::resolving(run, position, images, Arc::clone(durable), held, changes);
        Ok(Resolving { journal, open, position })
    }

    /// The runs of which a resolution was begun that has not ended, oldest first: one is at work on it, or died.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn being_resolved(&self) -> Result<Vec<RunRecord>, RecordError> {
        self.matching(AT_WORK, [rows::limit(MAX_LISTED)])
    }

    /// Takes over a resolution whose process died. `None` where it has ended, or something is at work on the target.
    ///
    /// # Errors
    /// Where its journal cannot be read whole; then a person is needed.
    pub fn take_over_resolution(&self, run: &RunRecord) -> Result<Option<Resolving>, RecordError> {
        let durable = self.0.durable();
        durable.check()?;
        let mut connection = schema::open(&self.0.database())?;
        let taken = transact(&mut connection, "take over a resolution", |tx| {
            let failed = |error| RecordError::database("read a journal", error);
            let Some(lock) = TargetLock::take(self.0.dir(), &run.target)? else { return Ok(None) };
            // Again with the lock held: it may have ended since.
            let sql = "SELECT position, subject FROM resolutions WHERE run = ?1 AND outcome IS NULL";
            let found: Option<(u32, String)> =
                tx.query_row(sql, [&run.id], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(failed)?;
            let Some((position, subject)) = found else { return Ok(None) };
            let open = one_open(tx, &run.id, &subject)?;
            Ok(Some((position, open, changes::of_run(tx, &run.id).map_err(failed)?, lock)))
        })?;
        let Some((position, open, changes, lock)) = taken else { return Ok(None) };
        let images = RunBlobs::new(connection, self.0.blobs());
        let held = self.held(run, lock);
        let journal = Journal::resolving(run, position, images, Arc::clone(durable), held, changes);
        Ok(Some(Resolving { journal, open, position }))
    }
}

impl Runs<'_> {
    fn held(&self, run: &RunRecord, lock: TargetLock) -> Held {
        let reserve = Reserve::new(self.0.dir(), &run.target, Needed::default(), self.0.durable());
        Held { reserve, log: Arc::clone(self.0.log()), _lock: lock }
    }
}

impl Resolving {
    /// What the run's steps did to the subject, in order.
    pub fn made(&self) -> impl Iterator<Item = &JournaledChange> {
        let of_subject = |made: &&JournaledChange| {
            made.resolution.is_none()
                && Some(&made.change.capability) == self.open.capability.as_ref()
                && made.change.subject == self.open.subject
        };
        self.journal.changes().iter().filter(of_subject)
    }

    /// What this resolution changed, or was about to, in order.
    pub fn own(&self) -> impl Iterator<Item = &JournaledChange> {
        self.journal.changes().iter().filter(|made| made.resolution == Some(self.position))
    }

    /// Records durably that the subject is closed. Gives the run's journal, by which what it kept on its target may be let
    /// go of.
    ///
    /// # Errors
    /// Where it cannot be recorded: it is found again, as one whose process died.
    pub fn close(mut self) -> Result<Journal, RecordError> {
        self.journal.resolved(None)?;
        Ok(self.journal)
    }

    /// Records durably that it failed, and why; the subject stays open.
    ///
    /// # Errors
    /// As for [`Resolving::close`].
    pub fn fail(mut self, why: &str) -> Result<(), RecordError> {
        self.journal.resolved(Some(why))
    }
}

fn one_open(connection: &Connection, run: &str, subject: &str) -> Result<OpenSubject, RecordError> {
    let open = open_of(connection, run).map_err(|error| RecordError::database("read what is open", error))?;
    let found = open.into_iter().find(|open| open.subject == subject);
    found.ok_or_else(|| RecordError::NotFound {
        noun: "open subject",
        name: countersign_model::text::excerpt(subject, 200),
    })
}

fn open_of(connection: &Connection, run: &str) -> rusqlite::Result<Vec<OpenSubject>> {
    let sql = "SELECT body FROM open_subjects WHERE run = ?1 AND closed_by IS NULL ORDER BY position";
    let decode = |row: &Row<'_>| {
        let body: String = row.get(0)?;
        serde_json::from_str(&body).map_err(|error| bad_column(0, error))
    };
    connection.prepare(sql)?.query_map([run], decode)?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is closed must not make the next command slower.
    #[test]
    fn what_is_open_is_found_by_an_index() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("schema.sql")).expect("the tables");
        for (sql, index) in [(AT_WORK, "one_resolution_at_work"), (OPEN, "still_open")] {
            let mut statement =
                connection.prepare(&format!("EXPLAIN QUERY PLAN SELECT id FROM runs {sql}")).expect("it parses");
            let steps = statement.query_map([1], |row| row.get::<_, String>(3)).expect("a plan");
            let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
            assert!(steps.iter().any(|step| step.contains(index)), "{steps:?}");
            assert!(!steps.iter().any(|step| step == "SCAN runs" || step == "SCAN resolutions"), "{steps:?}");
        }
    }
}
