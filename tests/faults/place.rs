//! A target with an approved fix, which can be put back to that moment again and again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::strace::{Fault, Point, inject};
use tempfile::TempDir;

use crate::support::mount::Mount;
use crate::support::spoken::Spoken;
use crate::support::{Incident, Ran, Runs, State, bundle, bundle_with, eventually};
use crate::tree::{Tree, tree};

pub(crate) struct Place {
    target: Target,
    proposal: String,
    /// The runner's clock stands still, or it would write the time down in some runs and not in others.
    now: u64,
    /// How many hours later it is recovered.
    hours: u64,
    /// The small file system that all of it is on, if it is, and where that is mounted. Goes last.
    mount: Option<(Mount, TempDir)>,
}

enum Target {
    /// A service with its configuration, and what that says while it is broken.
    Service(Box<Incident>, String),
    /// Files.
    Settings(State),
    /// The same, once a run of it failed and somebody had edited meanwhile.
    Edited(State),
}

impl Place {
    /// The demo's incident, its fix approved: a file is replaced and a signal sent.
    pub(crate) fn demo() -> Self {
        let incident = Incident::new();
        let proposal = incident.propose("pool-size");
        incident.approve(&proposal);
        let broken = fs::read_to_string(&incident.config).expect("its configuration");
        Self::approved(Target::Service(Box::new(incident), broken), proposal)
    }

    /// The same on a small file system, which fills up to what [`Place::leave`] says once the file is replaced. `None` where
    /// none can be mounted.
    pub(crate) fn small() -> Option<Self> {
        let above = tempfile::tempdir().expect("a temporary directory");
        let mount = Mount::new(&above.path().join("small"), 64)?;
        let incident = Incident::on(State::below(&mount.0));
        let (filler, left) = (mount.0.join("filler"), mount.0.join("left"));
        incident.state.configure(&format!(
            "\n[[targets.orders.validators]]\nname = \"fills\"\npaths = [\"{2}\"]\n\
             command = [\"/bin/sh\", \"-c\", \"test ! -e {1} || {{ cat /dev/zero > {0} 2>&-; truncate -s -$(cat {1}) {0}; }}\"]\n\
             [images]\nreserve = \"1MiB\"\n",
            filler.display(),
            left.display(),
            incident.config.display()
        ));
        let proposal = incident.propose("pool-size");
        incident.approve(&proposal);
        let broken = fs::read_to_string(&incident.config).expect("its configuration");
        let mut place = Self::approved(Target::Service(Box::new(incident), broken), proposal);
        place.mount = Some((mount, above));
        Some(place)
    }

    /// How many pages of 4 KiB the next run leaves; without a number it fills nothing.
    pub(crate) fn leave(&self, pages: Option<u32>) {
        let Some((mount, _)) = &self.mount else { return };
        for name in ["filler", "left"] {
            let _ = fs::remove_file(mount.0.join(name));
        }
        if let Some(pages) = pages {
            fs::write(mount.0.join("left"), (pages * 4096).to_string()).expect("it can be written");
        }
    }

    /// The demo's bad twin, approved: what it does is found not to help within a second, and rolled back.
    pub(crate) fn twin() -> Self {
        let incident = Incident::new();
        let impatient = incident.state.path("impatient");
        let impatient =
            bundle_with("pool-size-twin", &impatient, |text| text.replace("within = \"10s\"", "within = \"1s\""));
        let proposed = incident.propose_with(&impatient, &[]).expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a name").to_owned();
        incident.approve(&proposal);
        let broken = fs::read_to_string(&incident.config).expect("its configuration");
        Self::approved(Target::Service(Box::new(incident), broken), proposal)
    }

    /// Five changes, two of them to one file.
    pub(crate) fn settings() -> Self {
        Self::settings_in(State::new(), "")
    }

    /// The same, to be confirmed within this time.
    pub(crate) fn confirming(within: &str, silence: &str) -> Self {
        let terms = ["--confirm-within", within, "--silence", silence];
        let (state, proposal) = Self::settings_with(State::new(), "", &terms);
        Self { hours: 1, ..Self::approved(Target::Settings(state), proposal) }
    }

