use clap::Args;
use countersign_pipeline::{MAX_PENDING, PendingProposal};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render::{self, table};
use crate::time::{moment, span};

#[derive(Args)]
#[command(after_help = "Example: countersign pending --json")]
pub(crate) struct Arguments {}

pub(crate) fn run(global: &Global, _: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let all = countersign_pipeline::pending(runner, &environment.targets)?;
    let pending = &all.pending;
    let now = runner.now();
    let mut rows = vec![["PROPOSAL", "STATUS", "TARGETS", "AGE", "EXPIRES", "REMEDIATION"].map(str::to_owned).to_vec()];
    for proposal in pending {
        rows.push(vec![
            proposal.name.clone(),
            proposal
                .approved_until
                .map_or_else(|| proposal.status.clone(), |until| format!("approved until {}", moment(until))),
            targets(proposal),
            span(now.saturating_sub(proposal.created)),
            moment(proposal.expires),
            proposal.remediation.clone(),
        ]);
    }
    let mut text = if pending.is_empty() { "nothing is pending".to_owned() } else { table(&rows) };
    let open = runner.open_runs()?;
    for run in &open {
        text.push_str(&format!("\n{}", render::run::open_in_a_line(&run.run, &run.open)));
    }
    let paused = super::pause::told(&environment)?;
    for proposal in pending {
        // Of a pause it is said once.
        let told = paused.as_ref().map(countersign_pipeline::describe_pause);
        if let Some(why) = proposal.why.as_ref().filter(|why| told.as_ref() != Some(*why)) {
            crate::output::note(&format!("{} cannot run: {why}", proposal.name));
        }
    }
    if all.left_off > 0 {
        let left_off = all.left_off;
        crate::output::note(&format!(
            "only the oldest {MAX_PENDING} were looked at: {left_off} later ones are left off"
        ));
    }
    Ok(Done::new(text, json!({ "pending": pending, "left_off": all.left_off, "open": open, "paused": paused })))
}

/// Where it waits, and where it ran already.
fn targets(proposal: &PendingProposal) -> String {
    let waiting: Vec<_> =
        proposal.targets.iter().filter(|name| !proposal.done.contains(name)).map(String::as_str).collect();
    let waiting = waiting.join(",");
    if proposal.done.is_empty() { waiting } else { format!("{waiting} ({} done)", proposal.done.join(", ")) }
}
