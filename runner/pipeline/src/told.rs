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
    let sources = authorized.derived().map_or(&[][..], |derived| &derived.sources);
    for manifest in sources.iter().map(|(source, _)| *source).chain([manifest]) {
        let about = About { proposal: &proposal, manifest: &manifest, target: order.name, since };
        let told = runner.state().audit().told(&about).map_err(|error| {
            PipelineError::refused(error.full()).with_hint(
                "nothing changed and no use is spent. Somebody changed the state's database: keep a copy of it, see what \
                 `countersign audit verify` says, and restore it from a backup",
            )
        })?;
        let spent = runner.uses(&manifest, order.name)?;
        if told.uses > spent {
            let what = format!("{} on `{}`, and the state knows of {spent}", uses(told.uses), order.name);
            return Err(taken_back(&what));
        }
        if told.denied && runner.denials(&proposal)?.is_empty() {
            return Err(taken_back("the proposal was denied, and the state knows of no denial"));
        }
        if told.superseded && runner.revision(&proposal)?.is_none() {
            return Err(taken_back("another proposal took this one's place, and the state knows of none"));
        }
    }
    Ok(())
}

/// What is said where the log tells of more than the state knows.
fn taken_back(what: &str) -> PipelineError {
    PipelineError::refused(format!("the audit log says that {what}")).with_hint(
        "nothing changed. Somebody changed the state's database, or restored a part of it from an old copy: find out which, \
         look at `countersign audit export --format jsonl`, and propose anew what is still to be done",
    )
}

fn uses(count: u32) -> String {
    if count == 1 {
        "1 use of the approval is spent".to_owned()
    } else {
        format!("{count} uses of the approval are spent")
    }
}
