use clap::{ArgGroup, Args};
use countersign_model::Outcome;
use countersign_model::text::visible;
use countersign_pipeline::{Said, say};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "\
Examples:
  countersign confirm r-0123456789ab --key ~/.ssh/id_ed25519
  countersign confirm r-0123456789ab --agent --reason 'the queue drains again'

What the run changed stays then, whatever happens to the process that waits. `countersign rollback RUN` puts it back.")]
pub(crate) struct Arguments {
    /// The run that waits
    run: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    said(&environment, &arguments.run, true, arguments.reason.as_deref(), &arguments.signer)
}

/// Says a word on a run that waits, and tells what comes of it.
pub(super) fn said(
    environment: &Environment,
    run: &str,
    keeps: bool,
    reason: Option<&str>,
    signer: &SignerArguments,
) -> CommandResult {
    let signatory = signer.signatory()?;
    let Said { run, target, until, word } = say(&environment.runner, run, keeps, reason, &*signatory)?;
    // Where the process that waited is gone, nobody else brings the run to its end.
    let recovered = super::recover::told(environment);
    let ended = recovered.reports.iter().find(|report| report.run == run);
    let by = &word.by;
    let said = if keeps { "confirmed" } else { "rolled back" };
    let stuck = recovered.stuck.iter().find(|stuck| stuck.run == run);
    let what = match (keeps, ended, stuck) {
        (_, Some(report), _) => format!("run {run} ended {}: {}", report.outcome, report.reason),
        (_, None, Some(stuck)) => format!(
            "that is kept, and counts; but nothing of it is carried out yet, and run {run} on {target} is unfinished: {}",
            stuck.error
        ),
        (true, None, None) => format!("run {run} stays, and what it changed on {target} is committed"),
        (false, None, None) => format!("what run {run} changed on {target} is put back"),
    };
    let next = match stuck {
        Some(_) => "countersign recover    # carries that out".to_owned(),
        None => format!("countersign show {run}"),
    };
    let text = format!("{}\nnext      {next}", visible(&format!("{said} by {by}: {what}")));
    let json = json!({
        "run": run,
        "target": target,
        "by": by,
        "keeps": keeps,
        "reason": word.reason,
        "until": until,
        "outcome": ended.map(|report| report.outcome),
        "stuck": stuck.map(|stuck| crate::output::error_json(&stuck.error)),
    });
    // As it was asked for, or as it ended instead.
    let as_asked = if keeps { Outcome::Committed } else { Outcome::RolledBack };
    let code = match (ended, stuck) {
        (Some(report), _) if report.outcome != as_asked => report.exit_code(),
        (None, Some(_)) => 5,
        _ => 0,
    };
    Ok(Done::new(text, json).with_code(code).acted())
}
