//! A call to a target that never returns. It cannot be broken off, and nobody can tell what it does still: the run
//! ends `in-doubt` where it stands, and its journal stays open for `countersign recover`.
//!
//! Nothing is undone after that, whatever its capability: undoing goes backwards, and the call that hangs is the latest.

use std::sync::{Arc, Weak};

use countersign_gate::{Calls, Overdue};
use countersign_model::text::excerpt;
use countersign_model::{Outcome, Role};
use countersign_record::{ChangeState, State};

use crate::error::PipelineError;
use crate::report::{ReportedChange, RunReport};
use crate::runner::{Clock, Runner};
use crate::under_way::{Known, Restoring, Stage, UnderWay};

/// Looks whether a call is past its time, on another thread than the one that makes it.
pub struct CallWatch {
    /// Not held on to: what the state puts aside is removed when the command is done with it.
    pub(crate) state: Weak<State>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) clock: Clock,
}

/// What becomes of the command whose call hangs. Its process must end with this: the call holds on to it.
pub enum GivenUp {
    /// A run stands where it is: this process's own, or one that it was recovering.
    InDoubt {
        /// What is known of it.
        report: Box<RunReport>,
        /// Whether it was being recovered.
        recovering: bool,
    },
    /// The run had ended, and this is its report; only what was kept for undo is there still.
    Ended(serde_json::Value),
    /// No run of this process is under way: nothing was changed, or a person's word is half carried out.
    Failed(PipelineError),
}

impl CallWatch {
    /// What becomes of the command, where its call is given up.
    #[must_use]
    pub fn given_up(&self) -> Option<GivenUp> {
        // Whoever is in a call has it open.
        let state = self.state.upgrade()?;
        let overdue = self.calls.give_up()?;
        Some(match self.under_way.at(&overdue) {
            None => GivenUp::Failed(nothing(&overdue)),
            Some(Stage::Restoring(restoring)) => {
                let unrecorded = self.record(&state, &restoring.run, &why(&overdue)).err();
                GivenUp::Failed(half_restored(&overdue, &restoring, unrecorded))
            }
            Some(Stage::Settling(run)) => {
                let unrecorded = self.record(&state, &run, &why(&overdue)).err();
                GivenUp::Failed(unsettled(&overdue, &run, unrecorded))
            }
            Some(Stage::Run { known, .. } | Stage::Ended(known)) => {
                let report = known.ended.then(|| state.runs().report(&known.run).ok().flatten()).flatten();
                let recovering = known.recovering;
                match report {
                    Some(report) => {
                        // It is only let go of later, where this is not recorded.
                        if let Err(unrecorded) = self.record(&state, &known.run, &why(&overdue)) {
                            tracing::warn!("run {}: {unrecorded}", known.run);
                        }
                        GivenUp::Ended(report)
                    }
                    None => GivenUp::InDoubt { report: Box::new(self.in_doubt(&state, &overdue, known)), recovering },
                }
            }
        })
    }

    /// Records that a call of the run was given up, so that no command but `recover` tries it again.
    fn record(&self, state: &State, run: &str, why: &str) -> Result<(), String> {
        state
            .runs()
            .give_up(run, why, (self.clock)())
            .map_err(|error| format!("that it was given up is not recorded: {error}"))
    }

