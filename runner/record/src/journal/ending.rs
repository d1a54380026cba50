//! How a journal ends: with the run's outcome and what it leaves open, and once more for each resolution of that.

use countersign_model::documents::OpenSubject;
use countersign_model::{Outcome, Reversibility, Role, text};
use rusqlite::params;
use serde_json::Value;

use super::{Journal, MAX_NOTE, Phase, exactly_one};
use crate::audit::entries;
use crate::recovery::settle;
use crate::rows::{self, MAX_DOCUMENT, MAX_TEXT};
use crate::{ChangeState, Entry, RecordError};

impl Journal {
    /// Records durably how the run ended. The last thing that a journal does; the target stays held until it is dropped.
    ///
    /// A run that was `committed` has no change that is unclear or undone and no rollback; one that was
    /// `rolled-back` has every exact change undone; one that was `refused` changed nothing and spends no use.
    ///
    /// # Errors
    /// Where the outcome is not what the changes say: another one may be given then. Where it could
    /// not be recorded: the run stays unfinished and blocks its target.
    pub fn finish(&mut self, outcome: Outcome, reason: &str, report: &Value, at: u64) -> Result<(), RecordError> {
        self.finish_leaving(outcome, reason, report, &[], at)
    }

    /// The same of a run that left these subjects otherwise than before, or in doubt: they are open until each is
    /// resolved. Each is named once.
    ///
    /// # Errors
    /// As for [`Journal::finish`]; also where something is open of a run that ended well.
    pub fn finish_leaving(
        &mut self,
        outcome: Outcome,
        reason: &str,
        report: &Value,
        open: &[OpenSubject],
        at: u64,
    ) -> Result<(), RecordError> {
        self.unless_finished()?;
        self.agrees(outcome)?;
        if !open.is_empty() && !outcome.needs_person() {
            return Err(self.rule(format!("the outcome is not `{outcome}` while something is open")));
        }
        let open = open.iter().map(|open| Ok((open.subject.clone(), serde_json::to_string(open)?)));
        let open: Vec<_> =
            open.collect::<Result<_, serde_json::Error>>().map_err(|error| self.rule(error.to_string()))?;
        let report = report.to_string();
        rows::bounded("bytes of a report", report.len(), MAX_DOCUMENT)?;
        let (run, reason) = (self.run.clone(), text::excerpt(reason, MAX_TEXT));
        // A commit that finds no room is rolled back instead, unless it was decided.
        if outcome != Outcome::Committed || self.kept {
            self.give_back();
        }
        let nothing_kept = self.changes.is_empty();
        let entry = entries::ended(&run, outcome, &reason, &self.changes, open.len(), &report);
        let result = self.commit_logged("record the outcome", &[entry], |tx| {
            let sql = "UPDATE runs SET outcome = ?2, reason = ?3, report = ?4, finished = ?5, settled = ?6
                       WHERE id = ?1 AND outcome IS NULL";
            exactly_one(tx.execute(sql, params![run, outcome.name(), reason, report, rows::time(at), nothing_kept])?)?;
            let sql = "INSERT INTO open_subjects (run, position, subject, body) VALUES (?1, ?2, ?3, ?4)";
            for (position, (subject, body)) in (1_u32..).zip(&open) {
                exactly_one(tx.execute(sql, params![run, position, subject, body])?)?;
            }
            Ok(())
        });
        self.ended_by(result)?;
        self.phase = Phase::Finished;
        // What cannot be removed now is removed by whoever recovers next.
        let _ = self.held.reserve.remove();
        Ok(())
    }

    /// Records durably that what was kept on the target for undo was let go. Where that is lost, it is let go again.
    ///
    /// # Errors
    /// Before [`Journal::finish`], and where it cannot be recorded.
    pub fn settled(&mut self) -> Result<(), RecordError> {
        if self.phase != Phase::Finished {
            return Err(self.rule("the run has not ended, so nothing is let go".to_owned()));
        }
        let run = self.run.clone();
        self.commit("record that a run is settled", |tx| settle(tx, &run))
    }

    /// Records durably how a resolution ended: what it is of is closed, or stays open and why. The last thing that such a
    /// journal does.
    ///
    /// # Errors
    /// Where it could not be recorded: it is found again, as one whose process died.
    pub(crate) fn resolved(&mut self, failed: Option<&str>) -> Result<(), RecordError> {
        let Phase::Resolving(position) = self.phase else {
            return Err(self.rule("nothing of the run is being resolved".to_owned()));
        };
        let run = self.run.clone();
        let note = failed.map(|why| text::excerpt(why, MAX_NOTE));
        let outcome = if note.is_some() { "failed" } else { "closed" };
        let entry = Entry::new("resolved").of_run(&run).with_number("resolution", position.into());
        let entry = entry.with("outcome", outcome).with_some("reason", note.as_ref());
        let result = self.commit_logged("record a resolution", &[entry], |tx| {
            let sql =
                "UPDATE resolutions SET outcome = ?3, note = ?4 WHERE run = ?1 AND position = ?2 AND outcome IS NULL";
            exactly_one(tx.execute(sql, params![run, position, outcome, note])?)?;
            if note.is_some() {
                return Ok(());
            }
            let sql = "UPDATE open_subjects SET closed_by = ?2 WHERE run = ?1 AND closed_by IS NULL
                       AND subject = (SELECT subject FROM resolutions WHERE run = ?1 AND position = ?2)";
            exactly_one(tx.execute(sql, params![run, position])?)
        });
        self.ended_by(result)?;
        self.phase = Phase::Finished;
        Ok(())
    }

    fn agrees(&self, outcome: Outcome) -> Result<(), RecordError> {
        let against = match outcome {
            Outcome::Refused => self.changes.iter().find(|change| change.state != ChangeState::NotApplied),
            Outcome::Committed => {
                self.changes.iter().find(|change| !matches!(change.state, ChangeState::Done | ChangeState::NotApplied))
            }
            Outcome::RolledBack => self.changes.iter().find(|change| {
                change.role == Role::Fix
                    && change.change.reversibility == Reversibility::Exact
                    && change.state.may_stand()
            }),
            Outcome::RollbackIncomplete | Outcome::InDoubt => None,
        };
        if let Some(change) = against {
            let (seq, state) = (change.seq, change.state);
            return Err(self.rule(format!("the outcome is not `{outcome}` while change {seq} is `{state}`")));
        }
        if outcome == Outcome::Committed && self.phase == Phase::RollingBack {
            return Err(self.rule("a run that was rolled back is not `committed`".to_owned()));
        }
        if let (Outcome::Committed, Some(failure)) = (outcome, &self.failure) {
            return Err(RecordError::JournalStopped { run: self.run.clone(), why: failure.why.clone() });
        }
        Ok(())
    }
}
