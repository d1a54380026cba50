use std::path::PathBuf;

use clap::Args;
use countersign_pipeline::{Stored, proposal_name};
use serde_json::json;

use crate::cli::Global;
use crate::environment::{Environment, load_key};
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(
    after_help = "Example: countersign deny p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'not during the sale'"
)]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The private key of somebody who may approve
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let stored = Stored::load(&environment.runner, &arguments.proposal)?;
    let key = load_key(&arguments.key)?;
    let who = countersign_pipeline::deny(&environment.runner, &stored, &key, &arguments.reason)?;
    let name = proposal_name(&stored.proposal.digest());
    let text = format!("denied by {who}: {name} can no longer be approved or run");
    Ok(Done::new(text, json!({ "proposal": name, "denied_by": who, "reason": arguments.reason })).acted())
}
