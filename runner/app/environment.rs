//! What a command works with: state, configuration, trust policy and the capabilities of this binary.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use countersign_capability::{Protected, Registry};
use countersign_pipeline::{Calls, Notice, Reader, RunReport, Runner, Setup, Stored, Target, UnderWay};
use countersign_trust::{PolicyPins, SigningKey};
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::config::Config;
use crate::files::{only_ours, read_bounded, shown};
use crate::output::hinted;
use crate::progress::Narrator;

/// Every capability that this binary knows. Nothing else in the runner names one.
pub(crate) fn registry() -> Registry {
    Registry::default()
        .with::<countersign_files::Files>()
        .with::<countersign_http::Http>()
        .with::<countersign_process::ProcessCapability>()
}

/// State and configuration, opened and found to make sense.
pub(crate) struct Environment {
    pub(crate) runner: Runner,
    pub(crate) targets: BTreeMap<String, Target>,
    config: PathBuf,
    /// Where the trust policy stands.
    pub(crate) policy_path: PathBuf,
    /// What the configuration says of it.
    pub(crate) pins: PolicyPins,
    /// Who is told when the glass is broken, if anybody.
    pub(crate) notice: Option<Notice>,
    ends: Ends,
    held: Option<PathBuf>,
    /// Whether a run is what the command is about: nothing of the log's files is synced then.
    runs: AtomicBool,
}

/// What a signal and a run share, however often everything else is read anew.
#[derive(Clone, Default)]
struct Ends {
    interrupted: Arc<AtomicBool>,
    under_way: Arc<UnderWay>,
}

impl Environment {
    /// Opens both, and rolls back first what a runner that died left unfinished.
    pub(crate) fn open(global: &Global) -> anyhow::Result<Self> {
        Ok(Self::open_with(global, Ends::default(), false)?.recovered())
    }

    fn recovered(self) -> Self {
        let _ = crate::commands::recover::told(&self);
        self
    }

    /// The same, and recovers nothing. Where the file with the trust policy is not taken, the one that was accepted last
    /// stays in force: pausing, recovering and installing another policy must go on.
    pub(crate) fn open_as_it_is(global: &Global) -> anyhow::Result<Self> {
        Self::open_with(global, Ends::default(), true)
    }

    /// The same for a verb that an exported file was given, of whose proposal there may be no state here.
    pub(crate) fn open_for(global: &Global, file: &Path) -> anyhow::Result<Self> {
        let state = state_directory(global)?;
        if !state.exists() && file.is_file() {
            return Err(hinted(
                format!("there is no state directory `{}`, and `{}` is a file", shown(&state), shown(file)),
                "what an exported file holds is imported and run on the proposal's host",
            ));
        }
        Self::open(global)
    }

    /// Everything read anew, and recovered what died meanwhile; a signal that came since the first reading is not forgotten.
    pub(crate) fn again(&self, global: &Global) -> anyhow::Result<Self> {
        Ok(Self::open_with(global, self.ends.clone(), false)?.recovered())
    }

    fn open_with(global: &Global, ends: Ends, leniently: bool) -> anyhow::Result<Self> {
        let state = state_directory(global)?;
        if !state.exists() {
            return Err(hinted(
                format!("there is no state directory `{}`", state.display()),
                "make one with `countersign init --approver KEY.pub`, or name yours with `--state` or COUNTERSIGN_STATE",
            ));
        }
        owned(&state)?;
        only_ours(&state)?;
        let config_path = config_path(global, &state);
        let config = Config::load(&config_path)?;
        let pins = config.pins(&config_path)?;
        let policy_path = config.policy_path(&config_path);
        let policy = crate::policy_file::read(&policy_path, pins.clone(), leniently)?;
        let registry = Arc::new(registry());
        let images = config.images(&config_path)?;
        let confinement = config.confinement(&config_path)?;
        let protected = Arc::new(protected(&state, &config_path, &config, images.directory.as_deref())?);
        let mut held = config.held_checkpoint(&config_path, &state)?;
        let notice = config.notice(&config_path)?;
        let calls = Arc::new(Calls::with_grace(config.call_grace(&config_path)?));
        let mut targets = config.targets;
        for (name, target) in &mut targets {
            target.validate(&registry, &protected).map_err(|why| {
                let file = shown(&config_path);
                hinted(format!("`{file}`: target `{name}`: {why}"), format!("correct `{file}`; nothing was changed"))
            })?;
        }
        let runner = Runner::open(Setup {
            state,
            images,
            worker: countersign_worker::Program::this(),
            confinement,
            registry,
            targets: targets.keys().cloned().collect(),
            protected,
            policy,
            progress: Arc::new(Narrator),
            clock: crate::time::now,
            interrupted: Arc::clone(&ends.interrupted),
            under_way: Arc::clone(&ends.under_way),
            calls,
        })?;
        crate::hung::watch(global.json, runner.call_watch())?;
        if let Err(error) = runner.log_policy() {
            crate::output::note(&format!("the audit log was not told which trust policy is in force: {error}"));
        }
        runner.compare_published()?;
        publish_log(&runner, false);
        // Before there is an environment, which keeps the log's checkpoint there when it is dropped.
        if let Some(place) = &held {
            match runner.compare_held(place) {
                // One that cannot be read proves nothing, and is left as it is: what must go on goes on, undoing above all.
                Err(error) if leniently && error.exit_code() != 3 => {
                    crate::output::note(&error.to_string());
                    held = None;
                }
                compared => compared?,
            }
        }
        let runs = AtomicBool::new(false);
        Ok(Self { runner, targets, config: config_path, policy_path, pins, notice, ends, held, runs })
    }

