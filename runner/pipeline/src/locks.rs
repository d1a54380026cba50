//! What a run holds before it looks at anything: its target, and every subject that it may change, whatever target
//! another run reaches it by.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use countersign_model::documents::{OpenSubject, Terms};
use countersign_model::{Access, Change, Mode};
use countersign_record::{BeginError, Hold, Subject, Unfinished, Wanted};

use crate::error::PipelineError;
use crate::order::Order;
use crate::run::not_begun;
use crate::runner::Runner;

/// How long a run waits at most for what another run holds, unless it is told otherwise.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks: a lock that is let go tells nobody.
const LOOK: Duration = Duration::from_millis(100);

/// What a run by these terms may change. In `exact` mode that is what the plan names. A `scoped` run may change whatever
/// its grants open, which is known only when it does: it holds every subject of each capability that it may write to.
///
/// # Errors
/// When the plan names a capability that is not known.
fn subjects(runner: &Runner, order: &Order<'_>, terms: &Terms) -> Result<Vec<Subject>, PipelineError> {
    let plan = &order.rehearsal.plan;
    let named = |change: &Change| {
        let name = runner.registry().get(&change.capability)?.held_as(&change.subject);
        Ok(Subject { capability: change.capability.clone(), name: Some(name) })
    };
    let held: BTreeSet<Subject> = match terms.mode {
        Mode::Exact => plan.forward.iter().chain(&plan.back).map(named).collect::<Result<_, PipelineError>>()?,
        Mode::Scoped => {
            let grants = terms.grants.values().flatten().filter(|grant| grant.access == Access::Write);
            grants.map(|grant| Subject { capability: grant.capability.clone(), name: None }).collect()
        }
    };
    Ok(held.into_iter().collect())
}

/// What a resolution of this holds: the subject, where it is one of a capability's.
///
/// # Errors
/// When its capability is not known.
pub(crate) fn of_open(runner: &Runner, open: &OpenSubject) -> Result<Vec<Subject>, PipelineError> {
    let Some(capability) = &open.capability else { return Ok(Vec::new()) };
    let name = runner.registry().get(capability)?.held_as(&open.subject);
    Ok(vec![Subject { capability: capability.clone(), name: Some(name) }])
}

/// Holds the target and the subjects, all or none, so that nobody waits for one who waits. Waits for who holds them,
/// for at most the order's time.
///
/// # Errors
/// A refusal when that time is up, a failure when a signal ends the waiting, and [`PipelineError::PersonNeeded`] at once
/// where who holds them died. Nothing changed then.
pub(crate) fn hold(runner: &Runner, order: &Order<'_>, terms: &Terms) -> Result<Hold, PipelineError> {
    let subjects = subjects(runner, order, terms)?;
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let holder = match runner.hold(wanted(order, &subjects, &|name| runner.is_gone(name))) {
            Err(BeginError::Busy(holder)) => holder,
            other => return other.map_err(|error| not_begun(runner, order, &error)),
        };
        crate::pause::not_paused(runner)?;
        // Nobody is held up for a run that waits for a person's word.
        if let Some(error) = holder.run.as_ref().and_then(|run| crate::order::held_by_waiting(runner, run)) {
            return Err(error);
        }
        if runner.interrupted() {
            return Err(PipelineError::failed(format!("the waiting for {} was ended by a signal", holder.who()))
                .with_hint("nothing changed and no use is spent; run it again when that run has ended"));
        }
        if begun.elapsed() >= order.lock_timeout {
            let waited = match order.lock_timeout.as_secs() {
                0 => String::new(),
                seconds => format!("; waited {seconds} s"),
            };
            return Err(PipelineError::refused(format!("{holder}{waited}")).with_hint(
                "nothing changed and no use is spent; run it again when that run has ended, as `countersign runs` \
                 shows, or wait longer with `--lock-timeout`",
            ));
        }
        let says = holder.to_string();
        if says != said {
            let most = order.lock_timeout.as_secs();
            runner.note(&format!("waiting, for at most {most} s: {says}; nothing is held meanwhile"));
            said = says;
        }
        std::thread::sleep(LOOK);
    }
}

/// The run that died and holds something that a run by these terms may change.
pub(crate) fn dead_holder(
    runner: &Runner,
    order: &Order<'_>,
    terms: &Terms,
) -> Result<Option<Unfinished>, PipelineError> {
    let subjects = subjects(runner, order, terms)?;
    Ok(runner.state().runs().blocking(wanted(order, &subjects, &|name| runner.is_gone(name)))?)
}

fn wanted<'a>(order: &'a Order<'_>, subjects: &'a [Subject], gone: &'a dyn Fn(&str) -> bool) -> Wanted<'a> {
    Wanted { target: order.name, subjects, gone }
}
