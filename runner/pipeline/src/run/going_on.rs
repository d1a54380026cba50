//! Whether a run that is under way may go on: by what was signed, and by the time.

use super::Run;
use crate::error::PipelineError;
use crate::order;
use crate::runner::Runner;
use crate::stored::Stored;

impl Run<'_> {
    /// Whether what was signed lets the run stay, by the trust policy in force now.
    pub(crate) fn goes_on(&self) -> Result<(), String> {
        self.in_time()?;
        self.is_approved_still().map_err(|error| error.to_string())
    }

    fn is_approved_still(&self) -> Result<(), PipelineError> {
        let (proposal, approval) = (&self.terms().proposal, &self.approval.digest);
        if self.taken_up {
            return order::may_stay(self.runner, &Stored::load(self.runner, &proposal.to_string())?, approval);
        }
        order::goes_on(self.runner, proposal, approval)
    }

    /// Whether what was signed lets anything be committed still, as far as the time goes.
    pub(crate) fn in_time(&self) -> Result<(), String> {
        past(self.runner, self.finish_by()).map_or(Ok(()), Err)
    }

    /// From when on nothing is committed any more.
    pub(crate) fn finish_by(&self) -> Option<u64> {
        self.terms().finish_by
    }

    /// The same while it waits, where not being able to tell decides nothing yet.
    pub(crate) fn is_not_revoked(&self) -> Result<(), String> {
        match self.is_approved_still() {
            Err(refused) if refused.exit_code() == 3 => Err(refused.to_string()),
            Err(_) | Ok(()) => Ok(()),
        }
    }
}

/// Why a run by these terms is not to go on: a signal, or the time.
pub(crate) fn over(runner: &Runner, finish_by: Option<u64>) -> Option<String> {
    let signal = runner.interrupted().then(|| countersign_gate::INTERRUPTED.to_owned());
    signal.or_else(|| past(runner, finish_by))
}

/// What is said of a run that had to be finished by now. Where the time cannot be told, it had to.
pub(crate) fn past(runner: &Runner, finish_by: Option<u64>) -> Option<String> {
    let end = finish_by?;
    let past = runner.has_come(end).unwrap_or(true);
    past.then(|| late(end))
}

pub(super) fn late(end: u64) -> String {
    format!("the approval has it finished by {}, and it was not", countersign_trust::moment(end))
}
