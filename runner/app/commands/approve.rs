use std::fmt;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use countersign_model::documents::{Confirmation, Terms, namespace};
use countersign_model::{Grant, Reversibility};
use countersign_pipeline::{ApprovalTerms, Given, SignedConfirmation, Stored};
use serde::Serialize;
use serde_json::json;

use crate::cli::Global;
use crate::files::{read_bounded, shown, write_new};
use crate::output::{CommandResult, Done, noted};
use crate::papers::{Kept, Papers, PinArguments};
use crate::render;
use crate::signing::SignerArguments;
use crate::time::moment;

#[derive(Args)]
#[command(group(ArgGroup::new("how").required(true).multiple(true).args(["key", "agent", "write_manifest", "manifest"])))]
#[command(group(ArgGroup::new("what").required(true).args(["reason", "cosign", "manifest"])))]
#[command(after_help = "\
Examples:
  countersign approve p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'seen, agreed'
  countersign approve p-0123456789ab --agent --reason 'if the queue drains' --confirm-within 10m
  countersign approve orders.proposal --runner known-runners --agent --reason 'seen, agreed'
  countersign approve orders.proposal --runner known-runners --key ~/.ssh/id_ed25519 --cosign 4f3a91
  countersign approve p-0123456789ab --reason 'seen, agreed' --write-manifest approval.json
  ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n approval@countersign approval.json
  countersign approve p-0123456789ab --manifest approval.json --signature approval.json.sig")]
pub(crate) struct Arguments {
    /// The proposal, or the file that it was exported to: what has a `/` or a `.` in its name
    proposal: String,
    #[command(flatten)]
    signer: SignerArguments,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A narrower grant in place of the one that contains it
    #[arg(long, value_name = "GRANT")]
    narrow: Vec<Grant>,
    /// For how long the approval is good
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = crate::time::parse_duration)]
    expires: u64,
    /// Within which time from now a run must be finished: what is not committed by then is rolled back
    #[arg(long, value_name = "SPAN", value_parser = crate::time::parse_duration)]
    finish_within: Option<u64>,
    /// Let a run commit only once somebody has confirmed what it changed (`countersign confirm`), within this time: 1s to 7d
    #[arg(long, value_name = "SPAN", value_parser = crate::time::parse_confirmation)]
    confirm_within: Option<u64>,
    /// What happens to what was changed where nobody says anything within that time
    #[arg(long, value_enum, default_value_t = Silence::RollBack, requires = "confirm_within")]
    silence: Silence,
    /// Sign an approval that somebody gave already, as it stands. Where the trust policy asks for several people and each signs
    /// terms of their own, the stricter ones count. `review` lists them; the beginning of its digest names it
    #[arg(long, value_name = "APPROVAL", conflicts_with_all = ["narrow", "expires", "finish_within", "confirm_within", "write_manifest"])]
    cosign: Option<String>,
    /// Write the approval manifest, to be signed with `ssh-keygen -Y sign -n approval@countersign`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "agent", "signature"])]
    write_manifest: Option<PathBuf>,
    /// Take a manifest that was signed elsewhere
    #[arg(long, value_name = "FILE", requires = "signature", conflicts_with_all = ["key", "agent", "narrow", "expires", "finish_within", "confirm_within"])]
    manifest: Option<PathBuf>,
    /// The signature on that manifest
    #[arg(long, value_name = "FILE", requires = "manifest")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    pins: PinArguments,
}

/// What nobody's saying anything means: what was changed is put back, or stays.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Silence {
    RollBack,
    Keep,
}

