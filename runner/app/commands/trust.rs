//! The trust policy: what is in force, what would be, and why a proposal may run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use countersign_model::Digest;
use countersign_model::documents::namespace;
use countersign_model::text::visible;
use countersign_pipeline::{Draft, Explained, NeededSignatures, Stored, proposal_name};
use countersign_trust::{Difference, Policy, Signatory, moment};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::environment::Environment;
use crate::files::{put_durably, shown};
use crate::output::{CommandResult, Done, hinted};
use crate::policy_file::draft;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust show
  countersign trust propose next-policy.toml
  countersign trust sign next-policy.toml --key ~/.ssh/id_ed25519
  countersign trust install next-policy.toml
  countersign trust explain p-0123456789ab
  countersign trust signers >allowed_signers")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show the trust policy in force, entry by entry
    Show,
    /// Test a draft of the next policy: what it changes, and who must sign it
    Propose(File),
    /// Sign a policy, or a draft of one, as one of its roots; no state is needed
    Sign(Sign),
    /// Put a signed policy in force
    Install(File),
    /// Tell why a proposal may run or may not, rule by rule, and what is missing
    Explain(Explain),
    /// Print whose signatures stand in this state, as `ssh-keygen -Y verify` takes it
    Signers,
}

#[derive(Args)]
struct File {
    /// The policy's file; signatures are the files beside it whose names begin with its own and end in `.sig`
    file: PathBuf,
}

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
struct Sign {
    /// The policy's file; the signature is written beside it
    file: PathBuf,
    #[command(flatten)]
    signer: SignerArguments,
}

#[derive(Args)]
struct Explain {
    /// The proposal
    proposal: String,
    /// One of its targets; all of them otherwise
    #[arg(long)]
    target: Option<String>,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    match &arguments.what {
        What::Show => show(&Environment::open_as_it_is(global)?),
        What::Propose(file) => propose(&Environment::open_as_it_is(global)?, &file.file),
        What::Sign(sign) => signed(&sign.file, &*sign.signer.signatory()?),
        What::Install(file) => install(global, &Environment::open_as_it_is(global)?, &file.file),
        What::Explain(explain) => explained(&Environment::open(global)?, explain),
        What::Signers => signers(&Environment::open_as_it_is(global)?),
    }
}

fn show(environment: &Environment) -> CommandResult {
    let (policy, now) = (environment.runner.policy(), environment.runner.now());
    let expired = now >= policy.expires();
    let mut text = format!("policy   {}\n", policy.digest());
    if expired {
        text.push_str("EXPIRED: nothing is proposed, approved or run until a later one is installed\n");
    }
    let mut section = "";
    for entry in policy.entries() {
        if entry.section != section {
            section = entry.section;
            writeln!(text, "{section}:")?;
        }
        writeln!(text, "  {}: {}", visible(&entry.name), visible(&entry.says))?;
    }
    let entries = policy.entries().into_iter();
    let entries: Vec<_> =
        entries.map(|entry| json!({ "section": entry.section, "name": entry.name, "says": entry.says })).collect();
    let json = json!({
        "policy": policy.digest(),
        "serial": policy.serial(),
        "issued": policy.issued(),
        "expires": policy.expires(),
        "expired": expired,
        "entries": entries,
    });
    Ok(Done::new(text.trim_end(), json))
}

/// An `allowed_signers` file.
fn signers(environment: &Environment) -> CommandResult {
    let signers = countersign_pipeline::signers(&environment.runner)?;
    let mut text = String::from(
        "# Whose signatures were ever taken by this runner, and what they may be for.\n\
         # ssh-keygen -Y verify -n NAMESPACE -I NAME -f allowed_signers -s SIGNATURE <DOCUMENT\n",
    );
    for signer in &signers {
        if !signer.in_force {
            text.push_str("# The trust policy in force has this key no more, or has it revoked:\n");
        }
        writeln!(text, "{}", signer.line())?;
    }
    let policy = environment.runner.policy();
    let json = json!({ "policy": policy.digest(), "serial": policy.serial(), "signers": signers });
    Ok(Done::new(text.trim_end(), json))
}

