use countersign_capability::Registry;
use countersign_model::documents::{ApprovalManifest, Configured, Confirmation, RoleGrants, Terms, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Access, Digest, Grant};
use countersign_record::KeptFiles;
use countersign_trust::{
    ApprovalDraft, DraftError, MAX_ROLLBACK_OWNER, Principal, Proposal, Refusal, Signatory, SignatureError,
    SignedApproval, SignedDenial,
};

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::order::{again, refused};
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::{Target, containing, contains};

/// The fewest digits that name an approval.
const MIN_NAME: usize = 6;

/// What an approver decides.
pub struct ApprovalTerms<'a> {
    /// Why.
    pub reason: &'a str,
    /// Narrower grants, each inside one that was asked for.
    pub narrow: &'a [Grant],
    /// For how long the approval is good, in milliseconds from now.
    pub valid_for: u64,
    /// Within which time from now a run must be decided, in milliseconds: what is not committed then is rolled back.
    pub finish_within: Option<u64>,
    /// Whether a person must confirm a run before it commits.
    pub confirmation: Option<Confirmation>,
    /// The break-glass of the trust policy by which it is given, in place of the quorums.
    pub break_glass: Option<&'a str>,
}

/// Who approved and where it is kept.
pub struct Approved {
    /// Who signed.
    pub approver: String,
    /// The manifest and the signature.
    pub files: KeptFiles,
}

/// Writes the approval manifest that the approver signs.
///
/// # Errors
/// When the plan cannot be shown whole, the target was reconfigured, a narrowing is outside of what
/// was asked for, or leaves less than the plan needs: that is rehearsed.
pub fn draft_approval(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    terms: &ApprovalTerms<'_>,
) -> Result<Vec<u8>, PipelineError> {
    let manifest = draft(runner, stored, &configured(runner, stored, targets), terms)?;
    crate::narrowed::rehearse(runner, stored, targets, &manifest, "nothing was signed")?;
    Ok(manifest)
}

/// The targets as they are configured on this host.
fn configured(runner: &Runner, stored: &Stored, targets: &[(&str, &Target)]) -> Vec<(String, Configured)> {
    let document = stored.proposal.document();
    let configured =
        |(name, target): &(&str, &Target)| ((*name).to_owned(), crate::standing::configured(runner, document, target));
    targets.iter().map(configured).collect()
}

/// Refuses targets that were configured otherwise since.
pub(crate) fn as_configured(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
) -> Result<(), PipelineError> {
    as_proposed(stored, &configured(runner, stored, targets))
}

/// Whether an approval may be given for the targets as they are configured.
fn as_proposed(stored: &Stored, targets: &[(String, Configured)]) -> Result<(), PipelineError> {
    for (name, configured) in targets {
        if stored.rehearsal(name)?.configuration != configured.configuration {
            return Err(PipelineError::refused(format!(
                "the configuration of `{name}` was changed since the proposal"
            ))
            .with_hint(format!(
                "what was rehearsed is not what would run: rehearse it again with {}",
                again(&stored.proposal)
            )));
        }
        if let Some(why) = &configured.exceeded {
            return Err(PipelineError::refused(why).with_hint(
                "an operator may widen the ceiling, and then it must be proposed again; an approval cannot exceed it",
            ));
        }
    }
    Ok(())
}

