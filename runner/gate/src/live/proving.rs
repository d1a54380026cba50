//! What has to be true before a run may be called rolled back.

use countersign_model::{Change, Image, Reversibility, Role, State};
use countersign_record::When;
use serde_json::json;

use super::{Fate, Live, Made, note_mark};
use crate::proof::First;
use crate::sessions::Sessions;

/// A subject that is not as before the run.
#[derive(Clone, Debug)]
pub struct NotAsBefore {
    /// The change that found it as it was before, or of which nothing undoes what it did.
    pub change: Change,
    /// How it is not as before; untrusted text.
    pub why: String,
    /// The content that it has, where that can be told.
    pub found: Option<Image>,
}

/// A change of which nothing can be read back, and that was not answered as it had to be.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// The change.
    pub change: Change,
    /// What is missing.
    pub why: &'static str,
}

const NOT_DONE: &str = "the rollback step did not do what was rehearsed";
const TOO_EARLY: &str = "the rollback step did this before everything was put back, so that it may not have seen it";
const NO_ANSWER: &str = "no rollback step answered this after everything was put back";

impl Live {
    /// The proof of a rollback: each subject read back from the target, and whether it equals its before-image. Gives
    /// what does not.
    pub fn unrestored(&mut self, sessions: &mut Sessions) -> Vec<NotAsBefore> {
        let Self { journal, made, .. } = self;
        let mut left = Vec::new();
        for first in First::of(made.iter().map(|made| &made.change)) {
            if let Some(why) = first.not_as_before("the fix", sessions, journal.blobs()) {
                let found = sessions.image(journal.blobs(), first.change).ok().flatten();
                left.push(NotAsBefore { change: first.change.clone(), why, found });
            }
        }
        left
    }

    /// What changes that nothing undoes have left behind, where that can be seen: each subject read back from the
    /// target, and how it is not as before. One that nobody can tell of, such as a signal, is not among them.
    pub fn lost(&mut self, sessions: &mut Sessions) -> Vec<NotAsBefore> {
        let Self { journal, made, .. } = self;
        let mut lost = Vec::new();
        for Made { change, .. } in made.iter().filter(|made| made.is_for_good()) {
            let why = match sessions.probe(journal.blobs(), change) {
                Ok(State::Before | State::Unknowable) => continue,
                Ok(State::After) => "nothing undoes it".to_owned(),
                Ok(State::Elsewhere(what)) => format!("nothing undoes it, and it was changed since: {what}"),
                Err(fault) => format!("it cannot be read: {}", fault.what),
            };
            let found = sessions.image(journal.blobs(), change).ok().flatten();
            let why = format!("{}: {why}", change.summary);
            lost.push(NotAsBefore { change: change.clone(), why, found });
        }
        lost
    }

    /// What the target still waits for: of what nobody can read back, such as a signal that made a service read its file,
    /// each that the fix did must have been answered by the rollback step, and each that the rollback step was rehearsed
    /// to do must have been done, after the last subject was put back.
    pub fn unanswered(&mut self, sessions: &mut Sessions) -> Vec<Unanswered> {
        let Self { journal, plan, exact, made, .. } = self;
        let of_one = |one: &Change, other: &Change| one.capability == other.capability && one.subject == other.subject;
        let mut unanswered: Vec<Unanswered> = Vec::new();
        let rehearsed = plan.back.iter().enumerate().filter(|_| *exact);
        for (position, change) in rehearsed.filter(|(_, change)| change.reversibility == Reversibility::Irreversible) {
            let why = match made.iter().find(|made| made.rehearsed == Some(position) && made.is_answer()) {
                None => NOT_DONE,
                Some(made) if made.too_early => TOO_EARLY,
                Some(_) => continue,
            };
            unanswered.push(Unanswered { change: change.clone(), why });
        }
        for sent in made.iter().filter(|made| made.role == Role::Fix && made.is_for_good()) {
            let answers = |made: &&Made| made.is_answer() && !made.too_early && of_one(&made.change, &sent.change);
            if unanswered.iter().any(|known| of_one(&known.change, &sent.change))
                || made.iter().any(|made| answers(&made))
            {
                continue;
            }
            if sessions.probe(journal.blobs(), &sent.change) == Ok(State::Unknowable) {
                unanswered.push(Unanswered { change: sent.change.clone(), why: NO_ANSWER });
            }
        }
        unanswered
    }

    /// Whether something that a rollback step did for good came before the last subject was put back.
    #[must_use]
    pub fn answered_too_early(&self) -> bool {
        self.made.iter().any(|made| made.is_answer() && made.too_early)
    }

    /// Before changes of this role are undone: what a rollback step did for good already, such as a reload, does not come
    /// after what is put back now. Durable first, or whoever recovers would find the one done and the other as before.
    pub(super) fn note_answers_before_what_is_put_back(&mut self, sessions: &mut Sessions, role: Role) {
        let Self { journal, made, .. } = self;
        if !made.iter().any(|made| made.is_answer() && !made.too_early) {
            return;
        }
        let standing = |made: &&Made| {
            made.role == role && made.is_reversible() && !matches!(made.fate, Fate::Missed | Fate::Undone)
        };
        let stands = made.iter().filter(standing).any(|made| {
            // What cannot be told is undone too, as far as that goes.
            sessions.probe(journal.blobs(), &made.change) != Ok(State::Before)
        });
        if !stands {
            return;
        }
        let mut early = Vec::new();
        for made in made.iter_mut().filter(|made| made.is_answer()) {
            made.too_early = true;
            early.push(made.seq);
            // What nobody knows of stays so, and ends in doubt whatever its order.
            if made.fate == Fate::Applied {
                note_mark(journal.conflict(made.seq, TOO_EARLY));
            }
        }
        note_mark(journal.event("answered-too-early", &json!({ "changes": early }), When::Now));
    }
}
