//! What the audit log tells of a proposal, against what the rest of the state says: what somebody took back is not done again.

use countersign_record::{About, MAX_STEP_BACK};
use countersign_trust::Authorized;

use crate::error::PipelineError;
use crate::order::Order;
use crate::runner::Runner;

/// Refuses a run where the log, whose entries the runner's key signed, tells of a use, a denial or a successor that the state
/// knows nothing of. The target is held, so that no other run of this approval begins or ends on it meanwhile.
pub(crate) fn agrees(runner: &Runner, order: &Order<'_>, authorized: &Authorized) -> Result<(), PipelineError> {
    let (proposal, manifest) = (order.proposal.digest(), authorized.manifest_digest());
    // The clock of the entries may be behind that by which proposals are dated, and by no more.
    let since = order.proposal.document().created.saturating_sub(MAX_STEP_BACK.saturating_mul(2));
    let about = About { proposal: &proposal, manifest: &manifest, target: order.name, since };
    let told = runner.state().audit().told(&about).map_err(|error| {
        PipelineError::refused(error.full()).with_hint(
            "nothing changed and no use is spent. Somebody changed the state's database: keep a copy of it, see what \
             `countersign audit verify` says, and restore it from a backup",
        )
    })?;
    let spent = runner.uses(&manifest, order.name)?;
    let taken_back = if told.uses > spent {
        format!("{} on `{}`, and the state knows of {spent}", uses(told.uses), order.name)
    } else if told.denied && runner.denials(&proposal)?.is_empty() {
        "the proposal was denied, and the state knows of no denial".to_owned()
    } else if told.superseded && runner.revision(&proposal)?.is_none() {
        "another proposal took this one's place, and the state knows of none".to_owned()
    } else {
        return Ok(());
    };
    Err(PipelineError::refused(format!("the audit log says that {taken_back}")).with_hint(
        "nothing changed. Somebody changed the state's database, or restored a part of it from an old copy: find out which, \
         look at `countersign audit export --format jsonl`, and propose anew what is still to be done",
    ))
}

fn uses(count: u32) -> String {
    if count == 1 {
        "1 use of the approval is spent".to_owned()
    } else {
        format!("{count} uses of the approval are spent")
    }
}
