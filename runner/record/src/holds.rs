//! What a run holds besides its target: the subjects that no run on another target may touch meanwhile.
//!
//! The rows say what is held, and the lock of the holder's target says whether somebody still does: it is lost with the
//! process. All of it is taken in one transaction, so that two runs never wait for one another. Rows outlive a run until
//! somebody meets them, and mean nothing once their target's lock is free and no run on it is unfinished.

use std::collections::BTreeSet;

use countersign_model::text;
use rusqlite::{Connection, OptionalExtension, Params, Statement, Transaction, params};

use crate::lock::TargetLock;
use crate::rows::{self, MAX_NAME};
use crate::runs::open_run;
use crate::{BeginError, MAX_CHANGES, RecordError, Runs};

/// The longest name of a subject that can be held, in bytes.
const MAX_SUBJECT: usize = 16 * 1024;
/// Every subject of a capability; no subject has no name.
const EVERY: &str = "";

/// Where this subject is held, or every one; and where any is.
const OF_ONE: &str =
    "SELECT target, subject FROM held_subjects WHERE capability = ?1 AND target <> ?2 AND subject IN (?3, '')";
const OF_EVERY: &str = "SELECT target, subject FROM held_subjects WHERE capability = ?1 AND target <> ?2";

/// What a run is about to hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The capability.
    pub capability: String,
    /// What stands for the subject, the same whatever it is called; `None` for every subject of the capability.
    pub name: Option<String>,
}

impl Subject {
    fn key(&self) -> &str {
        self.name.as_deref().unwrap_or(EVERY)
    }
}

/// What a run is about to hold, all or nothing.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Its target.
    pub target: &'a str,
    /// What it may change there.
    pub subjects: &'a [Subject],
    /// Whether a target of this name is there no more. What an unfinished run holds on one is free: nothing recovers it.
    pub gone: &'a dyn Fn(&str) -> bool,
}

impl<'a> Wanted<'a> {
    /// The target, and no subject.
    #[must_use]
    pub fn target(target: &'a str) -> Self {
        Self { target, subjects: &[], gone: &|_| false }
    }
}

/// Who holds what a run was about to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The target that it is a run on.
    pub target: String,
    /// The run, unless it is just beginning or ending.
    pub run: Option<String>,
    /// Its process, where that is known.
    pub process: Option<u32>,
    /// The subject that is held, in words; `None` where it is the target itself.
    pub subject: Option<String>,
}

impl std::fmt::Display for Holder {
    /// A sentence without an end: what is held, and by whom.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{subject} is held by {}", self.who()),
            None => write!(f, "the target is held by {}", self.who()),
        }
    }
}

impl Holder {
    /// Whoever holds a target, where nothing else is known.
    pub(crate) fn unknown(target: &str) -> Self {
        Self { target: target.to_owned(), run: None, process: None, subject: None }
    }

    /// The run and its process, in words.
    #[must_use]
    pub fn who(&self) -> String {
        let mut who = match &self.run {
            Some(run) => format!("the run `{run}`"),
            None => "a run that is just beginning or ending".to_owned(),
        };
        if self.subject.is_some() {
            who.push_str(&format!(" on `{}`", text::excerpt(&self.target, 80)));
        }
        if let Some(process) = self.process {
            who.push_str(&format!(" (process {process})"));
        }
        who
    }
}

