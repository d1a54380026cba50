use countersign_model::Digest;
use countersign_trust::{SignedApproval, SignedDenial};
use serde::Serialize;

use super::{Exported, Pins};
use crate::approve::{acceptable, deniable, signer, still_given};
use crate::desk::Desk;
use crate::error::PipelineError;
use crate::given::{Given, given};
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::{Target, containing};

/// What an exported proposal brought back.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// The proposal's name.
    pub proposal: String,
    /// The signatures on approvals.
    pub approvals: Vec<ImportedPaper>,
    /// The denials.
    pub denials: Vec<ImportedPaper>,
    /// What a file with a denial holds besides, and does not count any more.
    pub not_kept: Vec<NotKept>,
    /// The approval that is good still and that most people signed, here or in the file.
    pub approval: Option<Digest>,
    /// How many people signed this or another one that is good still.
    pub signed: usize,
    /// How many must be.
    pub quorum: usize,
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

/// Something signed that was not kept.
#[derive(Debug, Serialize)]
pub struct NotKept {
    /// `approval` or `denial`.
    pub what: &'static str,
    /// Digest of what was signed.
    pub digest: Digest,
    /// Why it was not.
    pub why: String,
}

/// Takes back what people signed on an exported proposal. A file that does not verify is refused whole. Each
/// signature is verified again as if it were given on this host, denials first: with one that counts, the proposal
/// has ended, and whatever became of the approvals, none of them is kept. Without one, approvals are kept all or none.
/// The same file twice is taken once.
///
/// # Errors
/// When the file does not verify, is another runner's, is of a proposal that is not known here, or, in a file without
/// a denial that counts, something does not count here, now: the proposal or an approval expired, or a target was
/// reconfigured. Nothing is kept then.
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
    let mut imported = Imported {
        proposal: proposal_name(&proposal),
        approvals: Vec::new(),
        denials: Vec::new(),
        not_kept: Vec::new(),
        approval: None,
        signed: 0,
        quorum: crate::given::quorum(runner, &stored),
    };
    let uncounted = keep_denials(runner, &exported, &stored, &mut imported)?;
    match uncounted {
        _ if !imported.denials.is_empty() => list_approvals(runner, &exported, &mut imported),
        Some(error) => return Err(error),
        None => keep_approvals(runner, &exported, &stored, target, &mut imported)?,
    }
    Ok(imported)
}

/// Keeps every denial that counts here; gives why the last one does not that does not.
fn keep_denials(
    runner: &Runner,
    exported: &Exported,
    stored: &Stored,
    imported: &mut Imported,
) -> Result<Option<PipelineError>, PipelineError> {
    let proposal = stored.proposal.digest();
    let kept = Desk::denials(runner, &proposal)?;
    let mut uncounted = None;
    for denial in exported.signed_denials() {
        let digest = Digest::of(&denial.document);
        match deniable(runner, stored, denial) {
            Ok(by) => {
                let same =
                    |known: &SignedDenial| known.document == denial.document && known.signature == denial.signature;
                let new = !kept.iter().any(same);
                if let Err(error) = if new { runner.keep_denial(&proposal, denial) } else { Ok(()) } {
                    if imported.denials.is_empty() {
                        return Err(error);
                    }
                    // The one before it has ended the proposal.
                    imported.not_kept.push(NotKept { what: "denial", digest, why: error.to_string() });
                    continue;
                }
                imported.denials.push(ImportedPaper { digest, by: by.name().to_owned(), new });
            }
            Err(error) => {
                imported.not_kept.push(NotKept { what: "denial", digest, why: error.to_string() });
                uncounted = Some(error);
            }
        }
    }
    Ok(uncounted)
}

