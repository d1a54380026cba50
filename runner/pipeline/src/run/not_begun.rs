//! What is said of a run that did not begin.

use countersign_record::BeginError;

use crate::error::PipelineError;
use crate::order::Order;
use crate::runner::Runner;

pub(crate) fn not_begun(runner: &Runner, order: &Order<'_>, error: &BeginError) -> PipelineError {
    match error {
        BeginError::UsedUp { .. } => PipelineError::refused(error.to_string())
            .with_hint("approve the proposal again; an approval is good for as many runs as it says, and no more"),
        BeginError::NotUnattended { .. } => PipelineError::refused(error.to_string()).with_hint(
            "nothing changed; have this proposal approved by itself: `countersign review`, `countersign approve`",
        ),
        BeginError::Superseded { by } => crate::order::superseded(by),
        BeginError::Denied => PipelineError::refused(error.to_string()).with_hint(
            "nothing changed and no use is spent; a denial is final: a changed proposal can be made and reviewed anew",
        ),
        BeginError::Paused(paused) => crate::pause::refused(paused),
        BeginError::Begun { .. } => {
            PipelineError::refused(error.to_string()).with_hint("nothing changed and no use is spent; run it again")
        }
        BeginError::Undone { .. } => {
            PipelineError::refused(error.to_string()).with_hint("there is nothing left to undo")
        }
        BeginError::Unfinished(run) => crate::order::blocked(runner, order.name, order.target, run),
        BeginError::Busy(holder) => {
            let waits = holder.run.as_ref().and_then(|run| crate::order::held_by_waiting(runner, run));
            waits.unwrap_or_else(|| {
                PipelineError::refused(error.to_string()).with_hint(
                    "nothing changed and no use is spent; run it again when that run has ended, as `countersign runs` shows",
                )
            })
        }
        BeginError::Record(error) => match error.hint() {
            Some(hint) => PipelineError::refused(error.full()).with_hint(hint),
            None => PipelineError::refused(error.full()),
        },
    }
}
