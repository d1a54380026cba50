use std::path::PathBuf;

use clap::{ArgGroup, Args};
use countersign_model::Grant;
use countersign_pipeline::{ApprovalTerms, Approved, Stored, proposal_name};
use serde_json::json;

use crate::cli::Global;
use crate::environment::{Environment, load_key};
use crate::files::{read_bounded, write_new};
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(group(ArgGroup::new("how").required(true).args(["key", "write_manifest", "manifest"])))]
#[command(after_help = "\
Examples:
  countersign approve p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'seen, agreed'
  countersign approve p-0123456789ab --reason 'seen, agreed' --write-manifest approval.json
  ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n approval@countersign approval.json
  countersign approve p-0123456789ab --manifest approval.json --signature approval.json.sig")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The approver's private key, in OpenSSH's format
    #[arg(long, value_name = "FILE", requires = "reason")]
    key: Option<PathBuf>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A narrower grant in place of the one that contains it
    #[arg(long, value_name = "GRANT")]
    narrow: Vec<Grant>,
    /// For how long the approval is good
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = crate::time::parse_duration)]
    expires: u64,
    /// Write the approval manifest, to be signed with `ssh-keygen -Y sign -n approval@countersign`
    #[arg(long, value_name = "FILE", requires = "reason", conflicts_with_all = ["key", "signature"])]
    write_manifest: Option<PathBuf>,
    /// Take a manifest that was signed elsewhere
    #[arg(long, value_name = "FILE", requires = "signature", conflicts_with_all = ["key", "reason", "narrow"])]
    manifest: Option<PathBuf>,
    /// The signature on that manifest
    #[arg(long, value_name = "FILE", requires = "manifest")]
    signature: Option<PathBuf>,
}

/// The largest manifest or signature that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    let stored = Stored::load(runner, &arguments.proposal)?;
    if let (Some(manifest), Some(signature)) = (&arguments.manifest, &arguments.signature) {
        let manifest = read_bounded(manifest, MAX_FILE)?;
        let signature = String::from_utf8_lossy(&read_bounded(signature, MAX_FILE)?).into_owned();
        let kept = countersign_pipeline::keep_approval(runner, &stored, &manifest, &signature)?;
        return Ok(approved(&stored, &kept));
    }
    let targets = environment.targets_of(&stored)?;
    let terms = ApprovalTerms {
        reason: arguments.reason.as_deref().unwrap_or_default(),
        narrow: &arguments.narrow,
        valid_for: arguments.expires,
    };
    let (_, manifest) = countersign_pipeline::draft_approval(runner, &stored, &targets, &terms)?;
    if let Some(file) = &arguments.write_manifest {
        write_new(file, &manifest)?;
        let shown = file.display();
        let text = format!(
            "manifest {shown}\nnext     ssh-keygen -Y sign -f KEY -n approval@countersign {shown}\n         \
             countersign approve {} --manifest {shown} --signature {shown}.sig",
            arguments.proposal
        );
        return Ok(Done::new(text, json!({ "manifest": shown.to_string(), "proposal": arguments.proposal })));
    }
    let key = arguments.key.as_deref().ok_or_else(|| anyhow::anyhow!("`--key` is missing"))?;
    let signature = countersign_pipeline::sign_approval(&load_key(key)?, &manifest)?;
    let kept = countersign_pipeline::keep_approval(runner, &stored, &manifest, &signature)?;
    Ok(approved(&stored, &kept))
}

fn approved(stored: &Stored, kept: &Approved) -> Done {
    let name = proposal_name(&stored.proposal.digest());
    let text = format!(
        "approved by {}\nmanifest  {}\nsignature {}\nnext      countersign run {name}",
        kept.approver,
        kept.manifest.display(),
        kept.signature.display()
    );
    let json = json!({
        "proposal": name,
        "approver": kept.approver,
        "approval": kept.digest,
        "manifest": kept.manifest.display().to_string(),
        "signature": kept.signature.display().to_string(),
    });
    Done::new(text, json).acted()
}
