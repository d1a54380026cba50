//! What the tests through the binary share: a state of their own, keys, the examples built, and the
//! real service that they break and repair.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    reason = "each test file uses a part of it, and says what it skips"
)]

pub mod agent;
pub mod away;
mod incident;
pub mod killed;
pub mod mount;
pub mod normal;
pub mod place;
pub mod spoken;
pub mod under;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub use incident::Incident;
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub fn countersign() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    for variable in ["COUNTERSIGN_STATE", "COUNTERSIGN_CONFIG", "COUNTERSIGN_TEST_NOW", "RUST_LOG", "SSH_AUTH_SOCK"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// The binary under test with its clock pinned, in milliseconds since 1970-01-01 UTC.
pub fn countersign_at(now: u64) -> Command {
    let mut command = countersign();
    command.env("COUNTERSIGN_TEST_NOW", now.to_string());
    command
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where what is built for tests is kept between them.
pub fn built() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's tmp is inside its target directory");
    fs::create_dir_all(target).expect("the target directory can be made");
    target.to_path_buf()
}

/// What `cargo metadata` says of the packages. Its own crate would change the features of what wasmtime is
/// built with, and so build it twice.
pub fn packages(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        _ => panic!("there are no packages"),
    }
}

/// Where the examples' steps are built.
pub fn steps() -> PathBuf {
    built().join("steps")
}

/// One process builds at a time: the examples' steps have the same names.
pub fn build_lock() -> File {
    let file = File::create(built().join("steps.lock")).expect("the lock can be made");
    file.lock().expect("the lock can be taken");
    file
}

/// `countersign build` of a project.
pub fn build(project: &Path, out: &Path) -> Output {
    let _lock = build_lock();
    countersign()
        .args(["--json", "build"])
        .arg(project)
        .arg("--out")
        .arg(out)
        .env("CARGO_TARGET_DIR", steps())
        .output()
        .expect("the binary starts")
}

/// The bundle of an example, built when its sources are newer than what was built last.
pub fn bundle(example: &str) -> PathBuf {
    let out = built().join("bundles").join(example.replace('/', "-"));
    fs::create_dir_all(out.parent().expect("it has a parent")).expect("the folder can be made");
    let output = build(&root().join("examples").join(example), &out);
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    out
}

/// The bundle of an example with another `remediation.toml`: the same steps, made without building anything.
pub fn bundle_with(example: &str, out: &Path, edit: impl Fn(&str) -> String) -> PathBuf {
    let original = countersign_bundle::Bundle::open(&bundle(example)).expect("the bundle opens");
    let manifest = std::str::from_utf8(original.manifest_bytes()).expect("it is text");
    let edited = edit(manifest);
    assert_ne!(edited, manifest, "the edit changes something");
    let roles = original.steps().into_keys();
    let steps = roles.map(|role| (role, original.step(role).expect("a step").bytes().to_vec())).collect();
    countersign_bundle::Bundle::write(out, edited.as_bytes(), &steps).expect("the bundle can be written");
    out.to_path_buf()
}

/// The demo's service, built for the host.
pub fn service_executable() -> PathBuf {
    let _lock = build_lock();
    let target = built().join("service");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(root().join("examples/service/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the service builds");
    target.join("release/orders")
}

/// What a command left behind.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(mut command: Command) -> Self {
        let output = command.output().expect("the binary starts");
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Insists on an exit code, and on text that people can read.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for bad in ["panicked at", "stack backtrace", "RUST_BACKTRACE", "Error {", "Some(", "\u{1b}"] {
            assert!(!self.stdout.contains(bad) && !self.stderr.contains(bad), "{bad}: {}{}", self.stdout, self.stderr);
        }
        // Whoever is told that something is wrong is told what to do.
        let said = !self.stderr.contains("error: ") || self.stderr.contains("hint: ");
        assert!(said || ![1, 3, 5].contains(&code), "it does not say what to do next: {}", self.stderr);
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Insists on words on stdout.
    #[track_caller]
    pub fn shows(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "`{words}` is not in: {}", self.stdout);
        self
    }

    /// Insists on words on stderr.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "`{words}` is not in: {}", self.stderr);
        self
    }
}

/// A state directory with three keys: those of an agent and a second one, who may propose, and alice's, who may approve.
pub struct State {
    pub dir: TempDir,
}

impl State {
    pub fn new() -> Self {
        Self::with(&["alice"], &["agent", "second"])
    }

    /// With these keys, and these rights of theirs.
    pub fn with(approvers: &[&str], proposers: &[&str]) -> Self {
        Self::made(tempfile::tempdir().expect("a temporary directory"), approvers, proposers)
    }

    /// The same as [`State::new`] below a folder, such as another file system's.
    pub fn below(folder: &Path) -> Self {
        let dir = tempfile::tempdir_in(folder).expect("a temporary directory");
        Self::made(dir, &["alice"], &["agent", "second"])
    }

