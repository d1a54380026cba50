use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use countersign_bundle::Bundle;
use countersign_pipeline::{ProposalDraft, proposal_name};
use serde_json::json;

use super::StepArguments;
use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "Example: countersign propose ./bundle --target web --arg config=/etc/orders.conf \\
           --evidence ev-0123456789ab --hypothesis 'pool-size is 0' --key ~/.ssh/agent")]
pub(crate) struct Arguments {
    /// The bundle's directory
    bundle: PathBuf,
    /// A target's name
    #[arg(long = "target", value_name = "TARGET", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    step: StepArguments,
    /// Evidence that supports the hypothesis, by id
    #[arg(long, value_name = "ID")]
    evidence: Vec<String>,
    /// Why this should help
    #[arg(long, value_name = "TEXT")]
    hypothesis: String,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let signatory = arguments.signer.signatory()?;
    let bundle = Bundle::open(&arguments.bundle)?;
    let step = arguments.step.parse(&bundle)?;
    let targets = environment.targets(arguments.targets.iter().map(String::as_str))?;
    let principal = runner.policy().principal(signatory.fingerprint());
    let drafted = countersign_pipeline::draft(
        runner,
        &ProposalDraft {
            bundle: &bundle,
            targets: &targets,
            arguments: &step,
            evidence: &arguments.evidence,
            hypothesis: &arguments.hypothesis,
            proposer: signatory.fingerprint(),
            principal: principal.name(),
        },
    )?;
    let digest = runner.keep_proposal(&bundle, &drafted, &*signatory)?;
    let name = proposal_name(&digest);

    let mut text = format!("proposal {name}\ndigest   {digest}\nbundle   {}\n", bundle.digest());
    for rehearsed in &drafted.rehearsals {
        let document = rehearsed.document();
        let count = document.plan.forward.len();
        writeln!(
            text,
            "target   {}: {count} change{}, restores: {}, plan {}",
            document.target,
            if count == 1 { "" } else { "s" },
            if document.restores { "yes" } else { "no" },
            document.plan.digest()
        )?;
    }
    write!(text, "next     an approver runs `countersign review {name}`")?;
    let document = &drafted.document;
    let plans: Vec<_> = drafted
        .rehearsals
        .iter()
        .map(|rehearsed| {
            let rehearsal = rehearsed.document();
            let changes = countersign_pipeline::planned_changes(runner, rehearsal)?;
            Ok(json!({
                "target": rehearsal.target,
                "digest": rehearsal.plan.digest(),
                "changes": changes,
                "restores": rehearsal.restores,
            }))
        })
        .collect::<anyhow::Result<_>>()?;
    let json = json!({
        "proposal": name,
        "digest": digest,
        "bundle": document.bundle,
        "plan": plans.first(),
        "plans": plans,
        "restores": drafted.rehearsals.iter().all(|rehearsed| rehearsed.document().restores),
        "grants": render::role_grants(&document.grants),
        "evidence": document.evidence,
        "expires": document.expires,
    });
    Ok(Done::new(text, json).acted())
}
