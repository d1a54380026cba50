//! The operator's configuration: one TOML file that only the operator can write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use countersign_model::{Digest, toml};
use countersign_pipeline::Target;
use countersign_record::ImagesPlace;
use countersign_trust::{PolicyPins, PublicKey};
use countersign_worker::{CompileLimits, Confinement, Mechanism};
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
    #[serde(default)]
    images: Images,
    #[serde(default)]
    audit: Audit,
    notice: Option<Notice>,
    #[serde(default)]
    sandbox: Sandbox,
    /// For how many seconds a call to a target may go on past its own time, 1 to 3600, before it is given up as one that
    /// never returns. Shorter than the slowest disk needs to sync, and a run is left in doubt for nothing.
    #[serde(default = "call_grace", rename = "call-grace")]
    #[schemars(range(min = 1, max = 3600))]
    call_grace: u64,
    /// Names are 1 to 64 lower-case letters, digits, `-` and `.`.
    #[serde(default)]
    pub(crate) targets: BTreeMap<String, Target>,
}

const fn call_grace() -> u64 {
    countersign_pipeline::CALL_GRACE.as_secs()
}

/// Which trust policy is in force: a file, with the signatures beside it, and who must have signed it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Trust {
    /// Relative to the configuration's directory. The signatures are the files beside it whose names begin with its own and
    /// end in `.sig`.
    pub(crate) policy: PathBuf,
    /// Public keys as OpenSSH writes them: so many of them as `threshold` says must have signed a policy that is in force,
    /// or one that it follows.
    roots: Vec<String>,
    /// 1 to as many as there are roots.
    #[schemars(range(min = 1))]
    threshold: u64,
    /// The lowest serial of a policy that is taken: what a state that was restored from an old copy has forgotten.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    least_serial: u64,
    /// The digest of a policy that is taken without signatures, as the first one is that `countersign init` writes. What was
    /// approved under one before it is void.
    digest: Option<Digest>,
}

const fn one() -> u64 {
    1
}

impl Trust {
    fn pins(&self) -> Result<PolicyPins, String> {
        let mut roots: Vec<PublicKey> = Vec::new();
        for line in &self.roots {
            let key =
                PublicKey::from_openssh(line).map_err(|error| format!("a key of `roots` is not taken: {error}"))?;
            if roots.contains(&key) {
                return Err(format!("the key `{}` stands twice in `roots`", key.fingerprint()));
            }
            roots.push(key);
        }
        let (threshold, count) = (self.threshold, roots.len());
        let counted = usize::try_from(threshold).ok().filter(|threshold| (1..=count).contains(threshold));
        let threshold = counted
            .ok_or_else(|| format!("`threshold` is {threshold}, and there are {count} keys: expected 1 to {count}"))?;
        Ok(PolicyPins { roots, threshold, least_serial: self.least_serial, unsigned: self.digest })
    }
}

/// Where images are kept for undo, and how much of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Images {
    /// An absolute path; the state directory's `blobs` where there is none.
    directory: Option<PathBuf>,
    /// The most that all images may take, e.g. `1GiB`; more than 0.
    cap: String,
    /// What must stay free on their file system, e.g. `256MiB`.
    reserve: String,
}

impl Default for Images {
    fn default() -> Self {
        Self { directory: None, cap: "1GiB".to_owned(), reserve: "256MiB".to_owned() }
    }
}

impl Images {
    fn place(&self) -> Result<ImagesPlace, String> {
        if self.directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
            return Err("`directory` must be an absolute path".to_owned());
        }
        let (cap, reserve) = (size("cap", &self.cap)?, size("reserve", &self.reserve)?);
        if cap == 0 {
            return Err("`cap` is 0, so that nothing could be changed".to_owned());
        }
        Ok(ImagesPlace { directory: self.directory.clone(), cap, reserve })
    }
}

/// The audit log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Audit {
    /// An absolute path outside of the state directory, best on another disk or host: the log's latest checkpoint is kept there,
    /// and a state that is older than it, such as one from a backup, is refused.
    checkpoint: Option<PathBuf>,
}

/// Who is told when the glass is [broken](break-glass.md). Without it none can be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Notice {
    /// An absolute path and arguments, run without a shell and with the runner's rights; it gets one JSON object on its standard
    /// input. Unless it exits with 0, the glass stays whole.
    command: Vec<String>,
    /// How long it may take, in seconds.
    #[serde(default = "notice_timeout")]
    #[schemars(range(min = 1, max = 300))]
    timeout: u64,
}

const fn notice_timeout() -> u64 {
    10
}

