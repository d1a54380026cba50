//! What auditors ask: who approved what on which evidence, what came of it, and what is open.

mod collect;
mod html;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::collect::{Collected, Section};
use super::prover::Prover;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::{shown, write_new_durably};
use crate::output::{CommandResult, Done};
use crate::time::{moment, now, parse_since};

#[derive(Args)]
#[command(after_help = "\
Every line has the receipt of the entry that it is from: `countersign audit check-receipt` verifies it offline.

Examples:
  countersign audit report --since 30d --format html --out report.html
  countersign audit report --since 2026-11-01T00:00:00Z --format json")]
pub(crate) struct Arguments {
    /// From when on: a moment, or a length of time before now
    #[arg(long, value_name = "MOMENT|LENGTH", value_parser = parse_since)]
    since: u64,
    /// How it is written: a page to read, or JSON
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write instead of stdout; it must not exist yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page that needs nothing else
    Html,
    /// One object
    Json,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let collected = Collected::of(runner, arguments.since)?;
    let prover = Prover::newest(runner)?;
    let sections = collected.sections(runner.policy());
    let report = report(&prover, &collected, &sections, arguments.since)?;
    let bytes = match arguments.format {
        Format::Html => html::page(&report, &sections).into_bytes(),
        Format::Json => format!("{report:#}\n").into_bytes(),
    };
    let Some(out) = &arguments.out else {
        return Ok(if global.json { Done::new("", report) } else { Done::bytes(std::io::Cursor::new(bytes)) });
    };
    write_new_durably(out, &bytes)?;
    let text =
        format!("wrote    {}\nentries  {}\nkey      {}", shown(out), prover.checkpoint.size, prover.log.to_text());
    Ok(Done::new(text, report).acted())
}

/// The report as JSON, with a receipt in each line.
fn report(prover: &Prover, collected: &Collected, sections: &[Section], since: u64) -> anyhow::Result<Value> {
    let mut report = json!({
        "since": moment(since),
        "until": moment(now()),
        "entries": prover.checkpoint.size,
        "key": prover.log.to_text(),
        "counts": collected.counts(),
    });
    for section in sections {
        let lines: Vec<Value> = section
            .lines
            .iter()
            .map(|line| {
                let mut object = line.fields.clone();
                if let Some(index) = line.index {
                    object.insert("index".to_owned(), index.into());
                    let receipt = prover.receipt(index)?;
                    object.insert("receipt".to_owned(), String::from_utf8_lossy(&receipt).into());
                }
                Ok(Value::Object(object))
            })
            .collect::<anyhow::Result<_>>()?;
        if let Some(object) = report.as_object_mut() {
            object.insert(section.key.to_owned(), Value::Array(lines));
        }
    }
    Ok(report)
}
