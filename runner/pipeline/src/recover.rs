//! What happens after the runner itself died: every run that it left unfinished is rolled back from its journal, or, where
//! it waited for a person's word, goes on to what that word, or silence, makes of it; and what was kept on a target for
//! undo is let go. Safe to repeat, and to be killed at any point.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use countersign_capability::{Phase, StepContext};
use countersign_gate::{Gate, Live, Work};
use countersign_model::RollbackBy;
use countersign_model::documents::Confirmation;
use countersign_record::{Decided, RecordError, RunRecord, Runs, TakenOver, Unsettled, Waiting};
use countersign_trust::length;

use crate::approval::Approval;
use crate::confirm::{self, Word};
use crate::error::PipelineError;
use crate::link::Linked;
use crate::report::RunReport;
use crate::resolve::Ended;
use crate::run::{Run, TakenUp, Waited};
use crate::runner::Runner;
use crate::target::Target;
use crate::undo::Undo;
use crate::witness::LogWitness;

/// How often runs whose process died are looked for while others are waited for.
const AGAIN: Duration = Duration::from_secs(10);

/// What recovery came to.
#[derive(Default)]
pub struct Recovered {
    /// How each run that it took over ended.
    pub reports: Vec<RunReport>,
    /// The runs that had ended, of which something was left on a target; it is gone now.
    pub settled: Vec<String>,
    /// What came of the resolutions whose process died, one line each.
    pub resolutions: Vec<String>,
    /// Whether one of them left its subject neither as before nor as it was found.
    left_elsewhere: bool,
    /// The runs that it could do nothing for, and why; they block their targets still.
    pub stuck: Vec<Stuck>,
    /// The runs that wait for a person's word still, and whose process is gone.
    pub waiting: Vec<StillWaiting>,
}

/// Which runs are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// All of them.
    All,
    /// Not those whose target did not answer when they were last tried: whoever has other work is not to wait for it.
    NotTheHung,
}

/// A run that is unfinished still.
pub struct Stuck {
    /// The run.
    pub run: String,
    /// Its target.
    pub target: String,
    /// Why nothing could be done.
    pub error: PipelineError,
}

/// A run that waits, with nobody who looks at check and guards meanwhile.
#[derive(Clone, Debug)]
pub struct StillWaiting {
    /// The run.
    pub run: String,
    /// Its target.
    pub target: String,
    /// Until when, in milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// What silence means: `keep` or `roll-back`.
    pub silence: &'static str,
}

impl Recovered {
    /// Whether a person is needed.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        !self.stuck.is_empty() || self.left_elsewhere || self.reports.iter().any(|report| report.exit_code() == 5)
    }

    /// Adds what a later pass came to: what is stuck or waits is what is so then.
    fn then(&mut self, later: Self) {
        self.reports.extend(later.reports);
        self.settled.extend(later.settled);
        self.resolutions.extend(later.resolutions);
        self.left_elsewhere |= later.left_elsewhere;
        (self.stuck, self.waiting) = (later.stuck, later.waiting);
    }

    fn add(&mut self, run: &RunRecord, came: Result<Came, PipelineError>) {
        let (id, target) = (run.id.clone(), run.target.clone());
        match came {
            Ok(Came::Ended(report)) => self.reports.push(*report),
            Ok(Came::Waits(waits)) => self.waiting.push(waits),
            Ok(Came::Elsewhere) => {}
            Err(error) => self.stuck.push(Stuck { error: hinted(error, run), run: id, target }),
        }
    }
}

/// What came of one run.
enum Came {
    Ended(Box<RunReport>),
    Waits(StillWaiting),
    /// Somebody else is at work on it, or it ended.
    Elsewhere,
}