/// The processes that steps are compiled and run in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Sandbox {
    /// What of their confinement may be missing where the kernel lacks it: `landlock`, `seccomp`. Steps are refused otherwise.
    /// What the kernel has is used all the same, and the record of a run says what was missing.
    without: BTreeSet<Mechanism>,
    /// Seconds that compiling one step may take, 1 to 3600.
    #[schemars(range(min = 1, max = 3600))]
    compile_within: u64,
    /// Memory that compiling one step may take, e.g. `2GiB`; at least `256MiB`.
    compile_memory: String,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { without: BTreeSet::new(), compile_within: 60, compile_memory: "2GiB".to_owned() }
    }
}

impl Sandbox {
    fn confinement(&self) -> Result<Confinement, String> {
        let memory = size("compile-memory", &self.compile_memory)?;
        if memory < 256 << 20 {
            return Err("`compile-memory` is less than 256MiB, which the compiler itself takes".to_owned());
        }
        if !(1..=3600).contains(&self.compile_within) {
            return Err("`compile-within` must be 1 to 3600 seconds".to_owned());
        }
        let compile = CompileLimits { within: Duration::from_secs(self.compile_within), memory };
        Ok(Confinement { without: self.without.clone(), compile })
    }
}

/// A size in words, such as `512MiB`.
fn size(key: &str, text: &str) -> Result<u64, String> {
    let parsed = text.parse::<ByteSize>().map(|size| size.as_u64());
    let text = countersign_model::text::excerpt(text, 40);
    parsed.map_err(|_| format!("`{key}` is `{text}`, which is no size: expected e.g. `512MiB` or `1GiB`"))
}

impl Config {
    /// How the processes of steps are held.
    pub(crate) fn confinement(&self, path: &Path) -> anyhow::Result<Confinement> {
        let file = shown(path);
        self.sandbox.confinement().map_err(|why| {
            hinted(format!("`{file}`: sandbox: {why}"), format!("correct `{file}`; nothing was changed"))
        })
    }

    /// Where images are kept, and how much of them.
    pub(crate) fn images(&self, path: &Path) -> anyhow::Result<ImagesPlace> {
        let file = shown(path);
        self.images
            .place()
            .map_err(|why| hinted(format!("`{file}`: images: {why}"), format!("correct `{file}`; nothing was changed")))
    }

    /// Where the audit log's latest checkpoint is kept beside the state.
    pub(crate) fn held_checkpoint(&self, path: &Path, state: &Path) -> anyhow::Result<Option<PathBuf>> {
        let Some(held) = &self.audit.checkpoint else { return Ok(None) };
        let file = shown(path);
        let wrong =
            |why: &str| hinted(format!("`{file}`: audit: {why}"), format!("correct `{file}`; nothing was changed"));
        if !held.is_absolute() || held.file_name().is_none() {
            return Err(wrong("`checkpoint` must be the absolute path of a file"));
        }
        let folder = held.parent().and_then(|folder| folder.canonicalize().ok());
        match (folder, state.canonicalize()) {
            (Some(folder), Ok(state)) if folder.starts_with(&state) => {
                Err(wrong("`checkpoint` must be outside of the state directory, or it is restored with that"))
            }
            (Some(_), Ok(_)) => Ok(Some(held.clone())),
            _ => Err(wrong("the directory of `checkpoint` is not there")),
        }
    }

    /// Who is told when the glass is broken, if anybody.
    pub(crate) fn notice(&self, path: &Path) -> anyhow::Result<Option<countersign_pipeline::Notice>> {
        let Some(notice) = &self.notice else { return Ok(None) };
        countersign_pipeline::Notice::new(notice.command.clone(), notice.timeout).map(Some).map_err(|why| {
            let file = shown(path);
            hinted(format!("`{file}`: notice: {why}"), format!("correct `{file}`; nothing was changed"))
        })
    }

    /// For how long a call may go on past its own time.
    pub(crate) fn call_grace(&self, path: &Path) -> anyhow::Result<Duration> {
        match self.call_grace {
            1..=3600 => Ok(Duration::from_secs(self.call_grace)),
            other => {
                let file = shown(path);
                let what = format!("`{file}`: `call-grace` is {other}, expected 1 to 3600 seconds");
                Err(hinted(what, format!("correct `{file}`; nothing was changed")))
            }
        }
    }

    /// What stands of the trust policy in the configuration.
    pub(crate) fn pins(&self, path: &Path) -> anyhow::Result<PolicyPins> {
        let file = shown(path);
        self.trust
            .pins()
            .map_err(|why| hinted(format!("`{file}`: trust: {why}"), format!("correct `{file}`; nothing was changed")))
    }

    /// Where the trust policy stands.
    pub(crate) fn policy_path(&self, path: &Path) -> PathBuf {
        path.parent().unwrap_or(Path::new("/")).join(&self.trust.policy)
    }

    /// Reads the configuration.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
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
        Ok(config)
    }
}
