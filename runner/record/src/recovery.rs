//! What recovery finds: runs whose process died, and what runs that ended left on their targets.

use std::sync::Arc;

use countersign_model::documents::GuardState;
use countersign_model::{Outcome, Plan, text};
use rusqlite::{Connection, OptionalExtension, params};

use crate::blobs::RunBlobs;
use crate::journal::{Before, Held};
use crate::lock::TargetLock;
use crate::reserve::{Needed, Reserve};
use crate::rows::{self, MAX_LISTED};
use crate::runs::waiting;
use crate::state::transact;
use crate::{Entry, Journal, JournaledChange, RecordError, RunRecord, RunState, Runs, changes, holds, schema};

// `settled = 0` is what the index is by.
const OPEN: &str = "WHERE settled = 0 AND outcome IS NULL ORDER BY started, id LIMIT ?1";
/// The kind of event that says that a call was given up.
const GIVEN_UP: &str = "given-up";
/// What a run is at: what was given up of one thing says nothing of the next.
const AT: &str = "(CASE WHEN outcome IS NULL THEN 'run' ELSE coalesce(
    (SELECT 'resolution ' || position FROM resolutions WHERE run = runs.id AND outcome IS NULL), 'settling') END)";
const UNSETTLED: &str = "WHERE settled = 0 AND outcome IN (?1, ?2, ?3, ?4)
    AND NOT EXISTS (SELECT 1 FROM open_subjects open WHERE open.run = runs.id AND open.closed_by IS NULL)
    ORDER BY started, id LIMIT ?5";

/// A run whose process died, taken over by this one: until it is dropped nobody else recovers it, and no other run
/// begins on its target. Its approval is spent, and when that expires does not matter: undoing is always allowed.
#[derive(Debug)]
pub struct TakenOver {
    /// The run as it is recorded, now that nobody else is at work on it.
    pub run: RunRecord,
    /// Its journal, open again. It takes the intents of a rollback step and no others.
    pub journal: Journal,
    /// The plan that it was approved with.
    pub plan: Plan,
    /// The guards as they stood before its first change.
    pub guards: Vec<GuardState>,
}

/// A run that ended well, whose process died before it had let go of what it kept on the target for undo. Held until
/// it is dropped.
pub struct Unsettled {
    /// The run.
    pub run: RunRecord,
    /// What it changed.
    pub changes: Vec<JournaledChange>,
    /// Where its images are found.
    pub images: RunBlobs,
    // Last, so that it is dropped last.
    _lock: TargetLock,
}

