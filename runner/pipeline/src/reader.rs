//! Who looks at a target before anything is approved, and what the trust policy lets them.

use countersign_model::documents::RoleGrants;
use countersign_trust::{Activity, Principal};

use crate::error::PipelineError;
use crate::propose::PROPOSE;
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

    /// Refuses what no rule of the trust policy lets them do on this target.
    pub(crate) fn may(
        &self,
        runner: &Runner,
        activity: Activity,
        target: &str,
        asked: &RoleGrants,
    ) -> Result<(), PipelineError> {
        match self {
            Self::Operator(_) => Ok(()),
            Self::Key(principal) => may(runner, activity, principal, target, asked),
        }
    }
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