/// Rolls back each run whose process died, brings those that waited for a person's word to what is decided by now, and
/// lets go of what runs that ended well had kept. What another process recovers in this moment is left to it.
///
/// # Errors
/// Where it cannot be told what there is to recover.
pub fn recover<'t>(
    runner: &Runner,
    target: impl Fn(&str) -> Option<&'t Target>,
    tries: Tries,
) -> Result<Recovered, PipelineError> {
    let mut recovered = Recovered::default();
    let state = runner.state();
    // What hung when it was last tried comes last, so that nothing else waits for it; and only whoever recovers tries it again.
    let mut hung = Vec::new();
    for look in ToDo::LOOKS {
        for to_do in look(&state.runs())? {
            match state.runs().given_up(&to_do.run().id)? {
                None => to_do.done(runner, &target, &mut recovered)?,
                Some(why) => hung.push((to_do, why)),
            }
        }
    }
    for run in state.runs().under_way()? {
        if let Some(why) = state.runs().given_up(&run.id)? {
            recovered.stuck.push(Stuck { error: held(&run, &why), run: run.id, target: run.target });
        }
    }
    for (to_do, why) in hung {
        if tries == Tries::All {
            to_do.done(runner, &target, &mut recovered)?;
            continue;
        }
        let RunRecord { id, target, .. } = to_do.run();
        recovered.stuck.push(Stuck { error: untried(&why), run: id.clone(), target: target.clone() });
    }
    // What nobody needs any more is no reason to say that nothing was recovered.
    if let Err(error) = state.runs().remove_left_reserves() {
        runner.note(&format!("what was set aside for a rollback, and is not needed, is there still: {error}"));
    }
    Ok(recovered)
}