    /// Keeps the log's latest checkpoint elsewhere, where that is configured. It is never behind what was compared when the
    /// environment was opened.
    fn keep_checkpoint(&self) {
        let Some(held) = &self.held else { return };
        let kept = crate::files::replace_copy(
            &self.runner.log_dir().join(countersign_record::CHECKPOINT),
            held,
            !self.runs.load(Ordering::Relaxed),
        );
        if let Err(error) = kept {
            crate::output::note(&format!("the audit log's checkpoint is not kept in `{}`: {error}", shown(held)));
        }
    }

    /// From now on what asks the process to end rolls its run back.
    pub(crate) fn roll_back_on_signals(&self) -> anyhow::Result<()> {
        self.runs.store(true, Ordering::Relaxed);
        crate::signals::roll_back(&self.ends.interrupted, &self.ends.under_way)
    }

    /// Tells how a run ended, where it was begun by breaking the glass and somebody is told of that.
    pub(crate) fn tell_outcome(&self, report: &RunReport) {
        if let Some(notice) = &self.notice {
            notice.tell_outcome(&self.runner, report);
        }
    }

    pub(crate) fn target(&self, name: &str) -> anyhow::Result<&Target> {
        self.targets.get(name).ok_or_else(|| {
            let name = countersign_model::text::excerpt(name, 80);
            let known: Vec<_> = self.targets.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "there are none yet".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            let meant = self.targets.keys().find(|known| known.eq_ignore_ascii_case(&name));
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add `[targets.{name}]` to `{}`; {known}", self.config.display()),
            };
            hinted(format!("the target `{name}` is not configured"), hint)
        })
    }

    pub(crate) fn targets<'a>(
        &'a self,
        names: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<(&'a str, &'a Target)>> {
        names.map(|name| Ok((name, self.target(name)?))).collect()
    }

    pub(crate) fn targets_of<'a>(&'a self, stored: &'a Stored) -> anyhow::Result<Vec<(&'a str, &'a Target)>> {
        self.targets(stored.proposal.document().targets.iter().map(|target| target.name.as_str()))
    }

    /// Who reads: the key's owner in the trust policy, else the user that the system knows.
    pub(crate) fn reader(&self, key: Option<&Path>) -> anyhow::Result<Reader> {
        Ok(match key {
            Some(key) => Reader::Key(self.runner.policy().principal(load_key(key)?.fingerprint())),
            None => Reader::Operator(format!("uid:{}", rustix::process::getuid().as_raw())),
        })
    }
}

impl Drop for Environment {
    /// Nothing that is decided waits for this, and the next command does what this one could not.
    fn drop(&mut self) {
        publish_log(&self.runner, !self.runs.load(Ordering::Relaxed));
        self.keep_checkpoint();
    }
}

/// Makes the audit log's files say what was recorded, also by another command that perhaps died.
fn publish_log(runner: &Runner, sync: bool) {
    if let Err(error) = runner.publish_log(sync) {
        crate::output::note(&format!("the audit log's files are not up to date: {error}"));
    }
}

