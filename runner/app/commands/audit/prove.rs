use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::prover::Prover;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::{shown, write_new_durably};
use crate::output::{CommandResult, Done, hinted};

#[derive(Args)]
#[command(after_help = "\
The receipt is in C2SP's `tlog-proof` format, with the entry as its extra data. It proves what it says offline, to anybody who
has the log's key. It carries the cosignatures of the last witnessed checkpoint, where that has the entry.

Examples:
  countersign audit prove r-0123456789ab > outcome.tlog-proof
  countersign audit prove --entry 12 --out entry.tlog-proof")]
pub(crate) struct Arguments {
    /// The run, whose outcome or refusal is proven
    #[arg(required_unless_present = "entry", conflicts_with = "entry")]
    run: Option<String>,
    /// The entry at this place of the log instead, from 0
    #[arg(long, value_name = "N")]
    entry: Option<u64>,
    /// The file to write; it must not exist yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let index = match (&arguments.run, arguments.entry) {
        (_, Some(index)) => index,
        (Some(run), None) => outcome(runner, run)?,
        (None, None) => {
            return Err(hinted("neither a run nor an entry is named", "name a run; `countersign runs` lists them"));
        }
    };
    let prover = Prover::of_entry(runner, index)?;
    let bytes = prover.receipt(index)?;
    let (log, size) = (&prover.log, prover.checkpoint.size);
    let json = json!({
        "index": index,
        "entries": size,
        "key": log.to_text(),
        "receipt": arguments.out.is_none().then(|| String::from_utf8_lossy(&bytes)),
        "file": arguments.out.as_deref().map(shown),
    });
    let Some(out) = &arguments.out else {
        return Ok(if global.json { Done::new("", json) } else { Done::bytes(std::io::Cursor::new(bytes)) });
    };
    write_new_durably(out, &bytes)?;
    let text = format!(
        "wrote    {}\nproves   entry {index} of {size}\nkey      {}\nnext     countersign audit check-receipt {} --key KEY",
        shown(out),
        log.to_text(),
        shown(out)
    );
    Ok(Done::new(text, json).acted())
}

/// The place of the entry that tells how a run ended.
fn outcome(runner: &countersign_pipeline::Runner, run: &str) -> anyhow::Result<u64> {
    let (run, entries) = runner.logged_of(run)?;
    let ended = entries.iter().find(|entry| {
        let entry: Value = serde_json::from_slice(&entry.bytes).unwrap_or_default();
        matches!(entry.get("kind").and_then(Value::as_str), Some("outcome" | "refusal"))
    });
    ended.map(|entry| entry.index).ok_or_else(|| {
        let what = format!("the run {run} has no outcome in the audit log yet");
        hinted(what, format!("see how far it is: `countersign show {run}`; `--entry N` proves any other entry"))
    })
}
