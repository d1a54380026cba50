//! What happens after the runner itself died: every run that it left unfinished is rolled back from its journal, and
//! what it kept on a target for undo is let go. Safe to repeat, and to be killed at any point.

use countersign_capability::{Phase, StepContext};
use countersign_gate::{Gate, Live, Work};
use countersign_model::RollbackBy;
use countersign_record::{RunRecord, TakenOver, Unsettled};

use crate::approval::Approval;
use crate::error::PipelineError;
use crate::link::Linked;
use crate::report::RunReport;
use crate::run::{Run, TakenUp};
use crate::runner::Runner;
use crate::target::Target;
use crate::undo::Undo;
use crate::witness::LogWitness;

/// What recovery came to.
#[derive(Default)]
pub struct Recovered {
    /// How each run that it took over ended.
    pub reports: Vec<RunReport>,
    /// The runs that had ended, of which something was left on a target; it is gone now.
    pub settled: Vec<String>,
    /// What came of the resolutions whose process died, one line each.
    pub resolutions: Vec<String>,
    /// The runs that it could do nothing for, and why; they block their targets still.
    pub stuck: Vec<Stuck>,
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

impl Recovered {
    /// Whether a person is needed.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        !self.stuck.is_empty() || self.reports.iter().any(|report| report.exit_code() == 5)
    }
}

/// Rolls back each run whose process died, and lets go of what runs that ended well had kept. What another process
/// recovers in this moment is left to it.
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
    let mut abandoned = state.runs().abandoned()?;
    // One whose target did not answer comes last, so that no other waits for it; and only whoever recovers tries it again.
    let mut hung = Vec::new();
    for run in &abandoned {
        if state.runs().given_up(&run.id)?.is_some() {
            hung.push(run.id.clone());
        }
    }
    abandoned.sort_by_key(|run| hung.contains(&run.id));
    if tries == Tries::NotTheHung {
        abandoned.retain(|run| !hung.contains(&run.id));
    }
    for run in state.runs().under_way()? {
        if let (Some(why), Tries::All) = (state.runs().given_up(&run.id)?, tries) {
            recovered.stuck.push(Stuck { error: held(&run, &why), run: run.id, target: run.target });
        }
    }
    for run in abandoned {
        match one(runner, &run, target(&run.target)) {
            Ok(Some(report)) => recovered.reports.push(report),
            Ok(None) => {}
            Err(error) => recovered.stuck.push(Stuck { error: hinted(error, &run), run: run.id, target: run.target }),
        }
    }
    for run in state.runs().being_resolved()? {
        let target = target(&run.target).ok_or_else(|| unconfigured(&run, "half resolved"));
        match target.and_then(|target| crate::resolve::recover(runner, &run, target)) {
            Ok(came) => recovered.resolutions.extend(came),
            Err(error) => recovered.stuck.push(Stuck { error: hinted(error, &run), run: run.id, target: run.target }),
        }
    }
    for run in state.runs().unsettled()? {
        // A target that is configured no longer is nobody's to touch.
        let Some(target) = target(&run.target) else { continue };
        if let Some(unsettled) = state.runs().hold_unsettled(&run)? {
            settle(runner, target, unsettled)?;
            recovered.settled.push(run.id);
        }
    }
    state.runs().remove_left_reserves()?;
    Ok(recovered)
}

/// Said of a run whose call was given up while the kernel still has it.
fn held(run: &RunRecord, why: &str) -> PipelineError {
    PipelineError::failed(format!("its process is not gone yet, and holds `{}` still: {why}", run.target)).with_hint(
        "nothing is touched while that call may act; recover again once its process has ended, which it does when the target \
         answers",
    )
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

/// Takes one run over and rolls it back; `None` where somebody else does, or did.
fn one(runner: &Runner, run: &RunRecord, target: Option<&Target>) -> Result<Option<RunReport>, PipelineError> {
    let Some(target) = target else { return Err(unconfigured(run, "unfinished")) };
    let approval = Approval::of_run(runner, run)?;
    let Some(taken) = runner.state().runs().take_over(&run.id)? else { return Ok(None) };
    let mut reason = "the runner ended before the run did".to_owned();
    if let Some(why) = &run.rollback {
        reason.push_str(&format!(", while it was rolling back: {why}"));
    }
    runner.note(&format!("recovering run {} on `{}`: {reason}", run.id, run.target));
    let undo = undoes(runner, &approval);
    let no_step = || StepContext::new(&approval.terms.arguments, 0, 0);
    let (linked, context, unlinked) = match rollback_step(runner, run, &approval, target) {
        Ok((linked, context)) => (linked, context, None),
        // There is none to be run.
        Err(_) if approval.terms.rollback == RollbackBy::Undo => (Linked::none(), no_step(), None),
        // The host's undo needs none of it.
        Err(error) => (Linked::none(), no_step(), Some(error.to_string())),
    };
    runner.under_way().taken_over(&run.id, &run.target, &approval.terms.rollback_owner);
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let TakenOver { run, journal, plan, guards } = taken;
    let live = Live::taken_over(journal, approval.terms.mode, &plan, &mut sessions);
    let gate = Gate::new(sessions, Work::Live(Box::new(live)), Box::new(LogWitness::new(runner)));
    let taken = TakenUp { id: run.id, guards, undo: undo.as_ref(), approval, linked, unlinked, context };
    let report = Run::taken_over(runner, (&run.target, target), gate, taken).roll_back(&reason);
    runner.under_way().over();
    report.map(Some)
}

/// The run that this one was to undo, for the report.
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

/// Lets go of what an ended run kept on its target.
fn settle(runner: &Runner, target: &Target, mut unsettled: Unsettled) -> Result<(), PipelineError> {
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let changes = unsettled.changes.iter().map(|journaled| &journaled.change);
    for left in countersign_gate::let_go(&mut sessions, &mut unsettled.images, changes) {
        runner.note(&format!("run {}: {left}", unsettled.run.id));
    }
    Ok(unsettled.settled()?)
}
