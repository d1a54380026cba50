use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use countersign_capability::Blobs;
use countersign_model::documents::Denial;
use countersign_model::{Change, Fault, FaultKind, Mode, Plan, Reversibility, Role, State, Stop};
use countersign_record::{Journal, RecordError};

use crate::back::BackPlan;
use crate::sessions::Sessions;

mod proving;
mod taken_over;

pub use proving::{NotAsBefore, Unanswered};

/// Operator-named tests of what was written, e.g. `nginx -t`.
pub trait Validators: Send {
    /// Asked after the last write to a validator's paths and before anything irreversible, with the
    /// subjects written since it was last asked.
    ///
    /// # Errors
    /// Why the target must not go on with what was written.
    fn validate(&mut self, written: &[String]) -> Result<(), String>;
}

/// A run under way: the journal, the plan it is held to, and what went wrong.
pub struct Live {
    journal: Journal,
    plan: Plan,
    /// Whether it is held to the whole plan, and to nothing else.
    exact: bool,
    validators: Box<dyn Validators>,
    /// What was journaled as about to happen, with what became of it.
    made: Vec<Made>,
    /// How many of these the witness has been told of.
    told: usize,
    forward: usize,
    back: BackPlan,
    interrupted: Arc<AtomicBool>,
    /// Why the fix may change nothing more by now, if so.
    over: Box<dyn Fn() -> Option<String> + Send>,
    tally: Arc<Tally>,
    written: Vec<String>,
    denied: Option<Denial>,
    failure: Option<String>,
}

/// How much of what is put back one call must get on at the least, in bytes, and how many calls there are whatever it is.
const SLOWEST: u64 = 8 * 1024 * 1024;
const FEWEST: u64 = 8;

/// Why a run stops when somebody wants it to end.
pub const INTERRUPTED: &str = "the run was interrupted by a signal, or nobody reads any more what it says";

/// How far a run's fix is made and undone, for whoever asks meanwhile.
#[derive(Debug, Default)]
pub struct Tally {
    made: AtomicU32,
    undone: AtomicU32,
}

impl Tally {
    /// The changes that were made, or may have been.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Those of them that are undone.
    #[must_use]
    pub fn undone(&self) -> u32 {
        self.undone.load(Ordering::Relaxed)
    }