/// Who answers for the targets together, as an approval names them.
pub(crate) fn owner<'t>(each: impl Iterator<Item = &'t str>) -> String {
    let mut owners: Vec<&str> = Vec::new();
    for owner in each {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    owners.join(", ")
}

/// Refuses targets whose owners no approval could name: what could never be approved is not proposed.
pub(crate) fn owned(targets: &[(&str, &Target)]) -> Result<(), PipelineError> {
    let owner = owner(targets.iter().map(|(_, target)| target.rollback_owner.as_str()));
    if owner.len() > MAX_ROLLBACK_OWNER {
        return Err(unapprovable(&DraftError::RollbackOwner));
    }
    Ok(())
}

/// Refuses a proposal of which no approval could be written, however short its reason.
pub(crate) fn approvable(proposal: &Proposal, policy: Digest) -> Result<(), PipelineError> {
    let document = proposal.document();
    let draft = ApprovalDraft {
        reason: "-".to_owned(),
        grants: document.grants.clone(),
        not_before: document.created,
        expires: document.expires,
        finish_by: None,
        uses: 1,
        confirmation: None,
        rollback_owner: "-".to_owned(),
        evidence: document.evidence.clone(),
        policy,
        break_glass: None,
    };
    countersign_trust::draft(proposal, draft).map(drop).map_err(|error| unapprovable(&error))
}

fn unapprovable(error: &DraftError) -> PipelineError {
    PipelineError::refused(format!("it could never be approved: the approval: {error}")).with_hint(error.hint())
}

/// Whether this host may keep approvals that were signed earlier, as if they were given now.
///
/// # Errors
/// When the proposal can no longer be approved, a target was reconfigured, an approval expired, or one narrows what it
/// grants so far that a rehearsal with that is not what was proposed: away from the host nobody could try.
pub(crate) fn still_given<'m>(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    manifests: impl Iterator<Item = &'m [u8]>,
) -> Result<(), PipelineError> {
    let now = open(runner, stored)?;
    as_proposed(stored, &configured(runner, stored, targets))?;
    // What is kept was rehearsed before it was.
    let kept = runner.approvals(&stored.proposal.digest())?;
    for manifest in manifests {
        unexpired(&stored.proposal, manifest, now)?;
        if !kept.iter().any(|known| known.manifest == manifest) {
            crate::narrowed::rehearse(runner, stored, targets, manifest, "nothing was kept")?;
        }
    }
    Ok(())
}

/// Refuses an approval that can start no run any more.
pub(crate) fn unexpired(proposal: &Proposal, manifest: &[u8], now: u64) -> Result<(), PipelineError> {
    match terms(manifest)?.expires {
        at if at > now => Ok(()),
        at => {
            let refusal = Refusal::Expired { at, now };
            Err(refused(&refusal, proposal))
        }
    }
}

/// The manifest, on the host and away from it alike.
pub(crate) fn draft(
    desk: &dyn Desk,
    stored: &Stored,
    targets: &[(String, Configured)],
    terms: &ApprovalTerms<'_>,
) -> Result<Vec<u8>, PipelineError> {
    let now = open(desk, stored)?;
    for rehearsal in stored.rehearsals() {
        crate::shown::showable(desk, rehearsal)?;
    }
    let document = stored.proposal.document();
    as_proposed(stored, targets)?;
    countersign_trust::unexpired(desk.policy(), now).map_err(|refusal| refused(&refusal, &stored.proposal))?;
    let longest = desk.policy().max_validity_ms();
    if terms.valid_for > longest {
        let hours = longest / 3_600_000;
        return Err(PipelineError::refused(format!("the trust policy lets an approval be good for {hours} h at most"))
            .with_hint("choose a shorter `--expires`"));
    }
    let narrow = terms.narrow.iter().map(|grant| desk.normalize(grant)).collect::<Result<Vec<_>, _>>();
    let narrow = narrow.map_err(PipelineError::failed)?;
    let registry = desk.registry();
    let grants = countersign_trust::narrow(&document.grants, &narrow, &|wide, small| contains(registry, wide, small))
        .map_err(|error| {
        PipelineError::refused(error.to_string()).with_hint("narrow to grants inside those that are asked for")
    })?;
    sufficient(registry, stored, &grants)?;
    let draft = ApprovalDraft {
        reason: terms.reason.to_owned(),
        grants,
        not_before: now,
        expires: now.saturating_add(terms.valid_for),
        finish_by: terms.finish_within.map(|within| now.saturating_add(within)),
        uses: 1,
        confirmation: terms.confirmation,
        rollback_owner: owner(targets.iter().map(|(_, configured)| configured.rollback_owner.as_str())),
        evidence: document.evidence.clone(),
        policy: desk.policy().digest(),
        break_glass: terms.break_glass.map(str::to_owned),
    };
    let (_, bytes) = countersign_trust::draft(&stored.proposal, draft)
        .map_err(|error| PipelineError::failed(format!("the approval: {error}")).with_hint(error.hint()))?;
    // What no run would be by is not signed.
    takeable(desk, stored, &bytes).map_err(|refusal| refused(&refusal, &stored.proposal))?;
    Ok(bytes)
}

