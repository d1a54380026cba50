use std::path::PathBuf;

use clap::Args;
use countersign_model::text::{visible, visible_lines};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "Example: countersign read web 'files.read /etc/nginx/nginx.conf'")]
pub(crate) struct Arguments {
    /// The target's name
    target: String,
    /// The call, e.g. 'files.read /etc/hosts'
    call: String,
    /// The private key of whoever reads, to be named in the evidence
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let target = environment.target(&arguments.target)?;
    let reader = environment.reader(arguments.key.as_deref())?;
    let result = countersign_pipeline::read(&environment.runner, &arguments.target, target, &reader, &arguments.call)?;
    if let Some(why) = &result.withheld {
        crate::output::complain(format_args!("recorded as {}", visible(&result.evidence.id)));
        let json = json!({
            "call": result.call,
            "evidence": [result.evidence],
            "reply": null,
            "withheld": why,
        });
        return Ok(Done::new(format!("content withheld: {why}"), json));
    }
    let mut text = match result.reply.get("content").or_else(|| result.reply.get("body")).and_then(Value::as_str) {
        Some(content) => visible_lines(content),
        None => serde_json::to_string_pretty(&result.reply)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    crate::output::complain(format_args!("recorded as {}", visible(&result.evidence.id)));
    let json = json!({
        "call": result.call,
        "evidence": [result.evidence],
        "reply": result.reply,
    });
    text.pop();
    Ok(Done::new(text, json))
}
