use std::collections::{BTreeMap, BTreeSet};

use countersign_model::documents::{
    Confirmation, DeniedBefore, EarlierRun, GuardState, RehearsalDocument, RevisionStanding, RoleGrants,
    StandingDocument, TargetStanding, UndoStanding,
};
use countersign_model::{Ability, Digest, Evidence, Grant, Mode, Reversibility, Role, RollbackBy, Success, Verdict};
use countersign_trust::{PrincipalKind, Proposal};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::given::Given;
use crate::runner::Runner;
use crate::shown::ChangeReview;
use crate::stored::Stored;
use crate::target::{Target, contains};
use crate::withhold::Since;

/// What an approver needs to see, in the order in which they need it. The agent's own words come last.
#[derive(Debug, Serialize)]
pub struct Review {
    /// The proposal's name.
    pub proposal: String,
    /// The digest that `approve` signs for.
    pub digest: Digest,
    /// The exported file that this was read from; none on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exported: Option<Provenance>,
    /// The run that it undoes, if it does; then the check is shown and not required.
    pub undoes: Option<UndoStanding>,
    /// What differs from the proposal that it takes the place of, if it does.
    pub revision: Option<RevisionStanding>,
    /// The proposal that took the place of this one, which can no longer be approved or run.
    pub superseded_by: Option<String>,
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
    /// The steps that import WASI, as ordinary toolchains make them; it is inert.
    pub wasi: Vec<Role>,
    /// The denied proposals that it is like, the latest denial first.
    pub denied_before: Vec<DeniedBefore>,
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
    /// The approvals given so far.
    pub approvals: Vec<ApprovalReview>,
    /// How many people must sign the same approval.
    pub quorum: usize,
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
    /// Why what is asked for exceeds the target's ceilings, if it does: then it cannot be approved.
    pub exceeded: Option<String>,
    /// When check and guards are asked here: the proposal's terms, cut by the operator's own; of what undoes a run,
    /// at two looks at least.
    pub success: Success,
    /// Whether that configuration was changed since the rehearsal: then it cannot be approved.
    pub reconfigured: bool,
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
    /// Digest of the target's configuration as it was resolved.
    pub configuration: Digest,
    /// Digest of the plan.
    pub plan: Digest,
    /// When it was rehearsed.
    pub rehearsed: u64,
    /// Every change with its diff, forward and then the rollback step's.
    pub changes: Vec<ChangeReview>,
    /// Whether the target's remediation identity could make them when they were rehearsed: one for each forward, in order;
    /// empty where it was not asked.
    pub preflight: Vec<Ability>,
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

/// One approval that was given.
#[derive(Debug, Serialize)]
pub struct ApprovalReview {
    /// Digest of the manifest's bytes, by which another approver signs the same.
    pub approval: Digest,
    /// Who signed it, each once.
    pub approvers: Vec<String>,
    /// What it grants, where that is less than what is asked for.
    pub narrowed: Option<RoleGrants>,
    /// From when on it may run, in milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// From when on it may no longer start.
    pub expires: u64,
    /// From when on nothing that a run by it changed is committed, in milliseconds since 1970-01-01 UTC.
    pub finish_by: Option<u64>,
    /// How many runs it is good for, on each target.
    pub uses: u32,
    /// Whether a person must confirm a run by it before it commits.
    pub confirmation: Option<SignedConfirmation>,
    /// The break-glass of the trust policy by which it was given, in place of the quorums.
    pub break_glass: Option<String>,
    /// The runs that used it, oldest first.
    pub used_by: Vec<String>,
    /// Whether they used it up on every target.
    pub used_up: bool,
    /// Why no run will be by it any more, whatever is left of it.
    pub void: Option<String>,
    /// Why its first signer agrees.
    pub reason: String,
}

/// A confirmation as an approval asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedConfirmation {
    /// How long a run waits for it, in milliseconds.
    pub within_ms: u64,
    /// What silence means: `keep` or `roll-back`.
    pub silence: &'static str,
}

impl From<Confirmation> for SignedConfirmation {
    fn from(confirmation: Confirmation) -> Self {
        Self { within_ms: confirmation.within_ms, silence: crate::report::silence(confirmation) }
    }
}

