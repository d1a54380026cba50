use countersign_model::documents::GuardState;
use countersign_model::{Digest, Outcome, Plan, text};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::lock::TargetLock;
use crate::names::Names;
use crate::rows::{self, MAX_LISTED, bad_column};
use crate::state::transact;
use crate::{JournaledChange, RecordError, State, Unfinished, changes};

/// Runs; see [`State::runs`]. How one begins stands in `begin.rs`.
pub struct Runs<'a>(pub(crate) &'a State);

/// A recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// `r-` and 12 hexadecimal digits.
    pub id: String,
    /// The proposal.
    pub proposal: Digest,
    /// The approval manifest that it used; none where it was refused before it had one.
    pub manifest: Option<Digest>,
    /// The manifests that people signed, where that one was made of them.
    pub sources: Vec<Digest>,
    /// The standing approval by which it was, where nobody was asked.
    pub standing: Option<Digest>,
    /// The bundle.
    pub bundle: Digest,
    /// The target.
    pub target: String,
    /// Who approved, by name.
    pub approvers: Vec<String>,
    /// Whether the proposer could not have approved it.
    pub independent: bool,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// Why it was rolled back, where it was.
    pub rollback: Option<String>,
    /// Where it stands.
    pub state: RunState,
    /// Why it ended as it did.
    pub reason: Option<String>,
    /// When it ended, in milliseconds since 1970-01-01 UTC.
    pub finished: Option<u64>,
    /// The run that it undoes, or was to undo.
    pub undoes: Option<String>,
    /// The committed run that undid it.
    pub undone_by: Option<String>,
    /// Its waiting for a person's word, where it ever waited for one.
    pub waiting: Option<Waiting>,
    /// Who started it, or would have where it was refused; none where that cannot be told.
    pub actor: Option<String>,
}

/// A run's waiting for a person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// From when on, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// Why what it changed stays, once that was decided; the run has only to be committed then.
    pub kept: Option<String>,
}

impl RunRecord {
    /// Its waiting, where it has neither ended nor begun to be rolled back: nobody has decided yet, or it has only to be
    /// committed.
    #[must_use]
    pub fn waits(&self) -> Option<&Waiting> {
        let open = !matches!(self.state, RunState::Finished(_)) && self.rollback.is_none();
        self.waiting.as_ref().filter(|_| open)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// A process is at work on it.
    Running,
    /// Its process ended before it did.
    Unfinished,
    /// It ended.
    Finished(Outcome),
}

/// Something that a validator, a check or a guard said in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    /// The latest change at that moment, 0 before the first.
    pub after_change: u32,
    /// The sort of event.
    pub kind: String,
    /// What it was, as JSON.
    pub body: serde_json::Value,
}

const NAMES: Names = Names {
    noun: "run",
    expected: "`r-` and hexadecimal digits in lower case, or only those, at least 6",
    markers: &["r-"],
    stored: "r-",
    longest: 12,
    sql: "SELECT id FROM runs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    show: str::to_owned,
};

const COLUMNS: &str = "id, proposal, manifest, bundle, target, approvers, independent, started, rollback, outcome,
    reason, finished, undoes,
    (SELECT u.id FROM runs u WHERE u.undoes = runs.id AND u.outcome = 'committed') AS undone_by,
    waiting_since, waiting_until, kept,
    (SELECT group_concat(s.manifest) FROM run_sources s WHERE s.run = runs.id), standing, actor";

