use clap::Args;
use countersign_pipeline::{MAX_PENDING, PendingProposal, WaitingForWord};
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
    let mut text = match (pending.is_empty(), all.waiting.is_empty()) {
        (true, true) => "nothing is pending".to_owned(),
        (true, false) => String::new(),
        (false, _) => table(&rows),
    };
    if !all.waiting.is_empty() {
        text.push_str(if pending.is_empty() { "" } else { "\n\n" });
        text.push_str(&table(&waiting(&all.waiting)));
    }
    let open = runner.open_runs()?;
    for run in &open {
        text.push_str(&format!("\n{}", render::run::open_in_a_line(&run.run, &run.open)));
    }
    let reviews = countersign_pipeline::glass_reviews(runner, false)?;
    for glass in &reviews {
        text.push_str(&format!("\n{}", super::break_glass::in_a_line(glass)));
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
            "only {MAX_PENDING} were looked at, the oldest of each proposer: {left_off} later ones are left off"
        ));
    }
    let json = json!({
        "pending": pending,
        "waiting": all.waiting,
        "left_off": all.left_off,
        "break_glass": reviews,
        "open": open,
        "paused": paused,
    });
    Ok(Done::new(text, json))
}

/// The runs that wait for a person's word.
fn waiting(runs: &[WaitingForWord]) -> Vec<Vec<String>> {
    let mut rows = vec![["RUN", "STATUS", "TARGET", "PROPOSAL", "SILENCE", "MAY CONFIRM"].map(str::to_owned).to_vec()];
    for run in runs {
        let alone = if run.waiting.attended { "" } else { ", its process is gone" };
        let silence = match run.waiting.silence {
            Some("keep") => "keeps it",
            Some(_) => "rolls it back",
            None => "unknown",
        };
        rows.push(vec![
            run.run.clone(),
            format!("to be confirmed until {}{alone}", moment(run.waiting.until)),
            run.target.clone(),
            run.proposal.clone(),
            silence.to_owned(),
            if run.may_confirm.is_empty() { "nobody".to_owned() } else { run.may_confirm.join(",") },
        ]);
    }
    rows
}

/// Where it waits, and where it ran already.
fn targets(proposal: &PendingProposal) -> String {
    let waiting: Vec<_> =
        proposal.targets.iter().filter(|name| !proposal.done.contains(name)).map(String::as_str).collect();
    let waiting = waiting.join(",");
    if proposal.done.is_empty() { waiting } else { format!("{waiting} ({} done)", proposal.done.join(", ")) }
}