/// Where a review away from the host comes from. Who the runner is, and which policy is in force, is what the
/// file says: the reviewer has to know them from somewhere else.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Fingerprint of the key that signed for the runner.
    pub runner: String,
    /// Whether the reviewer named that key.
    pub runner_pinned: bool,
    /// Digest of the trust policy.
    pub policy: Digest,
    /// Whether the reviewer named that digest.
    pub policy_pinned: bool,
    /// When the runner looked at the targets, in milliseconds since 1970-01-01 UTC, by its clock.
    pub at: u64,
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

/// Looks at everything a proposal says and at its targets as they stand now. Changes nothing. `configured` are all
/// targets.
///
/// # Errors
/// When the record is incomplete or damaged, or a plan is too large to be shown.
pub fn review(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    configured: &BTreeMap<String, Target>,
) -> Result<Review, PipelineError> {
    let standing = crate::standing::look(runner, stored, targets, configured)?;
    lay_out(runner, stored, &standing, &Since::of(runner, targets)?)
}

/// Puts together what was signed and how the targets stood, on the host and away from it alike.
///
/// # Errors
/// When the record is incomplete or damaged, or a plan is too large to be shown.
pub(crate) fn lay_out(
    desk: &dyn Desk,
    stored: &Stored,
    standing: &StandingDocument,
    since: &Since,
) -> Result<Review, PipelineError> {
    let document = stored.proposal.document();
    let targets = standing.targets.iter().map(|target| review_target(desk, stored, target, since));
    let targets = targets.collect::<Result<_, _>>()?;
    let manifest = stored.bundle.manifest();
    Ok(Review {
        proposal: crate::propose::proposal_name(&stored.proposal.digest()),
        digest: stored.proposal.digest(),
        exported: None,
        undoes: standing.undoes.clone(),
        revision: standing.revision.clone(),
        superseded_by: standing.superseded_by.clone(),
        targets,
        success: document.success,
        mode: document.mode,
        rollback: document.rollback,
        grants: grants(desk, stored, since)?,
        wasi: wasi(desk, stored)?,
        denied_before: denied_before(desk, stored, standing, since),
        earlier_runs: standing.earlier_runs.clone(),
        evidence: evidence(desk, stored, since)?,
        proposer: proposer(&stored.proposal),
        created: document.created,
        expires: document.expires,
        approvals: approvals(desk, stored)?,
        quorum: crate::given::quorum(desk, stored),
        denied: desk.denial_reason(&stored.proposal.digest())?,
        bundle: document.bundle,
        words: Words {
            name: manifest.name().to_owned(),
            description: manifest.description().to_owned(),
            arguments: document.arguments.clone(),
            hypothesis: document.hypothesis.clone(),
        },
    })
}

/// The denied proposals that it is like, without the subjects that a step chose which had read what is sensitive by now.
fn denied_before(desk: &dyn Desk, stored: &Stored, standing: &StandingDocument, since: &Since) -> Vec<DeniedBefore> {
    let chosen = |rehearsal: &RehearsalDocument| since.tellers(desk, rehearsal).into_iter().any(Role::may_write);
    let chosen: BTreeSet<&str> =
        stored.rehearsals().filter(|rehearsal| chosen(rehearsal)).map(|rehearsal| rehearsal.target.as_str()).collect();
    let mut all = standing.denied_before.clone();
    for same in all.iter_mut().flat_map(|denied| &mut denied.same_subjects) {
        if chosen.contains(same.target.as_str()) {
            same.subject = crate::withhold::SINCE.to_owned();
        }
    }
    all
}

/// The steps that import WASI.
fn wasi(desk: &dyn Desk, stored: &Stored) -> Result<Vec<Role>, PipelineError> {
    let document = stored.proposal.document();
    let admitted = crate::link::admit(desk.registry(), &stored.bundle, &document.grants, crate::link::roles(document))?;
    Ok(admitted.into_iter().filter(|(_, step)| step.inspection().wasi()).map(|(role, _)| role).collect())
}

