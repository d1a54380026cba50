use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_model::Digest;
use countersign_record::RecordError;
use countersign_trust::{Policy, PublicKey, SigningKey, StarterPolicy};
use serde_json::json;

use crate::cli::Global;
use crate::environment::state_directory;
use crate::files::{read_bounded, shown};
use crate::output::{CommandResult, Done, hinted, hinted_by};

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

/// What the configuration below holds for sensitive.
const SENSITIVE: [&str; 8] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssl/private/**",
    "/root/.ssh/**",
    "/home/*/.ssh/**",
];

const CONFIG: &str = "\
# Countersign's configuration. Only the operator may write it.
version = 1

# Paths whose content nobody is shown on any target: not in plans, diffs, evidence or logs. A target may add its own.
sensitive = [
    \"/etc/shadow\", \"/etc/shadow-\", \"/etc/gshadow\", \"/etc/gshadow-\",
    \"/etc/ssh/ssh_host_*_key\", \"/etc/ssl/private/**\", \"/root/.ssh/**\", \"/home/*/.ssh/**\",
]

[trust]
# Who may propose and approve. These keys sign each new version: `countersign trust propose`, `sign`, `install`.
policy = \"trust-policy.toml\"
threshold = {threshold}
roots = [
{roots}]
least-serial = 1
# The first version, which nobody had to sign.
digest = \"{digest}\"

# What undo needs is kept here before anything is changed; what has no room is not changed.
#
# [images]
# directory = \"/var/lib/countersign-images\"    # instead of the state directory
# cap = \"1GiB\"         # what all images may take
# reserve = \"256MiB\"   # what must stay free on their file system

# Steps run in processes that the kernel confines, and are refused where it cannot.
#
# [sandbox]
# without = [\"landlock\"]   # let steps run where the kernel lacks this; each run's record says so
# compile-within = 60       # seconds that compiling one step may take
# compile-memory = \"2GiB\"

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
    let starter = StarterPolicy {
        approvers: &approvers,
        proposers: &proposers,
        unlisted: proposers.is_empty(),
        now: crate::time::now(),
    };
    let policy = starter.render().context("no trust policy can be made of these keys")?;
    let names = Policy::parse(policy.as_bytes()).context("no trust policy can be made of these keys")?;
    let digest = Digest::of(policy.as_bytes());
    let roots: String = names.roots().iter().map(|key| format!("    \"{}\",\n", key.to_openssh())).collect();
    let config = CONFIG.replace("{digest}", &digest.to_string()).replace("{roots}", &roots);
    let mut config = config.replace("{threshold}", &names.threshold().to_string());
    for pattern in SENSITIVE {
        if let Some(real) = resolved(pattern) {
            config = config.replace(&format!("\"{pattern}\""), &toml::Value::String(real).to_string());
        }
    }
    let key = SigningKey::generate("countersign runner")?;
    let private = key.to_openssh()?;

    let directory = state_directory(global)?;
    let state = countersign_record::State::create(&directory).map_err(|error| occupied(&directory, error))?;
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
    // What the policy calls them: it may be another name than the key's comment.
    for (what, keys) in [("approver", &approvers), ("proposer", &proposers)] {
        for key in keys {
            let fingerprint = key.fingerprint();
            text.push_str(&format!("{what} {fingerprint}  {}\n", names.principal(fingerprint).name()));
        }
    }
    if proposers.is_empty() {
        text.push_str(
            "proposer any key: such runs are marked \"approval not independent\"; `--proposer KEY.pub` changes that\n",
        );
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

/// The pattern with the links on its way followed, as they are on some systems for `/home` and `/root`: files are known
/// by the path without them. `None` where there is no link, or the way to where it leads is no pattern's.
fn resolved(pattern: &str) -> Option<String> {
    let mut path = PathBuf::from("/");
    let mut segments = pattern.split('/').filter(|segment| !segment.is_empty()).peekable();
    while let Some(segment) = segments.next_if(|segment| !segment.contains('*')) {
        let next = path.join(segment);
        path = next.canonicalize().unwrap_or(next);
    }
    let real = path.to_str().filter(|real| !real.contains('*'))?;
    let real = segments.fold(real.trim_end_matches('/').to_owned(), |real, segment| format!("{real}/{segment}"));
    (real != pattern).then_some(real)
}

/// Why no state directory could be made there.
fn occupied(directory: &Path, error: RecordError) -> anyhow::Error {
    match error {
        RecordError::NotEmpty(_) if directory.join("config.toml").exists() => hinted(
            format!("`{}` is a state directory already; nothing was changed", shown(directory)),
            "go on with it, or name another directory with `--state`",
        ),
        error => {
            let what = error.to_string();
            match error {
                RecordError::File { source, .. } => {
                    hinted_by(source, what, "name a directory with `--state` that you may make and write in")
                }
                _ => hinted(what, "name another directory with `--state`"),
            }
        }
    }
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let bytes = read_bounded(path, 64 * 1024)?;
    if bytes.starts_with(b"-----BEGIN") {
        let shown = shown(path);
        return Err(hinted(
            format!("`{shown}` is a private key"),
            format!("name the public one, `{shown}.pub`; nothing was made"),
        ));
    }
    let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not a public key", path.display()))?;
    PublicKey::from_openssh(text.trim()).with_context(|| format!("`{}` cannot be used", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_is_sensitive_is_looked_for_where_it_really_is() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let place = place.path().canonicalize().expect("it is there");
        let (root, users) = (place.join("root"), place.join("usr/home"));
        std::fs::create_dir_all(&users).expect("folders");
        std::os::unix::fs::symlink("usr/home", place.join("home")).expect("a link");
        std::os::unix::fs::symlink(&users, &root).expect("a link");
        let shown = |name: &str| format!("{}/{name}", place.display());
        assert_eq!(resolved(&shown("home/*/.ssh/**")), Some(shown("usr/home/*/.ssh/**")));
        assert_eq!(resolved(&shown("root/.ssh/**")), Some(shown("usr/home/.ssh/**")));
        assert_eq!(resolved(&shown("usr/home/.ssh/**")), None);
        assert_eq!(resolved("/*/x"), None);
        // Each of the list is in the configuration, or nothing would be put in its place.
        for pattern in SENSITIVE {
            assert_eq!(CONFIG.matches(&format!("\"{pattern}\"")).count(), 1, "{pattern}");
        }
    }
}
