//! The operator's configuration: one TOML file that only the operator can write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_model::{Digest, toml};
use countersign_pipeline::Target;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::files::{read_private, shown};
use crate::output::hinted;

/// The largest configuration that is read, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;
/// The version of the format.
const VERSION: u32 = 1;

/// The configuration as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The version of this format.
    #[schemars(range(min = VERSION, max = VERSION))]
    version: u32,
    pub(crate) trust: Trust,
    /// Paths whose content nobody is shown on any target, beside each target's own.
    #[serde(default)]
    sensitive: Vec<String>,
    /// Names are 1 to 64 lower-case letters, digits, `-` and `.`.
    #[serde(default)]
    pub(crate) targets: BTreeMap<String, Target>,
}

/// Which trust policy is in force: a file, and the digest that it must have.
#[derive(Debug, Deserialize, JsonSchema)]
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
        let bytes = read_private(path, MAX_SIZE)?;
        let file = shown(path);
        let wrong = |what: String| hinted(what, format!("correct `{file}`; nothing was changed"));
        let mut config: Self =
            toml::from_slice(&bytes, bytes.len()).map_err(|error| wrong(format!("`{file}`: {error}")))?;
        if config.version != VERSION {
            return Err(wrong(format!(
                "`{file}` is of version {}, and this countersign reads version {VERSION}",
                config.version
            )));
        }
        for name in config.targets.keys() {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(wrong(format!(
                    "`{file}`: `{}` is not a target's name: use 1 to 64 lower-case letters, digits, `-` and `.`",
                    countersign_model::text::excerpt(name, 80)
                )));
            }
        }
        for target in config.targets.values_mut() {
            // Into each target, so that its digest, which approvals sign, covers them.
            target.sensitive.extend_from_slice(&config.sensitive);
        }
        let policy_path = path.parent().unwrap_or(Path::new("/")).join(&config.trust.policy);
        let policy = read_private(&policy_path, MAX_SIZE)?;
        let digest = Digest::of(&policy);
        if digest != config.trust.digest {
            return Err(hinted(
                format!("`{}` is not the trust policy that the configuration pins", shown(&policy_path)),
                format!("if the change is yours, set `digest = \"{digest}\"` under `[trust]` in `{file}`"),
            ));
        }
        Ok((config, policy))
    }
}