fn propose(environment: &Environment, file: &Path) -> CommandResult {
    let Draft { policy, differences, needs, refusal } =
        &countersign_pipeline::draft_policy(&environment.runner, &draft(file)?, &environment.pins)?;
    let ready = refusal.is_none() && needs.iter().all(|needs| needs.missing() == 0);
    let mut text = head(policy);
    text.push_str(&changes(differences));
    for needs in needs {
        writeln!(text, "signed by {} of {} of {}", needs.signed.len(), needs.needed, needs.whose)?;
        for root in needs.roots.iter().filter(|root| !needs.signed.iter().any(|signed| signed == root.fingerprint())) {
            let whose = environment.runner.policy().principal(root.fingerprint());
            writeln!(text, "  not by {} {}", root.fingerprint(), visible(whose.name()))?;
        }
    }
    let shown = shown(file);
    let next = match (refusal, ready) {
        (Some(refusal), _) => format!("it cannot be installed as it is: {refusal}\nnext     {}", refusal.hint()),
        (None, true) => format!("next     countersign trust install {shown}"),
        (None, false) => format!("next     countersign trust sign {shown} --key KEY, by whoever is missing"),
    };
    text.push_str(&next);
    let json = json!({
        "policy": policy.digest(),
        "serial": policy.serial(),
        "differences": difference_objects(differences),
        "signatures": needs.iter().map(needed).collect::<Vec<_>>(),
        "ready": ready,
        "why": refusal.as_ref().map(ToString::to_string),
    });
    Ok(Done::new(text, json).with_code(if refusal.is_some() { 3 } else { 0 }))
}

fn signed(file: &Path, signatory: &dyn Signatory) -> CommandResult {
    let document = draft(file)?.document;
    let shown = shown(file);
    let policy = Policy::parse(&document).map_err(|error| {
        hinted(format!("`{shown}` is no trust policy: {error}"), "nothing was signed; correct it first")
    })?;
    let signature = countersign_trust::sign(signatory, namespace::TRUST_POLICY, &document)
        .map_err(|error| hinted(error.to_string(), "nothing was signed; sign again"))?;
    // By the key, so that several people's stand beside each other.
    let name = Digest::of(signatory.fingerprint().as_bytes()).hex();
    let mut path = file.as_os_str().to_owned();
    path.push(format!(".{}.sig", name.get(..12).unwrap_or_default()));
    let path = PathBuf::from(path);
    put_durably(&path, signature.as_bytes())?;
    let path = crate::files::shown(&path);
    let mut text = head(&policy);
    writeln!(text, "signer   {}\nsignature {path}", signatory.fingerprint())?;
    let own = policy.roots().iter().any(|root| root.fingerprint() == signatory.fingerprint());
    if !own {
        text.push_str("note     the key is none of its own roots: it counts where the policy in force has it\n");
    }
    write!(text, "next     countersign trust propose {shown}, where it shall be in force")?;
    let json = json!({
        "policy": policy.digest(),
        "serial": policy.serial(),
        "signer": signatory.fingerprint(),
        "signature": path,
    });
    Ok(Done::new(text, json).acted())
}

