use countersign_model::Digest;
use countersign_trust::{SignedApproval, SignedDenial};
use serde::Serialize;

use super::{Exported, Pins};
use crate::approve::{acceptable, deniable, still_given};
use crate::desk::Desk;
use crate::error::PipelineError;
use crate::given::{Given, given};
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// What an exported proposal brought back.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// The proposal's name.
    pub proposal: String,
    /// The signatures on approvals.
    pub approvals: Vec<ImportedPaper>,
    /// The denials.
    pub denials: Vec<ImportedPaper>,
}

/// One signature that was brought back.
#[derive(Debug, Serialize)]
pub struct ImportedPaper {
    /// Digest of what was signed.
    pub digest: Digest,
    /// Who signed.
    pub by: String,
    /// Whether it was kept just now, or had been before.
    pub new: bool,
}

/// Takes back what people signed on an exported proposal. Each is verified as if it were given on this host; one
/// that does not verify refuses the file whole, and nothing is kept. The same file twice is taken once.
///
/// # Errors
/// When the file does not verify, is another runner's, is of a proposal that is not known here, or an approval or a
/// denial in it does not count here, now: the proposal or the approval expired, or a target was reconfigured.
pub fn import<'t>(
    runner: &Runner,
    target: &dyn Fn(&str) -> Option<&'t Target>,
    bytes: &[u8],
) -> Result<Imported, PipelineError> {
    let exported = Exported::open(bytes, runner.shared_registry(), runner.clock(), &Pins::default())?;
    if exported.runner() != runner.fingerprint() {
        return Err(PipelineError::refused(format!(
            "the proposal was exported by the runner `{}`, and this is `{}`",
            exported.runner(),
            runner.fingerprint()
        ))
        .with_hint("import it on the host that it was exported on; nothing was kept"));
    }
    let proposal = exported.stored().proposal.digest();
    if !runner.knows(&proposal)? {
        return Err(PipelineError::refused(format!("there is no proposal `{}` here", proposal_name(&proposal)))
            .with_hint("import it where it was proposed, with the state that it was exported from; nothing was kept"));
    }
    // From here on only what this host has and what people signed counts.
    let stored = Stored::load(runner, &proposal.to_string())?;
    let kept = (Desk::approvals(runner, &proposal)?, Desk::denials(runner, &proposal)?);

    let mut approvals = Vec::new();
    for SignedApproval { manifest, signatures } in exported.signed_approvals() {
        for signature in signatures {
            let by = acceptable(runner, &stored, manifest, signature)?.name().to_owned();
            let same = |known: &SignedApproval| known.manifest == *manifest && known.signatures.contains(signature);
            approvals.push((
                ImportedPaper { digest: Digest::of(manifest), by, new: !kept.0.iter().any(same) },
                manifest,
                signature,
            ));
        }
    }
    let mut denials = Vec::new();
    for denial in exported.signed_denials() {
        let by = deniable(runner, &stored, denial)?.name().to_owned();
        let same = |known: &SignedDenial| known.document == denial.document && known.signature == denial.signature;
        denials
            .push((ImportedPaper { digest: Digest::of(&denial.document), by, new: !kept.1.iter().any(same) }, denial));
    }
    let new: Vec<&[u8]> =
        approvals.iter().filter(|(paper, ..)| paper.new).map(|(_, manifest, _)| manifest.as_slice()).collect();
    if !new.is_empty() {
        let configured = |name: &'_ str| {
            target(name).ok_or_else(|| {
                PipelineError::refused(format!("the target `{name}` is not configured any more"))
                    .with_hint("nothing was kept; describe it again as it was, or have the proposal denied")
            })
        };
        let names = stored.proposal.document().targets.iter().map(|target| target.name.as_str());
        let targets: Vec<_> = names.map(|name| Ok((name, configured(name)?))).collect::<Result<_, PipelineError>>()?;
        still_given(runner, &stored, &targets, new.into_iter())?;
        once(runner, &exported, &stored, approvals.iter().map(|(paper, ..)| paper))?;
    }

    for (_, manifest, signature) in approvals.iter().filter(|(paper, ..)| paper.new) {
        runner.keep_approval(&proposal, manifest, &String::from_utf8_lossy(signature))?;
    }
    for (_, denial) in denials.iter().filter(|(paper, _)| paper.new) {
        runner.keep_denial(&proposal, denial)?;
    }
    Ok(Imported {
        proposal: proposal_name(&proposal),
        approvals: approvals.into_iter().map(|(paper, ..)| paper).collect(),
        denials: denials.into_iter().map(|(paper, _)| paper).collect(),
    })
}

/// Refuses a file by which somebody would have given two approvals that could both start a run. One that waits for
/// others still does no harm: it is tested again when they sign.
fn once<'p>(
    runner: &Runner,
    exported: &Exported,
    stored: &Stored,
    papers: impl Iterator<Item = &'p ImportedPaper>,
) -> Result<(), PipelineError> {
    let (now, quorum) = (runner.decisive()?, runner.policy().quorum());
    let mut all = given(runner, stored)?;
    for brought in given(exported, stored)? {
        match all.iter_mut().find(|known| known.approval == brought.approval) {
            Some(known) => known.approvers.extend(brought.approvers),
            None => all.push(brought),
        }
    }
    let starts = |given: &&Given| given.open(now) && given.approvers.len() >= quorum;
    for paper in papers.filter(|paper| paper.new) {
        let theirs: Vec<&Given> =
            all.iter().filter(starts).filter(|given| given.approvers.contains(&paper.by)).collect();
        let other = theirs.iter().find(|given| given.approval != paper.digest);
        if let (Some(other), true) = (other, theirs.iter().any(|given| given.approval == paper.digest)) {
            let what = format!(
                "{} has approved this already: {} is good for a run, and {} would be for another",
                paper.by,
                other.approval.short(),
                paper.digest.short()
            );
            return Err(PipelineError::refused(what)
                .with_hint("nothing was kept; run it by the one that is here, or let that expire, and import again"));
        }
    }
    Ok(())
}
