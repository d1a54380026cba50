use countersign_model::documents::{
    APPROVAL_TYPE, ApprovalManifest, Confirmation, EvidenceReference, RoleGrants, STATEMENT_TYPE, Subject, Terms,
};
use countersign_model::{Digest, strict};

use crate::manifest::MAX_MANIFEST;
use crate::proposal::Proposal;

/// The longest reason for an approval or a denial, in bytes.
pub const MAX_REASON: usize = 4096;
/// The longest rollback owner, in bytes.
pub const MAX_ROLLBACK_OWNER: usize = 256;

/// The shortest and the longest time for which a run waits for a person's confirmation, in milliseconds.
pub const MIN_CONFIRMATION: u64 = 1000;
/// See [`MIN_CONFIRMATION`].
pub const MAX_CONFIRMATION: u64 = 7 * 86_400_000;

/// What an approver adds to a proposal.
#[derive(Clone, Debug)]
pub struct ApprovalDraft {
    /// Why the approver agrees.
    pub reason: String,
    /// What each step may do: the proposal's own grants, or what [`narrow`](crate::narrow) made of them.
    pub grants: RoleGrants,
    /// From when on it may run, in milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// From when on it may no longer start.
    pub expires: u64,
    /// From when on nothing that a run changed is committed any more.
    pub finish_by: Option<u64>,
    /// How many runs it is good for.
    pub uses: u32,
    /// Whether a person must confirm a run before it commits.
    pub confirmation: Option<Confirmation>,
    /// Who answers for the target if the rollback does not restore it.
    pub rollback_owner: String,
    /// The evidence that the approver relied on.
    pub evidence: Vec<EvidenceReference>,
    /// Digest of the trust policy in force.
    pub policy: Digest,
    /// The break-glass by which it is given, in place of the quorums.
    pub break_glass: Option<String>,
}

/// Why an approval or a denial was not made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DraftError {
    /// It gives no reason.
    #[error("`--reason` is empty")]
    NoReason,
    /// Its reason is too long.
    #[error("`--reason` is longer than {MAX_REASON} bytes")]
    Reason,
    /// Nobody answers for the target.
    #[error("it needs a rollback owner of at most {MAX_ROLLBACK_OWNER} bytes")]
    RollbackOwner,
    /// It is never valid.
    #[error("it would expire before it is valid")]
    Window,
    /// The proposal can no longer be approved.
    #[error("the proposal expires before the approval would be valid")]
    ProposalExpired,
    /// It is good for no run.
    #[error("it must be good for at least one run")]
    Uses,
    /// No run would wait so long, or so short, for a confirmation.
    #[error("a confirmation is waited for from 1 second to {} days", MAX_CONFIRMATION / 86_400_000)]
    Confirmation,
    /// It is too large to be read again.
    #[error("it would be {0} bytes, more than the {MAX_MANIFEST} that are read")]
    TooLarge(usize),
    /// It would not be read again as it was written.
    #[error("it cannot be written as strict JSON")]
    Unwritable,
}

impl DraftError {
    /// What to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoReason | Self::Reason => "give another `--reason`",
            Self::RollbackOwner => {
                "have it proposed for fewer targets at once, whose owners stand together in an approval, or an operator \
                 shortens `rollback-owner`"
            }
            Self::Window => "give a longer `--expires`, or `--finish-within`",
            Self::ProposalExpired => "propose it again",
            Self::Uses => "approve it for one run",
            Self::Confirmation => "give another `--confirm-within`",
            Self::TooLarge(_) => "have it proposed for fewer targets at once, or with shorter arguments",
            Self::Unwritable => "give another `--reason`, in plain text",
        }
    }
}

/// Makes the approval manifest for every target of the proposal, and the exact bytes, compact JSON,
/// for each approver to sign in the namespace of approvals.
///
/// # Errors
/// When the draft lacks a reason or a rollback owner, would never be valid, or is too large.
pub fn draft(proposal: &Proposal, draft: ApprovalDraft) -> Result<(ApprovalManifest, Vec<u8>), DraftError> {
    check_reason(&draft.reason)?;
    check_rollback_owner(&draft.rollback_owner)?;
    if draft.expires <= draft.not_before || draft.finish_by.is_some_and(|end| end <= draft.not_before) {
        return Err(DraftError::Window);
    }
    let document = proposal.document();
    if draft.not_before >= document.expires {
        return Err(DraftError::ProposalExpired);
    }
    if draft.uses == 0 {
        return Err(DraftError::Uses);
    }
    draft.confirmation.as_ref().map_or(Ok(()), check_confirmation)?;
    let manifest = ApprovalManifest {
        kind: STATEMENT_TYPE.to_owned(),
        subject: Subject::of(&document.steps),
        predicate_type: APPROVAL_TYPE.to_owned(),
        predicate: Terms {
            proposal: proposal.digest(),
            bundle: document.bundle,
            arguments: document.arguments.clone(),
            targets: document.targets.clone(),
            grants: draft.grants,
            mode: document.mode,
            rollback: document.rollback,
            success: document.success,
            undoes: document.undoes.clone(),
            confirmation: draft.confirmation,
            not_before: draft.not_before,
            expires: draft.expires,
            finish_by: draft.finish_by,
            uses: draft.uses,
            rollback_owner: draft.rollback_owner,
            evidence: draft.evidence,
            policy: draft.policy,
            reason: draft.reason,
            derived: None,
            break_glass: draft.break_glass,
        },
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|_| DraftError::Unwritable)?;
    match strict::from_slice::<ApprovalManifest>(&bytes, MAX_MANIFEST) {
        Ok(again) if again == manifest => Ok((manifest, bytes)),
        Err(strict::StrictError::TooLarge { size, .. }) => Err(DraftError::TooLarge(size)),
        _ => Err(DraftError::Unwritable),
    }
}

pub(crate) fn check_reason(reason: &str) -> Result<(), DraftError> {
    if filled(reason, MAX_REASON) {
        Ok(())
    } else if reason.trim().is_empty() {
        Err(DraftError::NoReason)
    } else {
        Err(DraftError::Reason)
    }
}

/// Refuses a time that no run waits for a person.
pub(crate) fn check_confirmation(confirmation: &Confirmation) -> Result<(), DraftError> {
    let waited_for = MIN_CONFIRMATION..=MAX_CONFIRMATION;
    if waited_for.contains(&confirmation.within_ms) { Ok(()) } else { Err(DraftError::Confirmation) }
}

pub(crate) fn check_rollback_owner(owner: &str) -> Result<(), DraftError> {
    if filled(owner, MAX_ROLLBACK_OWNER) { Ok(()) } else { Err(DraftError::RollbackOwner) }
}

fn filled(text: &str, limit: usize) -> bool {
    !text.trim().is_empty() && text.len() <= limit
}

#[cfg(test)]
mod tests;
