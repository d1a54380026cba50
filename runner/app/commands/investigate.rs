use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use countersign_model::text::{visible, visible_lines};
use serde_json::json;

use super::StepArguments;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::open_bundle;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "Example: countersign investigate ./bundle --target web --arg config=/etc/orders.conf")]
pub(crate) struct Arguments {
    /// The bundle's directory
    bundle: PathBuf,
    /// The target's name
    #[arg(long)]
    target: String,
    #[command(flatten)]
    step: StepArguments,
    /// The private key of whoever reads, to be named in the evidence
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let target = environment.target(&arguments.target)?;
    let bundle = open_bundle(&arguments.bundle)?;
    let step = arguments.step.parse(&bundle)?;
    let reader = environment.reader(arguments.key.as_deref())?;
    let found =
        countersign_pipeline::investigate(&environment.runner, &bundle, &arguments.target, target, &step, &reader)?;
    let mut text = String::new();
    for finding in &found.findings {
        writeln!(text, "- {}", visible(&finding.summary))?;
        for line in visible_lines(&finding.detail).lines() {
            writeln!(text, "    {line}")?;
        }
    }
    if found.findings.is_empty() {
        writeln!(text, "no findings")?;
    }
    writeln!(text, "evidence:")?;
    for evidence in &found.evidence {
        writeln!(text, "  {}  {}", evidence.id, evidence.digest)?;
    }
    for denial in &found.denied {
        writeln!(text, "denied: `{}`: {}{}", visible(&denial.call), denial.why, render::remedy(denial))?;
    }
    let mut code = if found.denied.is_empty() { 0 } else { 3 };
    if let Some(failure) = &found.failure {
        crate::output::complain(format_args!("error: the investigation failed: {failure}"));
        crate::output::complain("hint: nothing was changed; see what it logged, and correct it");
        code = 1;
    }
    let error = match (&found.failure, found.denied.first()) {
        (Some(failure), _) => Some(crate::output::error_object(failure, None, code)),
        (None, denied) => denied.map(render::denied_error),
    };
    let findings: Vec<_> =
        found.findings.iter().map(|found| json!({ "summary": found.summary, "detail": found.detail })).collect();
    let json = json!({
        "bundle": bundle.digest(),
        "target": arguments.target,
        "findings": findings,
        "evidence": found.evidence,
        "denied": found.denied,
        "error": error,
    });
    Ok(Done::new(text.trim_end(), json).with_code(code))
}
