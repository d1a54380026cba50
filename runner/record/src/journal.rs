//! The write-ahead record of one run's changes.
//!
//! An intent is one commit: the change, the images that it needs, and every mark that waited for it.
//! Marks that say what became of a change ride along with the next commit: if they are lost in a
//! crash, the change is found `intended` and a probe tells the rest. Only what no probe can tell, an
//! irreversible change, is marked at once.

use std::fmt;
use std::sync::Arc;

use countersign_model::{Change, Reversibility, Role, text};
use rusqlite::{Transaction, params};
use serde_json::Value;

use crate::audit::{Log, entries};
use crate::blobs::{RunBlobs, write_images};
use crate::changes::{self, MAX_CHANGE};
use crate::lock::TargetLock;
use crate::reserve::Reserve;
use crate::rows::{self, MAX_NAME, MAX_TEXT};
use crate::state::transact;
use crate::{ChangeState, Durable, Entry, JournaledChange, RecordError, RunRecord};

mod ending;

mod waiting;

pub use waiting::Decided;

/// The most changes of one run.
pub const MAX_CHANGES: u32 = 10_000;
/// The most events of one run.
pub const MAX_EVENTS: u32 = 10_000;
/// The largest event, as JSON, in bytes.
const MAX_EVENT: usize = 256 * 1024;
/// The longest note of a conflict, in characters.
const MAX_NOTE: usize = 4_096;

/// When an event becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With the next commit; lost if the runner dies before.
    Riding,
    /// Before the call returns.
    Now,
}

/// The journal of one run, and its hold on the target until it is dropped.
///
/// The first error ends it: it takes no more intents, so that nothing more is applied. Marks are
/// still remembered for [`Journal::changes`], so that undo knows all, and [`Journal::finish`] still
/// records the outcome, unless the disk itself failed. Where the disk was only full, the rollback goes on
/// with what was set aside for it, and takes the intents of a rollback step.
pub struct Journal {
    run: String,
    target: String,
    images: RunBlobs,
    durable: Arc<Durable>,
    changes: Vec<JournaledChange>,
    riding: Vec<Mark>,
    events: u32,
    phase: Phase,
    failure: Option<Failure>,
    /// It was decided that what was changed stays: a commit that finds no room is not rolled back then.
    kept: bool,
    held: Held,
}

/// What a journal holds until it is dropped.
pub(crate) struct Held {
    pub(crate) reserve: Reserve,
    pub(crate) log: Arc<Log>,
    // Last, so that it is dropped last.
    pub(crate) _lock: TargetLock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Forward,
    RollingBack,
    Finished,
    /// A person puts a subject back that the run left otherwise than before.
    Resolving(u32),
}

/// What a journal held when its process died.
pub(crate) struct Before {
    pub(crate) rolling_back: bool,
    /// It was decided that what it changed stays.
    pub(crate) kept: bool,
    pub(crate) events: u32,
    pub(crate) changes: Vec<JournaledChange>,
}

struct Failure {
    why: String,
    /// There was no room, and nothing else was wrong.
    is_full: bool,
    /// Nothing may be written any more, not even the outcome.
    is_final: bool,
}

/// What waits for the next commit. Bounded by [`MAX_CHANGES`] and [`MAX_EVENTS`].
enum Mark {
    State { seq: u32, state: ChangeState, note: Option<String> },
    Event { position: u32, after: u32, kind: String, body: String },
    Rollback { reason: String },
    Entry(Entry),
}

impl Mark {
    fn write(&self, tx: &Transaction<'_>, run: &str, log: &Log) -> rusqlite::Result<()> {
        let written = match self {
            Self::Entry(entry) => return log.append(tx, entry).map(drop),
            Self::State { seq, state, note } => tx.execute(
                "UPDATE changes SET state = ?3, note = ?4 WHERE run = ?1 AND seq = ?2",
                params![run, seq, state.name(), note],
            ),
            Self::Event { position, after, kind, body } => tx.execute(
                "INSERT INTO events (run, position, after_change, kind, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![run, position, after, kind, body],
            ),
            Self::Rollback { reason } => {
                tx.execute("UPDATE runs SET rollback = ?2 WHERE id = ?1", params![run, reason])
            }
        };
        exactly_one(written?)
    }
}

