//! What whoever signs ought to know of the targets and may not have looked at.

use countersign_capability::Phase;
use countersign_record::Unfinished;

use crate::error::PipelineError;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// What stands in the way of a run, or did not stand so in the rehearsal, in sentence fragments; nothing is asked of a
/// check or a guard.
///
/// # Errors
/// When the state cannot be read.
pub fn cautions(runner: &Runner, stored: &Stored, targets: &[(&str, &Target)]) -> Result<Vec<String>, PipelineError> {
    let mut cautions = Vec::new();
    for (name, target) in targets {
        let mut sessions = runner.sessions(target, Phase::Observe)?;
        let drift = crate::drift::drift(runner, &mut sessions, &stored.rehearsal(name)?.plan.forward);
        // One that waits for a person's word ends by itself.
        let died = |run: &Unfinished| crate::order::held_by_waiting(runner, run.run()).is_none();
        let blocked = runner.unfinished(name)?.as_ref().is_some_and(died);
        of(&mut cautions, name, blocked, target.guards.is_empty(), &drift);
    }
    Ok(cautions)
}

pub(crate) fn of(cautions: &mut Vec<String>, name: &str, blocked: bool, no_guards: bool, drift: &[String]) {
    if blocked {
        cautions.push(format!("{name} is blocked by a run that died without an outcome: a run will be refused"));
    }
    if no_guards {
        cautions.push(format!("{name} has no guards: a run will be refused"));
    }
    if !drift.is_empty() {
        cautions.push(format!("{name} is not as it was rehearsed, and a run will be refused: {}", drift.join("; ")));
    }
}