fn review_target(
    desk: &dyn Desk,
    stored: &Stored,
    target: &TargetStanding,
    since: &Since,
) -> Result<TargetReview, PipelineError> {
    let TargetStanding { name, configured, found, .. } = target.clone();
    let rehearsal = stored.rehearsal(&name)?;
    let changes = crate::shown::planned_changes_beside(desk, rehearsal, since)?;
    // Subjects stand in these, too.
    let chosen = since.tellers(desk, rehearsal).into_iter().any(Role::may_write);
    let told = |line: String| if chosen { crate::withhold::SINCE.to_owned() } else { line };
    let reconfigured = rehearsal.configuration != configured.configuration;
    let irreversible = changes
        .iter()
        .filter(|reviewed| reviewed.change.reversibility == Reversibility::Irreversible)
        .map(|reviewed| match reviewed.change.role {
            Role::Rollback => format!("{} (if it is rolled back)", reviewed.change.summary),
            _ => reviewed.change.summary.clone(),
        })
        .collect();
    Ok(TargetReview {
        check_before: since.verdict(&name, reconfigured, &rehearsal.check_before),
        check_after: since.verdict(&name, reconfigured, &rehearsal.check_after),
        name,
        description: configured.description,
        blocked: found.blocked,
        exceeded: configured.exceeded,
        success: match stored.proposal.document().undoes {
            None => configured.success,
            Some(_) => crate::undoing::at_two_looks(configured.success),
        },
        reconfigured,
        check_now: found.check,
        guards_now: found.guards,
        drift: found.drift.into_iter().map(told).collect(),
        configuration: configured.configuration,
        plan: stored.plan(&target.name)?,
        rehearsed: rehearsal.at,
        changes,
        preflight: rehearsal.preflight.iter().cloned().map(|able| able.map(told)).collect(),
        irreversible,
        rollback_owner: configured.rollback_owner,
        rollback_rehearsed: rehearsal.rollback_rehearsed,
        restores: rehearsal.restores,
        unrestored: rehearsal.unrestored.iter().cloned().map(told).collect(),
        validators: configured.validators,
    })
}

fn grants(desk: &dyn Desk, stored: &Stored, since: &Since) -> Result<Vec<GrantReview>, PipelineError> {
    let registry = desk.registry();
    let tellers: BTreeSet<Role> = stored.rehearsals().flat_map(|rehearsal| since.tellers(desk, rehearsal)).collect();
    let mut reviewed = Vec::new();
    for (role, grants) in &stored.proposal.document().grants {
        if tellers.contains(role) {
            // What it used of them was its choice.
            let used = |grant: &Grant| vec![Grant { limits: Default::default(), ..grant.clone() }];
            let all = grants.iter().map(|grant| GrantReview { role: *role, grant: grant.clone(), used: used(grant) });
            reviewed.extend(all);
            continue;
        }
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

fn evidence(desk: &dyn Desk, stored: &Stored, since: &Since) -> Result<Vec<EvidenceReview>, PipelineError> {
    let mut reviewed: Vec<EvidenceReview> = Vec::new();
    let tellers: BTreeSet<Role> = stored.rehearsals().flat_map(|rehearsal| since.tellers(desk, rehearsal)).collect();
    let cited = stored.proposal.document().evidence.iter().map(|reference| (true, reference));
    let uncited = stored.rehearsals().flat_map(|rehearsal| &rehearsal.evidence).map(|reference| (false, reference));
    for (cited, reference) in cited.chain(uncited) {
        if reviewed.iter().any(|known| known.record.id == reference.id) {
            continue;
        }
        let (mut record, digest) = desk.evidence(&reference.id)?;
        if digest != reference.digest {
            let what = format!("the evidence `{}` is not the record that was cited", reference.id);
            return Err(PipelineError::refused(what).with_hint("propose it again; nothing changed"));
        }
        since.told_by(&tellers, &mut record);
        since.evidence(desk.registry(), &mut record);
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
            PrincipalKind::BreakGlass => "break-glass key",
            PrincipalKind::Unlisted => "unlisted",
        },
        key: proposal.document().proposer.clone(),
    }
}

/// The approvals given so far.
fn approvals(desk: &dyn Desk, stored: &Stored) -> Result<Vec<ApprovalReview>, PipelineError> {
    let requested = &stored.proposal.document().grants;
    let reviewed = |given: Given| {
        let used_up = given.unused().next().is_none();
        let terms = given.terms;
        ApprovalReview {
            approval: given.approval,
            approvers: given.approvers.into_iter().collect(),
            narrowed: (terms.grants != *requested).then_some(terms.grants),
            not_before: terms.not_before,
            expires: terms.expires,
            finish_by: terms.finish_by,
            uses: terms.uses,
            confirmation: terms.confirmation.map(SignedConfirmation::from),
            break_glass: terms.break_glass,
            used_by: given.runs.into_iter().map(|run| run.run).collect(),
            used_up,
            void: given.void,
            reason: terms.reason,
        }
    };
    Ok(crate::given::given(desk, stored)?.into_iter().map(reviewed).collect())
}
