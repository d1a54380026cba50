use clap::{ArgGroup, Args};
use serde_json::json;

use crate::cli::Global;
use crate::files::shown;
use crate::output::{CommandResult, Done, noted};
use crate::papers::{Papers, PinArguments};
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "\
Examples:
  countersign deny p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'not during the sale'
  countersign deny orders.proposal --runner known-runners --agent --reason 'not during the sale'")]
pub(crate) struct Arguments {
    /// The proposal, or the file that it was exported to: what has a `/` or a `.` in its name
    proposal: String,
    #[command(flatten)]
    signer: SignerArguments,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    pins: PinArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let mut papers = Papers::to_sign(global, &arguments.proposal, &arguments.pins)?;
    papers.signable()?;
    let who = papers.deny(&*arguments.signer.signatory()?, &arguments.reason)?;
    let (name, file) = (papers.name(), papers.file().map(shown));
    let mut text = match &file {
        None => format!("denied by {who}: {name} can no longer be approved or run"),
        Some(file) => format!(
            "denied by {who}: {name} can no longer be approved from {file}\nnext      on its host: countersign import {file}"
        ),
    };
    // It is signed and kept: what cannot be looked at now does not undo that.
    let mut notes = papers.notes();
    let committed = noted(&mut notes, "the proposal's runs were not looked at", papers.committed());
    notes.iter().for_each(|note| crate::output::note(note));
    for run in &committed {
        text.push_str(&format!("\n{run} stays as it is: countersign rollback {run}"));
    }
    let json = json!({
        "proposal": name,
        "denied_by": who,
        "reason": arguments.reason,
        "file": file,
        "committed": committed,
    });
    Ok(Done::new(text, json).acted())
}
