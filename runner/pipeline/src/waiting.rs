//! Waiting for the last signature. Nothing is held meanwhile: no lock, no target, no approval.

use std::time::{Duration, Instant};

use countersign_trust::Refusal;

use crate::actor::Actor;
use crate::error::PipelineError;
use crate::given::given;
use crate::order::{self, Order};
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::target::containing;

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
pub fn await_approval(
    runner: &Runner,
    order: &Order<'_>,
    actor: &Actor,
    timeout: Option<Duration>,
) -> Result<(), PipelineError> {
    actor.may_start(runner, order)?;
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
        crate::pause::not_paused(runner)?;
        order::stands(runner, order.proposal, order.undo)?;
        let now = runner.decisive()?;
        let refusal = match order::decide(runner, order, now)? {
            Ok(_) => {
                runner.note(&format!("{name} is approved: the run starts"));
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        let left = still_open(order, &refusal, now)?;
        let says = describe(runner, order, &refusal, now)?;
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
fn still_open(order: &Order<'_>, refusal: &Refusal, now: u64) -> Result<Duration, PipelineError> {
    if !refusal.awaits_approval() {
        return Err(order::refused(refusal, order.proposal));
    }
    // An approval that is not valid yet was given in time.
    if matches!(refusal, Refusal::NotYetValid { .. }) {
        return Ok(AT_MOST);
    }
    let left = order.proposal.document().expires.saturating_sub(now);
    if left == 0 {
        let what = format!("the proposal expired before it was approved: {refusal}");
        let again = order::again(order.proposal);
        return Err(PipelineError::refused(what).with_hint(format!("nothing changed; rehearse it again with {again}")));
    }
    Ok(Duration::from_millis(left))
}

/// What is waited for, and who can give it.
fn describe(runner: &Runner, order: &Order<'_>, refusal: &Refusal, now: u64) -> Result<String, PipelineError> {
    let proposal = order.proposal;
    let contains = containing(runner.registry());
    let case = order.stored.case(runner.policy(), &contains);
    // Signatures add up on one approval and not across several, and only on one by which this run could be.
    let all = given(runner, order.stored)?;
    let open = all.iter().filter(|given| {
        given.terms.break_glass.is_none() && given.open(now) && given.unused().any(|target| target == order.name)
    });
    let signed =
        open.max_by_key(|given| given.approvers.len()).map(|given| given.approvers.clone()).unwrap_or_default();
    let may: Vec<&str> = case.approvers().into_iter().filter(|name| !signed.contains(*name)).collect();
    let (name, needed) = (proposal_name(&proposal.digest()), case.needed());
    let more = if signed.is_empty() { "" } else { " more" };
    let what = match needed.saturating_sub(signed.len()) {
        0 => format!("the approval of {name} to be valid"),
        missing => format!("{missing}{more} of {name}'s approvers"),
    };
    let mut says = format!("waiting for {what}; nothing is held meanwhile");
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
