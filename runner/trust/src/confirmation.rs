use countersign_model::documents::{ConfirmationDocument, DOCUMENT_VERSION, namespace};
use countersign_model::text::excerpt;
use countersign_model::{Digest, strict};

use crate::approval::{DraftError, MAX_REASON};
use crate::case::Case;
use crate::principal::Principal;
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest confirmation that is read, in bytes.
pub const MAX_CONFIRMATION_DOCUMENT: usize = 64 * 1024;

const ON: Signed = Signed::Confirmation;

/// The one run that a person is asked about.
#[derive(Clone, Copy)]
pub struct WaitingRun<'a> {
    /// Its name.
    pub run: &'a str,
    /// What was proposed, and the trust policy in force.
    pub case: Case<'a>,
    /// Digest of the approval manifest that it used.
    pub approval: Digest,
    /// Its target's name.
    pub target: &'a str,
    /// Fingerprint of the key of the runner whose run it is.
    pub runner: &'a str,
}

/// Makes a confirmation, or with `keeps` false its contrary, and the exact bytes to sign in [`namespace::CONFIRMATION`].
/// `at` is in milliseconds since 1970-01-01 UTC.
///
/// # Errors
/// When a reason is given that is empty or longer than [`MAX_REASON`].
pub fn draft_confirmation(
    run: &WaitingRun<'_>,
    keeps: bool,
    reason: Option<&str>,
    at: u64,
) -> Result<(ConfirmationDocument, Vec<u8>), DraftError> {
    reason.map_or(Ok(()), crate::approval::check_reason)?;
    let document = ConfirmationDocument {
        version: DOCUMENT_VERSION,
        run: run.run.to_owned(),
        proposal: run.case.proposal.digest(),
        approval: run.approval,
        target: run.target.to_owned(),
        runner: run.runner.to_owned(),
        keeps,
        reason: reason.map(str::to_owned),
        at,
    };
    let bytes = serde_json::to_vec(&document).map_err(|_| DraftError::Unwritable)?;
    Ok((document, bytes))
}

/// Verifies a confirmation of this very run, or its contrary, and tells whose word it is.
///
/// # Errors
/// When the signature is not valid, or, where the run is to stay, not made as its quorums demand; its signer may not approve,
/// proposed the run or answers for who did; or the document cannot be read or is of anything else.
pub fn verify_confirmation(
    bytes: &[u8],
    signature: &[u8],
    run: &WaitingRun<'_>,
) -> Result<(ConfirmationDocument, Principal), Refusal> {
    let (made, signer) = signed_by(run.case.policy, namespace::CONFIRMATION, bytes, signature)?;
    may_confirm(&signer, &run.case)?;
    let document: ConfirmationDocument = strict::from_slice(bytes, MAX_CONFIRMATION_DOCUMENT)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on: ON, found: document.version, expected: DOCUMENT_VERSION });
    }
    if document.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON) {
        return Err(Refusal::Senseless { on: ON, why: format!("its reason is longer than {MAX_REASON} bytes") });
    }
    // What stays is as much at stake as what is approved. That it is put back is in nobody's way.
    if document.keeps {
        run.case.demands().satisfied_by(&made).map_err(|unmet| Refusal::Unmet { on: ON, unmet })?;
    }
    let named = [
        ("run", document.run.as_str(), run.run),
        ("proposal", &document.proposal.to_string(), &run.case.proposal.digest().to_string()),
        ("approval", &document.approval.to_string(), &run.approval.to_string()),
        ("target", &document.target, run.target),
        ("runner", &document.runner, run.runner),
    ];
    if let Some((what, found, expected)) = named.iter().find(|(_, found, expected)| found != expected) {
        return Err(Refusal::OtherRun { what, found: excerpt(found, 80), expected: excerpt(expected, 80) });
    }
    Ok((document, signer))
}

/// Whether somebody's word on a waiting run of this proposal counts: of those who may approve it, and of nobody else.
///
/// # Errors
/// Why it does not.
pub fn may_confirm(signer: &Principal, case: &Case<'_>) -> Result<(), Refusal> {
    case.has_a_say(signer).map_err(|refusal| match refusal {
        Refusal::OwnProposal { approver, why } => Refusal::OwnRun { who: approver, why },
        Refusal::MayNotApprove { who } => Refusal::MayNotConfirm { who },
        Refusal::UnknownApprover { fingerprint } => {
            Refusal::MayNotConfirm { who: format!("unlisted key `{fingerprint}`") }
        }
        refusal => refusal,
    })
}

#[cfg(test)]
mod tests;
