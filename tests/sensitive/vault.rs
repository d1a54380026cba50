//! A file with a password among others, which the operator holds to be sensitive.

#![allow(unreachable_pub, reason = "as in the tests' other support")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::{Ran, Runs, State, bundle};

pub const OLD: &str = "password = hunter2-swordfish\n";
pub const NEW: &str = "password = correct-horse\n";
/// What it becomes by another's hand.
pub const OTHER: &str = "password = hunter2-marlin\n";
/// No output may hold any of these: the contents, parts of them, and what tells a content that somebody tries.
pub const WORDS: [&str; 2] = ["hunter2", "correct-horse"];

/// A file with a password among others, and a state whose target `vault` has it as sensitive.
pub struct Vault {
    pub state: State,
    pub home: PathBuf,
}

impl Vault {
    pub fn new() -> Self {
        let vault = Self::with("", "");
        // Set where it stands in the file: the tables of the target follow.
        vault.state.configure(&vault.target("vault", &vault.sensitive(), ""));
        vault
    }

    pub fn with(global: &str, target: &str) -> Self {
        let state = State::new();
        let home = state.path("home");
        fs::create_dir_all(home.join("private")).expect("a home");
        fs::create_dir_all(home.join("public")).expect("a folder");
        let vault = Self { state, home };
        vault.write("private/password", OLD);
        vault.write("open", "nothing to see\n");
        if !global.is_empty() {
            let config = fs::read_to_string(vault.state.config()).expect("a configuration");
            let config = config.replace("sensitive = [", &format!("sensitive = [{global}, "));
            fs::write(vault.state.config(), config).expect("it can be written");
        }
        vault.state.configure(target);
        vault
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.home.join(name), content).expect("it can be written");
        fs::set_permissions(self.home.join(name), fs::Permissions::from_mode(0o640)).expect("its mode can be set");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(name)).expect("it can be read")
    }

    pub fn secret(&self) -> PathBuf {
        self.home.join("private/password")
    }

    pub fn sensitive(&self) -> String {
        format!("sensitive = [\"{}/private/**\"]", self.home.display())
    }

    pub fn target(&self, name: &str, sensitive: &str, more: &str) -> String {
        let home = self.home.display();
        format!(
            r#"
[targets.{name}]
rollback-owner = "alice"
{sensitive}
[targets.{name}.investigation]
ceiling = ["files.read {home}/**"]
[targets.{name}.remediation]
ceiling = ["files.read {home}/**", "files.write {home}/** verbs=replace,create,remove,truncate,set-mode,discard"]
[[targets.{name}.guards]]
name = "a password is there"
call = "files.stat {home}/private/password"
expect = {{ kind = "file" }}
{more}
"#
        )
    }

    pub fn arguments(&self, way: &str) -> Vec<String> {
        let home = self.home.display();
        [
            "--target=vault".to_owned(),
            format!("--arg=secret={home}/private/password"),
            format!("--arg=open={home}/open"),
            format!("--arg=folder={home}/public"),
            format!("--arg=way={way}"),
        ]
        .to_vec()
    }

    pub fn with_bundle(&self, verb: &[&str], way: &str) -> Command {
        let mut command = self.state.command(verb);
        command.arg(bundle("hostile/telltale")).args(self.arguments(way));
        // The runner's own log is one, too.
        command.env("RUST_LOG", "trace");
        command
    }

    pub fn propose(&self, way: &str) -> Ran {
        self.with_bundle(&["--json", "propose", "--hypothesis", "it is known to somebody"], way)
            .arg("--key")
            .arg(self.state.path("agent"))
            .ran()
    }

    pub fn revise(&self, proposal: &str, more: &[&str]) -> Ran {
        let mut command = self.state.command(&["--json", "propose", "--revise", proposal, "--key"]);
        command.arg(self.state.path("agent")).args(more).env("RUST_LOG", "trace").ran()
    }

    /// Insists that nothing is told by a review of the proposal, here and of its exported file, and that both show the same.
    #[track_caller]
    pub fn reviewed(&self, proposal: &str) -> Value {
        let file = self.state.path(&format!("{proposal}.proposal"));
        let file = file.to_str().expect("UTF-8");
        self.state.run(&["export", proposal, file]).expect(0).tells_nothing();
        let bytes = fs::read(file).expect("it was exported");
        // What it would write stands in the agent's own bundle.
        for word in [WORDS[0], &digest(OLD), &digest(NEW), &digest(OTHER), "\"blind\":"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "`{word}` is exported");
        }
        for what in [proposal, file] {
            self.state.run(&["review", what]).expect(0).tells_nothing().shows("content WITHHELD");
        }
        let [here, there] = [proposal, file].map(|what| {
            let mut review = self.state.run(&["--json", "review", what]).expect(0).tells_nothing().json();
            review.as_object_mut().expect("an object").remove("exported");
            review
        });
        assert_eq!(here, there);
        here
    }

    #[track_caller]
    pub fn approve(&self, proposal: &str) {
        self.approve_openly(proposal).tells_nothing();
    }

    #[track_caller]
    fn approve_openly(&self, proposal: &str) -> Ran {
        let mut approve = self.state.command(&["--json", "approve", proposal, "--reason", "agreed", "--key"]);
        approve.arg(self.state.path("alice")).ran().expect(0)
    }

    /// Proposes and approves while nothing is sensitive; gives the proposal's name.
    #[track_caller]
    pub fn approved_openly(&self, way: &str) -> String {
        let proposed = self.propose(way).expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a name").to_owned();
        self.approve_openly(&proposal);
        proposal
    }

    /// Proposes and approves; gives the proposal's name.
    #[track_caller]
    pub fn approved(&self, way: &str) -> String {
        let proposed = self.propose(way).expect(0).tells_nothing().json();
        let proposal = proposed["proposal"].as_str().expect("a name").to_owned();
        self.approve(&proposal);
        proposal
    }
}

pub fn digest(content: &str) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub trait TellsNothing {
    /// Insists that no content is in what was printed, nor a digest of it.
    fn tells_nothing(self) -> Self;
}

impl TellsNothing for Ran {
    #[track_caller]
    fn tells_nothing(self) -> Self {
        let digests = [OLD, NEW, OTHER].map(digest);
        for word in WORDS.into_iter().chain(digests.iter().map(String::as_str)) {
            for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                assert!(!text.contains(word), "`{word}` is on {name}: {text}");
            }
        }
        self
    }
}

/// Whether a mode is told that is a byte of what nobody may see: `h`, as a number of its own. A digest may have its digits, too.
pub fn tells_a_mode(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "0150" || word == "0o0150")
}
