use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::verify::hex;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::shown;
use crate::output::{CommandResult, Done, hinted_by};

#[derive(Args)]
#[command(after_help = "\
Each line has an entry with its place in the log, and the hash that stands for it there.

Example: countersign audit export --format jsonl --out audit.jsonl")]
pub(crate) struct Arguments {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The place to begin at, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// The file to write; it must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A JSON object in each line
    Jsonl,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let Format::Jsonl = arguments.format;
    let out = shown(&arguments.out);
    let failed = |error: std::io::Error| {
        hinted_by(error, format!("`{out}` cannot be written"), "name a file that is not there yet, where there is room")
    };
    let file = std::fs::File::create_new(&arguments.out).map_err(failed)?;
    let mut file = std::io::BufWriter::new(file);
    let (mut next, mut count) = (arguments.from, 0_u64);
    loop {
        let entries = environment.runner.logged_from(next)?;
        let Some(last) = entries.last() else { break };
        next = last.index.saturating_add(1);
        for entry in entries {
            let leaf = hex(&countersign_proof::leaf_hash(&entry.bytes));
            let body: Value = serde_json::from_slice(&entry.bytes).unwrap_or_default();
            let line = json!({ "index": entry.index, "leaf": format!("sha256:{leaf}"), "entry": body });
            writeln!(file, "{line}").map_err(failed)?;
            count = count.saturating_add(1);
        }
    }
    file.flush().map_err(failed)?;
    let text = format!("wrote    {out}\nentries  {count}");
    Ok(Done::new(text, json!({ "file": out, "entries": count })).acted())
}
