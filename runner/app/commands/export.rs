use std::path::PathBuf;

use clap::Args;
use countersign_pipeline::{Stored, proposal_name};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::files::{shown, write_new_durably};
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "\
Example:
  countersign export p-0123456789ab orders.proposal
  # on another machine, which needs no state and no configuration:
  countersign review orders.proposal --runner SHA256:hbuDVqexb1o4m6ACvXTV3fDUzy1vX6uSZQuuUMTB2FE
  countersign approve orders.proposal --runner known-runners --agent --reason 'seen, agreed'
  # and back here:
  countersign import orders.proposal")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The file to write; it must not exist yet
    file: PathBuf,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let stored = Stored::load(&environment.runner, &arguments.proposal)?;
    let targets = environment.targets_of(&stored)?;
    let bytes = countersign_pipeline::export(&environment.runner, &stored, &targets, &environment.targets)?;
    write_new_durably(&arguments.file, &bytes)?;

    let name = proposal_name(&stored.proposal.digest());
    let (runner, policy) = (environment.runner.fingerprint(), environment.runner.policy().digest());
    let shown = shown(&arguments.file);
    // What has no `/` and no `.` in it would be taken for a proposal's name.
    let shown = if shown.contains(['/', '.']) { shown } else { format!("./{shown}") };
    let text = format!(
        "exported {name} to {shown}, {} bytes\nrunner   {runner}\npolicy   {policy}\nnext     tell the reviewer the \
         runner's fingerprint by another way, then:\n         countersign review {shown} --runner {runner}",
        bytes.len()
    );
    let json = json!({ "proposal": name, "file": shown, "bytes": bytes.len(), "runner": runner, "policy": policy });
    Ok(Done::new(text, json).acted())
}
