use clap::Args;
use countersign_pipeline::Stored;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "Example: countersign review p-0123456789ab")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let stored = Stored::load(&environment.runner, &arguments.proposal)?;
    let targets = environment.targets_of(&stored)?;
    let review = countersign_pipeline::review(&environment.runner, &stored, &targets)?;
    let json = render::review::json(&review)?;
    Ok(Done::new(render::review::text(&review, environment.runner.now()), json))
}
