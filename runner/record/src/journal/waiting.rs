//! A run that waits for a person's word before it commits.
//!
//! Who was first is decided by the database alone: a word is only kept while the run waits (`confirmations.rs`), and
//! the waiting only ends by a decision that knows every word that was kept.

use std::sync::Arc;

use rusqlite::params;

use super::{Journal, Phase, exactly_one};
use crate::rows::{self, MAX_TEXT};
use crate::{Entry, RecordError};
use countersign_model::text;

/// What a run that waited comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided<'a> {
    /// What it changed stays, and why: from here on it goes nowhere but to its commit, whoever brings it there.
    Keep(&'a str),
    /// It is rolled back, and why.
    RollBack(&'a str),
}

impl Journal {
    /// Records durably that every change was made and found good, and that the run waits for a person's word: from when
    /// and until when, in milliseconds since 1970-01-01 UTC. The run may be killed from here on without being rolled back.
    ///
    /// # Errors
    /// Where it could not be recorded; then the run does not wait.
    pub fn wait(&mut self, since: u64, until: u64) -> Result<(), RecordError> {
        self.unless_finished()?;
        if self.phase == Phase::RollingBack {
            return Err(self.rule("a run that is rolled back waits for nobody".to_owned()));
        }
        let run = self.run.clone();
        let entry = Entry::new("waiting").of_run(&run).with_number("until", until);
        let result = self.commit_logged("record that a run waits", &[entry], |tx| {
            let sql = "UPDATE runs SET waiting_since = ?2, waiting_until = ?3
                       WHERE id = ?1 AND outcome IS NULL AND waiting_until IS NULL";
            exactly_one(tx.execute(sql, params![run, rows::time(since), rows::time(until)])?)
        });
        self.ended_by(result)
    }

    /// Ends the waiting durably, where no more words are kept than the `heard` ones that this was decided by. Gives
    /// whether it ended; where it did not, there is more to hear.
    ///
    /// # Errors
    /// Where it could not be recorded. The run waits still, and this may be tried again.
    pub fn end_waiting(&mut self, decided: Decided<'_>, heard: usize) -> Result<bool, RecordError> {
        self.unless_finished()?;
        let ended = match self.try_end_waiting(decided, heard) {
            // It is decided, and has to be durable before it is done: this is what was set aside for, either way.
            Err(error) if error.is_full() && self.give_back() => self.try_end_waiting(decided, heard)?,
            other => other?,
        };
        if ended {
            self.give_back();
            match decided {
                Decided::Keep(_) => self.kept = true,
                Decided::RollBack(_) => {
                    self.phase = Phase::RollingBack;
                    self.images.unbound();
                }
            }
        }
        Ok(ended)
    }

    fn try_end_waiting(&mut self, decided: Decided<'_>, heard: usize) -> Result<bool, RecordError> {
        let (run, mut ended) = (self.run.clone(), false);
        let (what, why) = match decided {
            Decided::Keep(why) => ("keep", why),
            Decided::RollBack(why) => ("roll-back", why),
        };
        let entry = Entry::new("decided").of_run(&run).with("decision", what).with("reason", why);
        let log = Arc::clone(&self.held.log);
        self.commit("record what a run that waited comes to", |tx| {
            let sql = "SELECT count(*) FROM confirmations WHERE run = ?1";
            let kept = tx.query_row(sql, [&run], |row| rows::get_count(row, 0))?;
            if kept > heard as u64 {
                return Ok(());
            }
            let (sql, why) = match decided {
                Decided::Keep(why) => ("UPDATE runs SET kept = ?2 WHERE id = ?1 AND rollback IS NULL", why),
                Decided::RollBack(why) => ("UPDATE runs SET rollback = ?2 WHERE id = ?1 AND kept IS NULL", why),
            };
            ended = true;
            log.append(tx, &entry)?;
            exactly_one(tx.execute(sql, params![run, text::excerpt(why, MAX_TEXT)])?)
        })?;
        Ok(ended)
    }
}
