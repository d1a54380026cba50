use crate::actor::Actor;
use crate::error::PipelineError;
use crate::link::Linked;
use crate::order::{self, Order};
use crate::report::RunReport;
use crate::run::Run;
use crate::runner::Runner;

/// The story of one run, from a signed approval to an outcome.
///
/// Each stage takes the one before it by value, and only the stage itself can make its type, so a
/// stage that is skipped does not compile.
///
/// # Errors
/// When nothing was changed: a refusal, which spends no use of the approval, a failure before the
/// first change, or an unfinished run that blocks the target. Once something may have changed, how
/// the run ended is a [`RunReport`].
pub fn remediate(runner: &Runner, order: &Order<'_>, actor: &Actor) -> Result<RunReport, PipelineError> {
    // What was signed against what was read, and whether the target can be asked at all.
    let authorized = order::preflight(runner, order).map_err(|bar| bar.error(order.proposal))?;
    // Whoever starts it answers for that, and is never who proposed it.
    actor.may_start(runner, order)?;
    // Only what was signed is linked.
    let (grants, target) = (&authorized.manifest().predicate.grants, [(order.name, order.target)]);
    let linked = match order.undo {
        None => Linked::link(runner, order.bundle, grants, &target)?,
        Some(_) => Linked::link_undo(runner, order.bundle, grants, &target)?,
    };
    // Guards as they stand, every precondition, then the journal, which spends the use.
    let mut run = Run::begin(runner, (order, actor), authorized, linked)?;

    let result = run.apply().and_then(|()| run.validate()).and_then(|()| run.await_success());
    // What was revoked meanwhile does not stay.
    let result = result.and_then(|()| run.goes_on());
    // Where it was signed or ordered so, what was changed stays only by a person's word.
    let result = result.and_then(|()| run.await_confirmation());
    match result {
        Ok(()) => run.commit(),
        Err(reason) => run.roll_back(&reason),
    }
}
