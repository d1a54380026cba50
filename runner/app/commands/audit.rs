//! The audit log. What reads it uses `countersign-proof` alone, which shares no code with what writes it.

mod check_receipt;
mod export;
mod prove;
mod prover;
mod report;
mod verify;
mod witness;

use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};
use countersign_proof::{Checkpoint, KeyKind, MAX_NOTE, Opened, ProofError, VerifierKey};
use countersign_trust::PublicKey;

use crate::cli::Global;
use crate::environment::state_directory;
use crate::files::{read_bounded, shown};
use crate::output::{CommandResult, hinted, hinted_by};

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign audit verify
  countersign audit prove r-0123456789ab --out outcome.tlog-proof
  countersign audit check-receipt outcome.tlog-proof --key log.vkey
  countersign audit witness https://witness.example --key witness.vkey
  countersign audit export --out audit.jsonl
  countersign audit report --since 30d --format html --out report.html")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Verify every entry of a log, offline, against its signed checkpoint and those that were kept elsewhere
    Verify(verify::Arguments),
    /// Make a receipt of a run's outcome, or of any entry, that proves it to whoever has the log's key
    Prove(prove::Arguments),
    /// Verify a receipt, offline
    CheckReceipt(check_receipt::Arguments),
    /// Have a witness cosign the log as it is now
    Witness(witness::Arguments),
    /// Write every entry, a line of JSON each
    Export(export::Arguments),
    /// Tell who approved what on which evidence, what came of it and what is open, each line with its receipt
    Report(report::Arguments),
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    match &arguments.verb {
        Verb::Verify(arguments) => verify::run(global, arguments),
        Verb::Prove(arguments) => prove::run(global, arguments),
        Verb::CheckReceipt(arguments) => check_receipt::run(global, arguments),
        Verb::Witness(arguments) => witness::run(global, arguments),
        Verb::Export(arguments) => export::run(global, arguments),
        Verb::Report(arguments) => report::run(global, arguments),
    }
}

/// Whose signatures are believed.
#[derive(Args)]
struct VerifierArguments {
    /// The log's key, `NAME+ID+KEY` or a file that holds it; that of this host's runner without it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A witness's key, `NAME+ID+KEY` or a file that holds it, whose cosignatures count; may be given again
    #[arg(long, value_name = "KEY")]
    witness: Vec<String>,
    /// How many of these witnesses must have cosigned the checkpoint
    #[arg(long, value_name = "N", default_value_t = 0)]
    witnesses: usize,
}

impl VerifierArguments {
    /// The log's key, and those of the witnesses that count.
    fn read(&self, global: &Global) -> anyhow::Result<(VerifierKey, Vec<VerifierKey>)> {
        Ok((log_key(global, self.key.as_deref())?, witnesses(&self.witness)?))
    }
}

/// A key in the form `NAME+ID+KEY`, or a file that holds one.
fn key(text: &str) -> anyhow::Result<VerifierKey> {
    let parsed = match VerifierKey::parse(text) {
        Err(_) if !text.contains('+') || Path::new(text).is_file() => {
            let bytes = read_bounded(Path::new(text), 4096)?;
            VerifierKey::parse(&String::from_utf8_lossy(&bytes))
        }
        parsed => parsed,
    };
    let shown = countersign_model::text::excerpt(text, 80);
    parsed.map_err(|error| {
        let hint = "name a key as `countersign audit verify` prints it, `NAME+ID+KEY`, or a file that holds one";
        hinted_by(error, format!("`{shown}` is no key of a log or a witness"), hint)
    })
}

/// The log's key as it was given, else that of the runner whose state this is.
fn log_key(global: &Global, given: Option<&str>) -> anyhow::Result<VerifierKey> {
    if let Some(given) = given {
        let key = key(given)?;
        if key.kind() != KeyKind::Note {
            return Err(hinted("the key is a witness's, and the log's is wanted", "name the log's key with `--key`"));
        }
        return Ok(key);
    }
    let path = state_directory(global)?.join("runner.pub");
    let bytes = read_bounded(&path, 16 * 1024).map_err(|_| {
        let what = format!("no key of the log is named, and there is no `{}`", shown(&path));
        hinted(what, "name the key with `--key`, as its owner gave it to you: what stands beside a log proves nothing")
    })?;
    let public = PublicKey::from_openssh(&String::from_utf8_lossy(&bytes))
        .with_context(|| format!("`{}` is no public key", shown(&path)))?;
    Ok(countersign_pipeline::log_verifier(&public)?)
}

/// The keys of witnesses, each once.
fn witnesses(given: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys: Vec<VerifierKey> = Vec::new();
    for text in given {
        let key = key(text)?;
        if key.kind() != KeyKind::Cosignature {
            let what = format!("`{}` is no witness's key", countersign_model::text::excerpt(text, 80));
            return Err(hinted(what, "a witness's key is of the type 4, for cosignatures"));
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// A signed checkpoint in a file.
fn checkpoint(path: &Path, log: &VerifierKey, witnesses: &[VerifierKey]) -> anyhow::Result<Opened> {
    let bytes = read_bounded(path, MAX_NOTE as u64)?;
    Checkpoint::open(&bytes, log, witnesses).map_err(|error| {
        let hint = "it proves nothing: find out where it is from, and whether the key is the log's";
        hinted_by(error, format!("`{}` is no checkpoint of this log", shown(path)), hint)
    })
}

/// A log or a receipt that does not verify.
fn unverified(what: String, error: ProofError) -> anyhow::Error {
    let hint = match &error {
        ProofError::Shorter { .. } => {
            "the state is an old copy, or entries were removed at the end: compare with whoever kept that checkpoint"
        }
        ProofError::SplitView { .. } => {
            "the log was made again, and the runner's key signed both: keep this log and that checkpoint, they prove it"
        }
        ProofError::Missing { .. } | ProofError::Unreadable { .. } => {
            "see that the whole directory is there and may be read; on the runner's host any command makes its files again"
        }
        ProofError::NotSigned { .. } | ProofError::OtherLog { .. } => {
            "see that the key is that of this log: `countersign audit verify` on its host prints it"
        }
        ProofError::TooFewWitnesses { .. } => "have it cosigned: `countersign audit witness URL --key WITNESS`",
        _ => {
            "nothing that it says can be relied on: keep it as it is, and compare with a copy or a checkpoint from elsewhere"
        }
    };
    hinted_by(error, what, hint)
}