/// The largest manifest or signature that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let mut papers = Papers::to_sign(global, &arguments.proposal, &arguments.pins)?;
    papers.signable()?;
    if let (Some(manifest), Some(signature)) = (&arguments.manifest, &arguments.signature) {
        let manifest = read_bounded(manifest, MAX_FILE)?;
        let signature = String::from_utf8_lossy(&read_bounded(signature, MAX_FILE)?).into_owned();
        let kept = papers.keep(&manifest, &signature)?;
        return Ok(approved(&papers, &kept, Hardware::of(&manifest, &signature)));
    }
    let manifest = match &arguments.cosign {
        Some(approval) => papers.given(approval)?,
        None => papers.draft(&ApprovalTerms {
            reason: arguments.reason.as_deref().unwrap_or_default(),
            narrow: &arguments.narrow,
            valid_for: arguments.expires,
            finish_within: arguments.finish_within,
            confirmation: arguments
                .confirm_within
                .map(|within_ms| Confirmation { within_ms, silence_keeps: arguments.silence == Silence::Keep }),
            break_glass: None,
        })?,
    };
    if let Some(file) = &arguments.write_manifest {
        write_new(file, &manifest)?;
        let shown = shown(file);
        let runner = papers.runner().map_or_else(String::new, |runner| format!(" --runner {runner}"));
        let text = format!(
            "manifest {shown}\nnext     ssh-keygen -Y sign -f KEY -n approval@countersign {shown}\n         \
             countersign approve {}{runner} --manifest {shown} --signature {shown}.sig",
            arguments.proposal
        );
        return Ok(Done::new(text, json!({ "manifest": shown, "proposal": papers.name() })));
    }
    let signatory = arguments.signer.signatory()?;
    papers.may_sign(&manifest, &*signatory)?;
    let signature = countersign_pipeline::sign_approval(&*signatory, &manifest)?;
    let kept = papers.keep(&manifest, &signature)?;
    Ok(approved(&papers, &kept, Hardware::of(&manifest, &signature)))
}

/// What hardware said of how it signed.
#[derive(Serialize)]
struct Hardware {
    touch: bool,
    pin: bool,
    counter: u32,
    application: String,
    origin: Option<String>,
}

impl Hardware {
    /// Of a signature that was just found to count; `None` where its key is in no hardware.
    fn of(manifest: &[u8], signature: &str) -> Option<Self> {
        let signer = countersign_trust::verify(namespace::APPROVAL, manifest, signature.as_bytes()).ok()?;
        let (presence, application) = (signer.presence()?, signer.public_key().application()?);
        Some(Self {
            touch: presence.user_present,
            pin: presence.user_verified,
            counter: presence.counter,
            application: application.to_owned(),
            origin: presence.origin.clone(),
        })
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.touch { "touched" } else { "not touched" })?;
        f.write_str(if self.pin { ", asked who it was" } else { "" })?;
        write!(f, ", for `{}`", self.application)?;
        if let Some(origin) = &self.origin {
            write!(f, " at `{origin}`")?;
        }
        write!(f, ", its counter at {}", self.counter)
    }
}

/// What is approved, in one line: how much of it, where, until when and how often.
pub(super) fn scope(stored: &Stored, terms: &Terms) -> anyhow::Result<String> {
    let mut targets = Vec::new();
    for target in &terms.targets {
        let forward = &stored.rehearsal(&target.name)?.plan.forward;
        let irreversible = forward.iter().filter(|change| change.reversibility == Reversibility::Irreversible).count();
        let count = if forward.len() == 1 { "1 change".to_owned() } else { format!("{} changes", forward.len()) };
        targets.push(format!("{count} on {} ({irreversible} irreversible)", target.name));
    }
    let runs = if terms.uses == 1 { "1 run".to_owned() } else { format!("{} runs", terms.uses) };
    let each = if targets.len() > 1 { " on each" } else { "" };
    let requested = &stored.proposal.document().grants;
    let narrowed = render::narrowed(requested, &terms.grants).into_iter().map(|(role, line)| format!("{role}: {line}"));
    let narrowed: Vec<_> = narrowed.collect();
    let narrowed = if narrowed.is_empty() { String::new() } else { format!("; narrowed: {}", narrowed.join("; ")) };
    let confirmed = terms.confirmation.map(|asked| format!("; {}", render::confirmation(&asked.into())));
    let confirmed = confirmed.unwrap_or_default();
    let finish = terms.finish_by.map(|end| format!(", finished by {}", moment(end))).unwrap_or_default();
    let until = moment(terms.expires);
    Ok(format!("{}, good until {until}{finish}, {runs}{each}{confirmed}{narrowed}", targets.join(", ")))
}

