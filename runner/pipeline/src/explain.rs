//! Why a proposal may run on a target or may not: what the decider says, rule by rule, and what bars it besides.

use countersign_trust::Finding;

use crate::error::PipelineError;
use crate::order::{self, Order};
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// What has a say in a run, and whether it may begin.
pub struct Explained {
    /// What each rule and each paper says.
    pub findings: Vec<Finding>,
    /// Why no run would begin; `None` where one would, as far as that can be told without looking at the target.
    pub bar: Option<PipelineError>,
}

/// Asks everything that has a say in a run of this proposal on one of its targets. Changes nothing.
///
/// # Errors
/// When the proposal does not name the target, or what has a say cannot be read.
pub fn explain(runner: &Runner, stored: &Stored, name: &str, target: &Target) -> Result<Explained, PipelineError> {
    let order = Order::new(stored, name, target)?;
    // Looking is not refused, also where nothing would be decided by this clock: the bar says so then.
    let now = runner.decisive().unwrap_or_else(|_| runner.now());
    let (findings, _) = order::asked(runner, &order, now, countersign_trust::explain)?;
    let bar = order::preflight(runner, &order).err().map(|bar| bar.error(&stored.proposal));
    Ok(Explained { findings, bar })
}
