use countersign_model::documents::{ApprovalManifest, Terms};
use countersign_model::{Digest, Grant, Role, strict};
use countersign_record::RunRecord;
use countersign_trust::Authorized;

use crate::error::PipelineError;
use crate::runner::Runner;

/// What is left where something that was recorded is lost.
pub(crate) const LOST: &str = "nothing changed; restore the state directory from a backup, or undo it by hand";

/// What a run goes by: the terms that were signed, and by whom.
pub(crate) struct Approval {
    /// Digest of the manifest's bytes.
    pub(crate) digest: Digest,
    pub(crate) terms: Terms,
    /// By name, each once.
    pub(crate) approvers: Vec<String>,
    /// Whether the proposer could not have given it.
    pub(crate) independent: bool,
}

impl Approval {
    /// What allows a run to begin.
    pub(crate) fn of(authorized: &Authorized) -> Self {
        Self {
            digest: authorized.manifest_digest(),
            terms: authorized.manifest().predicate.clone(),
            approvers: authorized.approvers().to_vec(),
            independent: authorized.independent(),
        }
    }

    /// What had allowed a run that began. Nothing of it is decided again: it is for undoing.
    ///
    /// # Errors
    /// Where the manifest is kept no longer, or is not what the run used.
    pub(crate) fn of_run(runner: &Runner, run: &RunRecord) -> Result<Self, PipelineError> {
        let terms = terms_of(runner, run)?;
        // The terms were found by it.
        let digest = run.manifest.unwrap_or(terms.proposal);
        Ok(Self { digest, terms, approvers: run.approvers.clone(), independent: run.independent })
    }

    /// What the step in this role may do.
    pub(crate) fn grants(&self, role: Role) -> &[Grant] {
        self.terms.grants.get(&role).map_or(&[], Vec::as_slice)
    }
}

/// The terms of the approval that a run used.
pub(crate) fn terms_of(runner: &Runner, run: &RunRecord) -> Result<Terms, PipelineError> {
    let lost = |what: String| PipelineError::refused(what).with_hint(LOST);
    let manifest = run.manifest.ok_or_else(|| lost(format!("the run `{}` has no approval", run.id)))?;
    // Whatever became of other approvals of the proposal is nothing to this run.
    let used = runner.state().approvals().manifest(&manifest)?;
    let used = used.ok_or_else(|| lost(format!("the approval that the run `{}` used is missing", run.id)))?;
    if Digest::of(&used) != manifest {
        return Err(lost(format!("the approval that the run `{}` used was changed since it was signed", run.id)));
    }
    strict::from_slice(&used, countersign_trust::MAX_MANIFEST)
        .map(|manifest: ApprovalManifest| manifest.predicate)
        .map_err(|error| lost(format!("the approval of the run `{}`: {error}", run.id)))
}