/// Verifies a signature on a manifest and keeps both, if it is an approval of this very proposal by
/// somebody who may give it.
///
/// # Errors
/// When the signature does not verify or does not count, the manifest is not what this proposal allows, expired, or was
/// written before a target was reconfigured, or an earlier approval by the same person could still start a run.
pub fn keep_approval(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    manifest: &[u8],
    signature: &str,
) -> Result<Approved, PipelineError> {
    open(runner, stored)?;
    let approver = acceptable(runner, stored, manifest, signature.as_bytes())?;
    still_given(runner, stored, targets, [manifest].into_iter())?;
    crate::given::once(runner, stored, manifest, &approver, "nothing was kept")?;
    let kept = runner.keep_approvals(&stored.proposal.digest(), &[(manifest, signature)])?;
    let files = kept.into_iter().next().ok_or_else(|| PipelineError::failed("the approval was not kept"))?;
    Ok(Approved { approver: approver.name().to_owned(), files })
}

/// Who a signature on a manifest counts for, if a run could ever be by that manifest.
///
/// # Errors
/// When the signature does not verify or does not count, or no run will be by it, as the one that decides tells; or it would
/// break the glass, which is done on the host alone, after a notice.
pub(crate) fn acceptable(
    desk: &dyn Desk,
    stored: &Stored,
    manifest: &[u8],
    signature: &[u8],
) -> Result<Principal, PipelineError> {
    if let Some(name) = terms(manifest).ok().and_then(|terms| terms.break_glass) {
        let what = format!("the approval is by the break-glass `{}`", excerpt(&name, 100));
        return Err(PipelineError::refused(what).with_hint(
            "nothing was kept: the glass is broken on the host, by `countersign break-glass approve`, which gives the notice first",
        ));
    }
    breaking(desk, stored, manifest, signature)
}

/// The same of one that may break the glass too, for whoever gives the notice.
pub(crate) fn breaking(
    desk: &dyn Desk,
    stored: &Stored,
    manifest: &[u8],
    signature: &[u8],
) -> Result<Principal, PipelineError> {
    let approver = signer(desk, stored, manifest, signature)?;
    takeable(desk, stored, manifest).map_err(|refusal| refused(&refusal, &stored.proposal))?;
    Ok(approver)
}

/// Who a signature on a manifest of this very proposal counts for. Whether a run could be by it is not asked: what was
/// signed stays signed, also where the trust policy is another one by now.
pub(crate) fn signer(
    desk: &dyn Desk,
    stored: &Stored,
    manifest: &[u8],
    signature: &[u8],
) -> Result<Principal, PipelineError> {
    let contains = containing(desk.registry());
    let case = stored.case(desk.policy(), &contains);
    let approver = countersign_trust::verify_approval(manifest, signature, &case)
        .map_err(|refusal| refused(&refusal, &stored.proposal))?;
    if terms(manifest)?.proposal != stored.proposal.digest() {
        return Err(PipelineError::refused("the approval manifest is of another proposal")
            .with_hint("name the proposal that it was written for"));
    }
    Ok(approver)
}

/// Whether a run could ever be by a manifest.
pub(crate) fn takeable(desk: &dyn Desk, stored: &Stored, manifest: &[u8]) -> Result<(), Refusal> {
    let contains = containing(desk.registry());
    countersign_trust::check_manifest(manifest, &stored.bundle.steps(), &stored.case(desk.policy(), &contains))
        .map(drop)
}

/// What an approval manifest says.
pub(crate) fn terms(manifest: &[u8]) -> Result<Terms, PipelineError> {
    countersign_model::strict::from_slice(manifest, countersign_trust::MAX_MANIFEST)
        .map(|manifest: ApprovalManifest| manifest.predicate)
        .map_err(|error| {
            PipelineError::refused(format!("the approval manifest: {error}"))
                .with_hint("sign what `countersign approve --write-manifest` wrote, as it is")
        })
}

