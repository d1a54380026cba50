use clap::Args;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "Example: countersign show r-0123456789ab")]
pub(crate) struct Arguments {
    /// The run
    run: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let shown = environment.runner.show(&arguments.run, &environment.targets)?;
    let text = render::run::shown(&shown);
    Ok(Done::new(text, serde_json::to_value(&shown)?))
}
