//! A person's word that closes the review of a broken glass: who may give it, and what they sign.

use countersign_model::documents::{BreakGlassReviewDocument, DOCUMENT_VERSION, namespace};
use countersign_model::strict;
use countersign_model::text::excerpt;

use crate::approval::{DraftError, check_reason};
use crate::case::unrevoked;
use crate::manifest::own;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest word on a review that is read, in bytes.
pub const MAX_GLASS_REVIEW: usize = 64 * 1024;

const ON: Signed = Signed::GlassReview;

/// The exact bytes to sign in [`namespace::BREAK_GLASS_REVIEW`].
///
/// # Errors
/// When the reason is empty or longer than [`MAX_REASON`](crate::MAX_REASON).
pub fn draft_glass_review(document: &BreakGlassReviewDocument) -> Result<Vec<u8>, DraftError> {
    check_reason(&document.reason)?;
    serde_json::to_vec(document).map_err(|_| DraftError::Unwritable)
}

/// Whether somebody may close the review of a glass that these people, by name, broke: a person who may approve, who is none
/// of them, and whose proposal it was not; `proposers` are who proposed it and, where it undoes a run, that one.
///
/// # Errors
/// Why not.
pub fn may_close_glass_review(who: &Principal, broken_by: &[String], proposers: &[Principal]) -> Result<(), Refusal> {
    unrevoked(who)?;
    let no = |why: String| Err(Refusal::MayNotCloseReview { who: who.to_string(), why });
    if who.kind() != PrincipalKind::Person || !who.may(Right::Approve) {
        return no("only a person may whom the trust policy lets approve".to_owned());
    }
    if broken_by.iter().any(|name| name == who.name()) {
        return no("they broke the glass".to_owned());
    }
    match proposers.iter().find_map(|proposer| own(who, proposer)) {
        Some(why) => no(why),
        None => Ok(()),
    }
}

/// Verifies a word that closes a review, and tells whose it is.
///
/// # Errors
/// When the signature is not valid, its signer may not close it, or the document cannot be read or is of something else than
/// `expected` but for its reason and its time.
pub fn verify_glass_review(
    bytes: &[u8],
    signature: &[u8],
    expected: &BreakGlassReviewDocument,
    broken_by: &[String],
    proposers: &[Principal],
    policy: &Policy,
) -> Result<(BreakGlassReviewDocument, Principal), Refusal> {
    let (_, who) = signed_by(policy, namespace::BREAK_GLASS_REVIEW, bytes, signature)?;
    may_close_glass_review(&who, broken_by, proposers)?;
    let document: BreakGlassReviewDocument = strict::from_slice(bytes, MAX_GLASS_REVIEW)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on: ON, found: document.version, expected: DOCUMENT_VERSION });
    }
    let same = document.approval == expected.approval
        && document.proposal == expected.proposal
        && document.runner == expected.runner;
    if !same {
        return Err(Refusal::Senseless { on: ON, why: "it is of another approval, proposal or runner".to_owned() });
    }
    Ok((document, who))
}

#[cfg(test)]
mod tests;