impl Runs<'_> {
    /// The run on a target whose process ended before it did, if there is one.
    ///
    /// # Errors
    /// Where it cannot be told; then the target must be taken for blocked.
    pub fn unfinished(&self, target: &str) -> Result<Option<Unfinished>, RecordError> {
        let action = "look for unfinished runs";
        self.0.with_connection(|connection| {
            transact(connection, action, |tx| {
                let failed = |error| RecordError::database(action, error);
                let Some((id, rollback)) = open_run(tx, target).map_err(failed)? else { return Ok(None) };
                match TargetLock::take(self.0.dir(), target)? {
                    None => Ok(None),
                    Some(_lock) => self.load_unfinished(tx, id, target, rollback).map(Some),
                }
            })
        })
    }

    /// The run that is at work on a target, if there is one.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn running(&self, target: &str) -> Result<Option<String>, RecordError> {
        let action = "look for running runs";
        self.0.with_connection(|connection| {
            transact(connection, action, |tx| {
                let open = open_run(tx, target).map_err(|error| RecordError::database(action, error))?;
                let Some((id, _)) = open else { return Ok(None) };
                Ok(TargetLock::take(self.0.dir(), target)?.is_none().then_some(id))
            })
        })
    }

    pub(crate) fn load_unfinished(
        &self,
        tx: &Connection,
        id: String,
        target: &str,
        rollback: Option<String>,
    ) -> Result<Unfinished, RecordError> {
        let changes = changes::of_run(tx, &id).map_err(|error| RecordError::database("read a journal", error))?;
        Ok(Unfinished::new(id, target.to_owned(), changes, rollback))
    }

    /// The run that a person means by its id or at least 6 of its hexadecimal digits.
    ///
    /// # Errors
    /// [`RecordError::Ambiguous`] with the candidates, [`RecordError::NotFound`] or [`RecordError::BadName`].
    pub fn get(&self, name: &str) -> Result<RunRecord, RecordError> {
        let id = self.0.with_connection(|connection| NAMES.resolve(connection, name))?;
        let found = self.select("WHERE id = ?1 LIMIT ?2", Some(&id), 1)?.pop();
        found.ok_or(RecordError::NotFound { noun: "run", name: id })
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn list(&self, limit: usize) -> Result<Vec<RunRecord>, RecordError> {
        self.select("WHERE ?1 IS NULL ORDER BY started DESC, id LIMIT ?2", None, limit)
    }

    /// The latest runs of a bundle that were not refused, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of_bundle(&self, bundle: &Digest, limit: usize) -> Result<Vec<RunRecord>, RecordError> {
        let of = "WHERE bundle = ?1 AND outcome IS NOT 'refused' ORDER BY started DESC, id LIMIT ?2";
        self.select(of, Some(&bundle.to_string()), limit)
    }

    /// The latest refused runs of a bundle, newest first. They are counted apart, since there is no end to them.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn refused_of_bundle(&self, bundle: &Digest, limit: usize) -> Result<Vec<RunRecord>, RecordError> {
        let of = "WHERE bundle = ?1 AND outcome IS 'refused' ORDER BY started DESC, id LIMIT ?2";
        self.select(of, Some(&bundle.to_string()), limit)
    }

    /// The latest runs of a proposal that were not refused, newest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn of_proposal(&self, proposal: &Digest, limit: usize) -> Result<Vec<RunRecord>, RecordError> {
        let of = "WHERE proposal = ?1 AND outcome IS NOT 'refused' ORDER BY started DESC, id LIMIT ?2";
        self.select(of, Some(&proposal.to_string()), limit)
    }

    fn select(&self, rest: &str, key: Option<&str>, limit: usize) -> Result<Vec<RunRecord>, RecordError> {
        self.matching(rest, params![key, rows::limit(limit)])
    }

    pub(crate) fn matching(&self, rest: &str, values: impl Params + Copy) -> Result<Vec<RunRecord>, RecordError> {
        let sql = format!("SELECT {COLUMNS} FROM runs {rest}");
        let query = |connection: &Connection| -> rusqlite::Result<Vec<RunRecord>> {
            connection.prepare(&sql)?.query_map(values, decode)?.collect()
        };
        let runs = self.0.read("list the runs", query)?;
        if runs.iter().all(|run| run.state != RunState::Unfinished) {
            return Ok(runs);
        }
        // Again where nobody can begin or end a run, so that a lock that is free means a process that ended.
        self.0.with_connection(|connection| {
            transact(connection, "list the runs", |tx| {
                let mut runs = query(tx).map_err(|error| RecordError::database("list the runs", error))?;
                for run in runs.iter_mut().filter(|run| run.state == RunState::Unfinished) {
                    if TargetLock::take(self.0.dir(), &run.target)?.is_none() {
                        run.state = RunState::Running;
                    }
                }
                Ok(runs)
            })
        })
    }

    /// A run's changes, in order, as far as they are durable.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn changes(&self, run: &str) -> Result<Vec<JournaledChange>, RecordError> {
        self.0.read("read a journal", |connection| changes::of_run(connection, run))
    }

    /// A run's first events, in order, as far as they are durable.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn events(&self, run: &str) -> Result<Vec<RunEvent>, RecordError> {
        let sql = "SELECT after_change, kind, body FROM events WHERE run = ?1 ORDER BY position LIMIT ?2";
        self.0.read("read a journal", |connection| {
            connection
                .prepare(sql)?
                .query_map(params![run, rows::limit(MAX_LISTED)], |row| {
                    Ok(RunEvent { after_change: row.get(0)?, kind: row.get(1)?, body: json(row, 2)? })
                })?
                .collect()
        })
    }

    /// The plan that a run was approved with; none where it was refused before it began.
    ///
    /// # Errors
    /// Where there is no such run.
    pub fn plan(&self, run: &str) -> Result<Option<Plan>, RecordError> {
        self.document(run, "SELECT plan FROM runs WHERE id = ?1")
    }

    /// The guards as they stood before a run's first change.
    pub(crate) fn guards(&self, run: &str) -> Result<Option<Vec<GuardState>>, RecordError> {
        self.document(run, "SELECT guards FROM runs WHERE id = ?1")
    }

    /// The report that a run ended with; none while it has not, or where it was refused before it began.
    ///
    /// # Errors
    /// Where there is no such run.
    pub fn report(&self, run: &str) -> Result<Option<serde_json::Value>, RecordError> {
        self.document(run, "SELECT report FROM runs WHERE id = ?1")
    }

    fn document<T: serde::de::DeserializeOwned>(&self, run: &str, sql: &str) -> Result<Option<T>, RecordError> {
        let found = self.0.read("read a run", |connection| {
            let decode = |row: &Row<'_>| {
                let text: Option<String> = row.get(0)?;
                text.map(|text| serde_json::from_str(&text).map_err(|error| bad_column(0, error))).transpose()
            };
            connection.query_row(sql, [run], decode).optional()
        })?;
        found.ok_or_else(|| RecordError::NotFound { noun: "run", name: text::excerpt(run, 80) })
    }

    /// How many uses of an approval are spent on a target: by every run that began and was not refused before its first change.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn uses(&self, manifest: &Digest, target: &str) -> Result<u32, RecordError> {
        self.0.read("count the uses of an approval", |connection| count_uses(connection, &manifest.to_string(), target))
    }
}

