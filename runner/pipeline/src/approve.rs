use countersign_model::documents::{ApprovalManifest, RoleGrants, namespace};
use countersign_model::{Access, Digest, Grant};
use countersign_trust::{ApprovalDraft, SigningKey};

use crate::error::PipelineError;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::{Target, contains};

/// What an approver decides.
pub struct ApprovalTerms<'a> {
    /// Why.
    pub reason: &'a str,
    /// Narrower grants, each inside one that was asked for.
    pub narrow: &'a [Grant],
    /// For how long the approval is good, in milliseconds from now.
    pub valid_for: u64,
}

/// What was approved and where it is kept.
pub struct Approved {
    /// Digest of the manifest's bytes.
    pub digest: Digest,
    /// The manifest's file.
    pub manifest: std::path::PathBuf,
    /// The signature's file.
    pub signature: std::path::PathBuf,
    /// Who signed.
    pub approver: String,
}

/// Writes the approval manifest that the approver signs.
///
/// # Errors
/// When the plan cannot be shown whole, the target was reconfigured, a narrowing is outside of what
/// was asked for, or leaves less than the plan needs.
pub fn draft_approval(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    terms: &ApprovalTerms<'_>,
) -> Result<(ApprovalManifest, Vec<u8>), PipelineError> {
    open(runner, stored)?;
    for rehearsal in stored.rehearsals() {
        crate::shown::showable(runner, rehearsal)?;
    }
    let document = stored.proposal.document();
    let mut owners: Vec<&str> = Vec::new();
    for (name, target) in targets {
        if stored.rehearsal(name)?.configuration != target.digest() {
            return Err(PipelineError::refused(format!(
                "the configuration of `{name}` was changed since the proposal"
            ))
            .with_hint("propose again: what was rehearsed is not what would run"));
        }
        crate::order::within_ceilings(runner, target, &document.grants)?;
        if !owners.contains(&target.rollback_owner.as_str()) {
            owners.push(&target.rollback_owner);
        }
    }
    if terms.valid_for > runner.policy().max_validity_ms() {
        let hours = runner.policy().max_validity_ms() / 3_600_000;
        return Err(PipelineError::refused(format!("the trust policy lets an approval be good for {hours} h at most"))
            .with_hint("choose a shorter `--expires`"));
    }
    let registry = runner.registry();
    let narrow = terms
        .narrow
        .iter()
        .map(|grant| crate::target::normalize(registry, runner.protected(), grant))
        .collect::<Result<Vec<_>, _>>()
        .map_err(PipelineError::failed)?;
    let grants = countersign_trust::narrow(&document.grants, &narrow, &|wide, small| contains(registry, wide, small))
        .map_err(|error| {
        PipelineError::refused(error.to_string()).with_hint("narrow to grants inside those that are asked for")
    })?;
    sufficient(runner, stored, &grants)?;
    let now = runner.decisive()?;
    let draft = ApprovalDraft {
        reason: terms.reason.to_owned(),
        grants,
        not_before: now,
        expires: now.saturating_add(terms.valid_for),
        uses: 1,
        rollback_owner: owners.join(", "),
        evidence: document.evidence.clone(),
        policy: runner.pinned_policy(),
    };
    countersign_trust::draft(&stored.proposal, draft).map_err(|error| {
        PipelineError::failed(format!("the approval: {error}")).with_hint("give another `--reason` or `--expires`")
    })
}

