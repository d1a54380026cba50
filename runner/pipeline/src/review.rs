use countersign_capability::{Phase, StepContext};
use countersign_model::documents::{ProposalDocument, RehearsalDocument};
use countersign_model::{Digest, Evidence, Grant, Mode, Reversibility, Role, RollbackBy, Success, Verdict};
use countersign_trust::{PrincipalKind, Proposal};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::guards::{self, GuardState};
use crate::link::Linked;
use crate::listing::EarlierRun;
use crate::runner::Runner;
use crate::shown::{ChangeReview, planned_changes};
use crate::stored::Stored;
use crate::target::{Target, contains};
use crate::witness::Unwitnessed;

/// What an approver needs to see, in the order in which they need it. The agent's own words come last.
#[derive(Debug, Serialize)]
pub struct Review {
    /// The proposal's name.
    pub proposal: String,
    /// The digest that `approve` signs for.
    pub digest: Digest,
    /// Each target as it stands and what would change on it.
    pub targets: Vec<TargetReview>,
    /// What success means: when check and guards are asked.
    pub success: Success,
    /// How closely the run is held to the plan.
    pub mode: Mode,
    /// What pairs with the fix.
    pub rollback: RollbackBy,
    /// What is asked for, against what the plan uses.
    pub grants: Vec<GrantReview>,
    /// Earlier runs of this bundle, newest first.
    pub earlier_runs: Vec<EarlierRun>,
    /// Evidence that this runner recorded.
    pub evidence: Vec<EvidenceReview>,
    /// Who proposed it.
    pub proposer: ProposerReview,
    /// When it was proposed, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it cannot be approved.
    pub expires: u64,
    /// The denial that ended it, if there is one.
    pub denied: Option<String>,
    /// The bundle's digest.
    pub bundle: Digest,
    /// What the agent says; unverified.
    pub words: Words,
}

/// One target, now and as it would be.
#[derive(Debug, Serialize)]
pub struct TargetReview {
    /// Its name.
    pub name: String,
    /// The operator's description.
    pub description: String,
    /// The run that died here without an outcome and blocks the target, if there is one.
    pub blocked: Option<String>,
    /// When check and guards are asked here: the proposal's terms, cut by the operator's own.
    pub success: Success,
    /// The check, asked now.
    pub check_now: Verdict,
    /// The guards, asked now.
    pub guards_now: Vec<GuardState>,
    /// The check when it was rehearsed, before the fix.
    pub check_before: Verdict,
    /// The check when it was rehearsed, on the overlay.
    pub check_after: Verdict,
    /// What is not as the rehearsal found it.
    pub drift: Vec<String>,
    /// Digest of the plan.
    pub plan: Digest,
    /// When it was rehearsed.
    pub rehearsed: u64,
    /// Every change with its diff, forward and then the rollback step's.
    pub changes: Vec<ChangeReview>,
    /// The changes that nothing undoes.
    pub irreversible: Vec<String>,
    /// Who answers for the target if it is not restored.
    pub rollback_owner: String,
    /// Whether the rollback was rehearsed to its end.
    pub rollback_rehearsed: bool,
    /// Whether every subject came back in the rehearsal.
    pub restores: bool,
    /// The subjects that did not.
    pub unrestored: Vec<String>,
    /// The operator's validators that will test what is written.
    pub validators: Vec<String>,
}

/// One requested grant.
#[derive(Debug, Serialize)]
pub struct GrantReview {
    /// The step that has it.
    pub role: Role,
    /// The grant.
    pub grant: Grant,
    /// The least grants inside it that the rehearsal used; empty where it used none.
    pub used: Vec<Grant>,
}

/// One evidence record.
#[derive(Debug, Serialize)]
pub struct EvidenceReview {
    /// Whether the proposer cites it; the runner shows what it recorded in the rehearsal besides.
    pub cited: bool,
    /// The record.
    #[serde(flatten)]
    pub record: Evidence,
}

/// Who proposed.
#[derive(Debug, Serialize)]
pub struct ProposerReview {
    /// The name in the trust policy, if it has one.
    pub name: String,
    /// What the policy says of it: a person, an agent, or unlisted.
    pub kind: &'static str,
    /// The key.
    pub key: String,
}

/// What the agent says of itself. Nothing here is verified.
#[derive(Debug, Serialize)]
pub struct Words {
    /// The remediation's name.
    pub name: String,
    /// The remediation's description.
    pub description: String,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// The hypothesis.
    pub hypothesis: String,
}

/// Looks at everything a proposal says and at its targets as they stand now. Changes nothing.
///
/// # Errors
/// When the record is incomplete or damaged, or a plan is too large to be shown.
pub fn review(runner: &Runner, stored: &Stored, targets: &[(&str, &Target)]) -> Result<Review, PipelineError> {
    let document = stored.proposal.document();
    let linked = Linked::link(runner, &stored.bundle, &document.grants)?;
    let mut reviewed = Vec::new();
    for (name, target) in targets {
        let rehearsal = stored.rehearsal(name)?;
        reviewed.push(review_target(runner, document, &linked, name, target, rehearsal)?);
    }
    let manifest = stored.bundle.manifest();
    Ok(Review {
        proposal: crate::propose::proposal_name(&stored.proposal.digest()),
        digest: stored.proposal.digest(),
        targets: reviewed,
        success: document.success,
        mode: document.mode,
        rollback: document.rollback,
        grants: grants(runner, stored)?,
        earlier_runs: runner.earlier_runs(&document.bundle)?,
        evidence: evidence(runner, stored)?,
        proposer: proposer(&stored.proposal),
        created: document.created,
        expires: document.expires,
        denied: runner.denial_reason(&stored.proposal.digest())?,
        bundle: document.bundle,
        words: Words {
            name: manifest.name().to_owned(),
            description: manifest.description().to_owned(),
            arguments: document.arguments.clone(),
            hypothesis: document.hypothesis.clone(),
        },
    })
}

