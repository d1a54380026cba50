use clap::Args;
use countersign_model::Outcome;
use countersign_pipeline::{Order, PipelineError, Stored};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "Example: countersign run p-0123456789ab")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The target, where the proposal names several
    #[arg(long)]
    target: Option<String>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let stored = Stored::load(runner, &arguments.proposal)?;
    let name = match (&arguments.target, stored.proposal.document().targets.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [target]) => target.name.as_str(),
        (None, targets) => {
            let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
            return Err(crate::output::hinted(
                format!("the proposal names {} targets", targets.len()),
                format!("run one at a time with `--target`: {}", names.join(", ")),
            ));
        }
    };
    let order = Order {
        proposal: &stored.proposal,
        bundle: &stored.bundle,
        rehearsal: stored.rehearsal(name)?,
        name,
        target: environment.target(name)?,
    };
    environment.roll_back_on_signals()?;
    let report = match countersign_pipeline::remediate(runner, &order) {
        Ok(report) => report,
        Err(error @ PipelineError::Refused { .. }) => {
            let run = runner.keep_refusal(&order, &error);
            crate::output::explain(&error);
            let json = json!({
                "run": run,
                "target": name,
                "outcome": Outcome::Refused,
                "reason": error.to_string(),
                "changes": [],
                "error": crate::output::error_json(&error),
            });
            let text = format!("refused; target {name}: nothing changed, and no use of an approval is spent");
            return Ok(Done::new(text, json).with_code(error.exit_code()));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Done::new(render::run::text(&report), report.to_json()).with_code(report.exit_code()).acted())
}
