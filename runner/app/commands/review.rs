use clap::Args;

use crate::cli::Global;
use crate::output::{CommandResult, Done};
use crate::papers::{Papers, PinArguments};
use crate::render;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign review p-0123456789ab
  countersign review orders.proposal --runner SHA256:hbuDVqexb1o4m6ACvXTV3fDUzy1vX6uSZQuuUMTB2FE")]
pub(crate) struct Arguments {
    /// The proposal, or the file that it was exported to: what has a `/` or a `.` in its name
    proposal: String,
    #[command(flatten)]
    pins: PinArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let review = Papers::to_review(global, &arguments.proposal, &arguments.pins)?.review()?;
    let json = render::review::json(&review)?;
    Ok(Done::new(render::review::text(&review, &arguments.proposal, crate::time::now()), json))
}
