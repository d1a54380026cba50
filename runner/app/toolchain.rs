//! Cargo and rustc as a build of steps may see them: the same sources, lock file and toolchain give the same bytes,
//! wherever they lie and whoever builds them.
//!
//! What could make a difference is left out: all environment but what is listed here, and all configuration of
//! cargo's but where packages come from, whose contents the lock file pins. What must be there, the paths of this
//! machine, rustc writes as others.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context;
use serde_json::Value;

use crate::files::read_bounded;
use crate::output::hinted;

/// What of the environment reaches a build. None of it is in what is built: paths of the tools, and ways to packages.
const PASSED: [&str; 17] = [
    "ALL_PROXY",
    "CARGO_BUILD_JOBS",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
const PASSED_PREFIXES: [&str; 5] = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_TERM_"];

/// What is the same in every build, whatever a project's profile says: debug information holds the project's path, and
/// what is built incrementally depends on what was built before.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// What of cargo's configuration reaches a build: where packages come from and how to get there.
const CONFIGURED: [&str; 6] = ["credential-alias", "http", "net", "registries", "registry", "source"];
/// The largest configuration of cargo's that is read, in bytes.
const MAX_CONFIG: u64 = 256 * 1024;

/// What cargo keeps in its home and goes on keeping there.
const KEPT: [(&str, bool); 7] = [
    ("registry", true),
    ("git", true),
    ("credentials.toml", false),
    ("credentials", false),
    (".package-cache", false),
    (".package-cache-mutate", false),
    (".global-cache", false),
];

/// One project's toolchain.
pub(crate) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    project: PathBuf,
    /// A cargo home of the project's own, without the user's configuration.
    home: PathBuf,
    target_dir: PathBuf,
    /// `--remap-path-prefix` and its like, as `CARGO_ENCODED_RUSTFLAGS` has them.
    flags: String,
    /// Packages outside of the project that it is built from.
    outside: Vec<String>,
    /// Held until what was built has been read.
    _lock: File,
}

impl Toolchain {
    /// Finds the toolchain that the project is built with, in the place where it stands, for this compiler's target.
    pub(crate) fn of(project: &Path, target: &str) -> anyhow::Result<Self> {
        let project = project.canonicalize().with_context(|| format!("`{}` cannot be found", project.display()))?;
        let target_dir = match std::env::var_os("CARGO_TARGET_DIR").filter(|named| !named.is_empty()) {
            Some(named) => std::path::absolute(named).context("CARGO_TARGET_DIR is not a path")?,
            None => project.join("target"),
        };
        // One of its own: to cargo the same packages from another home are others, and would replace what it has built.
        let target_dir = target_dir.join("countersign");
        let lock = lock(&target_dir)?;
        let sysroot = sysroot(&project)?;
        let beside = sysroot.join("bin/cargo");
        let cargo = if beside.is_file() {
            beside
        } else {
            std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
        };
        let home = home(&project, &target_dir)?;
        let mut toolchain = Self {
            cargo,
            rustc: sysroot.join("bin/rustc"),
            project,
            home,
            target_dir,
            flags: String::new(),
            outside: Vec::new(),
            _lock: lock,
        };
        toolchain.remap(&sysroot, target)?;
        Ok(toolchain)
    }

    /// Packages outside of the project: cargo makes their absolute paths a part of what it builds.
    pub(crate) fn outside(&self) -> &[String] {
        &self.outside
    }

    /// Cargo with one of its commands, to be run as it is. It stands in the root directory, since cargo reads
    /// configuration from where it stands and above.
    pub(crate) fn cargo(&self, command: &str) -> Command {
        let mut cargo = Command::new(&self.cargo);
        clean(&mut cargo);
        cargo
            .arg(command)
            .arg("--manifest-path")
            .arg(self.project.join("Cargo.toml"))
            .current_dir("/")
            .env("CARGO_HOME", &self.home)
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", &self.flags)
            .env("RUSTC", &self.rustc)
            .envs(PROFILE)
            .stdin(Stdio::null());
        cargo
    }

