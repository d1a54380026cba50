use countersign_bundle::Bundle;
use countersign_model::documents::{DOCUMENT_VERSION, EvidenceReference, ProposalDocument, ProposedTarget, RoleGrants};
use countersign_model::{Digest, Mode, Role};
pub use countersign_record::proposal_name;
use countersign_trust::{Activity, Principal, PrincipalKind};
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::reader;
use crate::rehearse::{RehearsalRequest, Rehearsed, rehearse, rehearse_undo, unfit};
use crate::runner::Runner;
use crate::target::{Target, normalize};
use crate::undo::Undo;
use crate::withhold::Since;

/// In which proposals and looks are counted, in milliseconds.
pub(crate) const HOUR: u64 = 3_600_000;
/// How long a proposal can be approved, in milliseconds: seven days.
const OPEN_FOR: u64 = 7 * 24 * 3600 * 1000;
/// The longest hypothesis, in bytes.
const MAX_HYPOTHESIS: usize = 16 * 1024;

/// What an agent wants to propose.
pub struct ProposalDraft<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// The targets by name.
    pub targets: &'a [(&'a str, &'a Target)],
    /// Valid arguments.
    pub arguments: &'a Map<String, Value>,
    /// The evidence cited, by id.
    pub evidence: &'a [String],
    /// Why the proposer thinks that this helps.
    pub hypothesis: &'a str,
    /// Fingerprint of the proposer's key.
    pub proposer: &'a str,
    /// Who that is, for the evidence.
    pub principal: &'a str,
    /// The proposal of the same proposer that this one takes the place of.
    pub revises: Option<&'a Digest>,
}

/// What makes a proposal, said where there is none yet that could be proposed again.
pub(crate) const PROPOSE: &str = "`countersign propose`";

/// Who wants a run to be undone, and why.
pub struct UndoDraft<'a> {
    /// The run.
    pub undo: &'a Undo,
    /// Its target.
    pub target: &'a Target,
    /// Why.
    pub reason: &'a str,
    /// The proposer.
    pub proposer: &'a Principal,
}

/// A proposal's document with the rehearsals that stand behind it, ready to be signed by its proposer.
pub struct Drafted {
    /// The document's bytes, over which the signature goes.
    pub bytes: Vec<u8>,
    /// The document.
    pub document: ProposalDocument,
    /// One rehearsal per target.
    pub rehearsals: Vec<Rehearsed>,
}

/// What a bundle asks for with these arguments, role by role, as capabilities print it.
///
/// # Errors
/// When a grant makes no sense, or would reach what is the runner's own.
pub fn requested(
    runner: &Runner,
    bundle: &Bundle,
    arguments: &Map<String, Value>,
) -> Result<RoleGrants, PipelineError> {
    let mut grants = RoleGrants::new();
    for role in Role::ALL {
        if bundle.step(role).is_none() {
            continue;
        }
        let asked = bundle.manifest().grants(role, arguments).map_err(|error| {
            PipelineError::failed(error.to_string()).with_hint(
                "give another argument: what stands in a grant must not make it wider, and must be seen for what it is",
            )
        })?;
        let normalized = asked
            .iter()
            .map(|grant| normalize(runner.registry(), runner.protected(), grant))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| {
                PipelineError::refused(format!("the {role} step asks for too much: {why}"))
                    .with_hint("nothing changed; ask for less, in remediation.toml or by other arguments")
            })?;
        grants.insert(role, normalized);
    }
    Ok(grants)
}

