use countersign_gate::{Live, Unanswered, Undo, Undone};
use countersign_model::Role;

use crate::error::PipelineError;
use crate::left::Left;
use crate::listing::kept_at;
use crate::run::{Run, lost};

/// The host's undo, the rollback step and the proof, in this order. Adds what is not restored to
/// `left` and says whether something is in doubt.
pub(crate) fn put_back(run: &mut Run<'_>, reason: &str, left: &mut Left) -> Result<bool, PipelineError> {
    let mark = |live: &mut Live| match live.journal().is_rolling_back() {
        true => Ok(()),
        false => live.journal().begin_rollback(reason),
    };
    if let Err(error) = run.with_live(|live, _| mark(live)).map_err(lost)? {
        // The intents are durable already; undoing must not wait for a mark.
        run.runner().note(&format!("the rollback could not be marked in the journal: {error}"));
    }
    let mut in_doubt = false;
    if run.recovering {
        // What a rollback step had changed when its process died comes last, and so goes first.
        let own = run.with_live(|live, sessions| live.undo(sessions, Role::Rollback)).map_err(lost)?;
        in_doubt |= note(run, &own, left);
    }
    let undone = run.with_live(|live, sessions| live.undo(sessions, Role::Fix)).map_err(lost)?;
    in_doubt |= note(run, &undone, left);

    if needs_rollback_step(run, &undone, left)? {
        run.runner().note("rollback step: does what undoing cannot");
        let failure = match run.step(Role::Rollback) {
            Ok(ended) => ended.result.err().map(|failure| failure.to_string()),
            Err(why) => Some(why),
        };
        if let Some(failure) = failure {
            left.rollback_step(format!("the rollback step failed: {failure}"));
            // What it did change of its own is undone too, so that the proof below is about the fix alone.
            let own = run.with_live(|live, sessions| live.undo(sessions, Role::Rollback)).map_err(lost)?;
            in_doubt |= note(run, &own, left);
        }
    }

    let mut unrestored = run.with_live(|live, sessions| live.unrestored(sessions)).map_err(lost)?;
    if !unrestored.is_empty() {
        // Perhaps the rollback step left it so: then what it changed is undone as well.
        let own = run.with_live(|live, sessions| live.undo(sessions, Role::Rollback)).map_err(lost)?;
        in_doubt |= note(run, &own, left);
        unrestored = run.with_live(|live, sessions| live.unrestored(sessions)).map_err(lost)?;
    }
    let lost_for_good = run.with_live(|live, sessions| live.lost(sessions)).map_err(lost)?;
    let subjects = undone.iter().filter(|undo| undo.result == Undone::Restored).count();
    if unrestored.is_empty() {
        let every = if lost_for_good.is_empty() { "every subject" } else { "every other subject" };
        run.runner().note(&format!("proof: {subjects} undone, {every} read back equals its before-image"));
    }
    for unrestored in unrestored {
        let rest = rest_of(run, &unrestored.change.subject).map_err(lost)?;
        left.not_as_before(unrestored, &rest);
    }
    for gone in lost_for_good {
        left.not_as_before(gone, "");
    }
    // After all that could still have been put back: an answer comes last, or it is none.
    for Unanswered { change, why } in run.with_live(|live, sessions| live.unanswered(sessions)).map_err(lost)? {
        left.untold(&change.capability, &change.subject, format!("{why}: {}", change.summary));
    }
    Ok(in_doubt)
}

/// Whether the rollback step is still to run. One that died in the middle may have done what must not be done twice.
fn needs_rollback_step(run: &Run<'_>, undone: &[Undo], left: &mut Left) -> Result<bool, PipelineError> {
    if let Some(why) = &run.unlinked {
        left.rollback_step(format!("the rollback step, if there is one, could not be run: {why}"));
        return Ok(false);
    }
    if !run.has_rollback_step() || !run.recovering {
        return Ok(run.has_rollback_step());
    }
    let (doubtful, answered) = run.with_live(|live, _| (live.doubtful(), live.answered())).map_err(lost)?;
    if !doubtful.is_empty() {
        run.runner().note("rollback step: is not run again, since nobody knows whether this was done:");
        doubtful.iter().for_each(|summary| run.runner().note(&format!("  {summary}")));
        return Ok(false);
    }
    if run.with_live(|live, _| live.answered_too_early()).map_err(lost)? {
        run.runner().note("rollback step: is not run again, since what it did for good is not done twice");
        return Ok(false);
    }
    if answered && undone.iter().all(|undo| undo.result != Undone::Restored) {
        run.runner().note("rollback step: had done what it was rehearsed to do");
        return Ok(false);
    }
    Ok(true)
}

/// Where the end is kept that was cut off a subject.
fn rest_of(run: &Run<'_>, subject: &str) -> Result<String, String> {
    run.with_live(|live, _| {
        let of_subject = live.made().map(|(_, change)| change).filter(|change| change.subject == subject);
        let kept = of_subject.filter_map(|change| {
            let (kept, place) = (change.kept?, kept_at(run.runner(), change)?);
            Some(format!("; its end from byte {} on is kept at {place}", kept.from))
        });
        kept.collect()
    })
}

fn note(run: &Run<'_>, undone: &[Undo], left: &mut Left) -> bool {
    let mut in_doubt = false;
    for undo in undone {
        let what = match &undo.result {
            Undone::Restored => format!("undone: {}", undo.summary),
            Undone::Irreversible => format!("cannot be undone: {}", undo.summary),
            Undone::InDoubt => {
                in_doubt = true;
                let line = format!("it is not known whether this happened: {}", undo.summary);
                left.untold(&undo.capability, &undo.subject, line);
                format!("in doubt: {}", undo.summary)
            }
            Undone::Left(why) => format!("left alone: {}: {why}", undo.subject),
        };
        run.runner().note(&format!("  {what}"));
    }
    in_doubt
}
