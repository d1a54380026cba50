use countersign_model::documents::{DOCUMENT_VERSION, RunOrderDocument, namespace};
use countersign_model::strict;
use countersign_model::text::excerpt;

use crate::approval::DraftError;
use crate::case::unrevoked;
use crate::manifest::same;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::proposal::Proposal;
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest order of a run that is read, in bytes.
pub const MAX_RUN_ORDER: usize = 64 * 1024;

const ON: Signed = Signed::Run;

/// The one run that somebody orders.
#[derive(Clone, Copy)]
pub struct OrderedRun<'a> {
    /// The name that it is to have.
    pub run: &'a str,
    /// What is to be run.
    pub proposal: &'a Proposal,
    /// Its target's name.
    pub target: &'a str,
    /// Fingerprint of the key of the runner whose run it is.
    pub runner: &'a str,
    /// For how long it waits for a person's confirmation, in milliseconds, where that is ordered.
    pub confirm_within_ms: Option<u64>,
}

/// Makes the order of a run, as the exact bytes to sign in [`namespace::RUN`]. `at` is in milliseconds since 1970-01-01
/// UTC.
///
/// # Errors
/// When it cannot be written.
pub fn draft_run_order(run: &OrderedRun<'_>, at: u64) -> Result<Vec<u8>, DraftError> {
    let document = RunOrderDocument {
        version: DOCUMENT_VERSION,
        run: run.run.to_owned(),
        proposal: run.proposal.digest(),
        target: run.target.to_owned(),
        runner: run.runner.to_owned(),
        confirm_within_ms: run.confirm_within_ms,
        at,
    };
    serde_json::to_vec(&document).map_err(|_| DraftError::Unwritable)
}

/// Verifies the order of this very run, and tells whose it is.
///
/// # Errors
/// When the signature is not valid, its signer may not start the run, or the document cannot be read or is of anything
/// else.
pub fn verify_run_order(
    bytes: &[u8],
    signature: &[u8],
    run: &OrderedRun<'_>,
    policy: &Policy,
) -> Result<Principal, Refusal> {
    let (_, who) = signed_by(policy, namespace::RUN, bytes, signature)?;
    may_run(&who, run.proposal, policy)?;
    let document: RunOrderDocument = strict::from_slice(bytes, MAX_RUN_ORDER)
        .map_err(|error| Refusal::Unreadable { on: ON, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on: ON, found: document.version, expected: DOCUMENT_VERSION });
    }
    let within = |within: Option<u64>| within.map_or_else(|| "none".to_owned(), |within| format!("{within} ms"));
    let named = [
        ("run", document.run.as_str(), run.run),
        ("proposal", &document.proposal.to_string(), &run.proposal.digest().to_string()),
        ("target", &document.target, run.target),
        ("runner", &document.runner, run.runner),
        ("time to confirm", &within(document.confirm_within_ms), &within(run.confirm_within_ms)),
    ];
    if let Some((what, found, expected)) = named.iter().find(|(_, found, expected)| found != expected) {
        return Err(Refusal::OtherOrder { what, found: excerpt(found, 80), expected: excerpt(expected, 80) });
    }
    Ok(who)
}

/// Whether somebody may start a run of this proposal: a person who may operate or approve, and who did not propose it.
/// Who answers for the agent that did may, since others approved it.
///
/// # Errors
/// Why not.
pub fn may_run(who: &Principal, proposal: &Proposal, policy: &Policy) -> Result<(), Refusal> {
    unrevoked(who)?;
    let refused = |why: &str| Err(Refusal::MayNotRun { who: who.to_string(), why: why.to_owned() });
    if !(who.may(Right::Operate) || who.may(Right::Approve)) || who.kind() != PrincipalKind::Person {
        return refused("only people who may operate or approve do");
    }
    let proposer = policy.principal(proposal.proposer().fingerprint());
    if proposer.kind() != PrincipalKind::Agent && same(who, &proposer) {
        return refused("they proposed it");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