/// Verifies a signature on a manifest and keeps both, if it is an approval of this very proposal by
/// somebody who may give it.
///
/// # Errors
/// When the signature does not verify or does not count, or the manifest is not what this proposal allows.
pub fn keep_approval(
    runner: &Runner,
    stored: &Stored,
    manifest: &[u8],
    signature: &str,
) -> Result<Approved, PipelineError> {
    open(runner, stored)?;
    let approver =
        countersign_trust::verify_approval(manifest, signature.as_bytes(), stored.proposal.proposer(), runner.policy())
            .map_err(|refusal| PipelineError::refused(refusal.to_string()).with_hint(refusal.hint()))?;
    let terms: ApprovalManifest = countersign_model::strict::from_slice(manifest, countersign_trust::MAX_MANIFEST)
        .map_err(|error| {
            PipelineError::refused(format!("the approval manifest: {error}"))
                .with_hint("sign what `countersign approve --write-manifest` wrote, as it is")
        })?;
    if terms.predicate.proposal != stored.proposal.digest() {
        return Err(PipelineError::refused("the approval manifest is of another proposal")
            .with_hint("name the proposal that it was written for"));
    }
    let (span, uses) = (terms.predicate.expires.saturating_sub(terms.predicate.not_before), terms.predicate.uses);
    if span > runner.policy().max_validity_ms() || uses > runner.policy().max_uses() {
        return Err(PipelineError::refused(
            "the approval is for longer, or for more runs, than the trust policy allows",
        )
        .with_hint("sign a manifest that `countersign approve --write-manifest` wrote, as it is"));
    }
    let kept = runner.keep_approval(&stored.proposal.digest(), manifest, signature)?;
    Ok(Approved { approver: approver.name().to_owned(), ..kept })
}

/// Signs with a key that is at hand.
///
/// # Errors
/// When the key cannot sign.
pub fn sign_approval(key: &SigningKey, manifest: &[u8]) -> Result<String, PipelineError> {
    countersign_trust::sign(key, namespace::APPROVAL, manifest)
        .map_err(|error| PipelineError::failed(error.to_string()))
}

/// Signs and keeps a denial, which ends the proposal.
///
/// # Errors
/// When the key's owner may not deny, or the reason is empty or too long.
pub fn deny(runner: &Runner, stored: &Stored, key: &SigningKey, reason: &str) -> Result<String, PipelineError> {
    let proposal = stored.proposal.digest();
    let (_, bytes) = countersign_trust::draft_denial(proposal, reason, runner.decisive()?)
        .map_err(|error| PipelineError::failed(format!("the denial: {error}")).with_hint("give another `--reason`"))?;
    let signature = countersign_trust::sign(key, namespace::DENIAL, &bytes)
        .map_err(|error| PipelineError::failed(error.to_string()))?;
    let (_, denier) = countersign_trust::verify_denial(&bytes, signature.as_bytes(), proposal, runner.policy())
        .map_err(|refusal| PipelineError::refused(refusal.to_string()).with_hint(refusal.hint()))?;
    runner.keep_denial(&proposal, &bytes, &signature)?;
    Ok(denier.name().to_owned())
}

/// Whether the proposal can still be approved.
fn open(runner: &Runner, stored: &Stored) -> Result<(), PipelineError> {
    if runner.decisive()? >= stored.proposal.document().expires {
        return Err(PipelineError::refused("the proposal expired").with_hint("propose it again"));
    }
    match runner.denial_reason(&stored.proposal.digest())? {
        None => Ok(()),
        Some(reason) => Err(PipelineError::refused(format!("the proposal was denied: {reason}"))
            .with_hint("a denial is final: a changed proposal can be made and reviewed anew")),
    }
}

/// Whether narrowed grants still allow what the plan does.
fn sufficient(runner: &Runner, stored: &Stored, grants: &RoleGrants) -> Result<(), PipelineError> {
    for rehearsal in stored.rehearsals() {
        for (role, least) in &rehearsal.least {
            let own = grants.get(role).map(Vec::as_slice).unwrap_or_default();
            for needed in least {
                let mut enough = false;
                for grant in own {
                    let mut grant = grant.clone();
                    if needed.access == Access::Read {
                        // A least read has no limits of its own: how much comes back may vary.
                        grant.limits = Default::default();
                    }
                    enough |= contains(runner.registry(), &grant, needed).map_err(PipelineError::failed)?;
                }
                if !enough {
                    let what = format!(
                        "narrowed so far, the {role} step could not do what the plan shows: it needs `{needed}`"
                    );
                    return Err(PipelineError::refused(what).with_hint("narrow less, or deny the proposal"));
                }
            }
        }
    }
    Ok(())
}
