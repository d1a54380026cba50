//! A target that is a folder with three files, and a remediation whose steps do what a fourth file says.

#![allow(unreachable_pub, reason = "as in the tests' other support")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ran, Runs, State, bundle};

pub struct Place {
    pub state: State,
    pub folder: PathBuf,
}

/// The bundle whose steps do what a file says, built once.
pub fn two_faced() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| bundle("hostile/two-faced"));
    &BUILT
}

/// A moment in 2033, for tests that pin the clock: later than any real one.
pub const NOON: u64 = 2_000_000_000_000;

impl Place {
    pub fn new() -> Self {
        Self::with("")
    }

    /// A place whose target has more in its configuration.
    pub fn with(more: &str) -> Self {
        let state = State::new();
        let folder = state.path("folder");
        fs::create_dir(&folder).expect("a folder");
        let place = Self { state, folder };
        place.put("mood", "good\n");
        place.put("a", "broken\n");
        place.put("b", "broken too\n");
        place.put("c", "as ever\n");
        place.state.configure(&place.target(more));
        place
    }

    pub fn target(&self, more: &str) -> String {
        let folder = self.folder.display();
        format!(
            r#"
[targets.place]
rollback-owner = "alice"
[targets.place.investigation]
ceiling = ["files.read {folder}/**"]
[targets.place.remediation]
ceiling = ["files.read {folder}/**", "files.write {folder}/**"]
[[targets.place.guards]]
name = "c stays"
call = "files.read {folder}/c"
expect = {{ content = "as ever\n" }}
{more}
"#
        )
    }

    pub fn put(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode can be set");
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).expect("it is text")
    }

    pub fn argument(&self) -> String {
        format!("--arg=folder={}", self.folder.display())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.state.command(arguments)
    }

    pub fn proposing(&self, bundle: &Path) -> Command {
        let mut command =
            self.command(&["--json", "propose", "--target=place", "--hypothesis", "it is broken", "--key"]);
        command.arg(self.state.path("agent")).arg(bundle).arg(self.argument());
        command
    }

    pub fn try_propose(&self) -> Ran {
        self.proposing(two_faced()).ran()
    }

    #[track_caller]
    pub fn propose(&self) -> String {
        name(&self.try_propose().expect(0).json())
    }

    pub fn approving(&self, proposal: &str) -> Command {
        let mut command = self.command(&["--json", "approve", proposal, "--reason", "seen, agreed", "--key"]);
        command.arg(self.state.path("alice"));
        command
    }

    #[track_caller]
    pub fn approve(&self, proposal: &str) -> Value {
        self.approving(proposal).ran().expect(0).json()
    }

    /// A proposal that may be run.
    #[track_caller]
    pub fn approved(&self) -> String {
        let proposal = self.propose();
        self.approve(&proposal);
        proposal
    }

    pub fn run(&self, proposal: &str) -> Ran {
        self.state.run(&["--json", "run", proposal])
    }

    /// Every file of the folder, with its content and mode.
    pub fn standing(&self) -> BTreeMap<String, (Vec<u8>, u32)> {
        standing(&self.folder)
    }
}

/// Every file of a folder, with its content and mode.
pub fn standing(folder: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let entries = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read"));
    entries
        .map(|entry| {
            let mode = entry.metadata().expect("it is there").permissions().mode();
            let content = fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), (content, mode))
        })
        .collect()
}

pub fn name(proposed: &Value) -> String {
    proposed["proposal"].as_str().expect("a proposal").to_owned()
}

/// What a row of the table asserts.
pub trait Row {
    /// The exit code, the message, and that something is said of what to do next.
    fn row(self, code: i32, says: &str) -> Self;
}

impl Row for Ran {
    #[track_caller]
    fn row(self, code: i32, says: &str) -> Self {
        let ran = self.expect(code).says(says);
        assert!(ran.stderr.contains("hint: "), "it does not say what to do: {}", ran.stderr);
        ran
    }
}

/// The most memory that refusing bad input may take, in KiB.
const MEMORY: u64 = 192 * 1024;

/// Runs a command and insists that it took little time and memory, however much it was given.
#[track_caller]
pub fn modest(command: &mut Command) -> Ran {
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let (ended, end) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while end.try_recv().is_err() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let size = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
            peak = peak.max(size.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    let output = child.wait_with_output().expect("it ends");
    let _ = ended.send(());
    let peak: u64 = watch.join().expect("it was watched");
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    };
    assert!(peak < MEMORY, "it took {peak} KiB: {}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}: {}", begun.elapsed(), ran.stderr);
    ran
}

/// A file of 1 GiB that takes no room.
pub fn huge(path: &Path) {
    fs::File::create(path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file can be made");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
