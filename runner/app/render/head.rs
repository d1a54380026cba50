//! The first lines of a review: whether there is anything to decide, and what it is about.

use std::fmt::Write as _;

use countersign_model::text::visible;
use countersign_model::{Reversibility, Role, Verdict};
use countersign_pipeline::{ApprovalReview, Review, TargetReview};

use crate::time::{moment, span};

/// What a review is about, in a few lines.
pub(crate) fn write(text: &mut String, review: &Review, now: u64) -> std::fmt::Result {
    let proposer = &review.proposer;
    let targets = super::names(review.targets.iter().map(|target| &target.name));
    writeln!(
        text,
        "{}{} on {}, proposed by {} ({}) {} ago; expires {}",
        if review.undoes.is_some() { "undoing of " } else { "" },
        visible(&review.words.name),
        targets,
        visible(&proposer.name),
        proposer.kind,
        span(now.saturating_sub(review.created)),
        moment(review.expires)
    )?;
    match closed(review, now) {
        None => writeln!(text, "may be approved: yes")?,
        Some(why) => writeln!(text, "may be approved: no, {why}")?,
    }
    writeln!(text, "{}", counts(review, now))?;
    if proposer.kind == "unlisted" {
        writeln!(text, "NOT INDEPENDENT: the trust policy does not list the proposer's key, which could be anybody's")?;
    }
    for target in &review.targets {
        if target.blocked.is_some() {
            writeln!(text, "BLOCKED: an unfinished run blocks {}, and a run will be refused", visible(&target.name))?;
        }
        if target.guards_now.is_empty() {
            writeln!(text, "NO GUARDS on {}: a run will be refused", visible(&target.name))?;
        }
        if passes(review, target) {
            let name = visible(&target.name);
            writeln!(text, "THE CHECK ALREADY PASSES on {name}: its passing afterwards proves nothing")?;
        }
    }
    Ok(())
}

/// Whether the check holds without the fix.
pub(crate) fn passes(review: &Review, target: &TargetReview) -> bool {
    review.undoes.is_none() && (target.check_before == Verdict::Healthy || target.check_now == Verdict::Healthy)
}

/// Why nobody can approve it as things stand.
pub(crate) fn closed(review: &Review, now: u64) -> Option<String> {
    if review.denied.is_some() {
        return Some("it was denied".to_owned());
    }
    if let Some(by) = &review.superseded_by {
        return Some(format!("it was superseded by {}", visible(by)));
    }
    if let Some(by) = review.undoes.as_ref().and_then(|undoes| undoes.undone_by.as_ref()) {
        return Some(format!("the run was undone already, by {}", visible(by)));
    }
    if now >= review.expires {
        return Some("it expired".to_owned());
    }
    if let Some(target) = review.targets.iter().find(|target| target.reconfigured) {
        return Some(format!("the configuration of {} was changed since it was proposed", visible(&target.name)));
    }
    if let Some(target) = review.targets.iter().find(|target| target.exceeded.is_some()) {
        return Some(format!("it exceeds a ceiling of {}", visible(&target.name)));
    }
    let unnamed = review.exported.as_ref().is_some_and(|exported| !exported.runner_pinned);
    unnamed.then(|| "until you name the runner with `--runner`".to_owned())
}

fn counts(review: &Review, now: u64) -> String {
    let (mut exact, mut compensating, mut irreversible) = (0, 0, 0);
    let changes = review.targets.iter().flat_map(|target| &target.changes);
    for change in changes.filter(|reviewed| reviewed.change.role != Role::Rollback) {
        match change.change.reversibility {
            Reversibility::Exact => exact += 1,
            Reversibility::Compensating => compensating += 1,
            Reversibility::Irreversible => irreversible += 1,
        }
    }
    let drift = review.targets.iter().map(|target| target.drift.len()).sum::<usize>();
    let guards: Vec<_> = review.targets.iter().flat_map(|target| &target.guards_now).collect();
    let holding = guards.iter().filter(|guard| guard.holds).count();
    let validators = review.targets.iter().map(|target| target.validators.len()).sum::<usize>();
    let open = |given: &&ApprovalReview| {
        given.break_glass.is_none() && given.void.is_none() && now < given.expires && !given.used_up
    };
    let signed = review.approvals.iter().filter(open).map(|given| given.approvers.len()).max().unwrap_or(0);
    format!(
        "changes: {exact} exact, {compensating} compensating, {irreversible} irreversible; drift: {}; guards: {holding} of {} \
         hold; validators: {validators}; approvals: {signed} of {}",
        if drift == 0 { "none".to_owned() } else { drift.to_string() },
        guards.len(),
        review.quorum
    )
}
