use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render::table;
use crate::time::{moment, span};

#[derive(Args)]
#[command(after_help = "Example: countersign pending --json")]
pub(crate) struct Arguments {}

pub(crate) fn run(global: &Global, _: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let pending = runner.pending()?;
    let now = runner.now();
    let mut rows = vec![["PROPOSAL", "STATUS", "TARGETS", "AGE", "EXPIRES", "REMEDIATION"].map(str::to_owned).to_vec()];
    for proposal in &pending {
        rows.push(vec![
            proposal.name.clone(),
            proposal.status.to_owned(),
            proposal.targets.join(","),
            span(now.saturating_sub(proposal.created)),
            moment(proposal.expires),
            proposal.remediation.clone(),
        ]);
    }
    let text = if pending.is_empty() { "nothing is pending".to_owned() } else { table(&rows) };
    Ok(Done::new(text, json!({ "pending": pending })))
}
