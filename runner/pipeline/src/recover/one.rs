//! One run that its process left unfinished, brought to its end: back, or to the commit that was decided, or on with waiting.

use countersign_capability::{Phase, StepContext};
use countersign_gate::{Gate, Live, Work};
use countersign_model::RollbackBy;
use countersign_model::documents::Confirmation;
use countersign_record::{Decided, RunRecord, TakenOver, Waiting};
use countersign_trust::length;

use super::{Came, StillWaiting, unconfigured};
use crate::approval::Approval;
use crate::confirm::{self, Word};
use crate::error::PipelineError;
use crate::link::Linked;
use crate::order;
use crate::run::{Run, TakenUp, Waited, past};
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;
use crate::undo::Undo;
use crate::witness::LogWitness;

/// For how long a run is waited for that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Only what is decided by now is done.
    None,
    /// Until it is decided.
    Whole,
}

/// Takes one run over and brings it to its end.
pub(super) fn one(
    runner: &Runner,
    run: &RunRecord,
    target: Option<&Target>,
    patience: Patience,
) -> Result<Came, PipelineError> {
    let Some(target) = target else { return Err(unconfigured(run, "unfinished")) };
    let approval = Approval::of_run(runner, run)?;
    // Nobody is held up for a run that only waits.
    if patience == Patience::None
        && let Some(waiting) = run.waits()
        && let Due::Later = due(runner, run, &approval, waiting)?
    {
        return Ok(Came::Waits(still(run, waiting, &approval)));
    }
    let Some(mut taken) = runner.state().runs().take_over(&run.id)? else { return Ok(Came::Elsewhere) };
    // As it is now that nobody else is at work on it.
    let run = taken.run.clone();
    let Some(waiting) = run.waits().cloned() else {
        let mut reason = "the runner ended before the run did".to_owned();
        if let Some(why) = &run.rollback {
            reason.push_str(&format!(", while it was rolling back: {why}"));
        }
        return back(runner, target, approval, taken, (&reason, None));
    };
    match due(runner, &run, &approval, &waiting)? {
        Due::Keep { why, word, heard } => {
            if waiting.kept.is_none() && !taken.journal.end_waiting(Decided::Keep(&why), heard)? {
                return Ok(Came::Elsewhere);
            }
            keep(runner, target, approval, taken, (waiting, why, word))
        }
        Due::RollBack { why, word, heard } => {
            match taken.journal.end_waiting(Decided::RollBack(&why), heard) {
                Ok(true) => {}
                Ok(false) => return Ok(Came::Elsewhere),
                // Undoing waits for no mark.
                Err(error) => runner.note(&format!("what becomes of run {} could not be recorded: {error}", run.id)),
            }
            back(runner, target, approval, taken, (&why, word))
        }
        Due::Later if patience == Patience::None => Ok(Came::Waits(still(&run, &waiting, &approval))),
        Due::Later | Due::Look => wait(runner, target, approval, taken, &waiting),
    }
}

fn still(run: &RunRecord, waiting: &Waiting, approval: &Approval) -> StillWaiting {
    let silence = crate::report::silence(confirmation(waiting, approval));
    StillWaiting { run: run.id.clone(), target: run.target.clone(), until: waiting.until, silence }
}

/// What a waiting run waits for: what silence means is as was signed, how long as was recorded.
pub(crate) fn confirmation(waiting: &Waiting, approval: &Approval) -> Confirmation {
    let silence_keeps = approval.terms.confirmation.is_some_and(|signed| signed.silence_keeps);
    Confirmation { within_ms: waiting.until.saturating_sub(waiting.since), silence_keeps }
}

/// What is to be done now for a run that waits, or waited.
enum Due {
    /// It is committed.
    Keep { why: String, word: Option<Word>, heard: usize },
    /// It is rolled back.
    RollBack { why: String, word: Option<Word>, heard: usize },
    /// Its time is up, and silence keeps what holds still.
    Look,
    /// Nothing yet.
    Later,
}

