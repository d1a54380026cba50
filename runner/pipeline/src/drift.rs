use std::collections::BTreeSet;

use countersign_gate::Sessions;
use countersign_model::{Change, State};

use crate::error::PipelineError;
use crate::order::Order;
use crate::propose::proposal_name;
use crate::runner::Runner;

/// Said of a subject on which there is nothing left to do.
const ALREADY: &str = "it is already as the plan would leave it";

/// The subjects that are not as the plan found them, and how.
pub(crate) fn drift(runner: &Runner, sessions: &mut Sessions, forward: &[Change]) -> Vec<String> {
    let mut blobs = runner.blobs();
    let mut seen = BTreeSet::new();
    let mut drift = Vec::new();
    for change in forward {
        if !seen.insert((&change.capability, &change.subject)) {
            continue;
        }
        match sessions.probe(&mut blobs, change) {
            Ok(State::Before) => {}
            Ok(State::After) => drift.push(format!("{}: {ALREADY}", change.subject)),
            Ok(State::Elsewhere(what)) => drift.push(format!("{}: {what}", change.subject)),
            Ok(State::Unknowable) => drift.push(format!("{}: its state cannot be told", change.subject)),
            Err(fault) => drift.push(format!("{}: it cannot be read: {}", change.subject, fault.what)),
        }
    }
    drift
}

/// Refuses to begin on a target that is not as it was rehearsed.
pub(crate) fn refuse(order: &Order<'_>, drift: &[String]) -> Result<(), PipelineError> {
    if drift.is_empty() {
        return Ok(());
    }
    let done = drift.iter().all(|drift| drift.ends_with(ALREADY));
    if let Some(undo) = order.undo {
        let found = drift.join("; ");
        return Err(if done { put_back(undo.run(), &found) } else { crate::undo::conflict(undo.run(), &found) });
    }
    let what = format!("the target is not as it was rehearsed: {}", drift.join("; "));
    if done {
        return Err(PipelineError::refused(what).with_hint(
            "nothing changed and no use of the approval is spent; what it would do to these is done already: if that is all \
             of it, there is nothing to run",
        ));
    }
    Err(PipelineError::refused(what).with_hint(format!(
        "nothing changed and no use of the approval is spent; put the target back, or rehearse again with `countersign \
         propose --revise {}`",
        proposal_name(&order.proposal.digest())
    )))
}

/// Somebody undid the run by hand.
fn put_back(run: &str, found: &str) -> PipelineError {
    PipelineError::refused(format!("what the run `{run}` changed was put back already: {found}")).with_hint(
        "nothing changed and no use of the approval is spent; if that is all that the run changed, nothing is left to undo, \
         and otherwise undo the rest by hand",
    )
}
