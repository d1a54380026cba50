use countersign_bundle::Bundle;
use countersign_model::documents::{DOCUMENT_VERSION, EvidenceReference, ProposalDocument, ProposedTarget, RoleGrants};
use countersign_model::{Digest, Role};
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::rehearse::{RehearsalRequest, Rehearsed, rehearse, unfit};
use crate::runner::Runner;
use crate::target::{Target, normalize};
use crate::withhold::Since;

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
    if draft.hypothesis.trim().is_empty() || draft.hypothesis.len() > MAX_HYPOTHESIS {
        return Err(PipelineError::failed(format!("a hypothesis must have 1 to {MAX_HYPOTHESIS} bytes"))
            .with_hint("say in a few sentences why this should help"));
    }
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
            return Err(crate::order::blocked(name, &run));
        }
        crate::order::within_ceilings(runner, target, &grants)?;
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
        targets.push(ProposedTarget {
            name: (*name).to_owned(),
            configuration: target.digest(),
            runner: runner.fingerprint().to_owned(),
            plan: rehearsed.document().plan.digest(),
            rehearsal: rehearsed.digest(),
        });
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
        evidence,
        hypothesis: draft.hypothesis.to_owned(),
        proposer: draft.proposer.to_owned(),
        now,
        seed,
        created: now,
        expires: now.saturating_add(OPEN_FOR),
    };
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

/// The name by which people call a proposal: `p-` and the first 12 digits of its digest.
#[must_use]
pub fn proposal_name(digest: &Digest) -> String {
    format!("p-{}", digest.short())
}
