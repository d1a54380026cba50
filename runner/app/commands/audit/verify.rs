use std::path::PathBuf;

use clap::Args;
use countersign_model::strict::from_slice;
use countersign_model::text::visible;
use countersign_proof::{Directory, verify_log};
use serde::Deserialize;
use serde_json::json;

use super::{VerifierArguments, checkpoint, unverified};
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::shown;
use crate::output::{CommandResult, Done};
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "\
Reads the log's files alone, in little memory, and takes nothing from whoever wrote them but what its key signed.

Examples:
  countersign audit verify
  countersign audit verify /mnt/copy/audit --key log.vkey --checkpoint kept.checkpoint --witness witness.vkey")]
pub(crate) struct Arguments {
    /// The log's directory, which holds `checkpoint` and `tile`; the state's own without it
    directory: Option<PathBuf>,
    /// A checkpoint of this log that was kept elsewhere: the log must go on from it; may be given again
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    keys: VerifierArguments,
}

/// What every entry has.
#[derive(Deserialize)]
struct Known {
    kind: String,
    at: u64,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let directory = match &arguments.directory {
        Some(directory) => directory.clone(),
        // Opened, so that its files say all that was recorded.
        None => Environment::open_as_it_is(global)?.runner.log_dir(),
    };
    let (log, known) = arguments.keys.read(global)?;
    let mut held = Vec::new();
    for path in &arguments.checkpoint {
        held.push(checkpoint(path, &log, &known)?.checkpoint);
    }
    let mut latest = 0;
    let mut each = |_: u64, bytes: &[u8]| {
        let entry: serde_json::Value = from_slice(bytes, bytes.len()).map_err(|error| error.to_string())?;
        let Known { kind, at } = serde_json::from_value(entry).map_err(|error| error.to_string())?;
        if at < latest || kind.is_empty() {
            return Err("its time is before that of the entry before it".to_owned());
        }
        latest = at;
        Ok(())
    };
    let source = Directory::new(&directory);
    let whole = verify_log(&source, &log, &known, &held, &mut each)
        .and_then(|whole| whole.opened.witnessed_by(arguments.keys.witnesses).map(|()| whole))
        .map_err(|error| unverified(format!("the audit log in `{}` does not verify", shown(&directory)), error))?;

    let opened = &whole.opened.checkpoint;
    let root = format!("sha256:{}", hex(&opened.root));
    let mut text = format!(
        "verified {} entries of {}\nroot     {root}\nkey      {}",
        opened.size,
        visible(&opened.origin),
        visible(&log.to_text())
    );
    if opened.size > 0 {
        text.push_str(&format!("\nlatest   {}", moment(latest)));
    }
    for held in &held {
        text.push_str(&format!("\nbegins with the {} entries of a checkpoint held elsewhere", held.size));
    }
    for one in &whole.opened.cosignatures {
        text.push_str(&format!("\ncosigned by {} at {}", visible(&one.witness), moment(one.at.saturating_mul(1000))));
    }
    let cosigned = whole.opened.cosignatures.iter();
    let json = json!({
        "origin": opened.origin,
        "entries": opened.size,
        "root": root,
        "key": log.to_text(),
        "files": whole.files,
        "held": held.iter().map(|held| held.size).collect::<Vec<_>>(),
        "cosignatures": cosigned.map(|one| json!({ "witness": one.witness, "at": one.at })).collect::<Vec<_>>(),
    });
    Ok(Done::new(text, json))
}

/// A hash as people compare it.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