/// An approval that was given, by the beginning of its digest, for another approver to sign as it stands.
///
/// # Errors
/// When there is none that counts, or several begin so, or the proposal can no longer be approved.
pub fn given_approval(desk: &dyn Desk, stored: &Stored, name: &str) -> Result<Vec<u8>, PipelineError> {
    open(desk, stored)?;
    let sought = name.strip_prefix("sha256:").unwrap_or(name);
    let mut found = Vec::new();
    for SignedApproval { manifest, signatures } in desk.approvals(&stored.proposal.digest())? {
        let counts = |signature: &Vec<u8>| signer(desk, stored, &manifest, signature).is_ok();
        if sought.len() >= MIN_NAME && Digest::of(&manifest).hex().starts_with(sought) && signatures.iter().any(counts)
        {
            found.push(manifest);
        }
    }
    let shown = countersign_model::text::excerpt(name, 80);
    match (found.pop(), found.pop()) {
        (Some(manifest), None) => match takeable(desk, stored, &manifest) {
            Ok(()) => Ok(manifest),
            Err(refusal) => Err(refused(&refusal, &stored.proposal)),
        },
        (None, _) => Err(PipelineError::failed(format!("no approval of this proposal begins with `{shown}`"))
            .with_hint("`countersign review` lists the approvals given so far; at least 6 digits name one")),
        (Some(_), Some(_)) => Err(PipelineError::failed(format!("several approvals begin with `{shown}`"))
            .with_hint("give more digits; `countersign review` lists them")),
    }
}

/// Has a manifest signed as an approval.
///
/// # Errors
/// When nothing was signed.
pub fn sign_approval(signatory: &dyn Signatory, manifest: &[u8]) -> Result<String, PipelineError> {
    signed(signatory, namespace::APPROVAL, manifest)
}

/// Has bytes signed, and says what to do where that fails.
pub(crate) fn signed(signatory: &dyn Signatory, namespace: &str, bytes: &[u8]) -> Result<String, PipelineError> {
    countersign_trust::sign(signatory, namespace, bytes).map_err(|error| match &error {
        SignatureError::NotMade(fault) => PipelineError::failed(error.to_string()).with_hint(fault.hint()),
        _ => PipelineError::failed(error.to_string()).with_hint("nothing was signed; sign again"),
    })
}

/// Signs and keeps a denial, which ends the proposal; gives who denied.
///
/// # Errors
/// When the key's owner may not deny, or the reason is empty or too long.
pub fn deny(
    runner: &Runner,
    stored: &Stored,
    signatory: &dyn Signatory,
    reason: &str,
) -> Result<String, PipelineError> {
    let denial = denial(runner, stored, signatory, reason)?;
    let denier = deniable(runner, stored, &denial)?;
    runner.keep_denial(&stored.proposal.digest(), &denial)?;
    Ok(denier.name().to_owned())
}

/// Has a denial signed.
pub(crate) fn denial(
    desk: &dyn Desk,
    stored: &Stored,
    signatory: &dyn Signatory,
    reason: &str,
) -> Result<SignedDenial, PipelineError> {
    let (_, document) = countersign_trust::draft_denial(stored.proposal.digest(), reason, desk.decisive()?)
        .map_err(|error| PipelineError::failed(format!("the denial: {error}")).with_hint(error.hint()))?;
    let signature = signed(signatory, namespace::DENIAL, &document)?.into_bytes();
    Ok(SignedDenial { document, signature })
}

/// Who a denial counts for, if it is one of this very proposal by somebody who may give it.
pub(crate) fn deniable(desk: &dyn Desk, stored: &Stored, denial: &SignedDenial) -> Result<Principal, PipelineError> {
    let SignedDenial { document, signature } = denial;
    countersign_trust::verify_denial(document, signature, stored.proposal.digest(), desk.policy())
        .map(|(_, denier)| denier)
        .map_err(|refusal| refused(&refusal, &stored.proposal))
}

/// Whether the proposal can still be approved; gives the time.
pub(crate) fn open(desk: &dyn Desk, stored: &Stored) -> Result<u64, PipelineError> {
    let now = desk.decisive()?;
    if now >= stored.proposal.document().expires {
        return Err(PipelineError::refused("the proposal expired").with_hint("propose it again"));
    }
    desk.stands(stored)?;
    undenied(desk, stored)?;
    Ok(now)
}

/// Refuses a proposal that was denied.
pub(crate) fn undenied(desk: &dyn Desk, stored: &Stored) -> Result<(), PipelineError> {
    match desk.denial_reason(&stored.proposal.digest())? {
        None => Ok(()),
        Some(reason) => Err(PipelineError::refused(format!("the proposal was denied: {reason}"))
            .with_hint("a denial is final: a changed proposal can be made and reviewed anew")),
    }
}

/// Whether narrowed grants still allow what the plan does.
pub(crate) fn sufficient(registry: &Registry, stored: &Stored, grants: &RoleGrants) -> Result<(), PipelineError> {
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
                    enough |= contains(registry, &grant, needed).map_err(PipelineError::failed)?;
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