/// Rehearses the bundle on every target, by this runner itself, and writes what the proposer signs.
///
/// # Errors
/// When the rehearsal found something that nobody should be asked to approve, a grant exceeds a
/// ceiling, or cited evidence is not this runner's about one of these targets.
pub fn draft(runner: &Runner, draft: &ProposalDraft<'_>) -> Result<Drafted, PipelineError> {
    filled("hypothesis", draft.hypothesis)?;
    let proposer = may_propose(runner, draft.proposer)?;
    not_too_often(runner, &proposer)?;
    crate::approve::owned(draft.targets)?;
    let manifest = draft.bundle.manifest();
    let grants = requested(runner, draft.bundle, draft.arguments)?;
    let names: Vec<&str> = draft.targets.iter().map(|(name, _)| *name).collect();
    let evidence = cited(runner, draft.evidence, &names, &Since::of(runner, draft.targets)?)?;
    let (now, seed) = (runner.decisive()?, runner.random()?);
    let mut rehearsals = Vec::new();
    let mut targets: Vec<ProposedTarget> = Vec::new();
    for (name, target) in draft.targets {
        if targets.iter().any(|known| known.name == *name) {
            return Err(
                PipelineError::failed(format!("the target `{name}` is named twice")).with_hint("name each target once")
            );
        }
        if let Some(run) = runner.unfinished(name)? {
            return Err(crate::order::blocked(runner, name, target, &run));
        }
        reader::may(runner, Activity::Propose, &proposer, name, &grants)?;
        crate::order::within_ceilings(runner, target, &grants)?;
        target.can_be_asked(name, true)?;
        let rehearsed = rehearse(
            runner,
            &RehearsalRequest {
                bundle: draft.bundle,
                name,
                target,
                arguments: draft.arguments,
                grants: &grants,
                principal: draft.principal,
                now,
                seed,
            },
        )?;
        if let Some(unfit) = unfit(rehearsed.document(), manifest.rollback(), manifest.success()) {
            return Err(unfit);
        }
        runner.keeps_images_of(&rehearsed.document().plan)?;
        crate::shown::showable(runner, rehearsed.document())?;
        targets.push(proposed_target(runner, name, target, &rehearsed));
        rehearsals.push(rehearsed);
    }
    let document = ProposalDocument {
        version: DOCUMENT_VERSION,
        bundle: draft.bundle.digest(),
        steps: draft.bundle.steps(),
        arguments: draft.arguments.clone(),
        targets,
        grants,
        mode: manifest.mode(),
        rollback: manifest.rollback(),
        success: manifest.success(),
        undoes: None,
        revises: draft.revises.copied(),
        evidence,
        hypothesis: draft.hypothesis.to_owned(),
        proposer: draft.proposer.to_owned(),
        now,
        seed,
        created: now,
        expires: now.saturating_add(OPEN_FOR),
    };
    drafted(document, rehearsals)
}

/// Refuses who may not propose before anything is rehearsed for them.
fn may_propose(runner: &Runner, fingerprint: &str) -> Result<Principal, PipelineError> {
    countersign_trust::may_propose(runner.policy(), fingerprint)
        .map_err(|refusal| PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(PROPOSE)))
}

/// Refuses who has proposed too often. What undoes a run is not refused so.
fn not_too_often(runner: &Runner, proposer: &Principal) -> Result<(), PipelineError> {
    let most = runner.policy().proposals_per_hour();
    let after = runner.decisive()?.saturating_sub(HOUR);
    if runner.state().proposals().recent(counted_as(proposer), after)? >= most {
        let what = format!("{proposer} has made {most} proposals within an hour, and may make no more");
        return Err(PipelineError::refused(what).with_hint(
            "nothing changed; wait, or have the trust policy let more be made: `per-hour` under `[proposals]`",
        ));
    }
    Ok(())
}

/// Whom a proposal or a look counts for. Keys that are not listed can be had without end, and are one.
pub(crate) fn counted_as(proposer: &Principal) -> &str {
    if proposer.kind() == PrincipalKind::Unlisted { "unlisted" } else { proposer.name() }
}

