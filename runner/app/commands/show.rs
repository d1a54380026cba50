use std::io::Read;

use anyhow::Context;
use base64ct::{Base64, Encoding};
use clap::Args;
use countersign_model::text::visible;
use countersign_pipeline::Before;
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done, hinted, note};
use crate::render;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign show r-0123456789ab
  countersign show r-0123456789ab --before /etc/nginx/nginx.conf >nginx.conf.before")]
pub(crate) struct Arguments {
    /// The run
    run: String,
    /// Print what this subject was before the run, byte for byte, and nothing else
    #[arg(long, value_name = "SUBJECT")]
    before: Option<String>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    if let Some(subject) = &arguments.before {
        return before(global, &environment, &arguments.run, subject);
    }
    let shown = environment.runner.show(&arguments.run, &environment.targets)?;
    let text = render::run::shown(&shown);
    Ok(Done::new(text, serde_json::to_value(&shown)?))
}

/// The largest content that becomes a part of a JSON object, in bytes.
const MAX_JSON: u64 = 64 * 1024 * 1024;

/// What a subject was before the run.
fn before(global: &Global, environment: &Environment, run: &str, subject: &str) -> CommandResult {
    let Before { run, subject, image, from, mut bytes } =
        environment.runner.before(run, subject, &environment.targets)?;
    if from > 0 {
        note(&format!("only the end that was cut off is kept: it follows byte {from} of `{}`", visible(&subject)));
    }
    if !global.json {
        return Ok(Done::bytes(bytes));
    }
    if image.size > MAX_JSON {
        let what = format!("it has {} bytes, more than the {MAX_JSON} that become a part of an object", image.size);
        return Err(hinted(what, "leave `--json` out, and write it to a file"));
    }
    let mut content = Vec::new();
    bytes.read_to_end(&mut content).context("what is kept cannot be read")?;
    let json = json!({
        "run": run,
        "subject": subject,
        "digest": image.digest,
        "bytes": image.size,
        "from": from,
        "base64": Base64::encode_string(&content),
    });
    Ok(Done::new(String::new(), json))
}