/// Who holds one of these subjects for a run on another target: alive, or dead and not recovered.
pub(crate) fn held_elsewhere(
    runs: &Runs<'_>,
    tx: &Transaction<'_>,
    wanted: Wanted<'_>,
) -> Result<Option<BeginError>, RecordError> {
    let failed = |error| RecordError::database("look for who holds a subject", error);
    let mut one = tx.prepare(OF_ONE).map_err(failed)?;
    let mut every = tx.prepare(OF_EVERY).map_err(failed)?;
    // Whose rows mean nothing any more.
    let mut stale = BTreeSet::new();
    for subject in wanted.subjects {
        let found = match &subject.name {
            Some(name) => held(&mut one, params![subject.capability, wanted.target, name]),
            None => held(&mut every, params![subject.capability, wanted.target]),
        };
        for (other, key) in found.map_err(failed)? {
            if stale.contains(&other) {
                continue;
            }
            let open = open_run(tx, &other).map_err(failed)?;
            let half = half_resolved(tx, &other).map_err(failed)?;
            match (TargetLock::take(runs.0.dir(), &other)?, open) {
                (None, open) => {
                    let process = process(tx, &other).map_err(failed)?;
                    let subject = Some(in_words(subject, &key));
                    let run = open.map(|(id, _)| id);
                    return Ok(Some(BeginError::Busy(Holder { target: other, run, process, subject })));
                }
                (Some(_lock), Some(_)) if (wanted.gone)(&other) => {}
                (Some(_lock), Some((id, rollback))) => {
                    let unfinished = runs.load_unfinished(tx, id, &other, rollback)?;
                    return Ok(Some(BeginError::Unfinished(Box::new(unfinished))));
                }
                // A resolution whose process died has the subject until it is recovered.
                (Some(_lock), None) if half.is_some() && !(wanted.gone)(&other) => {
                    let subject = Some(in_words(subject, &key));
                    return Ok(Some(BeginError::Busy(Holder { target: other, run: half, process: None, subject })));
                }
                (Some(_lock), None) => _ = stale.insert(other),
            }
        }
    }
    for target in &stale {
        forget(tx, target).map_err(failed)?;
    }
    Ok(None)
}

/// The run on this target of which a resolution was begun that has not ended: somebody is at work on it, or died.
pub(crate) fn half_resolved(tx: &Transaction<'_>, target: &str) -> rusqlite::Result<Option<String>> {
    let sql =
        "SELECT r.run FROM resolutions r JOIN runs ON runs.id = r.run WHERE r.outcome IS NULL AND runs.target = ?1";
    tx.query_row(sql, [target], |row| row.get(0)).optional()
}

/// Notes what the holder of a target's lock holds, in the place of whatever was held for the target before.
pub(crate) fn hold(tx: &Transaction<'_>, wanted: Wanted<'_>) -> Result<(), RecordError> {
    let Wanted { target, subjects, .. } = wanted;
    // A rollback has changes of its own.
    rows::bounded("subjects of a run", subjects.len(), 2 * MAX_CHANGES as usize)?;
    for subject in subjects {
        rows::bounded("bytes of a capability's name", subject.capability.len(), MAX_NAME)?;
        rows::bounded("bytes of a subject's name", subject.key().len(), MAX_SUBJECT)?;
    }
    let held = || {
        forget(tx, target)?;
        mark(tx, target)?;
        let sql = "INSERT OR IGNORE INTO held_subjects (target, capability, subject) VALUES (?1, ?2, ?3)";
        let mut statement = tx.prepare(sql)?;
        subjects.iter().try_for_each(|it| statement.execute(params![target, it.capability, it.key()]).map(drop))
    };
    held().map_err(|error| RecordError::database("hold the run's subjects", error))
}

/// Notes that this process has the target's lock now.
pub(crate) fn mark(tx: &Transaction<'_>, target: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO holds (target, process) VALUES (?1, ?2)
               ON CONFLICT (target) DO UPDATE SET process = excluded.process";
    tx.execute(sql, params![target, std::process::id()]).map(drop)
}

/// The process that took the target's lock last.
pub(crate) fn process(tx: &Connection, target: &str) -> rusqlite::Result<Option<u32>> {
    tx.query_row("SELECT process FROM holds WHERE target = ?1", [target], |row| row.get(0)).optional()
}

fn forget(tx: &Transaction<'_>, target: &str) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM held_subjects WHERE target = ?1", [target])?;
    tx.execute("DELETE FROM holds WHERE target = ?1", [target]).map(drop)
}

/// The targets for which something is noted, each with the subject.
fn held(query: &mut Statement<'_>, values: impl Params) -> rusqlite::Result<Vec<(String, String)>> {
    query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// What is held of what was wanted, with the narrower of both names.
fn in_words(wanted: &Subject, held: &str) -> String {
    let capability = text::excerpt(&wanted.capability, 80);
    match (wanted.key(), held) {
        (EVERY, EVERY) => format!("every subject of `{capability}`"),
        (EVERY, name) | (name, _) => format!("`{}`", text::excerpt(name, 200)),
    }
}
