//! The operator's configuration: one TOML file that only the operator can write.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use countersign_model::Digest;
use countersign_pipeline::Target;
use serde::Deserialize;

use crate::output::hinted;

/// The largest configuration that is read, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// The configuration as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    version: u32,
    pub(crate) trust: Trust,
    #[serde(default)]
    pub(crate) targets: BTreeMap<String, Target>,
}

/// Which trust policy is in force: a file, and the digest that it must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Relative to the configuration's directory.
    pub(crate) policy: PathBuf,
    /// Pinned here, so that nobody who can write the policy alone can change who approves.
    pub(crate) digest: Digest,
}

impl Config {
    /// Reads the configuration and the policy that it pins.
    pub(crate) fn load(path: &Path) -> anyhow::Result<(Self, Vec<u8>)> {
        let bytes = read_private(path)?;
        let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            let place = error.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            let line = place.map_or_else(String::new, |line| format!(" line {line}"));
            anyhow::anyhow!("`{}`{line}: {}", path.display(), error.message())
        })?;
        if config.version != 1 {
            anyhow::bail!(
                "`{}` is of version {}, and this countersign reads version 1",
                path.display(),
                config.version
            );
        }
        for name in config.targets.keys() {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                anyhow::bail!(
                    "`{}`: `{}` is not a target's name: use 1 to 64 lower-case letters, digits, `-` and `.`",
                    path.display(),
                    countersign_model::text::excerpt(name, 80)
                );
            }
        }
        let policy_path = path.parent().unwrap_or(Path::new("/")).join(&config.trust.policy);
        let policy = read_private(&policy_path)?;
        let digest = Digest::of(&policy);
        if digest != config.trust.digest {
            return Err(hinted(
                format!("`{}` is not the trust policy that the configuration pins", policy_path.display()),
                format!("if the change is yours, set `digest = \"{digest}\"` under `[trust]` in `{}`", path.display()),
            ));
        }
        Ok((config, policy))
    }
}

/// A regular file of bounded size that nobody but its owner, who is this user or root, can write.
fn read_private(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .with_context(|| format!("`{shown}` cannot be read"))?;
    let metadata = file.metadata().with_context(|| format!("`{shown}` cannot be read"))?;
    if !metadata.is_file() {
        anyhow::bail!("`{shown}` is not a regular file");
    }
    let owner = metadata.uid();
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Err(hinted(format!("`{shown}` belongs to user {owner}"), "only the operator may own it: chown it"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(hinted(format!("`{shown}` can be written by others"), format!("chmod go-w {shown}")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).with_context(|| format!("`{shown}` cannot be read"))?;
    if bytes.len() as u64 > MAX_SIZE {
        anyhow::bail!("`{shown}` is larger than {MAX_SIZE} bytes");
    }
    Ok(bytes)
}
