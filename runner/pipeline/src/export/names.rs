//! Names in a file that may be anybody's: they stand in the middle of lines, and must not end one or hide.

use countersign_model::documents::{StandingDocument, UndoStanding};
use countersign_model::text::{excerpt, hides};

use super::container::damaged;
use crate::error::PipelineError;
use crate::stored::Stored;
use crate::target::MAX_NAME;

/// Refuses a file in which a name is none that a runner would write.
pub(super) fn plain(standing: &StandingDocument, stored: &Stored) -> Result<(), PipelineError> {
    for target in &standing.targets {
        name("a target", &target.name)?;
        target.found.guards.iter().try_for_each(|guard| name("a guard", &guard.name))?;
        target.configured.validators.iter().try_for_each(|validator| name("a validator", validator))?;
    }
    if let Some(by) = &standing.superseded_by {
        name("a proposal", by)?;
    }
    if let Some(revision) = &standing.revision {
        name("a proposal", &revision.revises)?;
        revision.targets.iter().try_for_each(|target| name("a target", &target.name))?;
        let mut cited = revision.evidence.iter().flat_map(|ids| [&ids.was, &ids.is]).flatten().flatten();
        cited.try_for_each(|id| name("evidence", id))?;
    }
    if let Some(UndoStanding { run, target, proposal, proposer, approvers, undone_by, .. }) = &standing.undoes {
        name("a target", target)?;
        name("a proposal", proposal)?;
        [run].into_iter().chain(undone_by).try_for_each(|run| name("a run", run))?;
        [proposer].into_iter().chain(approvers).try_for_each(|who| name("somebody", who))?;
    }
    for denied in &standing.denied_before {
        name("a proposal", &denied.proposal)?;
        denied.by.iter().try_for_each(|by| name("somebody", by))?;
        denied.same_subjects.iter().try_for_each(|same| name("a target", &same.target))?;
    }
    for run in &standing.earlier_runs {
        name("a run", &run.run)?;
        name("a target", &run.target)?;
        name("an outcome", &run.outcome)?;
    }
    for run in &standing.runs {
        name("a run", &run.run)?;
        name("a target", &run.target)?;
        name("an outcome", &run.outcome)?;
    }
    stored.evidence().into_iter().try_for_each(|reference| name("evidence", &reference.id))
}

fn name(what: &str, name: &str) -> Result<(), PipelineError> {
    if hides(name) || name.len() > MAX_NAME {
        return Err(damaged(format!("{what} is called `{}`, which is no name", excerpt(name, 80))));
    }
    Ok(())
}