    fn count(&self, made: &Made) {
        match (made.role, made.fate) {
            (Role::Fix, Fate::Applied | Fate::Unsure) => _ = self.made.fetch_add(1, Ordering::Relaxed),
            (Role::Fix, Fate::Undone) => _ = self.undone.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// How it is said that a step ends since the journal takes no more.
const UNWRITTEN: &str = "the journal cannot be written";

/// One journaled change of this run.
struct Made {
    seq: u32,
    role: Role,
    change: Change,
    fate: Fate,
    /// Which change of the plan's back part it is.
    rehearsed: Option<usize>,
    /// Whether something was put back after it, which it was to come after: of a rollback step's, where nothing undoes it.
    too_early: bool,
}

impl Made {
    fn is_reversible(&self) -> bool {
        self.change.reversibility != Reversibility::Irreversible
    }

    /// Whether it was, or may have been, done, and nothing undoes it.
    fn is_for_good(&self) -> bool {
        !self.is_reversible() && self.fate != Fate::Missed
    }

    /// Whether it is something that a rollback step did for good, such as a reload.
    fn is_answer(&self) -> bool {
        self.role == Role::Rollback && self.is_for_good()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Applied, or perhaps applied.
    Applied,
    /// Sent, and nobody knows whether it arrived.
    Unsure,
    /// The target was not reached.
    Missed,
    /// Put back by the host.
    Undone,
}

/// What the host's undo made of one change.
pub struct Undo {
    /// The capability whose subject it is.
    pub capability: String,
    /// The subject.
    pub subject: String,
    /// The change's one line.
    pub summary: String,
    /// What came of it.
    pub result: Undone,
}

/// The ways in which an undo can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The subject is as it was before the change.
    Restored,
    /// The change cannot be undone; it is listed, never called undone.
    Irreversible,
    /// It may or may not have happened.
    InDoubt,
    /// The subject was left alone, and why.
    Left(String),
}

impl Live {
    /// Begins with a journal that is open and a plan, where the mode is `exact`. Once `interrupted` is
    /// set, the fix changes nothing more.
    #[must_use]
    pub fn new(
        journal: Journal,
        mode: Mode,
        plan: &Plan,
        validators: Box<dyn Validators>,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        Self {
            journal,
            plan: plan.clone(),
            exact: mode == Mode::Exact,
            validators,
            made: Vec::new(),
            told: 0,
            forward: 0,
            back: BackPlan::default(),
            interrupted,
            over: Box::new(|| None),
            tally: Arc::default(),
            written: Vec::new(),
            denied: None,
            failure: None,
        }
    }

    /// Has the fix change nothing more from some time on: `over` says why, from then on.
    pub fn until(&mut self, over: impl Fn() -> Option<String> + Send + 'static) {
        self.over = Box::new(over);
    }

    pub(crate) fn blobs(&mut self) -> &mut dyn Blobs {
        self.journal.blobs()
    }

    /// How far it is, which stays true while it is borrowed.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// The run's journal.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Gives the journal back, to be finished.
    #[must_use]
    pub fn into_journal(self) -> Journal {
        self.journal
    }

    /// The call that was denied, which ended the step.
    #[must_use]
    pub const fn denied(&self) -> Option<&Denial> {
        self.denied.as_ref()
    }

    /// Why the run cannot be committed, whatever its step says of itself.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether anything was, or may have been, changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.made.iter().any(|made| made.fate != Fate::Missed)
    }

    /// The changes that were, or may have been, made, in order.
    pub fn made(&self) -> impl Iterator<Item = (Role, &Change)> {
        self.made.iter().filter(|made| made.fate != Fate::Missed).map(|made| (made.role, &made.change))
    }

    /// Of these, what was made since this was last asked.
    pub(crate) fn untold(&mut self) -> impl Iterator<Item = &Change> {
        let told = std::mem::replace(&mut self.told, self.made.len());
        self.made.iter().skip(told).filter(|made| made.fate != Fate::Missed).map(|made| &made.change)
    }

    pub(crate) fn deny(&mut self, denial: Denial) {
        self.failure.get_or_insert_with(|| format!("`{}` was denied: {}", denial.call, denial.why));
        self.denied.get_or_insert(denial);
    }

    /// Notes why the run cannot be committed; the first reason is the one that is kept.
    pub(crate) fn fail(&mut self, why: &str) {
        self.failure.get_or_insert_with(|| why.to_owned());
    }

    /// Compares, validates, journals, applies, marks: a write's only way to the target.
    pub(crate) fn perform(&mut self, sessions: &mut Sessions, role: Role, change: Change) -> Result<Vec<u8>, Stop> {
        let before = self.made.len();
        let performed = self.try_perform(sessions, role, change);
        self.made.iter().skip(before).for_each(|made| self.tally.count(made));
        performed
    }

    fn try_perform(&mut self, sessions: &mut Sessions, role: Role, change: Change) -> Result<Vec<u8>, Stop> {
        self.uninterrupted(role)?;
        let rehearsed = self.compare(role, &change)?;
        let irreversible = change.reversibility == Reversibility::Irreversible;
        // What the rollback step follows is the target's own before-image, good or bad: nothing may stop it.
        if irreversible && role == Role::Fix {
            self.validate().map_err(Stop)?;
            // They may take minutes, and what follows is not to be undone.
            self.uninterrupted(role)?;
        }
        let seq = self
            .journal
            .intend(role, &change)
            .map_err(|error| Stop(format!("{UNWRITTEN}, so nothing more is changed: {}", error.full())))?;
        if let Some(position) = rehearsed {
            self.back.did(position);
        }
        if role == Role::Rollback && !irreversible {
            // What was reloaded before it has not seen it.
            self.made.iter_mut().filter(|made| made.is_answer()).for_each(|made| made.too_early = true);
        }
        let at = self.made.len();
        self.made.push(Made { seq, role, change, fate: Fate::Unsure, rehearsed, too_early: false });
        let Some(made) = self.made.get_mut(at) else { return Err(Stop("the change was lost".to_owned())) };
        match sessions.apply(self.journal.blobs(), &made.change) {
            Ok(reply) => {
                made.fate = Fate::Applied;
                let subject = made.change.subject.clone();
                let marked = if irreversible { self.journal.done_now(seq) } else { self.journal.done(seq) };
                marked.map_err(|error| Stop(format!("{UNWRITTEN}: {}", error.full())))?;
                if role == Role::Fix {
                    self.forward += 1;
                    if !irreversible {
                        self.written.push(subject);
                    }
                }
                Ok(reply)
            }
            Err(fault) => {
                made.fate = if fault.reached { Fate::Unsure } else { Fate::Missed };
                let what = format!("{}: {}", made.change.summary, fault.what);
                self.journal
                    .failed(seq, fault.reached)
                    .map_err(|error| Stop(format!("{UNWRITTEN}: {}", error.full())))?;
                Err(Stop(what))
            }
        }
    }

    /// That nobody wants the fix to end; a rollback is never ended so.
    fn uninterrupted(&self, role: Role) -> Result<(), Stop> {
        if role == Role::Fix && self.interrupted.load(Ordering::Relaxed) {
            return Err(Stop(INTERRUPTED.to_owned()));
        }
        match (self.over)() {
            Some(why) if role == Role::Fix => Err(Stop(why)),
            _ => Ok(()),
        }
    }

    /// In `exact` mode the next planned change and no other; of a rollback, what it may do, and its place in the plan.
    fn compare(&self, role: Role, change: &Change) -> Result<Option<usize>, Stop> {
        let plan = &self.plan;
        let made = |of: Role| {
            let done = self.made.iter().filter(move |made| made.role == of && made.fate != Fate::Missed);
            done.map(|made| &made.change)
        };
        match (role, self.exact) {
            (Role::Rollback, true) => return self.back.allow(plan, change),
            (Role::Rollback, false) => {
                return self.back.allow_scoped(plan, made(Role::Fix), made(Role::Rollback), change);
            }
            (_, false) => return Ok(None),
            (_, true) => {}
        }
        match plan.forward.get(self.forward) {
            Some(planned) if change.same_effect(planned) => Ok(None),
            Some(planned) => Err(Stop(format!(
                "deviation: change {} is `{}` where the approved plan has `{}`{}",
                self.forward + 1,
                change.summary,
                planned.summary,
                difference(change, planned),
            ))),
            None => Err(Stop(format!(
                "deviation: `{}` comes after the approved plan's {} changes",
                change.summary,
                plan.forward.len()
            ))),
        }
    }

    /// Whether the whole plan was done, as far as it had to be.
    ///
    /// # Errors
    /// What is missing.
    pub fn complete(&self) -> Result<(), String> {
        if !self.exact {
            return Ok(());
        }
        let plan = &self.plan;
        match plan.forward.get(self.forward) {
            None => Ok(()),
            Some(next) => Err(format!(
                "deviation: the fix stopped after {} of the approved plan's {} changes; next would be `{}`",
                self.forward,
                plan.forward.len(),
                next.summary
            )),
        }
    }

    /// Runs the validators of what was written since they last ran.
    ///
    /// # Errors
    /// Why one refused.
    pub fn validate(&mut self) -> Result<(), String> {
        if self.written.is_empty() {
            return Ok(());
        }
        self.validators.validate(&self.written)?;
        self.written.clear();
        Ok(())
    }

    /// The host's undo: backwards, each change of `role` that can be, against the subject's latest image.
    pub fn undo(&mut self, sessions: &mut Sessions, role: Role) -> Vec<Undo> {
        self.note_answers_before_what_is_put_back(sessions, role);
        let Self { journal, made, tally, .. } = self;
        let mut undone = Vec::new();
        for made in made.iter_mut().rev().filter(|made| made.role == role) {
            if matches!(made.fate, Fate::Missed | Fate::Undone) {
                continue;
            }
            let result = undo_one(journal, sessions, made);
            let Change { capability, subject, summary, .. } = made.change.clone();
            undone.push(Undo { capability, subject, summary, result });
            if made.fate == Fate::Undone {
                tally.count(made);
            }
        }
        undone
    }

    /// Lets go of what was kept on the target for undo, once the run has ended; returns what stayed behind.
    pub fn settle(&mut self, sessions: &mut Sessions) -> Vec<String> {
        let Self { journal, made, .. } = self;
        let left = let_go(sessions, journal.blobs(), made.iter().map(|made| &made.change));
        // What is not marked is tried once more, by whoever recovers.
        if left.is_empty() {
            note_mark(journal.settled());
        }
        left
    }
}

/// Lets go of what was kept on the target for undo; returns what stayed behind.
pub fn let_go<'c>(
    sessions: &mut Sessions,
    images: &mut dyn Blobs,
    changes: impl Iterator<Item = &'c Change>,
) -> Vec<String> {
    changes.filter_map(|change| sessions.settle(images, change).err()).map(|fault| fault.what).collect()
}

/// The target is what counts: a mark that cannot be written is found again by probing.
pub(crate) fn note_mark(marked: Result<(), RecordError>) {
    if let Err(error) = marked {
        tracing::warn!(%error, "what became of a change was not marked");
    }
}

fn undo_one(journal: &mut Journal, sessions: &mut Sessions, made: &mut Made) -> Undone {
    if made.change.reversibility == Reversibility::Irreversible {
        return if made.fate == Fate::Unsure { Undone::InDoubt } else { Undone::Irreversible };
    }
    match undo_in_calls(journal, sessions, &made.change) {
        Ok(()) => {
            made.fate = Fate::Undone;
            note_mark(journal.undone(made.seq));
            Undone::Restored
        }
        Err(fault) => {
            note_mark(journal.conflict(made.seq, &fault.what));
            if !fault.reached || fault.kind == FaultKind::Changed {
                return Undone::Left(fault.what);
            }
            // What can be seen is not in doubt, unless an answer that did not come in time may still take effect.
            match sessions.probe(journal.blobs(), &made.change) {
                Ok(State::Elsewhere(_)) => Undone::Left(fault.what),
                Ok(State::After) if fault.kind != FaultKind::TimedOut => Undone::Left(fault.what),
                _ => Undone::InDoubt,
            }
        }
    }
}

/// Undoes a change, in several calls where one has not the time for all of it: what is large goes back piece by piece,
/// and the next call goes on where the last one broke off. So long as each gets on, and they are not too many.
fn undo_in_calls(journal: &mut Journal, sessions: &mut Sessions, change: &Change) -> Result<(), Fault> {
    let most = change.kept.map_or(0, |kept| kept.image.size / SLOWEST).saturating_add(FEWEST);
    let mut reached = None;
    for _ in 1..most {
        let fault = match sessions.undo(journal.blobs(), change) {
            Err(fault) if fault.reached && fault.kind == FaultKind::TimedOut => fault,
            other => return other,
        };
        match sessions.probe(journal.blobs(), change) {
            // Part of it is back, and more than before.
            Ok(State::Elsewhere(what)) if reached.as_ref() != Some(&what) => reached = Some(what),
            _ => return Err(fault),
        }
        tracing::info!(subject = change.subject, "an undo goes on in another call");
    }
    sessions.undo(journal.blobs(), change)
}

fn difference(change: &Change, planned: &Change) -> &'static str {
    if change.subject != planned.subject {
        ""
    } else if change.before != planned.before {
        " (the content before is another)"
    } else if change.after != planned.after {
        " (the content after is another)"
    } else {
        " (owner, mode, attributes or another detail differ)"
    }
}
