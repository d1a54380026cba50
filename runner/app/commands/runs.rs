use clap::Args;
use countersign_pipeline::ListedRun;
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render::{self, table};
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "Example: countersign runs --limit 5")]
pub(crate) struct Arguments {
    /// How many, newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runs = environment.runner.runs(arguments.limit, &environment.targets)?;
    let mut rows =
        vec![["RUN", "OUTCOME", "TARGET", "PROPOSAL", "STARTED", "BY", "REASON"].map(str::to_owned).to_vec()];
    for run in &runs {
        rows.push(vec![
            run.run.clone(),
            run.outcome.clone(),
            run.target.clone(),
            run.proposal.clone(),
            moment(run.started),
            countersign_model::text::excerpt(run.actor.as_deref().unwrap_or("unknown"), 40),
            countersign_model::text::excerpt(&said(run), 80),
        ]);
    }
    let mut text = if runs.is_empty() { "there were no runs".to_owned() } else { table(&rows) };
    for run in runs.iter().filter(|run| !run.open.is_empty()) {
        text.push_str(&format!(
            "
{}",
            render::run::open_in_a_line(&run.run, &run.open)
        ));
    }
    let paused = super::pause::told(&environment)?;
    Ok(Done::new(text, json!({ "runs": runs, "paused": paused })))
}

/// Why it ended as it did, after what it has to do with another run.
fn said(run: &ListedRun) -> String {
    if let Some(resolved) = run.resolved {
        let stands = if resolved { "resolved".to_owned() } else { format!("{} open", run.open.len()) };
        return format!("{stands}; {}", run.reason);
    }
    match (&run.undone_by, &run.undoes) {
        (Some(by), _) => format!("undone by {by}; {}", run.reason),
        (None, Some(undone)) => format!("undoes {undone}; {}", run.reason),
        (None, None) => run.reason.clone(),
    }
}