/// The run on a target that has no outcome, and why it is being rolled back if it is.
pub(crate) fn open_run(connection: &Connection, target: &str) -> rusqlite::Result<Option<(String, Option<String>)>> {
    let sql = "SELECT id, rollback FROM runs WHERE target = ?1 AND outcome IS NULL";
    connection.query_row(sql, [target], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

pub(crate) fn count_uses(connection: &Connection, manifest: &str, target: &str) -> rusqlite::Result<u32> {
    let sql = "SELECT (SELECT count(*) FROM runs WHERE manifest = ?1 AND target = ?2 AND outcome IS NOT 'refused')
        + (SELECT count(*) FROM run_sources s JOIN runs r ON r.id = s.run
           WHERE s.manifest = ?1 AND r.target = ?2 AND r.outcome IS NOT 'refused')";
    connection.query_row(sql, [manifest, target], |row| row.get(0))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text).map_err(|error| bad_column(index, error))
}

fn decode(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: row.get(0)?,
        proposal: rows::get_digest(row, 1)?,
        manifest: rows::get_optional_digest(row, 2)?,
        bundle: rows::get_digest(row, 3)?,
        target: row.get(4)?,
        approvers: json(row, 5)?,
        independent: row.get(6)?,
        started: rows::get_time(row, 7)?,
        rollback: row.get(8)?,
        // Until somebody has looked at the lock.
        state: rows::get_outcome(row, 9)?.map_or(RunState::Unfinished, RunState::Finished),
        reason: row.get(10)?,
        finished: row.get::<_, Option<i64>>(11)?.map(|_| rows::get_time(row, 11)).transpose()?,
        undoes: row.get(12)?,
        undone_by: row.get(13)?,
        waiting: waiting(row, 14)?,
        sources: sources(row, 17)?,
        standing: rows::get_optional_digest(row, 18)?,
        actor: row.get(19)?,
    })
}

fn sources(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<Digest>> {
    let listed: Option<String> = row.get(index)?;
    let digests = listed.iter().flat_map(|listed| listed.split(','));
    digests.map(|digest| digest.parse().map_err(|error| bad_column(index, error))).collect()
}

/// From three columns, of which this is the first.
pub(crate) fn waiting(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Waiting>> {
    let until = first.saturating_add(1);
    let Some(_) = row.get::<_, Option<i64>>(until)? else { return Ok(None) };
    let (since, until) = (rows::get_time(row, first)?, rows::get_time(row, until)?);
    Ok(Some(Waiting { since, until, kept: row.get(first.saturating_add(2))? }))
}
