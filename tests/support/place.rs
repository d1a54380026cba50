//! A target that is a folder with three files, and a remediation whose steps do what a fourth file says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Ran, Runs, State, bundle};

pub struct Place {
    pub state: State,
    pub folder: PathBuf,
}

/// The bundle whose steps do what a file says, built once.
pub fn two_faced() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| bundle("hostile/two-faced"));
    &BUILT
}

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
ceiling = ["files.read {folder}/**", "files.write {folder}/** verbs=replace,create,remove,truncate,set-mode,discard"]
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

/// Records that a call was given up, as of a target that hung when it was last tried.
pub fn give_up(state: &State, run: &str, of: &str) {
    let database = rusqlite::Connection::open(state.path("state/countersign.db")).expect("the database");
    let sql = "INSERT INTO events (run, position, after_change, kind, body)
               SELECT ?1, coalesce(max(position), 0) + 1, 0, 'given-up', ?2 FROM events WHERE run = ?1";
    let body = serde_json::json!({ "why": "undoing the change of `/a` did not return", "at": 0, "of": of }).to_string();
    database.execute(sql, [run, &body]).expect("it can be written");
}

/// A resolution of what a run left open, whose process died before it did anything.
pub fn half_resolved(state: &State, run: &str, subject: &str) {
    let database = rusqlite::Connection::open(state.path("state/countersign.db")).expect("the database");
    let sql = "INSERT INTO resolutions (run, position, subject, person, document, signature)
               SELECT ?1, coalesce(max(position), 0) + 1, ?2, 'alice', x'7b7d', '' FROM resolutions WHERE run = ?1";
    database.execute(sql, [run, subject]).expect("it can be written");
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
