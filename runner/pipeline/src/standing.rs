use std::collections::BTreeMap;

use countersign_capability::{Phase, StepContext};
use countersign_model::documents::{
    Configured, DOCUMENT_VERSION, Found, ProposalDocument, RehearsalDocument, StandingDocument, TargetStanding,
};
use countersign_model::{Role, Verdict};

use crate::error::PipelineError;
use crate::link::Linked;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;
use crate::witness::Unwitnessed;

/// Looks at a proposal's targets as they stand now. Changes nothing. `configured` are all targets: earlier runs were
/// perhaps on others.
///
/// # Errors
/// When a step is refused, or something of the runner's own fails. What cannot be read of a target is part of
/// what was found.
pub(crate) fn look(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    configured: &BTreeMap<String, Target>,
) -> Result<StandingDocument, PipelineError> {
    let document = stored.proposal.document();
    let linked = Linked::link_for(runner, &stored.bundle, document, targets)?;
    let mut standing = Vec::new();
    for (name, target) in targets {
        standing.push(TargetStanding {
            name: (*name).to_owned(),
            configured: self::configured(runner, document, target),
            found: found(runner, document, &linked, name, target, stored.rehearsal(name)?)?,
            shown: None,
        });
    }
    Ok(StandingDocument {
        version: DOCUMENT_VERSION,
        proposal: stored.proposal.digest(),
        policy: runner.policy().digest(),
        earlier_policies: runner.policy().earlier().iter().copied().collect(),
        targets: standing,
        undoes: stored.undo.as_ref().map(|undo| undo.standing(runner.policy())),
        revision: crate::revision::standing(runner, stored, targets)?,
        superseded_by: runner.revision(&stored.proposal.digest())?.as_ref().map(crate::propose::proposal_name),
        denied_before: crate::denied_before::denied_before(runner, &stored.proposal.digest())?,
        earlier_runs: runner.earlier_runs(&document.bundle, configured)?,
        runs: runner.runs_of(&stored.proposal.digest())?,
        at: runner.now(),
    })
}

/// What the operator's configuration says of a target, for a proposal.
pub(crate) fn configured(runner: &Runner, document: &ProposalDocument, target: &Target) -> Configured {
    let within = crate::order::within_ceilings(runner, target, &document.grants);
    Configured {
        configuration: target.digest(),
        description: target.description.clone(),
        rollback_owner: target.rollback_owner.clone(),
        success: target.success(document.success),
        validators: target.validators.iter().map(|validator| validator.name.clone()).collect(),
        exceeded: within.err().map(|error| error.to_string()),
    }
}

fn found(
    runner: &Runner,
    document: &ProposalDocument,
    linked: &Linked,
    name: &str,
    target: &Target,
    rehearsal: &RehearsalDocument,
) -> Result<Found, PipelineError> {
    let mut sessions = runner.sessions(target, Phase::Observe)?;
    let mut drift = crate::drift::drift(runner, &mut sessions, &rehearsal.plan.forward);
    if rehearsal.configuration != target.digest() {
        drift.insert(0, "the target's configuration was changed since".to_owned());
    }
    Ok(Found {
        blocked: runner.unfinished(name)?.map(|run| crate::order::blocked(runner, name, target, &run).to_string()),
        check: check(runner, document, linked, target)?,
        guards: crate::guards::ask(runner, target),
        drift,
    })
}

fn check(
    runner: &Runner,
    document: &ProposalDocument,
    linked: &Linked,
    target: &Target,
) -> Result<Verdict, PipelineError> {
    let granted = document.grants.get(&Role::Check).map(Vec::as_slice).unwrap_or_default();
    let context = StepContext::new(&document.arguments, document.now, document.seed);
    crate::check::ask(runner, target, linked, granted, &context, Box::new(Unwitnessed))
}
