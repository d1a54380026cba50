//! Denied proposals that another one is like: what was denied does not come back unseen with a byte changed.

use countersign_model::Digest;
use countersign_model::documents::{DeniedBefore, SameSubject};
use countersign_record::{DeniedLike, PlannedSubject};

use crate::error::PipelineError;
use crate::propose::proposal_name;
use crate::rehearse::Rehearsed;
use crate::runner::Runner;

/// How many denied proposals a review shows.
const MAX_SHOWN: usize = 10;
/// How many subjects of each it names.
const MAX_SUBJECTS: usize = 20;

/// The denied proposals that this one is like, the latest denial first. Nothing is decided by it: it is for whoever reviews.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn denied_before(runner: &Runner, proposal: &Digest) -> Result<Vec<DeniedBefore>, PipelineError> {
    let like = runner.state().proposals().denied_like(proposal, MAX_SHOWN)?;
    like.into_iter().map(|like| told(runner, like)).collect()
}

fn told(runner: &Runner, like: DeniedLike) -> Result<DeniedBefore, PipelineError> {
    let DeniedLike { proposal, bundle, fix, subjects } = like;
    let (by, at, reason) = match countersign_trust::denied(&runner.denials(&proposal)?, proposal, runner.policy()) {
        Ok(Some(denied)) => (Some(denied.by.name().to_owned()), Some(denied.at), denied.reason),
        Ok(None) => (None, None, String::new()),
        // It counts all the same.
        Err(damaged) => (None, None, damaged.to_string()),
    };
    let same = |PlannedSubject { target, subject, .. }: &PlannedSubject| SameSubject {
        target: target.clone(),
        subject: subject.clone(),
    };
    Ok(DeniedBefore {
        proposal: proposal_name(&proposal),
        digest: proposal,
        by,
        at,
        reason,
        same_bundle: bundle,
        same_fix: fix,
        same_subjects: subjects.iter().take(MAX_SUBJECTS).map(same).collect(),
        subjects: subjects.len() as u64,
    })
}

/// What these rehearsals' plans change, for what comes to be compared with them.
pub(crate) fn subjects(rehearsals: &[Rehearsed]) -> Vec<PlannedSubject> {
    let of = |rehearsed: &Rehearsed| {
        let document = rehearsed.document();
        let target = document.target.clone();
        let planned = document.plan.forward.iter().map(move |change| PlannedSubject {
            target: target.clone(),
            capability: change.capability.clone(),
            subject: change.subject.clone(),
        });
        planned.collect::<Vec<_>>()
    };
    rehearsals.iter().flat_map(of).collect()
}
