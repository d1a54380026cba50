//! A run whose process died, as far as another process may go on with it.

use countersign_capability::StepContext;
use countersign_gate::{Gate, GatePort};
use countersign_model::documents::{Confirmation, GuardState};

use super::Run;
use super::confirming::Heard;
use crate::approval::Approval;
use crate::confirm::Word;
use crate::error::PipelineError;
use crate::link::Linked;
use crate::report::{ReportedConfirmation, RunReport};
use crate::runner::Runner;
use crate::target::Target;
use crate::undo::Undo;

/// What is known of a run that is taken over.
pub(crate) struct TakenUp<'a> {
    pub(crate) id: String,
    pub(crate) actor: Option<String>,
    pub(crate) guards: Vec<GuardState>,
    pub(crate) undo: Option<&'a Undo>,
    pub(crate) approval: Approval,
    pub(crate) linked: Linked,
    pub(crate) unlinked: Option<String>,
    pub(crate) context: StepContext,
}

impl<'a> Run<'a> {
    /// A run whose process died, with all that can be done for it: [`Recovering::roll_back`].
    pub(crate) fn taken_over(
        runner: &'a Runner,
        named: (&'a str, &'a Target),
        gate: Gate,
        taken: TakenUp<'a>,
    ) -> Recovering<'a> {
        Recovering(Self { recovering: true, ..Self::taken_up(runner, named, gate, taken) })
    }

    /// A run whose process died while it waited for a person's word, every change of it made and found good.
    pub(crate) fn resumed(
        runner: &'a Runner,
        named: (&'a str, &'a Target),
        gate: Gate,
        taken: TakenUp<'a>,
        waited: Waited,
    ) -> Resumed<'a> {
        Resumed(Self::taken_up(runner, named, gate, taken), waited)
    }

    fn taken_up(runner: &'a Runner, (name, target): (&'a str, &'a Target), gate: Gate, taken: TakenUp<'a>) -> Self {
        let TakenUp { id, actor, guards, undo, approval, linked, unlinked, context } = taken;
        Self {
            runner,
            name,
            target,
            undo,
            approval,
            linked,
            unlinked,
            recovering: false,
            taken_up: true,
            gate: GatePort::new(gate),
            guards_before: guards,
            guards_after: Vec::new(),
            check: None,
            context,
            id,
            actor,
            confirmation: None,
            kept: None,
            word: None,
        }
    }
}

/// A run whose process died before it was found good, or while it was rolled back. It can go nowhere but back.
pub(crate) struct Recovering<'a>(Run<'a>);

impl Recovering<'_> {
    /// The confirmation that it had waited for, for its report.
    pub(crate) fn having_waited(mut self, waited: Option<Waited>, word: Option<Word>) -> Self {
        self.0.word = waited.map(|waited| ReportedConfirmation::new(waited.until, waited.confirmation, word));
        self
    }

    /// Puts the target back, as [`Run::roll_back`] does.
    ///
    /// # Errors
    /// Only when even the journal's lock is lost.
    pub(crate) fn roll_back(self, reason: &str) -> Result<RunReport, PipelineError> {
        self.0.roll_back(reason)
    }
}

/// What a run waits for, and until when, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited {
    pub(crate) confirmation: Confirmation,
    pub(crate) until: u64,
}

/// A run whose process died while it waited. It goes on waiting, or to the commit that was decided.
pub(crate) struct Resumed<'a>(Run<'a>, Waited);

impl Resumed<'_> {
    /// Commits what was decided to stay.
    ///
    /// # Errors
    /// Only when even the journal's lock is lost.
    pub(crate) fn commit(mut self, kept: String, word: Option<Word>) -> Result<RunReport, PipelineError> {
        self.0.kept = Some(kept);
        self.0.word = Some(ReportedConfirmation::new(self.1.until, self.1.confirmation, word));
        self.0.commit()
    }

    /// Waits on, until it is decided what becomes of it, and brings it there; none where a signal came first.
    ///
    /// # Errors
    /// Only when even the journal's lock is lost.
    pub(crate) fn wait(mut self) -> Result<Option<RunReport>, PipelineError> {
        let Waited { confirmation, until } = self.1;
        let mut wait = self.0.wait_on(confirmation, until);
        self.0.tell_waiting(&wait);
        match self.0.hear(&mut wait) {
            Heard::Keep => self.0.commit().map(Some),
            Heard::RollBack(why) => self.0.roll_back(&why).map(Some),
            Heard::Nothing => Ok(None),
        }
    }
}