/// Plans how a committed run is undone, by this runner itself: its changes put back, last first, then its bundle's
/// rollback step; and writes what the proposer signs. Changes nothing.
///
/// # Errors
/// When the run is undone already or is the proposer's own, a subject is not as the run left it, an image is missing,
/// a ceiling no longer contains what the run was granted, or the rehearsal shows that it would not come back.
pub fn draft_undo(runner: &Runner, bundle: &Bundle, draft: &UndoDraft<'_>) -> Result<Drafted, PipelineError> {
    let UndoDraft { undo, target, reason, proposer } = *draft;
    filled("reason", reason)?;
    may_propose(runner, proposer.fingerprint())?;
    undo.still_stands(runner)?;
    undo.not_by(proposer, runner.policy())?;
    let name = undo.target();
    crate::approve::owned(&[(name, target)])?;
    if let Some(run) = runner.unfinished(name)? {
        return Err(crate::order::blocked(runner, name, target, &run));
    }
    let grants = undo.grants(runner)?;
    if grants.get(&Role::Fix).is_none_or(Vec::is_empty) {
        let what = format!("the run `{}` changed nothing that can be put back", undo.run());
        return Err(PipelineError::refused(what).with_hint("nothing changed; what it did is irreversible"));
    }
    reader::may(runner, Activity::Propose, proposer, name, &grants)?;
    crate::order::within_ceilings(runner, target, &grants)?;
    target.can_be_asked(name, false)?;
    undo.unedited(runner, target)?;
    undo.has_images(runner)?;
    let (now, seed) = (runner.decisive()?, runner.random()?);
    let request = RehearsalRequest {
        bundle,
        name,
        target,
        arguments: &undo.document().arguments,
        grants: &grants,
        principal: proposer.name(),
        now,
        seed,
    };
    let rehearsed = rehearse_undo(runner, &request, undo)?;
    let ran = undo.document();
    if let Some(unfit) = unfit(rehearsed.document(), ran.rollback, ran.success) {
        return Err(unfit);
    }
    runner.keeps_images_of(&rehearsed.document().plan)?;
    crate::shown::showable(runner, rehearsed.document())?;
    let document = ProposalDocument {
        version: DOCUMENT_VERSION,
        bundle: bundle.digest(),
        steps: bundle.steps(),
        arguments: ran.arguments.clone(),
        targets: vec![proposed_target(runner, name, target, &rehearsed)],
        grants,
        mode: Mode::Exact,
        rollback: ran.rollback,
        success: ran.success,
        undoes: Some(undo.undoes().clone()),
        revises: None,
        evidence: Vec::new(),
        hypothesis: reason.to_owned(),
        proposer: proposer.fingerprint().to_owned(),
        now,
        seed,
        created: now,
        expires: now.saturating_add(OPEN_FOR),
    };
    drafted(document, vec![rehearsed])
}

fn filled(what: &str, text: &str) -> Result<(), PipelineError> {
    if text.trim().is_empty() {
        return Err(PipelineError::failed(format!("`--{what}` is empty"))
            .with_hint("say in a few sentences why this should help; nothing was proposed"));
    }
    if text.len() > MAX_HYPOTHESIS {
        return Err(PipelineError::failed(format!("`--{what}` is longer than {MAX_HYPOTHESIS} bytes"))
            .with_hint("say in a few sentences why this should help"));
    }
    Ok(())
}

fn proposed_target(runner: &Runner, name: &str, target: &Target, rehearsed: &Rehearsed) -> ProposedTarget {
    ProposedTarget {
        name: name.to_owned(),
        configuration: target.digest(),
        runner: runner.fingerprint().to_owned(),
        plan: rehearsed.document().plan.digest(),
        rehearsal: rehearsed.digest(),
    }
}

fn drafted(document: ProposalDocument, rehearsals: Vec<Rehearsed>) -> Result<Drafted, PipelineError> {
    let bytes = serde_json::to_vec(&document).map_err(|error| PipelineError::failed(error.to_string()))?;
    Ok(Drafted { bytes, document, rehearsals })
}

/// References to cited evidence: each must be a record that this runner signed, about one of the targets.
fn cited(
    runner: &Runner,
    ids: &[String],
    targets: &[&str],
    since: &Since,
) -> Result<Vec<EvidenceReference>, PipelineError> {
    let mut references = Vec::new();
    for id in ids {
        let (record, digest) = runner.evidence(id)?;
        if !targets.contains(&record.target.as_str()) {
            let what =
                format!("the evidence `{}` is about `{}`, which is not among the targets", record.id, record.target);
            return Err(PipelineError::failed(what).with_hint("cite evidence about the proposal's own targets"));
        }
        since.citable(runner.registry(), &record)?;
        let reference = EvidenceReference { id: record.id, digest };
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
    Ok(references)
}
