//! Who looks at a target before anything is approved, and what the trust policy lets them.

use countersign_model::documents::RoleGrants;
use countersign_trust::{Activity, Principal};

use crate::error::PipelineError;
use crate::propose::{HOUR, PROPOSE, counted_as};
use crate::runner::Runner;
use crate::target::containing;

/// Who reads, investigates or rehearses.
#[derive(Clone, Debug)]
pub enum Reader {
    /// Whoever operates this runner, without a key; only the target's own ceilings bound them.
    Operator(String),
    /// Whoever has a key: bound by the rules of the trust policy too.
    Key(Principal),
}

impl Reader {
    /// Their name, for the evidence.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Operator(name) => name,
            Self::Key(principal) => principal.name(),
        }
    }

    /// Refuses what no rule of the trust policy lets them do on this target, and whoever looked too often within the last
    /// hour; what is let through is counted.
    pub(crate) fn begin(
        &self,
        runner: &Runner,
        activity: Activity,
        target: &str,
        asked: &RoleGrants,
    ) -> Result<(), PipelineError> {
        match self {
            Self::Operator(_) => Ok(()),
            Self::Key(principal) => {
                may(runner, activity, principal, target, asked)?;
                not_too_often(runner, principal)
            }
        }
    }
}

/// Counts a read, an investigation or a rehearsal that begins, and refuses it where there were too many.
fn not_too_often(runner: &Runner, who: &Principal) -> Result<(), PipelineError> {
    let most = runner.policy().looks_per_hour();
    if runner.state().looks().begin(counted_as(who), runner.decisive()?, HOUR, most)? {
        return Ok(());
    }
    let what =
        format!("{who} has begun {most} reads, investigations and rehearsals within an hour, and may begin no more");
    Err(PipelineError::refused(what).with_hint(
        "nothing was read; wait, or have the trust policy let more be begun: `per-hour` under `[investigations]`",
    ))
}

/// Refuses what no rule of the trust policy lets somebody do on this target, and everything by a policy that expired.
pub(crate) fn may(
    runner: &Runner,
    activity: Activity,
    who: &Principal,
    target: &str,
    asked: &RoleGrants,
) -> Result<(), PipelineError> {
    let refused = |refusal: countersign_trust::Refusal| {
        PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(PROPOSE))
    };
    countersign_trust::unexpired(runner.policy(), runner.decisive()?).map_err(refused)?;
    let contains = containing(runner.registry());
    countersign_trust::may(runner.policy(), activity, who, target, asked, &contains).map(drop).map_err(refused)
}