fn due(runner: &Runner, run: &RunRecord, approval: &Approval, waiting: &Waiting) -> Result<Due, PipelineError> {
    let words = confirm::words(runner, &run.id, &run.target, approval, 0)?.unwrap_or_default();
    let heard = words.len();
    let word = words.into_iter().find_map(Result::ok);
    if let Some(why) = waiting.kept.clone() {
        return Ok(Due::Keep { why, word, heard });
    }
    // Another policy may have been accepted since, and time has passed.
    let name = approval.terms.proposal.to_string();
    let stays = match Stored::load(runner, &name) {
        Ok(stored) => order::may_stay(runner, &stored, &approval.digest),
        // What else is missing of it is nothing that was revoked.
        Err(_) => runner.proposal(&name).map(drop),
    };
    if let Some(word) = word {
        let (says, keeps) = (word.says(), word.keeps);
        let word = Some(word);
        let barred = past(runner, approval.terms.finish_by).or(stays.err().map(|error| error.to_string()));
        return Ok(match barred.filter(|_| keeps) {
            Some(why) => Due::RollBack { why: format!("{says}, and it may not stay: {why}"), word, heard },
            None if keeps => Due::Keep { why: says, word, heard },
            None => Due::RollBack { why: says, word, heard },
        });
    }
    // Not being able to tell decides nothing yet.
    if let Err(refused) = stays
        && refused.exit_code() == 3
    {
        let why = format!("while it waited for a confirmation, {refused}");
        return Ok(Due::RollBack { why, word: None, heard });
    }
    let confirmation = confirmation(waiting, approval);
    // Where the clock was set back, or what it says cannot be noted, it can be told that the time is up, and otherwise it waits.
    if !runner.has_come(waiting.until)? && runner.decisive().map_or(true, |now| now < waiting.until) {
        return Ok(Due::Later);
    }
    if confirmation.silence_keeps {
        return Ok(Due::Look);
    }
    let within = length(confirmation.within_ms);
    let why = format!("nobody confirmed it within {within}, and the runner had ended before the run did");
    Ok(Due::RollBack { why, word: None, heard })
}

/// Rolls a run back that was taken over.
fn back(
    runner: &Runner,
    target: &Target,
    approval: Approval,
    taken: TakenOver,
    (reason, word): (&str, Option<Word>),
) -> Result<Came, PipelineError> {
    let TakenOver { run, journal, plan, guards } = taken;
    runner.note(&format!("recovering run {} on `{}`: {reason}", run.id, run.target));
    let undo = undoes(runner, &approval);
    let waited = run.waiting.as_ref().map(|waiting| waited(waiting, &approval));
    let no_step = || StepContext::new(&approval.terms.arguments, 0, 0);
    let (linked, context, unlinked) = match rollback_step(runner, &run, &approval, target) {
        Ok((linked, context)) => (linked, context, None),
        // There is none to be run.
        Err(_) if approval.terms.rollback == RollbackBy::Undo => (Linked::none(), no_step(), None),
        // The host's undo needs none of it.
        Err(error) => (Linked::none(), no_step(), Some(error.to_string())),
    };
    runner.under_way().taken_over(&run.id, &run.target, &approval.terms.rollback_owner);
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let live = Live::taken_over(journal, approval.terms.mode, &plan, &mut sessions);
    let gate = Gate::new(sessions, Work::Live(Box::new(live)), Box::new(LogWitness::new(runner)));
    let taken =
        TakenUp { id: run.id, actor: run.actor, guards, undo: undo.as_ref(), approval, linked, unlinked, context };
    let recovering = Run::taken_over(runner, (&run.target, target), gate, taken).having_waited(waited, word);
    let report = recovering.roll_back(reason);
    runner.under_way().over();
    report.map(|report| Came::Ended(Box::new(report)))
}

fn waited(waiting: &Waiting, approval: &Approval) -> Waited {
    Waited { confirmation: confirmation(waiting, approval), until: waiting.until }
}