/// How what there is to recover is found.
type Look = fn(&Runs<'_>) -> Result<Vec<ToDo>, RecordError>;

/// What there is to recover of a run.
enum ToDo {
    /// It did not end.
    Unfinished(RunRecord),
    /// A resolution of it did not end.
    Resolution(RunRecord),
    /// What it kept on its target is there still.
    Unsettled(RunRecord),
}

impl ToDo {
    /// Each kind is looked for once the one before it is done.
    const LOOKS: [Look; 3] = [
        |runs| Ok(runs.abandoned()?.into_iter().map(Self::Unfinished).collect()),
        |runs| Ok(runs.being_resolved()?.into_iter().map(Self::Resolution).collect()),
        |runs| Ok(runs.unsettled()?.into_iter().map(Self::Unsettled).collect()),
    ];

    fn run(&self) -> &RunRecord {
        match self {
            Self::Unfinished(run) | Self::Resolution(run) | Self::Unsettled(run) => run,
        }
    }

    fn done<'t>(
        self,
        runner: &Runner,
        target: impl Fn(&str) -> Option<&'t Target>,
        recovered: &mut Recovered,
    ) -> Result<(), PipelineError> {
        match self {
            Self::Unfinished(run) => recovered.add(&run, one(runner, &run, target(&run.target), Patience::None)),
            Self::Resolution(run) => {
                let target = target(&run.target).ok_or_else(|| unconfigured(&run, "half resolved"));
                match target.and_then(|target| crate::resolve::recover(runner, &run, target)) {
                    Ok(came) => {
                        if let Some(Ended { what, as_found }) = came {
                            recovered.resolutions.push(what);
                            recovered.left_elsewhere |= !as_found;
                        }
                    }
                    Err(error) => {
                        recovered.stuck.push(Stuck { error: hinted(error, &run), run: run.id, target: run.target });
                    }
                }
            }
            Self::Unsettled(run) => {
                // A target that is configured no longer is nobody's to touch.
                let Some(target) = target(&run.target) else { return Ok(()) };
                if let Some(unsettled) = runner.state().runs().hold_unsettled(&run)? {
                    runner.under_way().settles(&run.id);
                    let settled = settle(runner, target, unsettled);
                    runner.under_way().over();
                    match settled {
                        Ok(()) => recovered.settled.push(run.id),
                        // It is harmless where it is, and nobody's end waits for it: the next command tries again.
                        Err(error) => runner.note(&format!("what run {} kept was not let go: {error}", run.id)),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Said of what is left to `recover` alone.
fn untried(why: &str) -> PipelineError {
    PipelineError::failed(format!("it was not tried again: {why}"))
        .with_hint("see why the target hangs, and run `countersign recover` once it answers")
}

/// Said of a run whose call was given up while the kernel still has it.
fn held(run: &RunRecord, why: &str) -> PipelineError {
    PipelineError::failed(format!("its process is not gone yet, and holds `{}` still: {why}", run.target)).with_hint(
        "nothing is touched while that call may act; recover again once its process has ended, which it does when the target \
         answers",
    )
}

/// Recovers, and then goes on waiting for each run that waits, until none is left or a signal comes: check and guards are
/// repeated as its own process did. `ready` is told once everything that is due was done. What hung when it was last tried is
/// tried after all that, and not waited for: a call that does not return ends the process, and nobody would be.
///
/// # Errors
/// Where it cannot be told what there is to recover.
pub fn recover_and_wait<'t>(
    runner: &Runner,
    target: impl Fn(&str) -> Option<&'t Target> + Sync,
    ready: impl FnOnce(&Recovered),
) -> Result<Recovered, PipelineError> {
    let mut recovered = recover(runner, &target, Tries::NotTheHung)?;
    ready(&recovered);
    let runs = runner.state();
    let (sender, ended) = channel();
    std::thread::scope(|scope| -> Result<(), PipelineError> {
        let mut waited_for = BTreeSet::new();
        loop {
            for waits in std::mem::take(&mut recovered.waiting) {
                if runner.interrupted() || waited_for.contains(&waits.run) {
                    continue;
                }
                let run = runs.runs().get(&waits.run)?;
                let target = target(&run.target);
                let sender = sender.clone();
                waited_for.insert(waits.run);
                scope.spawn(move || {
                    let came = one(runner, &run, target, Patience::Whole);
                    // It is received for as long as anybody waits.
                    let _ = sender.send((run, came));
                });
            }
            if waited_for.is_empty() {
                return Ok(());
            }
            match ended.recv_timeout(AGAIN) {
                Ok((run, came)) => {
                    waited_for.remove(&run.id);
                    recovered.add(&run, came);
                }
                // Another runner may have died meanwhile.
                Err(RecvTimeoutError::Timeout) => recovered.then(recover(runner, &target, Tries::NotTheHung)?),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    })?;
    // What is so now, a run that a signal left waiting included. Nobody is waited for any more: what hung may be tried.
    let tries = if runner.interrupted() { Tries::NotTheHung } else { Tries::All };
    recovered.then(recover(runner, &target, tries)?);
    Ok(recovered)
}

/// Says what to do where the error does not.
fn hinted(error: PipelineError, run: &RunRecord) -> PipelineError {
    if error.hint().is_some() {
        return error;
    }
    error.with_hint(format!(
        "restore the state directory from a backup and recover again; or put right by hand what `countersign show {}` lists",
        run.id
    ))
}

fn unconfigured(run: &RunRecord, how: &str) -> PipelineError {
    let what = format!("the target `{}` of the {how} run {} is not configured", run.target, run.id);
    PipelineError::failed(what).with_hint("configure it again, as it was, and run `countersign recover`")
}

/// For how long a run is waited for that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Only what is decided by now is done.
    None,
    /// Until it is decided.
    Whole,
}

/// Takes one run over and brings it to its end.
fn one(runner: &Runner, run: &RunRecord, target: Option<&Target>, patience: Patience) -> Result<Came, PipelineError> {
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
    if let Some(word) = word {
        let why = word.says();
        let word = Some(word);
        return Ok(match word.as_ref().is_some_and(|word| word.keeps) {
            true => Due::Keep { why, word, heard },
            false => Due::RollBack { why, word, heard },
        });
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
    let taken = TakenUp { id: run.id, guards, undo: undo.as_ref(), approval, linked, unlinked, context };
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
    let taken = TakenUp { id: run.id, guards, undo: undo.as_ref(), approval, linked, unlinked: None, context };
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
    let taken = TakenUp { id: run.id, guards, undo: undo.as_ref(), approval, linked, unlinked: None, context };
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

/// Lets go of what an ended run kept on its target.
fn settle(runner: &Runner, target: &Target, mut unsettled: Unsettled) -> Result<(), PipelineError> {
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let changes = unsettled.changes.iter().map(|journaled| &journaled.change);
    for left in countersign_gate::let_go(&mut sessions, &mut unsettled.images, changes) {
        runner.note(&format!("run {}: {left}", unsettled.run.id));
    }
    Ok(unsettled.settled()?)
}