fn install(global: &Global, environment: &Environment, file: &Path) -> CommandResult {
    let signed = draft(file)?;
    let in_force = environment.runner.policy();
    // Where that is in force already, its file may not be: it is put right.
    let policy = match Digest::of(&signed.document) == in_force.digest() {
        true => in_force.clone(),
        false => countersign_pipeline::installable(&environment.runner, &signed, &environment.pins)?,
    };
    let differences = in_force.differences(&policy);
    let place = &environment.policy_path;
    // Signatures first: the document is in force as soon as it stands there, and is nothing without them.
    for (number, signature) in signed.signatures.iter().enumerate() {
        let mut path = place.as_os_str().to_owned();
        path.push(format!(".{}.{}.sig", policy.serial(), number + 1));
        put_durably(Path::new(&path), signature)?;
    }
    put_durably(place, &signed.document)?;
    // It is accepted as every command would.
    let installed = Environment::open(global)?;
    if installed.runner.policy().digest() != policy.digest() {
        let what = format!("another policy stands in `{}` by now", shown(place));
        return Err(hinted(what, "look at it with `countersign trust show`, and install this one again"));
    }
    let mut text = format!("installed {}\n{}{}", shown(place), head(&policy), changes(&differences));
    text.push_str("next     countersign pending    # what was approved is judged by it from now on");
    let json = json!({
        "policy": policy.digest(),
        "serial": policy.serial(),
        "differences": difference_objects(&differences),
    });
    Ok(Done::new(text, json).acted())
}

fn explained(environment: &Environment, arguments: &Explain) -> CommandResult {
    let stored = Stored::load(&environment.runner, &arguments.proposal)?;
    let names: Vec<String> = match &arguments.target {
        Some(target) => vec![target.clone()],
        None => stored.proposal.document().targets.iter().map(|target| target.name.clone()).collect(),
    };
    let name = proposal_name(&stored.proposal.digest());
    let mut text = String::new();
    let mut objects = Vec::new();
    for target in &names {
        let Explained { findings, bar } =
            countersign_pipeline::explain(&environment.runner, &stored, target, environment.target(target)?)?;
        writeln!(text, "{name} on {}:", visible(target))?;
        for finding in &findings {
            let mark = match finding.lets {
                Some(true) => "yes",
                Some(false) => "NO ",
                None => "-  ",
            };
            writeln!(text, "  {mark} {} `{}`: {}", finding.asks, visible(&finding.name), visible(&finding.says))?;
        }
        match &bar {
            None => {
                let command = super::run::command(environment.runner.policy(), &name, Some(target));
                writeln!(text, "it may run: {command}")?;
            }
            Some(error) => {
                writeln!(text, "it may not run: {}", visible(&error.to_string()))?;
                if let Some(hint) = error.hint() {
                    writeln!(text, "next     {}", visible(hint))?;
                }
            }
        }
        let findings = findings.into_iter();
        let findings: Vec<_> = findings
            .map(|finding| json!({ "asks": finding.asks, "name": finding.name, "lets": finding.lets, "says": finding.says }))
            .collect();
        objects.push(json!({
            "target": target,
            "may_run": bar.is_none(),
            "why": bar.as_ref().map(ToString::to_string),
            "next": bar.as_ref().and_then(|error| error.hint()),
            "findings": findings,
        }));
    }
    Ok(Done::new(text.trim_end(), json!({ "proposal": name, "explained": objects })))
}

fn head(policy: &Policy) -> String {
    format!("policy   {}\nserial   {}\nexpires  {}\n", policy.digest(), policy.serial(), moment(policy.expires()))
}

fn changes(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { section, name, was, is } in differences {
        let name = visible(name);
        for (mark, says) in [("-", was), ("+", is)] {
            if let Some(says) = says {
                text.push_str(&format!("{mark} {section} {name}: {}\n", visible(says)));
            }
        }
    }
    if text.is_empty() { "it says nothing otherwise\n".to_owned() } else { text }
}

fn difference_objects(differences: &[Difference]) -> Vec<Value> {
    let object = |Difference { section, name, was, is }: &Difference| json!({ "section": section, "name": name, "was": was, "is": is });
    differences.iter().map(object).collect()
}

fn needed(needs: &NeededSignatures) -> Value {
    json!({
        "whose": needs.whose.to_string(),
        "needed": needs.needed,
        "missing": needs.missing(),
        "signed": needs.signed,
        "roots": needs.roots.iter().map(|root| root.fingerprint()).collect::<Vec<_>>(),
    })
}
