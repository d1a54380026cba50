//! Standing approvals: what people sign once for many runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{ArgGroup, Args, Subcommand};
use countersign_model::Digest;
use countersign_model::documents::{ArgumentRange, Budget, StandingTerms};
use countersign_model::text::{excerpt, visible};
use countersign_pipeline::{ListedStanding, StandingAsked, Stored, proposal_name};
use countersign_trust::read_standing;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done, hinted};
use crate::signing::SignerArguments;
use crate::time::moment;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign standing approve p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'seen ten times' --expires 30d
  countersign standing approve p-0123456789ab --agent --reason 'nightly' --per-hour 1 --per-day 2 --one-of pool=20 --one-of pool=30
  countersign standing approve --cosign 4f3a91 --key ~/.ssh/id_ed25519
  countersign standing list

The trust policy says how far one may reach, under [unattended], and a rule lets an agent's proposals be run so, with
may = [\"unattended\"]. It is ended by a run that is rolled back or left in doubt, by its end, by denying its example
(`countersign deny`), or by a revocation of its digest in the trust policy.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sign a standing approval, made from an agent's proposal as its example: what is like it runs without anybody being asked
    Approve(Approve),
    /// List standing approvals, newest first, and what keeps each from letting anything run
    List,
}

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(group(ArgGroup::new("what").required(true).args(["proposal", "cosign"])))]
struct Approve {
    /// The proposal that is its example
    #[arg(requires = "reason")]
    proposal: Option<String>,
    /// Sign one that somebody signed already, as it stands; the beginning of its digest names it
    #[arg(long, value_name = "STANDING", conflicts_with_all = ["reason", "expires", "per_hour", "per_day", "subjects", "one_of", "range"])]
    cosign: Option<String>,
    #[command(flatten)]
    signer: SignerArguments,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// For how long it is good
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = crate::time::parse_duration)]
    expires: u64,
    /// The most runs that begin within an hour, on all its targets together
    #[arg(long, value_name = "RUNS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    per_hour: u32,
    /// The most within a day
    #[arg(long, value_name = "RUNS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    per_day: u32,
    /// The most subjects that one proposal changes, on all its targets together [default: as many as its example]
    #[arg(long, value_name = "SUBJECTS", value_parser = clap::value_parser!(u32).range(1..))]
    subjects: Option<u32>,
    /// A value that an argument may have besides the example's; as often as there are values
    #[arg(long, value_name = "NAME=VALUE")]
    one_of: Vec<String>,
    /// The whole numbers that an argument may be
    #[arg(long, value_name = "NAME=FROM..TO")]
    range: Vec<String>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    match &arguments.what {
        What::Approve(approve) => signed(&Environment::open(global)?, approve),
        What::List => list(&Environment::open(global)?),
    }
}

fn signed(environment: &Environment, arguments: &Approve) -> CommandResult {
    let runner = &environment.runner;
    let (document, stored) = match (&arguments.cosign, &arguments.proposal) {
        (Some(standing), _) => {
            let (document, example) = runner.given_standing(standing)?;
            (document, Stored::load(runner, &example.to_string())?)
        }
        (None, proposal) => {
            let stored = Stored::load(runner, proposal.as_deref().unwrap_or_default())?;
            let asked = StandingAsked {
                reason: arguments.reason.as_deref().unwrap_or_default(),
                arguments: ranges(&stored, arguments)?,
                budget: Budget {
                    per_hour: arguments.per_hour,
                    per_day: arguments.per_day,
                    subjects: arguments.subjects.unwrap_or_else(|| stored.subjects()),
                },
                valid_for: arguments.expires,
            };
            let targets = environment.targets_of(&stored)?;
            (countersign_pipeline::draft_standing(runner, &stored, &targets, &asked)?, stored)
        }
    };
    let signatory = arguments.signer.signatory()?;
    let signature = countersign_pipeline::sign_standing(&*signatory, &document)?;
    let who = countersign_pipeline::keep_standing(runner, &stored, &document, &signature)?;
    let digest = Digest::of(&document);
    let terms = read_standing(&document)?;
    let listed = runner.standing_approvals()?.into_iter().find(|listed| listed.standing == digest);
    let mut text = format!("signed by {who}\n");
    describe(&mut text, digest, &terms)?;
    let mut json = json!({ "signed_by": who });
    if let Some(listed) = &listed {
        states(&mut text, listed)?;
        merge(&mut json, object(listed));
    }
    write!(
        text,
        "next     countersign run PROPOSAL, of whatever {} proposes like it; it ends with countersign deny {}",
        visible(&terms.agent),
        proposal_name(&terms.example)
    )?;
    Ok(Done::new(text, json).acted())
}

