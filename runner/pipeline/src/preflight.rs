//! Asks a run's credentials whether they could do what a plan needs, before any person is asked to approve it, and
//! once more when a run of it begins.

use std::collections::BTreeSet;

use countersign_capability::Phase;
use countersign_gate::Sessions;
use countersign_model::documents::RehearsalDocument;
use countersign_model::text::excerpt;
use countersign_model::{Ability, Change, Plan};

use crate::error::PipelineError;
use crate::order::Order;
use crate::runner::Runner;
use crate::target::Target;

/// What the target's remediation identity could do of the plan: an answer for each change forward, in order. Its
/// sessions are opened for this alone, and write nothing.
///
/// # Errors
/// When the target's configuration makes no sense.
pub(crate) fn of_plan(runner: &Runner, target: &Target, plan: &Plan) -> Result<Vec<Ability>, PipelineError> {
    runner.note("preflight: whether the remediation identity could make these changes");
    let mut sessions = runner.sessions(target, Phase::Preflight)?;
    Ok(ask(runner, &mut sessions, &plan.forward))
}

/// The sessions' answer for each change, in order.
fn ask(runner: &Runner, sessions: &mut Sessions, forward: &[Change]) -> Vec<Ability> {
    let mut blobs = runner.blobs();
    let mut seen = BTreeSet::new();
    let answers = forward.iter().map(|change| {
        if seen.insert((&change.capability, &change.subject)) {
            return sessions.can_apply(&mut blobs, change);
        }
        let subject = excerpt(&change.subject, 200);
        Ability::CannotTell(format!("`{subject}` is what an earlier change of the plan makes of it by then"))
    });
    answers.collect()
}

/// Why nobody is asked to approve what was rehearsed, where its target's remediation identity cannot do it.
#[must_use]
pub fn unable(rehearsal: &RehearsalDocument) -> Option<PipelineError> {
    let lacking = lacking(&rehearsal.target, &rehearsal.preflight)?;
    Some(PipelineError::refused(lacking).with_hint(
        "nothing changed and nothing is proposed; let that identity do it, or the user that the runner runs as, and propose \
         it again",
    ))
}

/// What the remediation identity cannot do of a plan on this target, if anything.
fn lacking(target: &str, preflight: &[Ability]) -> Option<String> {
    let mut lacking = preflight.iter().filter_map(|able| match able {
        Ability::Cannot(why) => Some(why),
        Ability::Can | Ability::CannotTell(_) => None,
    });
    let first = lacking.next()?;
    let more = match lacking.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!("the remediation identity of `{target}` cannot do what the plan needs: {first}{more}"))
}

/// Refuses to begin a run whose credentials could not make its changes: they may have been taken away since.
pub(crate) fn refuse(runner: &Runner, order: &Order<'_>, sessions: &mut Sessions) -> Result<(), PipelineError> {
    let preflight = ask(runner, sessions, &order.rehearsal.plan.forward);
    lacking(order.name, &preflight).map_or(Ok(()), |lacking| {
        Err(PipelineError::refused(lacking).with_hint(
            "nothing changed and no use of the approval is spent; let that identity do it, or the user that the runner runs \
             as, and run it again",
        ))
    })
}