fn review_target(
    runner: &Runner,
    document: &ProposalDocument,
    linked: &Linked,
    name: &str,
    target: &Target,
    rehearsal: &RehearsalDocument,
) -> Result<TargetReview, PipelineError> {
    let mut sessions = runner.sessions(&target.investigation, Phase::Observe);
    let mut drift = crate::drift::drift(runner, &mut sessions, &rehearsal.plan.forward);
    if rehearsal.configuration != target.digest() {
        drift.insert(0, "the target's configuration was changed since".to_owned());
    }
    let changes = planned_changes(runner, rehearsal)?;
    let irreversible = changes
        .iter()
        .filter(|reviewed| reviewed.change.reversibility == Reversibility::Irreversible)
        .map(|reviewed| match reviewed.change.role {
            Role::Rollback => format!("{} (if it is rolled back)", reviewed.change.summary),
            _ => reviewed.change.summary.clone(),
        })
        .collect();
    Ok(TargetReview {
        name: name.to_owned(),
        description: target.description.clone(),
        blocked: runner.unfinished(name)?.map(|run| crate::order::blocked(name, &run).to_string()),
        success: target.success(document.success),
        check_now: check_now(runner, document, linked, target)?,
        guards_now: guards::ask(runner, target),
        check_before: rehearsal.check_before.clone(),
        check_after: rehearsal.check_after.clone(),
        drift,
        plan: rehearsal.plan.digest(),
        rehearsed: rehearsal.at,
        changes,
        irreversible,
        rollback_owner: target.rollback_owner.clone(),
        rollback_rehearsed: rehearsal.rollback_rehearsed,
        restores: rehearsal.restores,
        unrestored: rehearsal.unrestored.clone(),
        validators: target.validators.iter().map(|validator| validator.name.clone()).collect(),
    })
}

fn check_now(
    runner: &Runner,
    document: &ProposalDocument,
    linked: &Linked,
    target: &Target,
) -> Result<Verdict, PipelineError> {
    let granted = document.grants.get(&Role::Check).map(Vec::as_slice).unwrap_or_default();
    let context = StepContext {
        arguments: Value::Object(document.arguments.clone()).to_string(),
        now: document.now,
        seed: document.seed,
    };
    crate::check::ask(runner, target, linked, granted, &context, Box::new(Unwitnessed))
}

fn grants(runner: &Runner, stored: &Stored) -> Result<Vec<GrantReview>, PipelineError> {
    let registry = runner.registry();
    let mut reviewed = Vec::new();
    for (role, grants) in &stored.proposal.document().grants {
        let least: Vec<&Grant> = stored
            .rehearsals()
            .flat_map(|rehearsal| rehearsal.least.get(role).map(Vec::as_slice).unwrap_or_default())
            .collect();
        for grant in grants {
            let mut used = Vec::new();
            for small in &least {
                let unlimited = Grant { limits: Default::default(), ..grant.clone() };
                if contains(registry, &unlimited, small).map_err(PipelineError::failed)? && !used.contains(*small) {
                    used.push((*small).clone());
                }
            }
            reviewed.push(GrantReview { role: *role, grant: grant.clone(), used });
        }
    }
    Ok(reviewed)
}

fn evidence(runner: &Runner, stored: &Stored) -> Result<Vec<EvidenceReview>, PipelineError> {
    let mut reviewed: Vec<EvidenceReview> = Vec::new();
    let cited = stored.proposal.document().evidence.iter().map(|reference| (true, reference));
    let uncited = stored.rehearsals().flat_map(|rehearsal| &rehearsal.evidence).map(|reference| (false, reference));
    for (cited, reference) in cited.chain(uncited) {
        if reviewed.iter().any(|known| known.record.id == reference.id) {
            continue;
        }
        let (record, digest) = runner.evidence(&reference.id)?;
        if digest != reference.digest {
            let what = format!("the evidence `{}` is not the record that was cited", reference.id);
            return Err(PipelineError::refused(what).with_hint("propose it again; nothing changed"));
        }
        reviewed.push(EvidenceReview { cited, record });
    }
    Ok(reviewed)
}

fn proposer(proposal: &Proposal) -> ProposerReview {
    let principal = proposal.proposer();
    ProposerReview {
        name: principal.name().to_owned(),
        kind: match principal.kind() {
            PrincipalKind::Person => "person",
            PrincipalKind::Agent => "agent",
            PrincipalKind::Unlisted => "unlisted",
        },
        key: proposal.document().proposer.clone(),
    }
}
