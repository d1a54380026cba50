use clap::Args;
use countersign_record::Entry;

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
    let papers = Papers::to_review(global, &arguments.proposal, &arguments.pins)?;
    let review = papers.review()?;
    if let Papers::Here(environment, stored) = &papers {
        let entry = Entry::new("review").with("proposal", stored.proposal.digest());
        let entry = entry.with("principal", environment.reader(None)?.name());
        // To look is refused to nobody whose disk is full.
        if let Err(error) = environment.runner.log(&entry) {
            crate::output::note(&format!("the audit log was not told of this review: {error}"));
        }
    }
    let json = render::review::json(&review)?;
    Ok(Done::new(render::review::text(&review, &arguments.proposal, crate::time::now()), json))
}