/// Refuses the state of somebody else, whose files this user could not open one after the other.
fn owned(state: &Path) -> anyhow::Result<()> {
    let (owner, user) = match state.metadata() {
        Ok(metadata) => (metadata.uid(), rustix::process::geteuid().as_raw()),
        Err(_) => return Ok(()),
    };
    if owner == user {
        return Ok(());
    }
    let (owner, user) = (user_name(owner), user_name(user));
    Err(hinted(
        format!("the state `{}` belongs to user {owner}, and this is user {user}", shown(state)),
        format!("run it as {owner}, or name a state of your own with `--state`"),
    ))
}

/// A user's name as the system's own list has it, else the number.
fn user_name(uid: u32) -> String {
    let users = read_bounded(Path::new("/etc/passwd"), 1024 * 1024).unwrap_or_default();
    let users = String::from_utf8_lossy(&users);
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| countersign_model::text::excerpt(name, 40))
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// Who runs this, as the kernel tells it. What the environment says of it, such as SUDO_UID, anybody can set.
pub(crate) fn local_user() -> String {
    let [real, effective] = [rustix::process::getuid(), rustix::process::geteuid()].map(rustix::process::Uid::as_raw);
    let told = |uid| format!("{} (uid {uid})", user_name(uid));
    if real == effective {
        return format!("local user {}", told(real));
    }
    format!("local user {} as {}", told(real), told(effective))
}

/// The state directory that is meant.
pub(crate) fn state_directory(global: &Global) -> anyhow::Result<PathBuf> {
    let named = match global.state.clone().or_else(|| named_by("COUNTERSIGN_STATE")) {
        Some(named) => named,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/countersign"),
        None => {
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
            let home = home.ok_or_else(|| hinted("no state directory is named", "name one with `--state DIR`"))?;
            Path::new(&home).join(".local/state/countersign")
        }
    };
    std::path::absolute(&named).with_context(|| format!("`{}` is not a path", named.display()))
}

/// The configuration that is meant.
pub(crate) fn config_path(global: &Global, state: &Path) -> PathBuf {
    global.config.clone().or_else(|| named_by("COUNTERSIGN_CONFIG")).unwrap_or_else(|| state.join("config.toml"))
}

/// A path that the environment names; what is empty names none.
fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|named| !named.is_empty()).map(PathBuf::from)
}

/// What no grant may reach: resolved, since a grant is compared with what a path really is.
fn protected(state: &Path, config: &Path, loaded: &Config, images: Option<&Path>) -> anyhow::Result<Protected> {
    let policy = loaded.policy_path(config);
    let binary = std::env::current_exe().context("the runner's own binary cannot be found")?;
    let paths = [state, config, &policy, &binary]
        .into_iter()
        .map(|path| path.canonicalize().with_context(|| format!("`{}` cannot be resolved", path.display())))
        .chain(images.map(resolved))
        .collect::<anyhow::Result<_>>()?;
    Ok(Protected { paths, processes: vec![std::process::id()] })
}

/// A path with all symbolic links resolved, its last name perhaps still to be made.
fn resolved(path: &Path) -> anyhow::Result<PathBuf> {
    let unresolved = || format!("the images' directory `{}` cannot be resolved", path.display());
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(parent.canonicalize().with_context(unresolved)?.join(name))
        }
        (resolved, _, _) => resolved.with_context(unresolved),
    }
}

/// A private key in OpenSSH's format; asks for its passphrase on the terminal where it has one.
pub(crate) fn load_key(path: &Path) -> anyhow::Result<SigningKey> {
    let shown = shown(path);
    let bytes = read_bounded(path, 64 * 1024)?;
    if bytes.starts_with(b"ssh-") || !bytes.starts_with(b"-----BEGIN") {
        return Err(hinted(
            format!("`{shown}` is no private key in OpenSSH's format"),
            "name the private key; what ends in `.pub` is the public one",
        ));
    }
    let mode = std::fs::metadata(path).map(|metadata| metadata.mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        return Err(hinted(format!("the key `{shown}` can be read by others"), format!("chmod go= {shown}")));
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut ask = || ask_passphrase(path).map(Zeroizing::new);
    SigningKey::from_openssh(&text, &mut ask).with_context(|| format!("the key `{shown}` cannot be used"))
}

/// Asks on the terminal, without echo; `None` where there is none.
fn ask_passphrase(path: &Path) -> Option<String> {
    rpassword::prompt_password(format!("passphrase for {}: ", path.display())).ok()
}
