use std::path::Path;
use std::time::Duration;

use clap::Args;
use countersign_model::Outcome;
use countersign_pipeline::{Order, PipelineError, Runner, Stored};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign run p-0123456789ab
  countersign run p-0123456789ab --wait --timeout 1h
  countersign run p-0123456789ab --confirm-within 10m")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The target, where the proposal names several
    #[arg(long)]
    target: Option<String>,
    /// Wait until enough people have approved, and start at the last signature; nothing is held meanwhile
    #[arg(long)]
    wait: bool,
    /// For how long to wait at most [default: until the proposal expires]
    #[arg(long, value_name = "SPAN", requires = "wait", value_parser = crate::time::parse_duration)]
    timeout: Option<u64>,
    /// For how long to wait at most while another run holds the target, or a subject that this one would change; `0s`
    /// refuses at once
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = crate::time::parse_duration_or_none)]
    lock_timeout: u64,
    /// Commit only once somebody has confirmed what was changed (`countersign confirm`), within this time at most: 1s to
    /// 7d. Silence rolls it back, unless the approval says that it keeps it. What was signed may be shortened, and no more
    #[arg(long, value_name = "SPAN", value_parser = crate::time::parse_confirmation)]
    confirm_within: Option<u64>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let mut environment = Environment::open_for(global, Path::new(&arguments.proposal))?;
    if arguments.wait {
        let timeout = arguments.timeout.map(Duration::from_millis);
        let wait = |runner: &Runner, order: &Order<'_>| countersign_pipeline::await_approval(runner, order, timeout);
        if let Err(refused) = ordered(&environment, arguments, wait)? {
            return Ok(refused);
        }
        // Whatever was read before the last signature is read again.
        environment = environment.again(global)?;
    }
    let report = match ordered(&environment, arguments, countersign_pipeline::remediate)? {
        Ok(report) => report,
        Err(refused) => return Ok(refused),
    };
    environment.tell_outcome(&report);
    Ok(Done::new(render::run::text(&report), report.to_json()).with_code(report.exit_code()).acted())
}

/// Acts on the proposal, everything that belongs to it read now and signals caught. A refusal is a result too.
fn ordered<T>(
    environment: &Environment,
    arguments: &Arguments,
    act: impl FnOnce(&Runner, &Order<'_>) -> Result<T, PipelineError>,
) -> anyhow::Result<Result<T, Done>> {
    let runner = &environment.runner;
    let stored = Stored::load(runner, &arguments.proposal)?;
    let name = match (&arguments.target, stored.proposal.document().targets.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [target]) => target.name.as_str(),
        (None, targets) => {
            let command = |name: &str| format!("`countersign run {} --target {name}`", arguments.proposal);
            let each: Vec<_> = targets.iter().map(|target| command(&target.name)).collect();
            return Err(crate::output::hinted(
                format!("the proposal names {} targets", targets.len()),
                format!("run one at a time: {}", each.join(", ")),
            ));
        }
    };
    let order = Order::new(&stored, name, environment.target(name)?)?.confirmed_within(arguments.confirm_within);
    let order = order.waiting_for_locks(Duration::from_millis(arguments.lock_timeout));
    environment.roll_back_on_signals()?;
    match act(runner, &order) {
        Ok(done) => Ok(Ok(done)),
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
            Ok(Err(Done::new(text, json).with_code(error.exit_code())))
        }
        Err(error) => Err(error.into()),
    }
}
