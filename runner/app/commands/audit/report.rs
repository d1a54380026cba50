//! What auditors ask: who approved what on which evidence, what came of it, and what is open.

mod collect;
mod html;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use countersign_proof::{Checkpoint, Directory, MAX_NOTE, Receipt, Source, Tree, VerifierKey};
use countersign_record::CHECKPOINT;
use serde_json::{Value, json};

use self::collect::{Collected, Section};
use super::unverified;
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
    // Of runs that were recovered just now as well.
    runner.publish_log(true)?;
    let prover = Prover::of(runner)?;
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
    let text = format!("wrote    {}\nentries  {}\nkey      {}", shown(out), prover.size, prover.log.to_text());
    Ok(Done::new(text, report).acted())
}

/// The report as JSON, with a receipt in each line.
fn report(prover: &Prover, collected: &Collected, sections: &[Section], since: u64) -> anyhow::Result<Value> {
    let mut report = json!({
        "since": moment(since),
        "until": moment(now()),
        "entries": prover.size,
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
                    object.insert("receipt".to_owned(), prover.receipt(index)?.into());
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

/// Makes receipts of a log as it is now.
struct Prover {
    log: VerifierKey,
    source: Directory,
    note: Vec<u8>,
    checkpoint: Checkpoint,
    size: u64,
}

impl Prover {
    fn of(runner: &countersign_pipeline::Runner) -> anyhow::Result<Self> {
        let log = runner.log_verifier()?;
        let source = Directory::new(&runner.log_dir());
        let note = source.read(CHECKPOINT, MAX_NOTE).ok().flatten().unwrap_or_default();
        let failed = |error| unverified("the log cannot be reported on".to_owned(), error);
        let checkpoint = Checkpoint::open(&note, &log, &[]).map_err(failed)?.checkpoint;
        let size = checkpoint.size;
        Ok(Self { log, source, note, checkpoint, size })
    }

    fn receipt(&self, index: u64) -> anyhow::Result<String> {
        let failed = |error| unverified(format!("the entry {index} cannot be proven"), error);
        let (entry, proof) = Tree::new(&self.source, &self.checkpoint).inclusion(index).map_err(failed)?;
        let receipt = Receipt { entry, index, proof, checkpoint: self.note.clone() };
        let bytes = receipt.to_bytes();
        receipt.verify(&self.log, &[]).map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
