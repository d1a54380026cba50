use std::path::PathBuf;

use clap::Args;
use countersign_model::text::{excerpt, visible};
use countersign_proof::{MAX_RECEIPT, Receipt};
use serde_json::{Value, json};

use super::{VerifierArguments, unverified};
use crate::cli::Global;
use crate::files::{read_bounded, shown};
use crate::output::{CommandResult, Done};
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "\
Example: countersign audit check-receipt outcome.tlog-proof --key log.vkey --witness witness.vkey --witnesses 1")]
pub(crate) struct Arguments {
    /// The receipt
    file: PathBuf,
    #[command(flatten)]
    keys: VerifierArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let (log, known) = arguments.keys.read(global)?;
    let bytes = read_bounded(&arguments.file, MAX_RECEIPT as u64)?;
    let verified = Receipt::parse(&bytes)
        .and_then(|receipt| receipt.verify(&log, &known))
        .and_then(|verified| verified.opened.witnessed_by(arguments.keys.witnesses).map(|()| verified))
        .map_err(|error| unverified(format!("the receipt `{}` proves nothing", shown(&arguments.file)), error))?;
    let checkpoint = &verified.opened.checkpoint;
    let entry: Value = serde_json::from_slice(&verified.entry).unwrap_or_default();
    let mut text = format!(
        "proven   entry {} of {} of {}\nkey      {}",
        verified.index,
        checkpoint.size,
        visible(&checkpoint.origin),
        visible(&log.to_text())
    );
    for one in &verified.opened.cosignatures {
        text.push_str(&format!("\ncosigned by {} at {}", visible(&one.witness), moment(one.at.saturating_mul(1000))));
    }
    text.push_str("\nentry");
    for (key, value) in entry.as_object().into_iter().flatten() {
        let value = match (key.as_str(), value) {
            ("at", Value::Number(at)) => at.as_u64().map_or_else(|| at.to_string(), moment),
            (_, Value::String(text)) => excerpt(text, 1_000),
            (_, other) => excerpt(&other.to_string(), 1_000),
        };
        text.push_str(&format!("\n  {}: {value}", visible(key)));
    }
    let cosigned = verified.opened.cosignatures.iter();
    let json = json!({
        "origin": checkpoint.origin,
        "key": log.to_text(),
        "index": verified.index,
        "entries": checkpoint.size,
        "entry": entry,
        "cosignatures": cosigned.map(|one| json!({ "witness": one.witness, "at": one.at })).collect::<Vec<_>>(),
    });
    Ok(Done::new(text, json))
}