    fn made(dir: TempDir, approvers: &[&str], proposers: &[&str]) -> Self {
        let state = Self { dir };
        let mut names: Vec<_> = approvers.iter().chain(proposers).collect();
        names.sort();
        names.dedup();
        names.into_iter().for_each(|name| state.keygen(name));
        let mut command = state.command(&["init"]);
        for (flag, names) in [("--approver", approvers), ("--proposer", proposers)] {
            for name in names {
                command.arg(flag).arg(state.path(&format!("{name}.pub")));
            }
        }
        command.ran().expect(0);
        state
    }

    /// The keys of people and agents and no state directory yet: the keys in `tests/keys`, in a directory whose path is always as long.
    pub fn pinned() -> Self {
        let dir = tempfile::Builder::new().prefix("countersign-").rand_bytes(6).tempdir_in("/tmp");
        let state = Self { dir: dir.expect("a temporary directory") };
        for name in ["agent", "alice", "bob", "bobs-glass", "second"] {
            for name in [name.to_owned(), format!("{name}.pub")] {
                state.key(&name, &state.path(&name));
            }
        }
        state
    }

    /// Puts a key of `tests/keys` where only its owner can read it.
    fn key(&self, name: &str, to: &Path) {
        let _ = fs::remove_file(to);
        fs::copy(root().join("tests/keys").join(name), to).expect("there is such a key");
        fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    }

    /// From now on the runner signs with the key in `tests/keys`.
    pub fn pin_runner(&self) {
        for name in ["runner.key", "runner.pub"] {
            self.key(name, &self.path("state").join(name));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file with the runner's public key, by which a reviewer away from the host names it.
    pub fn runner(&self) -> String {
        self.path("state/runner.pub").to_str().expect("UTF-8").to_owned()
    }

    pub fn config(&self) -> PathBuf {
        self.path("state/config.toml")
    }

    pub fn keygen(&self, name: &str) {
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path(name).to_str().expect("UTF-8")]);
    }

    /// Appends to the configuration.
    pub fn configure(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.config()).expect("there is a configuration");
        file.write_all(text.as_bytes()).expect("it can be written");
    }

    /// Changes the trust policy, as its operator would without a signature: the next version, which the configuration pins
    /// by its digest.
    pub fn policy(&self, change: impl FnOnce(&str) -> String) {
        let path = self.path("state/trust-policy.toml");
        let digest = |path: &Path| {
            let output = Command::new("sha256sum").arg(path).output().expect("sha256sum starts");
            String::from_utf8_lossy(&output.stdout).split(' ').next().expect("a digest").to_owned()
        };
        let before = digest(&path);
        let policy = fs::read_to_string(&path).expect("there is a policy");
        let changed = change(&policy);
        let serial = policy.lines().find_map(|line| line.strip_prefix("serial = ")).expect("a serial");
        let next = serial.parse::<u64>().expect("a number") + 1;
        let changed = changed.replace(&format!("serial = {serial}\n"), &format!("serial = {next}\n"));
        fs::write(&path, changed).expect("it can be written");
        let config = fs::read_to_string(self.config()).expect("there is a configuration");
        fs::write(self.config(), config.replace(&before, &digest(&path))).expect("it can be written");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = countersign();
        command.arg("--state").arg(self.path("state")).args(arguments);
        command
    }

    /// The audit log's entries, a line each.
    #[track_caller]
    pub fn log(&self) -> String {
        let out = self.path("log.jsonl");
        let _ = fs::remove_file(&out);
        let mut export = self.command(&["audit", "export", "--format", "jsonl", "--out"]);
        export.arg(&out).ran().expect(0);
        fs::read_to_string(out).expect("entries")
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// Makes what a run's journal says unreadable, as a bad disk might, and readable again: meanwhile nobody recovers it.
    pub fn damage_journal(&self, damaged: bool) {
        let database = rusqlite::Connection::open(self.path("state/countersign.db")).expect("the database");
        let guards = if damaged { "{" } else { "[]" };
        database.execute("UPDATE runs SET guards = ?1 WHERE outcome IS NULL", [guards]).expect("it can be written");
    }
}

/// Runs a prepared command.
pub trait Runs {
    fn ran(&mut self) -> Ran;
}

impl Runs for Command {
    fn ran(&mut self) -> Ran {
        let output = self.output().expect("the binary starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    u64::try_from(since.as_millis()).expect("it is not that late")
}

pub fn ssh_keygen(arguments: &[&str]) -> Output {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen is installed: apt-get install openssh-client");
    assert!(output.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Waits for something that is about to happen, in small steps, for at most half a minute.
#[track_caller]
pub fn eventually<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = happened() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
