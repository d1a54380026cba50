use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use countersign_model::text::{excerpt, visible};
use countersign_proof::{
    Checkpoint, Directory, KeyKind, MAX_NOTE, Request, Source, Tree, VerifierKey, conflicting_size, with_cosignatures,
};
use countersign_record::{CHECKPOINT, WITNESSED};
use serde_json::json;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::{key, unverified};
use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done, hinted, hinted_by};
use crate::time::moment;

/// The longest that a witness may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked: what it cosigned last has to be learned first, and may have moved on meanwhile.
const TRIES: usize = 3;

#[derive(Args)]
#[command(after_help = "\
The protocol is C2SP's `tlog-witness`. The witness must know the log's key, which `countersign audit verify` prints. What it
signs is kept, and stands in receipts from then on.

Example: countersign audit witness https://witness.example --key witness.vkey")]
pub(crate) struct Arguments {
    /// The witness's submission prefix, to which `/add-checkpoint` is added
    url: String,
    /// The witness's key, `NAME+ID+KEY` or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let witness = key(&arguments.key)?;
    if witness.kind() != KeyKind::Cosignature {
        return Err(hinted("the key is no witness's", "a witness's key is of the type 4, for cosignatures"));
    }
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    runner.publish_log(true)?;
    let log = runner.log_verifier()?;
    let source = Directory::new(&runner.log_dir());
    let failed = |error| unverified("the audit log cannot be witnessed".to_owned(), error);
    let note = source.read(CHECKPOINT, MAX_NOTE)?.unwrap_or_default();
    let own = Checkpoint::open(&note, &log, &[]).map_err(failed)?.checkpoint;
    let before = source.read(WITNESSED, MAX_NOTE)?;
    let mut old = before.as_deref().map_or(0, |before| cosigned(before, &log, &witness));
    let answer = 'asked: {
        for _ in 0..TRIES {
            let proof = Tree::new(&source, &own).consistency(old).map_err(failed)?.1;
            let request = Request { old, proof, checkpoint: note.clone() };
            let (status, body) = post(&arguments.url, &request.to_bytes())?;
            match status {
                200 => break 'asked Some(body),
                409 => {
                    let theirs = conflicting_size(&body).map_err(failed)?;
                    if theirs > own.size {
                        return Err(older(theirs, own.size));
                    }
                    if theirs == old {
                        return Err(split(theirs));
                    }
                    old = theirs;
                }
                422 => return Err(split(old)),
                other => return Err(refused(other, &body)),
            }
        }
        None
    };
    let Some(answer) = answer else {
        return Err(hinted("the witness says another size each time", "another process may be asking it: try again"));
    };
    // Others that cosigned the same checkpoint stay.
    let base = before.filter(|before| same(before, &note)).unwrap_or(note);
    let kept = with_cosignatures(&base, &answer, &log, &witness).map_err(|error| {
        hinted_by(
            error,
            "the witness's answer is no cosignature by its key",
            "see that the key is that of this witness",
        )
    })?;
    runner.keep_witnessed(&kept)?;
    let opened = Checkpoint::open(&kept, &log, std::slice::from_ref(&witness)).map_err(failed)?;
    let at = opened.cosignatures.first().map_or(0, |one| one.at);
    let (name, size) = (witness.name(), own.size);
    let text =
        format!("cosigned {size} entries\nby       {}\nat       {}", visible(name), moment(at.saturating_mul(1000)));
    let json = json!({ "entries": size, "witness": name, "at": at, "checkpoint": String::from_utf8_lossy(&kept) });
    Ok(Done::new(text, json).acted())
}

/// How many entries of this log the witness cosigned last, as far as is known here.
fn cosigned(note: &[u8], log: &VerifierKey, witness: &VerifierKey) -> u64 {
    let opened = Checkpoint::open(note, log, std::slice::from_ref(witness));
    opened.ok().filter(|opened| !opened.cosignatures.is_empty()).map_or(0, |opened| opened.checkpoint.size)
}

/// Whether two notes are of one text.
fn same(one: &[u8], other: &[u8]) -> bool {
    let text = |bytes| countersign_proof::Note::parse(bytes).map(|note| note.text).ok();
    text(one).is_some_and(|one| Some(one) == text(other))
}

fn older(theirs: u64, own: u64) -> anyhow::Error {
    hinted(
        format!(
            "the witness saw {theirs} entries of this log, and here are {own}: the state was restored from an old copy, or its log cut"
        ),
        "nothing was sent on; find out what happened since, for runs may not be known here",
    )
}

fn split(size: u64) -> anyhow::Error {
    hinted(
        format!("the witness saw another history of this log: the first {size} entries are not those that it cosigned"),
        "keep the state directory as it is, and compare with the witness: two histories were signed by the runner's key",
    )
}

fn refused(status: u16, body: &[u8]) -> anyhow::Error {
    let said = excerpt(&String::from_utf8_lossy(body), 200);
    let hint = match status {
        403 => "it does not know this key for the log: give its owner what `countersign audit verify` prints",
        404 => {
            "it does not know this log, or that is not its address: give its owner what `countersign audit verify` prints"
        }
        _ => "see the witness's own records; nothing changed here",
    };
    hinted(format!("the witness answered with the status {status}: {said}"), hint)
}

/// Posts to a witness and gives its status and body. Nothing is looked for in the environment, and no redirect is followed.
fn post(prefix: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    if !prefix.starts_with("https://") && !prefix.starts_with("http://") {
        return Err(hinted(
            format!("`{}` is no address of a witness", excerpt(prefix, 80)),
            "it begins with `https://` or `http://`",
        ));
    }
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent = Agent::new_with_config(
        Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .user_agent("countersign")
            .build(),
    );
    let url = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
    let unreached = |error: ureq::Error| {
        let what = format!("the witness at `{}` was not reached", excerpt(prefix, 200));
        hinted_by(error, what, "nothing changed; see that it is there, and try again")
    };
    let answer = agent.post(&url).content_type("text/plain").send(body).map_err(unreached)?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    let reader = answer.into_body().into_reader();
    reader.take(MAX_NOTE as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreached(error.into()))?;
    Ok((status, bytes))
}
