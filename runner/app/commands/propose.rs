use std::path::PathBuf;

use clap::{ArgGroup, Args};
use countersign_model::Digest;
use countersign_pipeline::{Drafted, ProposalDraft, Revised, Runner, proposal_name};
use serde_json::json;

use super::StepArguments;
use crate::cli::Global;
use crate::environment::Environment;
use crate::files::open_bundle;
use crate::output::{CommandResult, Done, noted};
use crate::render;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(after_help = "\
Examples:
  countersign propose ./bundle --target web --arg config=/etc/orders.conf \\
           --evidence ev-0123456789ab --hypothesis 'pool-size is 0' --key ~/.ssh/agent
  countersign propose --revise p-0123456789ab --key ~/.ssh/agent")]
pub(crate) struct Arguments {
    /// The bundle's directory; with `--revise`, the one that was proposed unless it is given anew
    #[arg(required_unless_present = "revise")]
    bundle: Option<PathBuf>,
    /// Rehearse an earlier proposal of yours again, whose place the new one takes; what is not given anew stays
    #[arg(long, value_name = "PROPOSAL")]
    revise: Option<String>,
    /// A target's name
    #[arg(long = "target", value_name = "TARGET", required_unless_present = "revise")]
    targets: Vec<String>,
    #[command(flatten)]
    step: StepArguments,
    /// Evidence that supports the hypothesis, by id
    #[arg(long, value_name = "ID")]
    evidence: Vec<String>,
    /// Why this should help
    #[arg(long, value_name = "TEXT", required_unless_present = "revise")]
    hypothesis: Option<String>,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let signatory = arguments.signer.signatory()?;
    let principal = runner.policy().principal(signatory.fingerprint());
    let revised = match &arguments.revise {
        Some(name) => Some(Revised::load(runner, name, &principal)?),
        None => None,
    };
    let before = revised.as_ref().map(Revised::document);

    let given = arguments.bundle.as_deref().map(open_bundle).transpose()?;
    let bundle = given.as_ref().or(revised.as_ref().map(Revised::bundle));
    let bundle = bundle.ok_or_else(|| anyhow::anyhow!("no bundle is named"))?;
    let step = arguments.step.parse_over(bundle, before.map(|document| &document.arguments))?;
    let mut targets: Vec<&str> = arguments.targets.iter().map(String::as_str).collect();
    let mut evidence = arguments.evidence.clone();
    if let Some(document) = before {
        if targets.is_empty() {
            targets = document.targets.iter().map(|target| target.name.as_str()).collect();
        }
        if evidence.is_empty() {
            evidence = document.evidence.iter().map(|reference| reference.id.clone()).collect();
        }
    }
    let hypothesis = arguments.hypothesis.as_deref().or(before.map(|document| document.hypothesis.as_str()));
    let drafted = countersign_pipeline::draft(
        runner,
        &ProposalDraft {
            bundle,
            targets: &environment.targets(targets.into_iter())?,
            arguments: &step,
            evidence: &evidence,
            hypothesis: hypothesis.unwrap_or_default(),
            proposer: signatory.fingerprint(),
            principal: principal.name(),
            revises: revised.as_ref().map(Revised::digest).as_ref(),
        },
    )?;
    let digest = runner.keep_proposal(bundle, &drafted, &*signatory)?;
    Ok(proposed(runner, digest, &drafted))
}

/// What was proposed, as both verbs that propose say it.
pub(super) fn proposed(runner: &Runner, digest: Digest, drafted: &Drafted) -> Done {
    let document = &drafted.document;
    let name = proposal_name(&digest);

    let mut text = format!("proposal {name}\ndigest   {digest}\nbundle   {}\n", document.bundle);
    if let Some(undoes) = &document.undoes {
        text.push_str(&format!("undoes   {}\n", undoes.run));
    }
    if let Some(revises) = &document.revises {
        text.push_str(&format!("revises  {}, which can no longer be approved or run\n", proposal_name(revises)));
    }
    for rehearsed in &drafted.rehearsals {
        let rehearsal = rehearsed.document();
        let count = rehearsal.plan.forward.len();
        text.push_str(&format!(
            "target   {}: {count} change{}, restores: {}, plan {}\n",
            rehearsal.target,
            if count == 1 { "" } else { "s" },
            if rehearsal.restores { "yes" } else { "no" },
            rehearsal.plan.digest()
        ));
    }
    text.push_str(&format!("next     an approver runs `countersign review {name}`"));
    // It is proposed: what cannot be looked at now does not undo that.
    let mut notes = Vec::new();
    let plans: Vec<_> = drafted
        .rehearsals
        .iter()
        .map(|rehearsed| {
            let rehearsal = rehearsed.document();
            let changes = countersign_pipeline::planned_changes(runner, rehearsal);
            let changes = noted(&mut notes, "the plan cannot be shown", changes);
            json!({
                "target": rehearsal.target,
                "digest": rehearsal.plan.digest(),
                "changes": changes,
                "restores": rehearsal.restores,
            })
        })
        .collect();
    notes.iter().for_each(|note| crate::output::note(note));
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
        "undoes": document.undoes.as_ref().map(|undoes| undoes.run.as_str()),
        "revises": document.revises.as_ref().map(proposal_name),
    });
    Done::new(text, json).acted()
}