/// The ranges of arguments as they were given; the example's own value is in each list.
fn ranges(stored: &Stored, arguments: &Approve) -> anyhow::Result<BTreeMap<String, ArgumentRange>> {
    let example = &stored.proposal.document().arguments;
    let manifest = stored.bundle.manifest();
    let split = |text: &str| match text.split_once('=') {
        Some((name, value)) if example.contains_key(name) => Ok((name.to_owned(), value.to_owned())),
        Some((name, _)) => Err(hinted(
            format!("its example has no argument `{}`", excerpt(name, 80)),
            "nothing was signed; `countersign review` lists its arguments",
        )),
        None => Err(hinted(format!("`{}` is not NAME=…", excerpt(text, 80)), "nothing was signed")),
    };
    let mut all = BTreeMap::new();
    for text in &arguments.one_of {
        let (name, value) = split(text)?;
        // As the bundle reads it, with the example's values for the rest.
        let given = example.iter().filter(|(other, _)| **other != name);
        let given = given.map(|(name, value)| (name.clone(), spelled(value)));
        let given: Vec<(String, String)> = given.chain([(name.clone(), value)]).collect();
        let parsed = manifest.parse_arguments(&given)?;
        let mut values = vec![example.get(&name).cloned().unwrap_or_default()];
        if let Some(ArgumentRange::OneOf(known)) = all.remove(&name) {
            values = known;
        }
        values.extend(parsed.get(&name).filter(|value| !values.contains(value)).cloned());
        all.insert(name, ArgumentRange::OneOf(values));
    }
    for text in &arguments.range {
        let (name, value) = split(text)?;
        let bounds = value.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let Some((from, to)) = bounds else {
            return Err(hinted(
                format!("`{}` is not FROM..TO", excerpt(&value, 80)),
                "nothing was signed; give two whole numbers",
            ));
        };
        if all.insert(name.clone(), ArgumentRange::Within { from, to }).is_some() {
            return Err(hinted(
                format!("the argument `{}` is given two ranges", excerpt(&name, 80)),
                "nothing was signed",
            ));
        }
    }
    Ok(all)
}

/// An argument's value as it is given on the command line.
fn spelled(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(environment: &Environment) -> CommandResult {
    let all = environment.runner.standing_approvals()?;
    let mut text = String::new();
    for listed in &all {
        match &listed.terms {
            Some(terms) => describe(&mut text, listed.standing, terms)?,
            None => writeln!(text, "standing {}\n  it cannot be read", listed.standing.short())?,
        }
        states(&mut text, listed)?;
    }
    if all.is_empty() {
        text.push_str("none: every run needs an approval of its own");
    }
    let json = json!({ "standing": all.iter().map(object).collect::<Vec<_>>() });
    Ok(Done::new(text.trim_end(), json))
}

fn describe(text: &mut String, digest: Digest, terms: &StandingTerms) -> std::fmt::Result {
    writeln!(text, "standing {}", digest.short())?;
    writeln!(text, "  for      proposals of {} with the bundle {}", visible(&terms.agent), terms.bundle.short())?;
    writeln!(text, "  like     {}", proposal_name(&terms.example))?;
    for (name, range) in &terms.arguments {
        let range = match range {
            ArgumentRange::OneOf(values) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or "),
            ArgumentRange::Within { from, to } => format!("{from} to {to}"),
        };
        writeln!(text, "  argument {}: {}", visible(name), visible(&range))?;
    }
    for (role, grants) in &terms.grants {
        for grant in grants {
            writeln!(text, "  grant    {:<13} {}", role.name(), visible(&grant.to_string()))?;
        }
    }
    let Budget { per_hour, per_day, subjects } = terms.budget;
    writeln!(text, "  budget   {per_hour} an hour, {per_day} a day, {subjects} subjects each")?;
    writeln!(text, "  until    {}", moment(terms.expires))?;
    writeln!(text, "  reason   \"{}\"", excerpt(&terms.reason, 200))
}

fn states(text: &mut String, listed: &ListedStanding) -> std::fmt::Result {
    let by =
        if listed.approvers.is_empty() { "nobody whose word counts".to_owned() } else { listed.approvers.join(", ") };
    writeln!(text, "  signed   by {by}")?;
    for (name, why) in &listed.targets {
        match why {
            None => writeln!(text, "  target   {}: runs unattended", visible(name))?,
            Some(why) => writeln!(text, "  target   {}: does not: {}", visible(name), visible(why))?,
        }
    }
    Ok(())
}

fn object(listed: &ListedStanding) -> Value {
    let terms = listed.terms.as_ref();
    let targets =
        listed.targets.iter().map(|(name, why)| json!({ "target": name, "unattended": why.is_none(), "why": why }));
    json!({
        "standing": listed.standing,
        "example": terms.map(|terms| proposal_name(&terms.example)),
        "bundle": terms.map(|terms| terms.bundle),
        "agent": terms.map(|terms| &terms.agent),
        "arguments": terms.map(|terms| &terms.arguments),
        "grants": terms.map(|terms| &terms.grants),
        "budget": terms.map(|terms| &terms.budget),
        "not_before": terms.map(|terms| terms.not_before),
        "expires": terms.map(|terms| terms.expires),
        "reason": terms.map(|terms| &terms.reason),
        "approvers": listed.approvers,
        "targets": targets.collect::<Vec<_>>(),
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