/// Fails where a statement did not meet the one row that it is about.
fn exactly_one(rows: usize) -> rusqlite::Result<()> {
    if rows == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(rows)) }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Journal");
        debug.field("run", &self.run).field("target", &self.target).field("phase", &self.phase);
        debug.finish_non_exhaustive()
    }
}

impl Journal {
    pub(crate) fn new(run: String, target: String, images: RunBlobs, durable: Arc<Durable>, held: Held) -> Self {
        Self {
            run,
            target,
            images,
            durable,
            changes: Vec::new(),
            riding: Vec::new(),
            events: 0,
            phase: Phase::Forward,
            failure: None,
            kept: false,
            held,
        }
    }

    /// The journal of a run whose process died. It goes on as a rollback.
    pub(crate) fn again(
        run: String,
        target: String,
        images: RunBlobs,
        durable: Arc<Durable>,
        held: Held,
        before: Before,
    ) -> Self {
        let Before { rolling_back, kept, events, changes } = before;
        let mut journal = Self { changes, events, kept, ..Self::new(run, target, images, durable, held) };
        if rolling_back {
            journal.phase = Phase::RollingBack;
            journal.images.unbound();
            // Its process may have died between the two.
            journal.give_back();
        }
        journal
    }

    /// The journal of a run that ended, opened again for one resolution of what it left.
    pub(crate) fn resolving(
        run: &RunRecord,
        position: u32,
        images: RunBlobs,
        durable: Arc<Durable>,
        held: Held,
        changes: Vec<JournaledChange>,
    ) -> Self {
        let journal = Self::new(run.id.clone(), run.target.clone(), images, durable, held);
        Self { changes, phase: Phase::Resolving(position), ..journal }
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The run's target.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Why it takes no more intents, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.why.as_str())
    }

    /// Whether the run is being put back.
    #[must_use]
    pub fn is_rolling_back(&self) -> bool {
        self.phase == Phase::RollingBack
    }

    /// Every change so far with what is known of it, durable or not, in order.
    #[must_use]
    pub fn changes(&self) -> &[JournaledChange] {
        &self.changes
    }

    /// Where the run's images are put and found.
    pub const fn blobs(&mut self) -> &mut RunBlobs {
        &mut self.images
    }

    /// Records durably that a change is about to be applied, with its images, and gives its place.
    /// A fix's changes come before [`Journal::begin_rollback`], a rollback step's after it.
    ///
    /// # Errors
    /// Then the change must not be applied, and the journal takes no more intents: an image of the
    /// change was never put, the change does not read back as it is, or it could not be recorded.
    pub fn intend(&mut self, role: Role, change: &Change) -> Result<u32, RecordError> {
        let result = self.try_intend(role, change);
        self.ended_by(result)
    }

    fn try_intend(&mut self, role: Role, change: &Change) -> Result<u32, RecordError> {
        if let Some(failure) = &self.failure {
            return Err(RecordError::JournalStopped { run: self.run.clone(), why: failure.why.clone() });
        }
        self.unless_finished()?;
        let expected = if self.phase == Phase::Forward { Role::Fix } else { Role::Rollback };
        let resolution = match self.phase {
            Phase::Resolving(position) => Some(position),
            _ => None,
        };
        if role != expected {
            return Err(
                self.rule(format!("a change of the `{role}` step where only the `{expected}` step may make one"))
            );
        }
        let seq = self.latest().saturating_add(1);
        rows::bounded("changes of a run", seq as usize, MAX_CHANGES as usize)?;
        let json = serde_json::to_string(change).map_err(|error| self.rule(error.to_string()))?;
        rows::bounded("bytes of a change", json.len(), MAX_CHANGE)?;
        // What could not be read back could not be undone after a crash.
        match changes::parse(&json) {
            Ok(same) if same == *change => {}
            Ok(_) => return Err(self.rule("the change does not read back as it is".to_owned())),
            Err(error) => return Err(self.rule(format!("the change does not read back: {error}"))),
        }
        for image in change.images() {
            if !self.images.holds(&image.digest)? {
                return Err(self.rule(format!("the image {} was never put", image.digest)));
            }
        }
        let images = self.images.take_pending();
        let run = self.run.clone();
        let entry = entries::intended(&run, seq, role, change, resolution);
        self.commit_logged("record an intent", &[entry], |tx| {
            write_images(tx, &images)?;
            let sql = "INSERT INTO changes (run, seq, role, change, state, resolution) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let state = ChangeState::Intended.name();
            exactly_one(tx.execute(sql, params![run, seq, role.name(), json, state, resolution])?)
        })?;
        let change = change.clone();
        let state = ChangeState::Intended;
        self.changes.push(JournaledChange { seq, role, change, state, note: None, resolution });
        Ok(seq)
    }

