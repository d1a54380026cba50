use std::path::PathBuf;

use clap::Args;
use countersign_model::text::visible;
use countersign_pipeline::{RehearsalRequest, requested};
use serde_json::json;

use super::StepArguments;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::open_bundle;
use crate::output::{CommandResult, Done};
use crate::render;

#[derive(Args)]
#[command(after_help = "Example: countersign rehearse ./bundle --target web --arg config=/etc/orders.conf")]
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
    let runner = &environment.runner;
    let target = environment.target(&arguments.target)?;
    let bundle = open_bundle(&arguments.bundle)?;
    let step = arguments.step.parse(&bundle)?;
    let grants = requested(runner, &bundle, &step)?;
    let reader = environment.reader(arguments.key.as_deref())?;
    let rehearsed = countersign_pipeline::rehearse_for(
        runner,
        &reader,
        &RehearsalRequest {
            bundle: &bundle,
            name: &arguments.target,
            target,
            arguments: &step,
            grants: &grants,
            principal: reader.name(),
            now: runner.now(),
            seed: runner.random()?,
        },
    )?;
    let document = rehearsed.document();
    let changes = countersign_pipeline::planned_changes(runner, document)?;
    let text = render::rehearsal::text(document, &changes, bundle.manifest().success());
    let (code, error) = match document.denied.first() {
        Some(denial) => (3, Some(render::denied_error(denial))),
        None => match document.fix_failure.as_ref().or(document.rollback_failure.as_ref()) {
            Some(failure) => {
                let step = if document.fix_failure.is_some() { "fix" } else { "rollback" };
                let what = format!("the {step} step failed in the rehearsal: {failure}");
                let hint = "nothing was changed; correct the step or its arguments, build it and rehearse it again";
                crate::output::complain(format_args!("error: {}\nhint: {hint}", visible(&what)));
                (1, Some(crate::output::error_object(&what, Some(hint), 1)))
            }
            None => match countersign_pipeline::unable(document) {
                Some(unable) => {
                    let (what, hint) = (unable.to_string(), unable.hint());
                    crate::output::complain(format_args!(
                        "error: {}\nhint: {}",
                        visible(&what),
                        hint.unwrap_or_default()
                    ));
                    (3, Some(crate::output::error_object(&what, hint, 3)))
                }
                None => (0, None),
            },
        },
    };
    let json = json!({
        "bundle": document.bundle,
        "target": document.target,
        "plan": { "digest": document.plan.digest(), "changes": changes },
        "changes": changes,
        "preflight": document.preflight,
        "restores": document.restores,
        "unrestored": document.unrestored,
        "rollback_rehearsed": document.rollback_rehearsed,
        "grants": render::role_grants(&document.least),
        "requested": render::role_grants(&document.grants),
        "denied": document.denied,
        "check": { "before": document.check_before, "after": document.check_after },
        "evidence": document.evidence,
        "error": error,
    });
    for denial in &document.denied {
        crate::output::complain(format_args!(
            "error: the {} step was denied `{}`: {}",
            denial.role, denial.call, denial.why
        ));
        crate::output::complain(match &denial.grant {
            Some(grant) => format!("hint: nothing was changed; the grant `{grant}` would allow it"),
            None => "hint: nothing was changed; no grant would allow it, so the step must do without".to_owned(),
        });
    }
    Ok(Done::new(text, json).with_code(code))
}