impl Runs<'_> {
    /// The runs whose process died before they ended, oldest first. Costs as much as there are, however many runs ended.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn abandoned(&self) -> Result<Vec<RunRecord>, RecordError> {
        Ok(self.open()?.into_iter().filter(|run| run.state == RunState::Unfinished).collect())
    }

    /// The runs that have not ended, oldest first, whether or not a process is at work on them. Costs as much as
    /// [`Runs::abandoned`].
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn open(&self) -> Result<Vec<RunRecord>, RecordError> {
        self.matching(OPEN, [rows::limit(MAX_LISTED)])
    }

    /// The runs that are under way, oldest first.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn under_way(&self) -> Result<Vec<RunRecord>, RecordError> {
        Ok(self.open()?.into_iter().filter(|run| run.state == RunState::Running).collect())
    }

    /// Records durably that a call to its target was given up, and why: of a run that is unfinished, or of a resolution of
    /// it, or of letting go of what it kept there. Whoever made it may hold the run's journal still.
    ///
    /// # Errors
    /// Where it could not be recorded.
    pub fn give_up(&self, run: &str, why: &str, at: u64) -> Result<(), RecordError> {
        let action = "record that a call was given up";
        let body = serde_json::json!({ "why": text::excerpt(why, 4_096), "at": at }).to_string();
        let sql = format!(
            "INSERT INTO events (run, position, after_change, kind, body)
                   SELECT id, (SELECT coalesce(max(position), 0) + 1 FROM events WHERE run = runs.id),
                          (SELECT coalesce(max(seq), 0) FROM changes WHERE run = runs.id), ?2,
                          json_set(?3, '$.of', {AT})
                   FROM runs WHERE id = ?1 AND settled = 0"
        );
        self.0.write(action, |tx| {
            let failed = |error| RecordError::database(action, error);
            tx.execute(&sql, params![run, GIVEN_UP, body]).map(drop).map_err(failed)
        })
    }

    /// Why a call of what this run is at was given up last, if one was: of the run itself while it is unfinished, then of the
    /// resolution that is at work, or else of letting go of what it kept.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn given_up(&self, run: &str) -> Result<Option<String>, RecordError> {
        let sql = format!(
            "SELECT json_extract(body, '$.why') FROM events
                   WHERE run = ?1 AND kind = ?2
                     AND coalesce(json_extract(body, '$.of'), 'run') = (SELECT {AT} FROM runs WHERE id = ?1)
                   ORDER BY position DESC LIMIT 1"
        );
        self.0.read("look for calls that were given up", |connection| {
            connection.query_row(&sql, params![run, GIVEN_UP], |row| row.get(0)).optional()
        })
    }

    /// Takes over a run whose process died. `None` where it has ended, or another process is at work on it.
    ///
    /// # Errors
    /// Where its journal cannot be read whole; then a person is needed.
    pub fn take_over(&self, run: &str) -> Result<Option<TakenOver>, RecordError> {
        let durable = self.0.durable();
        durable.check()?;
        let mut found = self.get(run)?;
        let mut connection = schema::open(&self.0.database())?;
        let taken = transact(&mut connection, "take over a run", |tx| {
            let failed = |error| RecordError::database("read a journal", error);
            let Some(lock) = TargetLock::take(self.0.dir(), &found.target)? else { return Ok(None) };
            // Again with the lock held: it may have ended since.
            let sql = "SELECT rollback, (SELECT coalesce(max(position), 0) FROM events WHERE run = runs.id),
                       waiting_since, waiting_until, kept FROM runs WHERE id = ?1 AND outcome IS NULL";
            let mut statement = tx.prepare(sql).map_err(failed)?;
            let mut rows = statement.query([&found.id]).map_err(failed)?;
            let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
            found.rollback = row.get(0).map_err(failed)?;
            found.waiting = waiting(row, 2).map_err(failed)?;
            let before = Before {
                rolling_back: found.rollback.is_some(),
                kept: found.waiting.as_ref().is_some_and(|waiting| waiting.kept.is_some()),
                events: row.get(1).map_err(failed)?,
                changes: changes::of_run(tx, &found.id).map_err(failed)?,
            };
            Ok(Some((before, lock)))
        })?;
        let Some((before, lock)) = taken else { return Ok(None) };
        // The rows of what it holds are there still. Who holds it now is only told, and a full disk is no reason not to
        // undo: what is set aside is given back when the rollback begins.
        let marked = transact(&mut connection, "note who recovers", |tx| {
            let failed = |error| RecordError::database("note who recovers", error);
            holds::mark(tx, &found.target).map_err(failed)?;
            let entry = Entry::new("recovery").of_run(&found.id).with("target", &found.target);
            self.0.log().append(tx, &entry).map(drop).map_err(failed)
        });
        marked.or_else(|error| if error.is_full() { Ok(()) } else { Err(error) })?;
        let (plan, guards) = (self.plan(&found.id)?, self.guards(&found.id)?);
        let images = RunBlobs::new(connection, self.0.blobs());
        let (plan, guards) = (plan.unwrap_or_default(), guards.unwrap_or_default());
        // What cannot be read back is no reason not to undo.
        let json = [serde_json::to_string(&plan), serde_json::to_string(&guards)];
        let json = json.iter().flatten().map(String::len).sum();
        let reserve = Reserve::new(self.0.dir(), &found.target, Needed::of(&plan, json), durable);
        let held = Held { reserve, log: Arc::clone(self.0.log()), _lock: lock };
        let journal = Journal::again(found.id.clone(), found.target.clone(), images, Arc::clone(durable), held, before);
        Ok(Some(TakenOver { run: found, journal, plan, guards }))
    }

    /// The runs that were committed or rolled back, or of which nothing is open any more, and that may have left something
    /// on their targets, oldest first. While something is open, what is kept on the target may be all that there is.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn unsettled(&self) -> Result<Vec<RunRecord>, RecordError> {
        let [committed, back, incomplete, doubt] =
            [Outcome::Committed, Outcome::RolledBack, Outcome::RollbackIncomplete, Outcome::InDoubt].map(Outcome::name);
        self.matching(UNSETTLED, params![committed, back, incomplete, doubt, rows::limit(MAX_LISTED)])
    }

    /// Holds such a run's target, to let go of what is left there. `None` where that was done, or a run is at work
    /// on the target.
    ///
    /// # Errors
    /// Where its journal cannot be read.
    pub fn hold_unsettled(&self, run: &RunRecord) -> Result<Option<Unsettled>, RecordError> {
        let mut connection = schema::open(&self.0.database())?;
        let held = transact(&mut connection, "hold the target", |tx| {
            let failed = |error| RecordError::database("read a journal", error);
            let Some(lock) = TargetLock::take(self.0.dir(), &run.target)? else { return Ok(None) };
            let sql = "SELECT count(*) FROM runs WHERE id = ?1 AND settled = 0 AND NOT EXISTS
                       (SELECT 1 FROM open_subjects open WHERE open.run = runs.id AND open.closed_by IS NULL)";
            let left: u32 = tx.query_row(sql, [&run.id], |row| row.get(0)).map_err(failed)?;
            if left == 0 {
                return Ok(None);
            }
            holds::mark(tx, &run.target).map_err(failed)?;
            Ok(Some((changes::of_run(tx, &run.id).map_err(failed)?, lock)))
        })?;
        Ok(held.map(|(changes, lock)| Unsettled {
            run: run.clone(),
            changes,
            images: RunBlobs::new(connection, self.0.blobs()),
            _lock: lock,
        }))
    }
}

impl Unsettled {
    /// Records that nothing is left to let go of.
    ///
    /// # Errors
    /// Where it cannot be recorded: then it is done again the next time.
    pub fn settled(self) -> Result<(), RecordError> {
        let Self { run, images, .. } = &self;
        settle(&images.connection, &run.id)
            .map_err(|error| RecordError::database("record that a run is settled", error))
    }
}

pub(crate) fn settle(connection: &Connection, run: &str) -> rusqlite::Result<()> {
    connection.execute("UPDATE runs SET settled = 1 WHERE id = ?1", [run]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ended well must not make recovery slower, which every command begins with.
    #[test]
    fn what_is_looked_for_is_found_by_an_index() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("schema.sql")).expect("the tables");
        for sql in [OPEN, UNSETTLED] {
            let explain = format!("EXPLAIN QUERY PLAN SELECT id FROM runs {sql}");
            let mut statement = connection.prepare(&explain).expect("it parses");
            let count = statement.parameter_count();
            let values = rusqlite::params_from_iter(std::iter::repeat_n(1, count));
            let steps = statement.query_map(values, |row| row.get::<_, String>(3)).expect("a plan");
            let steps: Vec<String> = steps.map(|step| step.expect("text")).collect();
            assert!(steps.iter().any(|step| step.contains("SEARCH runs USING INDEX unsettled_runs")), "{steps:?}");
        }
    }
}
