use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_model::Digest;
use countersign_trust::{PublicKey, SigningKey, StarterPolicy};
use serde_json::json;

use crate::cli::Global;
use crate::environment::state_directory;
use crate::files::read_bounded;
use crate::output::{CommandResult, Done, hinted};

#[derive(Args)]
#[command(after_help = "Example: countersign init --state ./state --approver ~/.ssh/id_ed25519.pub")]
pub(crate) struct Arguments {
    /// The public key of a person who may approve
    #[arg(long, value_name = "KEY.pub", required = true)]
    approver: Vec<PathBuf>,
    /// The public key of an agent that may propose; without any, every key may propose
    #[arg(long, value_name = "KEY.pub")]
    proposer: Vec<PathBuf>,
}

const CONFIG: &str = "\
# Countersign's configuration. Only the operator may write it.
version = 1

# Paths whose content nobody is shown on any target: not in plans, diffs, evidence or logs. A target may add its own.
sensitive = [\"/etc/shadow\", \"/etc/gshadow\", \"/etc/ssl/private/**\", \"/root/.ssh/**\", \"/home/*/.ssh/**\"]

[trust]
# Who may propose and approve. The digest pins the file: change both together.
policy = \"trust-policy.toml\"
digest = \"{digest}\"

# What undo needs is kept here before anything is changed; what has no room is not changed.
#
# [images]
# directory = \"/var/lib/countersign-images\"    # instead of the state directory
# cap = \"1GiB\"         # what all images may take
# reserve = \"256MiB\"   # what must stay free on their file system

# A target: what may be looked at, what may be changed, and what must hold afterwards.
#
# [targets.web]
# rollback-owner = \"you@example.org\"
# sensitive = [\"/etc/nginx/secrets/**\"]
# hold = 5    # seconds for which check and guards must go on holding, whatever a bundle asks for
#
# [targets.web.investigation]
# ceiling = [
#   \"files.read /etc/nginx/**\",
#   \"http.read http://127.0.0.1:8080/healthz\",
#   \"process.read exe=/usr/sbin/nginx\",
# ]
#
# [targets.web.remediation]
# ceiling = [
#   \"files.read /etc/nginx/**\",
#   \"files.write /etc/nginx/nginx.conf\",
#   \"process.write exe=/usr/sbin/nginx signals=HUP\",
# ]
#
# [[targets.web.guards]]
# name = \"the site answers\"
# call = \"http.get http://127.0.0.1:8080/healthz\"
# expect = { status = 200 }
#
# [[targets.web.validators]]
# name = \"nginx -t\"
# paths = [\"/etc/nginx/**\"]
# command = [\"/usr/sbin/nginx\", \"-t\"]
";

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let keys = |paths: &[PathBuf]| paths.iter().map(|path| public_key(path)).collect::<anyhow::Result<Vec<_>>>();
    let (approvers, proposers) = (keys(&arguments.approver)?, keys(&arguments.proposer)?);
    let policy = StarterPolicy { approvers: &approvers, proposers: &proposers, unlisted: proposers.is_empty() }
        .render()
        .context("no trust policy can be made of these keys")?;
    let digest = Digest::of(policy.as_bytes());
    let config = CONFIG.replace("{digest}", &digest.to_string());
    let key = SigningKey::generate("countersign runner")?;
    let private = key.to_openssh()?;

    let directory = state_directory(global)?;
    let state = countersign_record::State::create(&directory)
        .map_err(|error| hinted(error.to_string(), "name another directory with `--state`"))?;
    state.write_new(Path::new("runner.key"), private.as_bytes(), 0o600)?;
    state.write_new(Path::new("runner.pub"), format!("{}\n", key.public_key().to_openssh()).as_bytes(), 0o600)?;
    state.write_new(Path::new("trust-policy.toml"), policy.as_bytes(), 0o600)?;
    // Last, so that a state directory with a configuration is a whole one.
    state.write_new(Path::new("config.toml"), config.as_bytes(), 0o600)?;

    let config_path = directory.join("config.toml");
    let mut text = format!(
        "state    {}\nconfig   {}\nrunner   {}\n",
        directory.display(),
        config_path.display(),
        key.fingerprint()
    );
    for key in &approvers {
        text.push_str(&format!("approver {}\n", key.fingerprint()));
    }
    for key in &proposers {
        text.push_str(&format!("proposer {}\n", key.fingerprint()));
    }
    text.push_str("next     describe a target in the configuration");
    let json = json!({
        "state": directory.display().to_string(),
        "config": config_path.display().to_string(),
        "runner": key.fingerprint(),
        "policy": digest,
        "approvers": approvers.iter().map(PublicKey::fingerprint).collect::<Vec<_>>(),
        "proposers": proposers.iter().map(PublicKey::fingerprint).collect::<Vec<_>>(),
    });
    Ok(Done::new(text, json).acted())
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let bytes = read_bounded(path, 64 * 1024)?;
    let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not a public key", path.display()))?;
    PublicKey::from_openssh(text.trim()).with_context(|| format!("`{}` cannot be used", path.display()))
}
