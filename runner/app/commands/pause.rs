use clap::{ArgGroup, Args};
use countersign_model::text::visible;
use countersign_pipeline::Paused;
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "\
Examples:
  countersign pause --key ~/.ssh/id_ed25519 --reason 'the database is being moved'
  countersign pause --lift --key ~/.ssh/id_ed25519 --reason 'it is moved'

Anybody may whom the trust policy lists as a person who may operate or approve. A run that is under way goes on to its
end; recovery, and undoing what a run left unfinished, are never kept waiting.")]
pub(crate) struct Arguments {
    /// Let new runs begin again
    #[arg(long)]
    lift: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    // Nothing is recovered first: this is at once.
    let environment = Environment::open_as_it_is(global)?;
    let paused = !arguments.lift;
    let signatory = arguments.signer.signatory()?;
    let said = countersign_pipeline::pause(&environment.runner, &*signatory, paused, &arguments.reason)?;
    let mut text = match paused {
        true => format!("paused by {}: no new run begins", said.by),
        false => format!("lifted by {}: new runs may begin", said.by),
    };
    if let (true, Some(before)) = (paused, &said.before) {
        text.push_str(&format!("\nbefore    {}", visible(&countersign_pipeline::describe_pause(before))));
    }
    if paused {
        for (run, target) in &said.running {
            text.push_str(&format!("\nunder way run {run} on `{}` goes on to its end", visible(target)));
        }
        text.push_str("\nnext      countersign pause --lift --key KEY --reason TEXT ends it");
    }
    let json = json!({
        "paused": paused,
        "by": said.by,
        "at": said.at,
        "reason": arguments.reason,
        "running": said.running.iter().map(|(run, _)| run).collect::<Vec<_>>(),
    });
    Ok(Done::new(text, json).acted())
}

/// Says that new runs are paused, where they are.
pub(crate) fn told(environment: &Environment) -> anyhow::Result<Option<Paused>> {
    let paused = environment.runner.paused()?;
    if let Some(paused) = &paused {
        crate::output::note(&countersign_pipeline::describe_pause(paused));
    }
    Ok(paused)
}