    /// Remembers that a change was applied. Durable with the next commit, which is enough where a
    /// probe could tell.
    ///
    /// # Errors
    /// Where the change was never intended or something else is known of it.
    pub fn done(&mut self, seq: u32) -> Result<(), RecordError> {
        self.mark(seq, ChangeState::Done, None)
    }

    /// Records durably that a change was applied: for irreversible ones, which no probe can tell.
    ///
    /// # Errors
    /// As for [`Journal::done`], and where it could not be recorded; it is remembered then.
    pub fn done_now(&mut self, seq: u32) -> Result<(), RecordError> {
        self.mark(seq, ChangeState::Done, None)?;
        self.flush("record that a change was applied")
    }

    /// Remembers that a change failed, and whether it may have reached the target.
    ///
    /// # Errors
    /// As for [`Journal::done`].
    pub fn failed(&mut self, seq: u32, reached: bool) -> Result<(), RecordError> {
        self.mark(seq, if reached { ChangeState::Unclear } else { ChangeState::NotApplied }, None)
    }

    /// Remembers that a change's subject is as it was before.
    ///
    /// # Errors
    /// As for [`Journal::done`]; also where the change is irreversible.
    pub fn undone(&mut self, seq: u32) -> Result<(), RecordError> {
        self.mark(seq, ChangeState::Undone, None)
    }

    /// Remembers why a change was not undone; at most 4,096 characters of it.
    ///
    /// # Errors
    /// As for [`Journal::done`].
    pub fn conflict(&mut self, seq: u32, why: &str) -> Result<(), RecordError> {
        self.mark(seq, ChangeState::Conflict, Some(text::excerpt(why, MAX_NOTE)))
    }

    fn mark(&mut self, seq: u32, state: ChangeState, note: Option<String>) -> Result<(), RecordError> {
        let result = self.try_mark(seq, state, note);
        self.ended_by(result)
    }

    fn try_mark(&mut self, seq: u32, state: ChangeState, note: Option<String>) -> Result<(), RecordError> {
        self.unless_finished()?;
        let found = self.changes.iter_mut().find(|change| change.seq == seq);
        let Some(change) = found else { return Err(self.rule(format!("there is no change {seq}"))) };
        let irreversible = change.change.reversibility == Reversibility::Irreversible;
        let now = change.state;
        if !now.may_become(state) || (irreversible && state == ChangeState::Undone) {
            let sort = if irreversible { "irreversible change" } else { "change" };
            return Err(self.rule(format!("the {sort} {seq} is `{now}` and cannot become `{state}`")));
        }
        change.state = state;
        change.note.clone_from(&note);
        self.riding.push(Mark::State { seq, state, note });
        Ok(())
    }

    /// Records what a validator, a check or a guard said.
    ///
    /// # Errors
    /// Where it is too large, the 10,001st, or could not be recorded.
    pub fn event(&mut self, kind: &str, body: &Value, when: When) -> Result<(), RecordError> {
        let result = self.try_event(kind, body);
        self.ended_by(result)?;
        match when {
            When::Riding => Ok(()),
            When::Now => self.flush("record an event"),
        }
    }