/// Commits a run that was decided to stay.
fn keep(
    runner: &Runner,
    target: &Target,
    approval: Approval,
    taken: TakenOver,
    (waiting, why, word): (Waiting, String, Option<Word>),
) -> Result<Came, PipelineError> {
    let TakenOver { run, journal, plan, guards } = taken;
    runner.under_way().taken_over(&run.id, &run.target, &approval.terms.rollback_owner);
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let mut live = Live::resumed(journal, approval.terms.mode, &plan);
    if live.put_back(&mut sessions) {
        // Its process could not record that it rolled back, or somebody put things right by hand: nothing is called
        // committed that is not there.
        let why = format!("a subject is as it was before the run, which cannot stay then: {why}");
        let journal = live.into_journal();
        return back(runner, target, approval, TakenOver { run, journal, plan, guards }, (&why, word));
    }
    runner.note(&format!("recovering run {} on `{}`: {why}", run.id, run.target));
    let gate = Gate::new(sessions, Work::Live(Box::new(live)), Box::new(LogWitness::new(runner)));
    let (undo, waited) = (undoes(runner, &approval), waited(&waiting, &approval));
    let context = StepContext::new(&approval.terms.arguments, 0, 0);
    let linked = Linked::none();
    let taken = TakenUp {
        id: run.id,
        actor: run.actor,
        guards,
        undo: undo.as_ref(),
        approval,
        linked,
        unlinked: None,
        context,
    };
    let report = Run::resumed(runner, (&run.target, target), gate, taken, waited).commit(why, word);
    runner.under_way().over();
    report.map(|report| Came::Ended(Box::new(report)))
}

/// Goes on waiting for a run.
fn wait(
    runner: &Runner,
    target: &Target,
    approval: Approval,
    mut taken: TakenOver,
    waiting: &Waiting,
) -> Result<Came, PipelineError> {
    let undo = undoes(runner, &approval);
    let (linked, context) = match every_step(runner, &taken.run, &approval, target) {
        Ok(linked) if undo.is_some() || approval.terms.undoes.is_none() => linked,
        // Nobody could tell whether it still holds.
        not_linked => {
            let why = not_linked.err().map_or_else(|| "the run that it undoes is lost".to_owned(), |e| e.to_string());
            let why = format!("while it waited for a confirmation, its check could not be asked any more: {why}");
            let words = confirm::words(runner, &taken.run.id, &taken.run.target, &approval, 0)?.unwrap_or_default();
            if !taken.journal.end_waiting(Decided::RollBack(&why), words.len())? {
                return Ok(Came::Elsewhere);
            }
            return back(runner, target, approval, taken, (&why, None));
        }
    };
    let TakenOver { run, journal, plan, guards } = taken;
    let (still, waited) = (still(&run, waiting, &approval), waited(waiting, &approval));
    let live = Live::resumed(journal, approval.terms.mode, &plan);
    let sessions = runner.sessions(target, Phase::Live)?;
    let gate = Gate::new(sessions, Work::Live(Box::new(live)), Box::new(LogWitness::new(runner)));
    runner.under_way().waits(&run.id, &run.target, &approval.terms.rollback_owner);
    let taken = TakenUp {
        id: run.id,
        actor: run.actor,
        guards,
        undo: undo.as_ref(),
        approval,
        linked,
        unlinked: None,
        context,
    };
    let report = Run::resumed(runner, (&run.target, target), gate, taken, waited).wait();
    runner.under_way().over();
    Ok(report?.map_or(Came::Waits(still), |report| Came::Ended(Box::new(report))))
}

/// The run that this one was to undo.
fn undoes(runner: &Runner, approval: &Approval) -> Option<Undo> {
    let undoes = approval.terms.undoes.as_ref()?;
    Undo::load(runner, &undoes.run).ok()
}

/// The bundle's rollback step, linked to what was signed, with what it is given.
fn rollback_step(
    runner: &Runner,
    run: &RunRecord,
    approval: &Approval,
    target: &Target,
) -> Result<(Linked, StepContext), PipelineError> {
    let document = crate::undo::proposal(runner, run)?;
    let bundle = runner.bundle(&run.bundle)?;
    let linked = Linked::link_rollback(runner, &bundle, &approval.terms.grants, &[(&run.target, target)])?;
    Ok((linked, StepContext::new(&document.arguments, document.now, document.seed)))
}

/// All that the run itself had linked, with what its steps are given.
fn every_step(
    runner: &Runner,
    run: &RunRecord,
    approval: &Approval,
    target: &Target,
) -> Result<(Linked, StepContext), PipelineError> {
    let document = crate::undo::proposal(runner, run)?;
    let (bundle, target) = (runner.bundle(&run.bundle)?, [(run.target.as_str(), target)]);
    let linked = match document.undoes {
        None => Linked::link(runner, &bundle, &approval.terms.grants, &target)?,
        Some(_) => Linked::link_undo(runner, &bundle, &approval.terms.grants, &target)?,
    };
    Ok((linked, StepContext::new(&document.arguments, document.now, document.seed)))
}
