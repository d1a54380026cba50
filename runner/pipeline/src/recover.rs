//! What happens after the runner itself died: every run that it left unfinished is rolled back from its journal, or, where
//! it waited for a person's word, goes on to what that word, or silence, makes of it; and what was kept on a target for
//! undo is let go. Safe to repeat, and to be killed at any point.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use countersign_capability::Phase;
use countersign_record::{RecordError, RunRecord, Runs, Unsettled};

use crate::error::PipelineError;
use crate::report::RunReport;
use crate::resolve::Ended;
use crate::runner::Runner;
use crate::target::Target;

mod one;

pub(crate) use one::confirmation;
use one::{Patience, one};

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

/// Lets go of what an ended run kept on its target.
fn settle(runner: &Runner, target: &Target, mut unsettled: Unsettled) -> Result<(), PipelineError> {
    let mut sessions = runner.sessions(target, Phase::Live)?;
    let changes = unsettled.changes.iter().map(|journaled| &journaled.change);
    for left in countersign_gate::let_go(&mut sessions, &mut unsettled.images, changes) {
        runner.note(&format!("run {}: {left}", unsettled.run.id));
    }
    Ok(unsettled.settled()?)
}