    /// Gives every path of this machine that rustc is told of a name that is the same on all.
    fn remap(&mut self, sysroot: &Path, target: &str) -> anyhow::Result<()> {
        let metadata = self.metadata(target)?;
        let root = metadata.get("workspace_root").and_then(Value::as_str).map_or(&*self.project, Path::new).to_owned();
        // The last one that fits counts: the narrower come later. What lies inside the project is not among them: its
        // paths are relative already, and flags that are the same for all projects let them share what is built.
        let mut pairs = vec![
            (sysroot.to_owned(), "/rust".to_owned()),
            (self.target_dir.clone(), "/target".to_owned()),
            (self.home.clone(), "/cargo".to_owned()),
        ];
        // Named after the registry's address, which a mirror changes.
        for registry in self.home.join("registry/src").read_dir().into_iter().flatten().flatten() {
            pairs.push((registry.path(), "/crates".to_owned()));
        }
        for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            let (Some(name), Some(manifest), None) = (text("name"), text("manifest_path"), text("source")) else {
                continue;
            };
            match Path::new(manifest).parent() {
                Some(directory) if !directory.starts_with(&root) => {
                    pairs.push((directory.to_path_buf(), format!("/path/{name}")));
                    self.outside.push(name.to_owned());
                }
                _ => {}
            }
        }
        let flags = pairs.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
        self.flags = flags.collect::<Vec<_>>().join("\u{1f}");
        Ok(())
    }

    fn metadata(&self, target: &str) -> anyhow::Result<Value> {
        let mut cargo = self.cargo("metadata");
        cargo.args(["--format-version", "1", "--filter-platform", target]).stderr(Stdio::inherit());
        let output = output(&mut cargo)?;
        if !output.status.success() {
            anyhow::bail!("cargo cannot read the project `{}`", self.project.display());
        }
        serde_json::from_slice(&output.stdout).context("cargo's answer cannot be read")
    }
}

/// Where the compiler that is meant for this project lives.
fn sysroot(project: &Path) -> anyhow::Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    clean(&mut rustc);
    // Where it stands decides: a project may name its toolchain.
    rustc.args(["--print", "sysroot"]).current_dir(project).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = output(&mut rustc)?;
    let sysroot = String::from_utf8(output.stdout).context("rustc's answer cannot be read")?;
    if !output.status.success() || sysroot.trim().is_empty() {
        anyhow::bail!("rustc does not say where it is installed");
    }
    Ok(PathBuf::from(sysroot.trim()))
}

fn output(command: &mut Command) -> anyhow::Result<Output> {
    command.output().map_err(|error| {
        hinted(
            format!("`{}` did not start: {error}", Path::new(command.get_program()).display()),
            "Rust is needed to build this project: see https://rustup.rs",
        )
    })
}

/// Leaves only what a build may see of the environment.
fn clean(command: &mut Command) {
    command.env_clear();
    command.envs(passed(std::env::vars_os()));
}

fn passed(all: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    })
}

/// One build at a time in one target directory: the steps of all projects have the same names there.
fn lock(target_dir: &Path) -> anyhow::Result<File> {
    let shown = target_dir.display();
    std::fs::create_dir_all(target_dir).with_context(|| format!("`{shown}` cannot be made"))?;
    let lock = File::create(target_dir.join("build.lock")).with_context(|| format!("`{shown}` cannot be locked"))?;
    let taken = match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            crate::output::complain(format_args!("waiting for another build in `{shown}`"));
            lock.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    taken.with_context(|| format!("`{shown}` cannot be locked"))?;
    Ok(lock)
}

/// Makes a cargo home in the target directory: what was fetched is the user's own home's, the configuration is not.
/// It stays where it is, since another path would have everything built again.
fn home(project: &Path, target_dir: &Path) -> anyhow::Result<PathBuf> {
    let own = target_dir.join("cargo-home");
    let unmade = || format!("`{}` cannot be made", own.display());
    std::fs::create_dir_all(&own).with_context(unmade)?;
    let named = std::env::var_os("CARGO_HOME").filter(|named| !named.is_empty()).map(PathBuf::from);
    let users = named.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let users = users.and_then(|users| std::path::absolute(users).ok());
    for (name, directory) in KEPT {
        let (link, Some(original)) = (own.join(name), users.as_ref().map(|users| users.join(name))) else { continue };
        if directory {
            std::fs::create_dir_all(&original).with_context(|| format!("`{}` cannot be made", original.display()))?;
        }
        if link.read_link().is_ok_and(|to| to == original) {
            continue;
        }
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(unmade),
            _ => {}
        }
        // Another build may have made it just now.
        match std::os::unix::fs::symlink(&original, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).with_context(unmade),
            _ => {}
        }
    }
    let config = configuration(project, users.as_deref())?;
    let file = own.join("config.toml");
    if std::fs::read_to_string(&file).ok().as_deref() != Some(&config) {
        // Somebody's configuration may hold a token.
        let mut options = std::fs::OpenOptions::new();
        let written = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
        written.and_then(|mut file| file.write_all(config.as_bytes())).with_context(unmade)?;
    }
    Ok(own)
}