    fn try_event(&mut self, kind: &str, body: &Value) -> Result<(), RecordError> {
        self.unless_finished()?;
        let position = self.events.saturating_add(1);
        rows::bounded("events of a run", position as usize, MAX_EVENTS as usize)?;
        rows::bounded("bytes of an event's kind", kind.len(), MAX_NAME)?;
        let body = body.to_string();
        rows::bounded("bytes of an event", body.len(), MAX_EVENT)?;
        self.riding.push(Mark::Event { position, after: self.latest(), kind: kind.to_owned(), body });
        self.events = position;
        Ok(())
    }

    /// Records durably that the run is being rolled back, and why.
    ///
    /// # Errors
    /// Where it could not be recorded, or was before. The rollback goes on: undo works from what is durable.
    pub fn begin_rollback(&mut self, reason: &str) -> Result<(), RecordError> {
        let result = self.try_begin_rollback(reason);
        self.ended_by(result)?;
        self.flush("record the rollback")
    }

    fn try_begin_rollback(&mut self, reason: &str) -> Result<(), RecordError> {
        self.unless_finished()?;
        if self.phase != Phase::Forward {
            return Err(self.rule("the run is being rolled back already".to_owned()));
        }
        self.phase = Phase::RollingBack;
        self.images.unbound();
        // Whatever else went wrong ends it, backwards too.
        if self.give_back() && self.failure.as_ref().is_some_and(|failure| failure.is_full) {
            self.failure = None;
        }
        self.riding.push(Mark::Rollback { reason: text::excerpt(reason, MAX_TEXT) });
        self.riding.push(Mark::Entry(Entry::new("rollback").of_run(&self.run).with("reason", reason)));
        Ok(())
    }

    fn flush(&mut self, action: &'static str) -> Result<(), RecordError> {
        let result = self.commit(action, |_| Ok(()));
        self.ended_by(result)
    }

    /// One durable transaction: every mark that waits, and `write`. The marks wait on where it failed.
    fn commit(
        &mut self,
        action: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), RecordError> {
        self.commit_logged(action, &[], write)
    }

    /// The same with these entries of the audit log.
    fn commit_logged(
        &mut self,
        action: &'static str,
        entries: &[Entry],
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), RecordError> {
        self.durable.check()?;
        if let Some(Failure { why, is_final: true, .. }) = &self.failure {
            return Err(RecordError::JournalStopped { run: self.run.clone(), why: why.clone() });
        }
        let (riding, run, log) = (&self.riding, &self.run, &self.held.log);
        transact(&mut self.images.connection, action, |tx| {
            let marks = riding.iter().try_for_each(|mark| mark.write(tx, run, log));
            let logged = || log.append_all(tx, entries);
            marks.and_then(|()| write(tx)).and_then(|()| logged()).map_err(|error| RecordError::database(action, error))
        })?;
        self.riding.clear();
        Ok(())
    }

    /// Gives what was set aside to what is written from now on. Whether it could: undoing does not wait for it. Where nothing
    /// more is written it stays, for whoever recovers.
    fn give_back(&self) -> bool {
        self.durable.check().is_ok() && self.held.reserve.give_back().is_ok()
    }

    /// The first error ends the journal.
    fn ended_by<T>(&mut self, result: Result<T, RecordError>) -> Result<T, RecordError> {
        if let Err(error) = &result {
            let (is_full, is_final) = (error.is_full(), error.is_final());
            self.durable.stop_if_final(error);
            match &mut self.failure {
                // That it takes no more for this reason is no other one.
                Some(_) if matches!(error, RecordError::JournalStopped { .. }) => {}
                Some(failure) => {
                    failure.is_full &= is_full;
                    failure.is_final |= is_final;
                }
                None => self.failure = Some(Failure { why: error.full(), is_full, is_final }),
            }
        }
        result
    }

    fn unless_finished(&self) -> Result<(), RecordError> {
        if self.phase == Phase::Finished { Err(self.rule("the run is finished".to_owned())) } else { Ok(()) }
    }

    fn latest(&self) -> u32 {
        self.changes.last().map_or(0, |change| change.seq)
    }

    fn rule(&self, why: String) -> RecordError {
        RecordError::JournalRule { run: self.run.clone(), why }
    }
}
