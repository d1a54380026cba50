//! A run whose process died, as far as it can still go: backwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_model::{Change, Mode, Plan, Reversibility, Role, State};
use countersign_record::{ChangeState, Journal, JournaledChange};

use super::{Fate, Live, Made, Validators, note_mark};
use crate::proof::First;
use crate::sessions::Sessions;

impl Live {
    /// Goes on with a journal whose process died: nothing but undoing and the rollback step is left to it. Every
    /// change of which nobody knows whether it was made is looked at on the target.
    #[must_use]
    pub fn taken_over(journal: Journal, mode: Mode, plan: &Plan, sessions: &mut Sessions) -> Self {
        let mut live = Self::new(journal, mode, plan, Box::new(Untested), Arc::default());
        live.made = live.journal.changes().iter().map(Made::journaled).collect();
        // Of what was changed before, somebody was told then.
        live.told = live.made.len();
        live.failure = Some("the runner ended before the run did".to_owned());
        // What may have happened is not to happen again; what is undone may be.
        for made in live.made.iter_mut().filter(|made| made.is_answer()) {
            if let Ok(Some(position)) = live.back.allow(&live.plan, &made.change) {
                live.back.did(position);
                made.rehearsed = Some(position);
            }
        }
        let put_back = |made: &Made| made.role == Role::Rollback && made.is_reversible() && made.fate != Fate::Missed;
        let last = live.made.iter().filter(|made| put_back(made)).map(|made| made.seq).max();
        for made in live.made.iter_mut().filter(|made| made.is_answer()) {
            made.too_early |= last.is_some_and(|last| made.seq < last);
        }
        live.find_untouched(sessions);
        live.find_restored(sessions);
        live
    }

    /// Goes on with a journal whose process died once every change was made and marked: nothing has to be found out, and
    /// what is left to it is what is left to a run at its end.
    #[must_use]
    pub fn resumed(journal: Journal, mode: Mode, plan: &Plan) -> Self {
        let mut live = Self::new(journal, mode, plan, Box::new(Untested), Arc::default());
        live.made = live.journal.changes().iter().map(Made::journaled).collect();
        live.told = live.made.len();
        live
    }

    /// Whether a subject is as it was before the run, and not as the run left it: then somebody put it back, and perhaps
    /// more of them.
    pub fn put_back(&mut self, sessions: &mut Sessions) -> bool {
        let Self { journal, made, .. } = self;
        let reversible = || made.iter().filter(|made| made.is_reversible() && made.fate != Fate::Missed);
        let first = First::of(reversible().map(|made| &made.change));
        let last = First::of(reversible().rev().map(|made| &made.change));
        first.into_iter().any(|First { change, .. }| {
            let same = |last: &&First<'_>| {
                (&last.change.capability, &last.change.subject) == (&change.capability, &change.subject)
            };
            let mut found = |change: &Change| sessions.probe(journal.blobs(), change);
            found(change) == Ok(State::Before)
                && last.iter().find(same).is_none_or(|last| found(last.change) != Ok(State::After))
        })
    }

    /// Tells the changes that were about to be made, and were not, from those that nobody can tell of.
    fn find_untouched(&mut self, sessions: &mut Sessions) {
        let Self { journal, made, .. } = self;
        // Once a rollback has begun, what is as before may have been undone.
        if journal.is_rolling_back() {
            return;
        }
        let unsure = |made: &&mut Made| made.fate == Fate::Unsure && made.is_reversible();
        for made in made.iter_mut().filter(unsure) {
            if sessions.probe(journal.blobs(), &made.change) == Ok(State::Before) {
                made.fate = Fate::Missed;
                note_mark(journal.failed(made.seq, false));
            }
        }
    }

    /// Finds the subjects that are as before the run: whoever died had put them back, durably or not.
    fn find_restored(&mut self, sessions: &mut Sessions) {
        let Self { journal, made, .. } = self;
        let may_stand = made.iter().filter(|made| made.fate != Fate::Missed);
        let restored: BTreeSet<(String, String)> = First::of(may_stand.map(|made| &made.change))
            .into_iter()
            .filter(|first| {
                // Undoing what is undone makes it durable.
                first.not_as_before("the fix", sessions, journal.blobs()).is_none()
                    && sessions.undo(journal.blobs(), first.change).is_ok()
            })
            .map(|first| (first.change.capability.clone(), first.change.subject.clone()))
            .collect();
        let standing = |made: &&mut Made| made.is_reversible() && !matches!(made.fate, Fate::Missed | Fate::Undone);
        for made in made.iter_mut().filter(standing) {
            if restored.contains(&(made.change.capability.clone(), made.change.subject.clone())) {
                made.fate = Fate::Undone;
                note_mark(journal.undone(made.seq));
            }
        }
    }

    /// Whether the rollback step did all that it was rehearsed to do and nothing undoes: it need not run again.
    #[must_use]
    pub fn answered(&self) -> bool {
        let mut rehearsed = self.plan.back.iter().enumerate();
        let done = |position: usize| {
            self.made.iter().any(|made| made.rehearsed == Some(position) && made.is_answer() && !made.too_early)
        };
        self.made.iter().any(Made::is_answer)
            && rehearsed.all(|(position, change)| change.reversibility != Reversibility::Irreversible || done(position))
    }

    /// What a rollback step may or may not have done before its process died, and nothing undoes.
    #[must_use]
    pub fn doubtful(&self) -> Vec<String> {
        let doubtful = |made: &&Made| made.is_answer() && made.fate == Fate::Unsure;
        self.made.iter().filter(doubtful).map(|made| made.change.summary.clone()).collect()
    }
}

impl Made {
    /// What is known of a change from the journal of a process that died.
    fn journaled(journaled: &JournaledChange) -> Self {
        let fate = match journaled.state {
            ChangeState::Done | ChangeState::Conflict => Fate::Applied,
            ChangeState::Intended | ChangeState::Unclear => Fate::Unsure,
            ChangeState::NotApplied => Fate::Missed,
            ChangeState::Undone => Fate::Undone,
        };
        let change = journaled.change.clone();
        // Nothing else is in the way of what is not undone anyway.
        let too_early = journaled.state == ChangeState::Conflict
            && journaled.role == Role::Rollback
            && change.reversibility == Reversibility::Irreversible;
        Self { seq: journaled.seq, role: journaled.role, change, fate, rehearsed: None, too_early }
    }
}

/// The validators of a run that only goes back.
struct Untested;

impl Validators for Untested {
    fn validate(&mut self, _: &[String]) -> Result<(), String> {
        Ok(())
    }
}
