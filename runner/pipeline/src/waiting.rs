//! Waiting for the last signature. Nothing is held meanwhile: no lock, no target, no approval.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use countersign_trust::Refusal;

use crate::error::PipelineError;
use crate::order::{self, Order};
use crate::propose::proposal_name;
use crate::runner::Runner;

/// The longest and the shortest time between two looks: denials and what supersedes are in no file that is watched,
/// and nobody can make it look without a pause.
const AT_MOST: Duration = Duration::from_secs(1);
const AT_LEAST: Duration = Duration::from_millis(20);

/// Waits until the approvals of a proposal allow its run, for at most `timeout`. What was read until then may be stale:
/// whoever starts the run reads it all again.
///
/// # Errors
/// A refusal at once, when no signature can allow it any more: it was denied, superseded or expired, or what would run is
/// not what was proposed; or when the time is up. A failure, when a signal ends the waiting. Nothing changed then.
pub fn await_approval(runner: &Runner, order: &Order<'_>, timeout: Option<Duration>) -> Result<(), PipelineError> {
    let name = proposal_name(&order.proposal.digest());
    let watch = runner.state().watch_approvals();
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let looked = Instant::now();
        if runner.interrupted() {
            return Err(PipelineError::failed(format!("the waiting for approvals of `{name}` was ended by a signal"))
                .with_hint(
                    "nothing changed, and what was signed stays signed: wait again, or run it when it is approved",
                ));
        }
        order::stands(runner, order.proposal, order.undo)?;
        let refusal = match order::decide(runner, order, runner.now())? {
            Ok(_) => {
                runner.note(&format!("{name} is approved: the run starts"));
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        let left = still_open(runner, order, &refusal)?;
        let says = describe(runner, order, &refusal)?;
        if says != said {
            runner.note(&says);
            said = says;
        }
        let patience = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        if patience.is_some_and(|patience| patience.is_zero()) {
            let waited = timeout.unwrap_or_default().as_secs();
            return Err(PipelineError::refused(format!("`{name}` was not approved within {waited} s: {refusal}"))
                .with_hint(format!(
                    "nothing changed; have it approved (`countersign review {name}`) and run it then"
                )));
        }
        let pause = patience.unwrap_or(AT_MOST).min(left).min(AT_MOST);
        watch.wait(pause);
        std::thread::sleep(AT_LEAST.saturating_sub(looked.elapsed()));
    }
}

/// For how long somebody can still allow it.
fn still_open(runner: &Runner, order: &Order<'_>, refusal: &Refusal) -> Result<Duration, PipelineError> {
    if !refusal.awaits_approval() {
        return Err(PipelineError::refused(refusal.to_string()).with_hint(refusal.hint()));
    }
    // An approval that is not valid yet was given in time.
    if matches!(refusal, Refusal::NotYetValid { .. }) {
        return Ok(AT_MOST);
    }
    let left = order.proposal.document().expires.saturating_sub(runner.now());
    if left == 0 {
        let what = format!("the proposal expired before it was approved: {refusal}");
        let name = proposal_name(&order.proposal.digest());
        return Err(PipelineError::refused(what)
            .with_hint(format!("nothing changed; rehearse it again with `countersign propose --revise {name}`")));
    }
    Ok(Duration::from_millis(left))
}

/// What is waited for, and who can give it.
fn describe(runner: &Runner, order: &Order<'_>, refusal: &Refusal) -> Result<String, PipelineError> {
    let (policy, proposal) = (runner.policy(), order.proposal);
    let mut signed: BTreeSet<String> = BTreeSet::new();
    for approval in runner.approvals(&proposal.digest())? {
        // Signatures add up on one manifest and not across several.
        let people: BTreeSet<String> = approval
            .signatures
            .iter()
            .filter_map(|signature| {
                countersign_trust::verify_approval_of(&approval.manifest, signature, proposal, policy).ok()
            })
            .map(|approver| approver.name().to_owned())
            .collect();
        if people.len() > signed.len() {
            signed = people;
        }
    }
    let undone = proposal.document().undoes.as_ref().map(|undoes| policy.principal(&undoes.proposer));
    let barred: Vec<&str> = [Some(proposal.proposer()), undone.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|barred| barred.person())
        .collect();
    let may: Vec<&str> = policy.approvers().filter(|name| !barred.contains(name) && !signed.contains(*name)).collect();
    let (name, needed) = (proposal_name(&proposal.digest()), policy.quorum());
    let missing = needed.saturating_sub(signed.len());
    let more = if signed.is_empty() { "" } else { " more" };
    let mut says = format!("waiting for {missing}{more} of {name}'s approvers; nothing is held meanwhile");
    if !signed.is_empty() {
        let signed: Vec<_> = signed.into_iter().collect();
        says.push_str(&format!("; signed by {}", signed.join(", ")));
    }
    says.push_str(&format!("; may sign: {}", if may.is_empty() { "nobody".to_owned() } else { may.join(", ") }));
    if !matches!(refusal, Refusal::NotApproved { .. } | Refusal::QuorumNotReached { .. }) {
        says.push_str(&format!("; what there is does not allow it: {refusal}"));
    }
    Ok(says)
}