/// Lists the approvals of a denied proposal: those that were kept before, and those that come too late.
fn list_approvals(runner: &Runner, exported: &Exported, imported: &mut Imported) {
    // The denial is kept; that the others cannot be read takes nothing from it.
    let kept = Desk::approvals(runner, &exported.stored().proposal.digest()).unwrap_or_default();
    for SignedApproval { manifest, signatures } in exported.signed_approvals() {
        for signature in signatures {
            let digest = Digest::of(manifest);
            match signer(exported, exported.stored(), manifest, signature) {
                Ok(by) if has(&kept, manifest, signature) => {
                    imported.approvals.push(ImportedPaper { digest, by: by.name().to_owned(), new: false });
                }
                _ => {
                    let why = "the proposal is denied".to_owned();
                    imported.not_kept.push(NotKept { what: "approval", digest, why });
                }
            }
        }
    }
}

/// Keeps the approvals of a proposal that nobody denies, all or none.
fn keep_approvals<'t>(
    runner: &Runner,
    exported: &Exported,
    stored: &Stored,
    target: &dyn Fn(&str) -> Option<&'t Target>,
    imported: &mut Imported,
) -> Result<(), PipelineError> {
    let proposal = stored.proposal.digest();
    let kept = Desk::approvals(runner, &proposal)?;
    let mut new: Vec<(&[u8], &str)> = Vec::new();
    for SignedApproval { manifest, signatures } in exported.signed_approvals() {
        for signature in signatures {
            let known = has(&kept, manifest, signature);
            let verify = if known { signer } else { acceptable };
            let by = verify(runner, stored, manifest, signature)?.name().to_owned();
            if !known {
                let armored =
                    std::str::from_utf8(signature).map_err(|error| PipelineError::failed(error.to_string()))?;
                new.push((manifest, armored));
            }
            imported.approvals.push(ImportedPaper { digest: Digest::of(manifest), by, new: !known });
        }
    }
    let all = together(runner, exported, stored)?;
    if !new.is_empty() {
        let configured = |name: &'_ str| {
            target(name).ok_or_else(|| {
                PipelineError::refused(format!("the target `{name}` is not configured any more"))
                    .with_hint("nothing was kept; describe it again as it was, or have the proposal denied")
            })
        };
        let names = stored.proposal.document().targets.iter().map(|target| target.name.as_str());
        let targets: Vec<_> = names.map(|name| Ok((name, configured(name)?))).collect::<Result<_, PipelineError>>()?;
        still_given(runner, stored, &targets, new.iter().map(|(manifest, _)| *manifest))?;
        once(runner, stored, &all, &imported.approvals)?;
    }
    let now = runner.decisive()?;
    if let Some(most) = all.iter().filter(|given| given.open(now)).max_by_key(|given| given.approvers.len()) {
        imported.approval = Some(most.approval);
        imported.signed = crate::given::people(&all, now).len();
    }
    runner.keep_approvals(&proposal, &new)?;
    Ok(())
}

/// Whether this very signature is among those that were kept.
fn has(kept: &[SignedApproval], manifest: &[u8], signature: &Vec<u8>) -> bool {
    kept.iter().any(|known| known.manifest == manifest && known.signatures.contains(signature))
}

/// The approvals given here and in the file.
fn together(runner: &Runner, exported: &Exported, stored: &Stored) -> Result<Vec<Given>, PipelineError> {
    let mut all = given(runner, stored)?;
    for brought in given(exported, stored)? {
        match all.iter_mut().find(|known| known.approval == brought.approval) {
            Some(known) => known.approvers.extend(brought.approvers),
            None => all.push(brought),
        }
    }
    Ok(all)
}

/// Refuses a file by which somebody would have given two approvals that could both start a run. One that waits for
/// others still does no harm: it is tested again when they sign.
fn once(runner: &Runner, stored: &Stored, all: &[Given], papers: &[ImportedPaper]) -> Result<(), PipelineError> {
    let now = runner.decisive()?;
    let contains = containing(runner.registry());
    let case = stored.case(runner.policy(), &contains);
    let starts = |given: &&Given| given.open(now) && given.is_enough(&case);
    for paper in papers.iter().filter(|paper| paper.new) {
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