fn approved(papers: &Papers, kept: &Kept, hardware: Option<Hardware>) -> Done {
    let given = kept.given.as_ref();
    // It is signed and kept: what cannot be looked at now does not undo that.
    let mut notes = kept.notes.clone();
    let cautions = noted(&mut notes, "the targets were not looked at", papers.cautions());
    notes.extend(cautions);
    let committed = noted(&mut notes, "the proposal's runs were not looked at", papers.committed());
    let scope = given.map(|given| scope(papers.stored(), &given.terms)).transpose();
    let scope = noted(&mut notes, "what is approved was not looked at", scope);
    if papers.file().is_some()
        && given.is_some_and(|given| given.terms.grants != papers.stored().proposal.document().grants)
    {
        notes.push(
            "what was narrowed is rehearsed when it is imported, and kept where that gives the same plan".to_owned(),
        );
    }
    notes.extend(committed.iter().map(|run| format!("{run} was committed already: this allows another run")));
    for note in &notes {
        crate::output::note(note);
    }
    let (name, file) = (papers.name(), papers.file().map(shown));
    let mut text = format!("approved by {}", kept.approver);
    if let Some(hardware) = &hardware {
        text.push_str(&format!("\nhardware  {hardware}"));
    }
    if let Some(scope) = scope {
        text.push_str(&format!("\napproves  {scope}"));
    }
    text.push_str(&format!("\napproval  {}", kept.approval));
    if let Some((manifest, signature)) = &kept.files {
        text.push_str(&format!("\nmanifest  {}\nsignature {}", manifest.display(), signature.display()));
    }
    if let Some(file) = &file {
        text.push_str(&format!("\nfile      {file}"));
    }
    if let Some(given) = given {
        text.push_str(&format!("\nnext      {}", next(papers, file.as_deref(), kept, given)));
    }
    let json = json!({
        "proposal": name,
        "approver": kept.approver,
        "hardware": hardware,
        "approval": kept.approval,
        "approvers": given.map(|given| &given.approvers),
        "quorum": kept.quorum,
        "manifest": kept.files.as_ref().map(|(manifest, _)| shown(manifest)),
        "signature": kept.files.as_ref().map(|(_, signature)| shown(signature)),
        "file": file,
        "expires": given.map(|given| given.terms.expires),
        "finish_by": given.and_then(|given| given.terms.finish_by),
        "uses": given.map(|given| given.terms.uses),
        "confirmation": given.and_then(|given| given.terms.confirmation).map(SignedConfirmation::from),
        "committed": committed,
        "notes": notes,
    });
    Done::new(text, json).acted()
}

/// What is to be done with an approval that was given.
fn next(papers: &Papers, file: Option<&str>, kept: &Kept, given: &Given) -> String {
    let name = papers.name();
    let missing = kept.quorum.saturating_sub(kept.people.len());
    match (missing, file) {
        (0, None) => match given.terms.targets.as_slice() {
            [_] => super::run::command(papers.policy(), &name, None),
            several => {
                let runs = several.iter().map(|target| super::run::command(papers.policy(), &name, Some(&target.name)));
                runs.collect::<Vec<_>>().join("\nnext      ")
            }
        },
        (0, Some(file)) => format!("on its host: countersign import {file}"),
        (_, Some(file)) => format!(
            "{missing} more must approve; this one as it stands: countersign approve {file} --runner RUNNER --cosign {}",
            given.approval.short()
        ),
        (_, None) => format!(
            "{missing} more must approve; this one as it stands: countersign approve {name} --cosign {}",
            given.approval.short()
        ),
    }
}
