//! The parts of a run that undoes another: what it does instead of a fix, and what it has to prove.

use countersign_model::{Role, Success};

use crate::guards;
use crate::run::Run;
use crate::run::over;
use crate::schedule::hold;
use crate::undo::Undo;

/// Puts the changes back, last first, and lets the rollback step do what only it can. Every change is journaled
/// before it is made, and all of them are the approved plan's.
///
/// # Errors
/// Why the run has to be rolled back.
pub(crate) fn apply(run: &Run<'_>, undo: &Undo) -> Result<(), String> {
    run.runner().note(&format!("undoing run {}: what it changed is put back, last change first", undo.run()));
    run.revert(undo.backwards())?;
    if !run.has_rollback_step() {
        return Ok(());
    }
    run.runner().note("rollback step: does what putting back cannot");
    let ended = run.step_forward(Role::Rollback)?;
    ended.result.map(drop).map_err(|failure| crate::run::failed("rollback step", &failure))
}

/// At two looks at least: what the rollback step had reloaded may take a moment to show.
pub(crate) fn at_two_looks(success: Success) -> Success {
    Success { hold_ms: success.hold_ms.max(success.every_ms), ..success }
}

/// Proves that every subject equals what it was before the undone run, and gives the guards the time that success was
/// given: none may stay worse than it was. The check is asked once and shown; it was written to see the fix.
///
/// # Errors
/// Why the run has to be rolled back.
pub(crate) fn await_proof(run: &mut Run<'_>, undo: &Undo) -> Result<(), String> {
    prove(run, undo)?;
    let (runner, finish_by) = (run.runner(), run.finish_by());
    let held = hold(at_two_looks(run.success()), || over(runner, finish_by), |_| still_proven(run, undo));
    let verdict = run.ask_check();
    runner.note(&format!("{}; it is shown, not required", crate::check::describe_verdict(&verdict)));
    run.check = Some(verdict);
    held?;
    runner.note(&format!("proof: every subject read back equals what it was before run {}", undo.run()));
    Ok(())
}

/// No guard is worse than it was, and every subject equals what it was before the undone run.
pub(crate) fn still_proven(run: &mut Run<'_>, undo: &Undo) -> Result<(), String> {
    let now = run.ask_guards();
    let worse = guards::worse(&run.guards_before, &now);
    run.guards_after = now;
    match worse.first() {
        None => prove(run, undo),
        Some(guard) => Err(format!("{}, which held before", guards::sentence(guard))),
    }
}

/// Reads every subject back from the target and compares it with the undone run's own before-image.
fn prove(run: &Run<'_>, undo: &Undo) -> Result<(), String> {
    let mut blobs = run.runner().blobs();
    run.with_live(|_, sessions| {
        let mut left = Vec::new();
        for first in undo.first_changes() {
            if let Some(why) = first.not_as_before("the run", sessions, &mut blobs) {
                left.push(format!("{} is not as before run {}: {why}", first.change.subject, undo.run()));
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    })?
}