/// What cargo would read in this project, nearest first, cut down to where packages come from.
fn configuration(project: &Path, users: Option<&Path>) -> anyhow::Result<String> {
    let mut kept = toml::Table::new();
    let above = project.ancestors().map(|directory| directory.join(".cargo"));
    for directory in above.chain(users.map(Path::to_owned)) {
        let Some(file) = ["config", "config.toml"].map(|name| directory.join(name)).into_iter().find(|f| f.is_file())
        else {
            continue;
        };
        let text = String::from_utf8(read_bounded(&file, MAX_CONFIG)?)
            .with_context(|| format!("`{}` is not UTF-8", file.display()))?;
        let mut table: toml::Table = text.parse().with_context(|| format!("`{}` cannot be read", file.display()))?;
        table.retain(|key, _| CONFIGURED.contains(&key));
        // Relative to the directory that holds `.cargo`.
        let base = directory.parent().unwrap_or(&directory);
        let sources = table.get_mut("source").and_then(toml::Value::as_table_mut);
        for source in sources.into_iter().flatten().filter_map(|(_, source)| source.as_table_mut()) {
            for key in ["directory", "local-registry"] {
                if let Some(toml::Value::String(path)) = source.get_mut(key) {
                    *path = base.join(&*path).display().to_string();
                }
            }
        }
        merge(&mut kept, table);
    }
    Ok(toml::to_string(&kept)?)
}

/// Adds what is not there yet.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_build_is_not_passed_on() {
        let passes = |name: &str| passed([(OsString::from(name), OsString::new())].into_iter()).count() == 1;
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            "CARGO_TARGET_WASM32_WASIP2_LINKER",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            "CARGO_INCREMENTAL",
            "CARGO_HOME",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_UNSTABLE_BUILD_STD",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_BOOTSTRAP",
            "RUSTC_LOG",
            "SOURCE_DATE_EPOCH",
            "CFLAGS",
            "CC",
            "LD_PRELOAD",
            "USER",
            "HOSTNAME",
            "LANG",
        ] {
            assert!(!passes(name), "{name}");
        }
        for name in ["PATH", "HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_OURS_TOKEN"] {
            assert!(passes(name), "{name}");
        }
    }

    #[test]
    fn of_the_configuration_only_where_packages_come_from_is_kept() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (project, home) = (place.path().join("a/b"), place.path().join("home/.cargo"));
        for (file, text) in [
            (
                home.join("config.toml"),
                "[net]\noffline = true\nretry = 9\n[profile.release]\ndebug = true\n[env]\nX = \"1\"\n",
            ),
            (
                place.path().join("a/.cargo/config.toml"),
                "[source.mirror]\ndirectory = \"vendor\"\n[build]\nrustflags = [\"-g\"]\n",
            ),
            (
                project.join(".cargo/config.toml"),
                "paths = [\"x\"]\n[net]\nretry = 1\n[patch.crates-io]\na = { path = \"b\" }\n",
            ),
        ] {
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            std::fs::write(file, text).expect("a file");
        }
        let text = configuration(&project, Some(&home)).expect("it can be read");
        // Above the temporary directory there may be configuration of whoever runs the test.
        let kept: toml::Table = text.parse().expect("TOML");
        for key in ["build", "env", "patch", "paths", "profile"] {
            assert!(!kept.contains_key(key), "{key}: {kept}");
        }
        assert_eq!(kept["net"]["retry"].as_integer(), Some(1), "the nearest counts");
        assert_eq!(kept["net"]["offline"].as_bool(), Some(true));
        let directory = kept["source"]["mirror"]["directory"].as_str().expect("a path");
        assert_eq!(Path::new(directory), place.path().join("a/vendor"));
    }

    #[test]
    fn what_lies_outside_of_the_project_is_told() {
        let place = tempfile::tempdir().expect("a temporary directory");
        for (name, dependencies) in [
            ("project", "inner = { path = \"inner\" }\nouter = { path = \"../outer\" }\n"),
            ("project/inner", ""),
            ("outer", ""),
        ] {
            let package = Path::new(name).file_name().and_then(|name| name.to_str()).expect("a name");
            let source = place.path().join(name).join("src");
            std::fs::create_dir_all(&source).expect("a folder");
            std::fs::write(source.join("lib.rs"), "").expect("a source");
            let head = if name == "project" { "[workspace]\n" } else { "" };
            let text =
                format!("{head}[package]\nname = \"{package}\"\nedition = \"2024\"\n[dependencies]\n{dependencies}");
            std::fs::write(place.path().join(name).join("Cargo.toml"), text).expect("a manifest");
        }
        let toolchain = Toolchain::of(&place.path().join("project"), "wasm32-unknown-unknown").expect("a toolchain");
        assert_eq!(toolchain.outside(), ["outer"]);
        assert!(toolchain.flags.contains("/outer=/path/outer"), "{}", toolchain.flags);
    }
}