    fn in_doubt(&self, state: &State, overdue: &Overdue, known: Known) -> RunReport {
        let reason = why(overdue);
        let mut unrecorded = format!(
            "the run {} is unfinished; `countersign recover` goes on once the target answers, and blocks until then",
            known.run
        );
        if let Err(error) = self.record(state, &known.run, &reason) {
            unrecorded.push_str(&format!("; {error}"));
        }
        let record = state.runs().get(&known.run).ok();
        let manifest = record.as_ref().and_then(|run| run.manifest);
        let broken = manifest.and_then(|manifest| state.approvals().review(&manifest).ok().flatten());
        let journaled = state.runs().changes(&known.run).unwrap_or_default();
        let may_stand = journaled.iter().filter(|made| made.state != ChangeState::NotApplied);
        let changes: Vec<_> = may_stand.map(|made| ReportedChange::new(made.role, &made.change)).collect();
        let (made, undone) = (known.tally.made(), known.tally.undone());
        let of_fix = changes.iter().filter(|change| change.role == Role::Fix).count();
        let mut left = vec![format!("it is not known what becomes of this: {}", overdue.call)];
        if known.recovering {
            left.push(format!(
                "{of_fix} changes of the fix are in the journal; what of them is undone, recovery finds out"
            ));
        } else {
            left.push(format!("of {made} changes of the fix, {undone} were undone before; the others stand"));
        }
        RunReport {
            run: known.run,
            target: known.target,
            outcome: Outcome::InDoubt,
            reason,
            irreversible: crate::run::irreversible(&changes),
            changes,
            left,
            unrecorded: Some(unrecorded),
            left_behind: Vec::new(),
            denied: None,
            check: None,
            guards_before: Vec::new(),
            guards: Vec::new(),
            approvers: record.as_ref().map(|run| run.approvers.clone()).unwrap_or_default(),
            independent: record.as_ref().is_some_and(|run| run.independent),
            unattended: record.as_ref().and_then(|run| run.standing),
            actor: record.and_then(|run| run.actor),
            rollback_owner: known.rollback_owner,
            open: Vec::new(),
            lowered: Vec::new(),
            confirmation: None,
            break_glass: broken.map(|review| review.name),
            undoes: None,
        }
    }
}

fn why(overdue: &Overdue) -> String {
    let Overdue { call, seconds, .. } = overdue;
    format!("{call} did not return within {seconds} s, and was given up: it may act still, so nothing is done after it")
}

/// Its intent is in the run's journal: recovery ends the resolution.
fn half_restored(overdue: &Overdue, restoring: &Restoring, unrecorded: Option<String>) -> PipelineError {
    let subject = excerpt(&restoring.subject, 200);
    let mut what = format!(
        "{} did not return within {} s, and was given up: whether `{subject}` is as before run {} is not known, and it may act still",
        overdue.call, overdue.seconds, restoring.run
    );
    what.extend(unrecorded.map(|unrecorded| format!("; {unrecorded}")));
    let hint = format!(
        "nothing more is touched, and `{subject}` stays open; see why the target hangs, and run `countersign recover` once it \
         answers: it finishes this or takes it back"
    );
    PipelineError::PersonNeeded { what, hint: Some(hint), run: None, changes: Vec::new() }
}

/// The run is as its outcome says; what it kept harms nothing.
fn unsettled(overdue: &Overdue, run: &str, unrecorded: Option<String>) -> PipelineError {
    let mut what = format!(
        "{} did not return within {} s, and was given up: what run {run}, which had ended, kept on its target for undo may be \
         there still",
        overdue.call, overdue.seconds
    );
    what.extend(unrecorded.map(|unrecorded| format!("; {unrecorded}")));
    PipelineError::failed(what).with_hint(
        "no subject was changed by this; run `countersign recover` once the target answers: it lets go of that",
    )
}

fn nothing(overdue: &Overdue) -> PipelineError {
    let what = format!("{} did not return within {} s, and was given up", overdue.call, overdue.seconds);
    PipelineError::failed(what).with_hint(
        "nothing was changed, and no use of an approval is spent; see whether what it reads is on a file system that hangs, \
         and try again when it answers",
    )
}

impl Runner {
    /// What tells when a call to a target does not return.
    #[must_use]
    pub fn call_watch(&self) -> CallWatch {
        let (calls, under_way) = (self.calls(), self.shared_under_way());
        CallWatch { state: Arc::downgrade(&self.state()), calls, under_way, clock: self.clock() }
    }
}
