use clap::{ArgGroup, Args};
use countersign_model::text::visible;
use countersign_pipeline::{Closing, Resolved, Way};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("way").required(true).args(["accept", "restore"])))]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "\
What is written over by `--restore` is journaled and kept first; nothing is reloaded by it. How the run
ended stays what it was. Once nothing of it is open, what it kept beside its files is removed.

Examples:
  countersign resolve r-0123456789ab /etc/nginx/nginx.conf --restore --key ~/.ssh/id_ed25519 --reason 'as before'
  countersign resolve r-0123456789ab 'guard up' --accept --agent --reason 'it is down for another reason'")]
pub(crate) struct Arguments {
    /// The run
    run: String,
    /// What is open of it, as `countersign show RUN` names it
    subject: String,
    /// It may stay as it is now
    #[arg(long)]
    accept: bool,
    /// What it was before the run is put back, over whatever is there now
    #[arg(long)]
    restore: bool,
    #[command(flatten)]
    signer: SignerArguments,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let word = Closing {
        run: &arguments.run,
        subject: &arguments.subject,
        way: if arguments.restore { Way::Restore } else { Way::Accept },
        reason: &arguments.reason,
    };
    let signatory = arguments.signer.signatory()?;
    let resolved = countersign_pipeline::resolve(&environment.runner, &environment.targets, &word, &*signatory)?;
    Ok(done(&resolved))
}

fn done(resolved: &Resolved) -> Done {
    let Resolved { run, target, subject, way, by, found, open, left_behind } = resolved;
    let shown = visible(subject);
    let mut text = match way {
        Way::Accept => format!("accepted by {by}: {shown} may stay as it is"),
        Way::Restore => format!("restored by {by}: {shown} was read back and is as before run {run}"),
    };
    if let Some(found) = found {
        let what = if *way == Way::Accept { "found    " } else { "replaced " };
        text.push_str(&format!("\n{what} {found}"));
    }
    if *way == Way::Restore {
        text.push_str("\nnext      nothing is told to read it again: reload what has to");
    }
    for kept in left_behind {
        text.push_str(&format!("\nleft behind on the target, harmless: {}", visible(kept)));
    }
    if open.is_empty() {
        text.push_str(&format!("\nrun {run}: nothing is open any more"));
    } else {
        text.push_str("\nopen still:\n");
        text.push_str(&render::run::open(run, open));
    }
    let json = json!({
        "run": run,
        "target": target,
        "subject": subject,
        "way": way,
        "by": by,
        "found": found,
        "open": open,
        "left_behind": left_behind,
    });
    Done::new(text.trim_end().to_owned(), json).acted()
}