    /// The same, after a run that failed while somebody edited one of its files; that file is open.
    pub(crate) fn edited() -> Self {
        let edits = "[[targets.web.validators]]
name = \"edits\"
paths = [\"FOLDER/settings.toml\"]
\
             command = [\"/bin/sh\", \"-c\", \"echo edited >>FOLDER/settings.toml; exit 1\"]
";
        let (state, proposal) = Self::settings_with(State::new(), edits, &[]);
        state.run(&["run", &proposal]).expect(5);
        copy(&state.path("target"), &state.path("saved-target"));
        Self::approved(Target::Edited(state), proposal)
    }

    /// A person puts back what is open.
    pub(crate) fn resolution(&self) -> Command {
        let run = self.command(&["--json", "runs"]).ran().expect(0).json();
        let run = run["runs"][0]["run"].as_str().expect("a run").to_owned();
        let subject = self.scratch("target/settings.toml");
        let words =
            ["--json", "resolve", &run, subject.to_str().expect("UTF-8"), "--restore", "--reason", "yes", "--key"];
        let mut command = self.command(&words);
        command.arg(self.scratch("alice"));
        command
    }

    /// How many subjects of the run are open.
    pub(crate) fn open(&self) -> usize {
        let runs = self.command(&["--json", "runs"]).ran().expect(0).json();
        runs["runs"][0]["open"].as_array().expect("a list").len()
    }

    /// The same with a validator that refuses what was done, so that it is rolled back.
    pub(crate) fn refused() -> Self {
        let refuses =
            "[[targets.web.validators]]\nname = \"no\"\npaths = [\"FOLDER/**\"]\ncommand = [\"/bin/false\"]\n";
        Self::settings_in(State::new(), refuses)
    }

    /// The same with this state, the files beside it, and more of the target's configuration.
    pub(crate) fn settings_in(state: State, more: &str) -> Self {
        let (state, proposal) = Self::settings_with(state, more, &[]);
        Self::approved(Target::Settings(state), proposal)
    }

    /// Settings of which a fix is approved, by these terms. `FOLDER` in what the target has more is theirs.
    fn settings_with(state: State, more: &str, terms: &[&str]) -> (State, String) {
        let folder = state.path("target");
        let path = folder.display();
        state.configure(&format!(
            "[targets.web]\nrollback-owner = \"alice\"\n\
             [targets.web.investigation]\nceiling = [\"files.read {path}/**\"]\n\
             [targets.web.remediation]\nceiling = [\"files.read {path}/**\", \"files.write {path}/** verbs=create,remove,replace,set-mode,truncate\"]\n\
             [[targets.web.guards]]\nname = \"settings\"\ncall = \"files.stat {path}/settings.toml\"\n\
             expect = {{ kind = \"file\" }}\n{}[images]\nreserve = \"1MiB\"\n",
            more.replace("FOLDER", &path.to_string())
        ));
        spoil(&folder);
        let argument = format!("--arg=folder={path}");
        let proposed = state
            .command(&["--json", "propose", "--hypothesis", "development settings", "--target=web", &argument, "--key"])
            .arg(state.path("agent"))
            .arg(bundle("leaked-secret"))
            .ran()
            .expect(0)
            .json();
        let proposal = proposed["proposal"].as_str().expect("a name").to_owned();
        let mut approve = state.command(&["approve", &proposal, "--reason", "yes", "--key"]);
        approve.arg(state.path("alice")).args(terms).ran().expect(0);
        (state, proposal)
    }

    fn approved(target: Target, proposal: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
        let place = Self { target, proposal, now: now.try_into().expect("a time"), hours: 0, mount: None };
        // The time is taken note of.
        place.command(&["runs"]).ran().expect(0);
        copy(&place.state().path("state"), &place.scratch("saved"));
        place
    }

    fn state(&self) -> &State {
        match &self.target {
            Target::Service(incident, _) => &incident.state,
            Target::Settings(state) | Target::Edited(state) => state,
        }
    }

    /// The folder that has all of it.
    pub(crate) fn root(&self) -> PathBuf {
        self.state().dir.path().canonicalize().expect("it is there")
    }

    /// A file or folder beside the state directory.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.state().path(name)
    }

    /// The target's directory, without what the service writes.
    pub(crate) fn tree(&self) -> Tree {
        match &self.target {
            Target::Service(incident, _) => {
                tree(incident.config.parent().expect("a directory"), &["log", "address", "orders.pid"])
            }
            Target::Settings(state) | Target::Edited(state) => tree(&state.path("target"), &[]),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.state().command(arguments);
        command.env("COUNTERSIGN_TEST_NOW", self.now.to_string());
        command
    }

    /// A command at the time at which it is recovered.
    fn later(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("COUNTERSIGN_TEST_NOW", (self.now + self.hours * 3_600_000).to_string());
        command
    }

    /// A run that is killed while it waits to be confirmed, and its confirmation, which brings it to its commit.
    pub(crate) fn confirmation(&self) -> Command {
        let run = Spoken::start(&mut self.run());
        let line = run.says("waits for a confirmation until");
        run.kill();
        let mut confirm = self.command(&["confirm", line.split(' ').nth(1).expect("a run"), "--key"]);
        confirm.arg(self.state().path("alice"));
        confirm
    }

    /// The run of what was approved.
    pub(crate) fn run(&self) -> Command {
        self.command(&["run", &self.proposal])
    }

    /// Runs a command and kills it at a call; comes back when the kernel has let go of all that it held, which strace does
    /// not wait for.
    pub(crate) fn kill(&self, command: &Command, call: &str, nth: &Point) {
        let ran = inject(command, call, nth, Fault::Kill);
        assert_eq!(ran.code, -1, "{call} {nth}: {}", ran.stderr);
        for lock in fs::read_dir(self.state().path("state/locks")).expect("locks") {
            let lock = fs::File::open(lock.expect("a lock").path()).expect("it can be opened");
            eventually("the end of the one that was killed", || lock.try_lock().ok());
        }
    }

    pub(crate) fn recovery(&self) -> Command {
        self.later(&["--json", "recover"])
    }

    /// Back to the moment of the approval.
    pub(crate) fn again(&self) {
        self.leave(None);
        fs::remove_dir_all(self.state().path("state")).expect("it can be removed");
        copy(&self.scratch("saved"), &self.state().path("state"));
        match &self.target {
            Target::Service(incident, broken) => {
                fs::write(&incident.config, broken).expect("it can be written");
                incident.reload();
                eventually("the incident", || (incident.status("/orders") == 503).then_some(()));
            }
            Target::Settings(state) => spoil(&state.path("target")),
            Target::Edited(state) => {
                fs::remove_dir_all(state.path("target")).expect("it can be removed");
                copy(&state.path("saved-target"), &state.path("target"));
            }
        }
    }

    pub(crate) fn recover(&self) -> Ran {
        self.recovery().ran()
    }

    /// How the run ended, or `none` where it never began.
    pub(crate) fn end(&self) -> String {
        let runs = self.later(&["--json", "runs"]).ran().expect(0).json();
        runs["runs"][0]["outcome"].as_str().unwrap_or("none").to_owned()
    }
}

/// Settings as the incident has them.
fn spoil(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).expect("a folder");
    let settings = "include = \"development.toml\"\nenvironment = \"development\"\nworkers = 4\n";
    for (name, content, mode) in [
        ("settings.toml", settings, 0o640),
        ("development.toml", "password = \"hunter2\"\n", 0o604),
        ("secrets", "key = \"open sesame\"\n", 0o644),
    ] {
        let path = folder.join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        rustix::fs::setxattr(&path, "user.owner", b"web", rustix::fs::XattrFlags::empty()).expect("an attribute");
    }
    std::os::unix::fs::chown(folder.join("settings.toml"), None, None).expect("its owner");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.join("settings.toml"), Some(1000), Some(1000)).expect("its owner");
    }
}

fn copy(from: &Path, to: &Path) {
    Command::new("cp").arg("-a").arg(from).arg(to).ran().expect(0);
}
