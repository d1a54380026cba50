//! Acting at once, where the people that the trust policy asks for cannot be had; and what is reviewed of it afterwards.

use clap::{ArgGroup, Args, Subcommand};
use countersign_model::Grant;
use countersign_model::text::visible;
use countersign_pipeline::{Broken, GlassTerms, ListedGlass, Stored};
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::files::shown;
use crate::output::{CommandResult, Done, noted};
use crate::render;
use crate::signing::SignerArguments;
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign break-glass approve p-0123456789ab --key ~/.ssh/glass --reason 'orders are lost, nobody else answers'
  countersign run p-0123456789ab
  countersign break-glass list
  countersign break-glass close 4f3a91 --key ~/.ssh/id_ed25519 --reason 'the pool was empty; the fix is right'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Approve a proposal in place of the quorums, by a key that the trust policy has for that; somebody is told first
    Approve(Approve),
    /// List the broken glass of which the review is open
    List(List),
    /// Close the review of a broken glass, as somebody who may approve and did not break it
    Close(Close),
}

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(group(ArgGroup::new("what").required(true).args(["reason", "cosign"])))]
struct Approve {
    /// The proposal
    proposal: String,
    #[command(flatten)]
    signer: SignerArguments,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A narrower grant in place of the one that contains it
    #[arg(long, value_name = "GRANT")]
    narrow: Vec<Grant>,
    /// For how long the approval is good [default: 30m, or as long as the trust policy lets it]
    #[arg(long, value_name = "SPAN", value_parser = crate::time::parse_duration)]
    expires: Option<u64>,
    /// Sign one that somebody with another key of the same break-glass signed already, as it stands; the beginning of its
    /// digest names it
    #[arg(long, value_name = "APPROVAL", conflicts_with_all = ["narrow", "expires"])]
    cosign: Option<String>,
}

#[derive(Args)]
struct List {
    /// Those whose review is closed too, newest first
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
struct Close {
    /// The approval by which it was broken, by the beginning of its digest: `break-glass list` has it
    approval: String,
    #[command(flatten)]
    signer: SignerArguments,
    /// What was found
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    match &arguments.what {
        What::Approve(arguments) => approve(&environment, arguments),
        What::List(arguments) => list(&environment, arguments),
        What::Close(arguments) => close(&environment, arguments),
    }
}

fn approve(environment: &Environment, arguments: &Approve) -> CommandResult {
    let (runner, notice) = (&environment.runner, environment.notice.as_ref());
    let stored = Stored::load(runner, &arguments.proposal)?;
    let targets = environment.targets_of(&stored)?;
    let signatory = arguments.signer.signatory()?;
    let table = countersign_pipeline::may_break(runner, notice, &*signatory)?;
    let manifest = match &arguments.cosign {
        Some(approval) => countersign_pipeline::given_approval(runner, &stored, approval)?,
        None => {
            let reason = arguments.reason.as_deref().unwrap_or_default();
            let terms = GlassTerms { reason, narrow: &arguments.narrow, valid_for: arguments.expires };
            countersign_pipeline::draft_break_glass(runner, &stored, &targets, table, &terms)?
        }
    };
    countersign_pipeline::may_sign(runner, &stored, &manifest, &*signatory)?;
    let signature = countersign_pipeline::sign_approval(&*signatory, &manifest)?;
    let broken = countersign_pipeline::break_glass(runner, &stored, &targets, notice, &manifest, &signature)?;
    // It is signed and kept: what cannot be looked at now does not undo that.
    let mut notes = Vec::new();
    let cautions = countersign_pipeline::cautions(runner, &stored, &targets);
    let cautions = noted(&mut notes, "the targets were not looked at", cautions);
    notes.extend(cautions);
    let scope = super::approve::scope(&stored, &broken.terms).map(Some);
    let scope = noted(&mut notes, "what is approved was not looked at", scope);
    notes.iter().for_each(|note| crate::output::note(note));
    Ok(approved(&stored, &broken, scope, &notes))
}

fn approved(stored: &Stored, broken: &Broken, scope: Option<String>, notes: &[String]) -> Done {
    let Broken { name, person, approval, people, needed, terms, files } = broken;
    let proposal = countersign_pipeline::proposal_name(&stored.proposal.digest());
    let mut text = format!("THE GLASS IS BROKEN: {} by {person}; notice was given", visible(name));
    if let Some(scope) = scope {
        text.push_str(&format!("\napproves  {scope}"));
    }
    text.push_str(&format!(
        "\napproval  {approval}\nmanifest  {}\nsignature {}",
        files.manifest.display(),
        files.signature.display()
    ));
    match needed.saturating_sub(people.len()) {
        0 => {
            for target in &terms.targets {
                let target = if terms.targets.len() > 1 { format!(" --target {}", target.name) } else { String::new() };
                text.push_str(&format!("\nnext      countersign run {proposal}{target}"));
            }
        }
        missing => text.push_str(&format!(
            "\nnext      {missing} more must sign this approval: countersign break-glass approve {proposal} --cosign {}",
            approval.short()
        )),
    }
    text.push_str(&format!(
        "\nafter     somebody else closes its review: countersign break-glass close {} --key KEY --reason TEXT",
        approval.short()
    ));
    let json = json!({
        "proposal": proposal,
        "break_glass": name,
        "person": person,
        "approval": approval,
        "people": people,
        "needed": needed,
        "expires": terms.expires,
        "manifest": shown(&files.manifest),
        "signature": shown(&files.signature),
        "notes": notes,
    });
    Done::new(text, json).acted()
}

fn list(environment: &Environment, arguments: &List) -> CommandResult {
    let reviews = countersign_pipeline::glass_reviews(&environment.runner, arguments.all)?;
    let mut text: Vec<_> = reviews.iter().map(in_a_line).collect();
    if reviews.is_empty() {
        text.push(if arguments.all { "no glass was broken" } else { "no review of broken glass is open" }.to_owned());
    }
    Ok(Done::new(text.join("\n"), json!({ "reviews": reviews })))
}

fn close(environment: &Environment, arguments: &Close) -> CommandResult {
    let signatory = arguments.signer.signatory()?;
    let (approval, reason) = (&arguments.approval, &arguments.reason);
    let closed = countersign_pipeline::close_review(&environment.runner, approval, &*signatory, reason)?;
    let text = format!("closed by {}\n{}", closed.by, in_a_line(&closed.glass));
    Ok(Done::new(text, json!({ "closed_by": closed.by, "review": closed.glass })).acted())
}

/// A broken glass and what is to be done with it.
pub(super) fn in_a_line(glass: &ListedGlass) -> String {
    let short = glass.approval.short();
    let mut text = format!(
        "{short}  the glass {} was broken by {} for {} at {}: \"{}\"",
        visible(&glass.break_glass),
        render::names(&glass.broken_by),
        glass.proposal,
        moment(glass.opened),
        visible(&glass.reason)
    );
    for run in &glass.runs {
        text.push_str(&format!("\n  run {} on {}: {}", run.run, visible(&run.target), run.outcome));
    }
    match (&glass.closed_by, &glass.closing_reason, glass.closed) {
        (Some(by), Some(reason), Some(at)) => {
            text.push_str(&format!("\n  reviewed by {} at {}: \"{}\"", visible(by), moment(at), visible(reason)));
        }
        _ => text.push_str(&format!("\n  review open: countersign break-glass close {short} --key KEY --reason TEXT")),
    }
    text
}
