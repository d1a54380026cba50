use std::fmt::Write as _;

use clap::Args;
use countersign_model::text::visible;
use countersign_pipeline::{PipelineError, Recovered, RunReport, StillWaiting, Stuck, Tries};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done, note};
use crate::render;
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "\
Every command recovers first; this one does nothing else, for a timer or the boot.

Examples:
  countersign recover --json
  countersign recover --wait")]
pub(crate) struct Arguments {
    /// Go on waiting for the runs that wait for a confirmation: their checks and guards are repeated until each is
    /// confirmed, rolled back, or decided by silence. Ctrl-C ends the waiting, and leaves them as they are
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open_as_it_is(global)?;
    let recovered = if arguments.wait {
        environment.roll_back_on_signals()?;
        let target = |name: &str| environment.targets.get(name);
        countersign_pipeline::recover_and_wait(&environment.runner, target, |_| crate::notify::ready())?
    } else {
        recover(&environment, Tries::All)?
    };
    recovered.reports.iter().for_each(|report| environment.tell_outcome(report));
    let mut text = String::new();
    for report in &recovered.reports {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}\n", render::run::text(report));
    }
    for run in &recovered.settled {
        let _ = writeln!(text, "run {run}: had ended; what was kept on its target for undo is gone now");
    }
    for came in &recovered.resolutions {
        let _ = writeln!(text, "{}", visible(came));
    }
    for waits in &recovered.waiting {
        let _ = writeln!(text, "run {}", alone(waits));
    }
    for Stuck { run, error, .. } in &recovered.stuck {
        let _ = writeln!(text, "run {run}: STILL UNFINISHED: {}", visible(&error.to_string()));
        if let Some(hint) = error.hint() {
            let _ = writeln!(text, "  hint: {}", visible(hint));
        }
    }
    if text.is_empty() {
        text.push_str("nothing to recover");
    }
    let stuck = |Stuck { run, target, error }: &Stuck| json!({ "run": run, "target": target, "error": crate::output::error_json(error) });
    let json = json!({
        "runs": recovered.reports.iter().map(RunReport::to_json).collect::<Vec<_>>(),
        "settled": recovered.settled,
        "resolutions": recovered.resolutions,
        "waiting": recovered.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "stuck": recovered.stuck.iter().map(stuck).collect::<Vec<_>>(),
    });
    let code = if recovered.needs_person() { 5 } else { 0 };
    Ok(Done::new(text.trim_end().to_owned(), json).with_code(code).acted())
}

/// A run that waits, and what can be done about it.
fn alone(waits: &StillWaiting) -> String {
    let StillWaiting { run, target, until, silence } = waits;
    let silence = if *silence == "keep" { "keeps what it changed" } else { "rolls it back" };
    format!(
        "{run} on {target} waits for a confirmation until {}; silence {silence}; its process is gone: `countersign recover \
         --wait` goes on looking at check and guards",
        moment(*until)
    )
}

fn waiting(waits: &StillWaiting) -> serde_json::Value {
    let StillWaiting { run, target, until, silence } = waits;
    json!({ "run": run, "target": target, "until": until, "silence": silence })
}

fn recover(environment: &Environment, tries: Tries) -> Result<Recovered, PipelineError> {
    countersign_pipeline::recover(&environment.runner, |name| environment.targets.get(name), tries)
}

/// Recovers before another command does its work, and says so on stderr. What cannot be recovered is that command's to
/// meet: it blocks its target still.
pub(crate) fn told(environment: &Environment) -> Recovered {
    match recover(environment, Tries::NotTheHung) {
        Ok(recovered) => {
            for report in &recovered.reports {
                environment.tell_outcome(report);
                note(&format!("recovered: {}", render::run::text(report)));
            }
            for came in &recovered.resolutions {
                note(&format!("recovered: {}", visible(came)));
            }
            for waits in &recovered.waiting {
                note(&format!("run {}", alone(waits)));
            }
            recovered
        }
        Err(error) => {
            note(&format!("nothing was recovered: {error}"));
            Recovered::default()
        }
    }
}
