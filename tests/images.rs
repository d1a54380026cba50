//! What undo needs goes to a configured place, with a cap and a reserve; what cannot be kept is not changed.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test says why it was skipped")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::agent::{Impostor, identities};
use support::{Ran, Runs, State, bundle, eventually};

/// Too large for the database: it is kept as a file.
const SIZE: usize = 3 * 1024 * 1024;

/// A target `store` with one large file that a fix replaces.
struct Store {
    state: State,
    home: PathBuf,
    config: String,
}

impl Store {
    fn new(images: &str) -> Self {
        let state = State::new();
        let home = state.path("home");
        fs::create_dir_all(home.join("public")).expect("a home");
        fs::write(home.join("open"), "open\n").expect("it can be written");
        fs::write(home.join("large"), vec![b'x'; SIZE]).expect("it can be written");
        let shown = home.display();
        let target = format!(
            r#"
[targets.store]
rollback-owner = "alice"
# What nobody is shown may be larger than what a person can read.
sensitive = ["{shown}/large"]
[targets.store.investigation]
ceiling = ["files.read {shown}/**"]
[targets.store.remediation]
ceiling = ["files.read {shown}/**", "files.write {shown}/** verbs=replace,create,remove,truncate,set-mode,discard"]
[[targets.store.guards]]
name = "it is there"
call = "files.stat {shown}/large"
expect = {{ kind = "file" }}
"#
        );
        let config = fs::read_to_string(state.config()).expect("a configuration") + &target;
        let store = Self { state, home, config };
        store.images(images);
        store
    }

    /// Sets the table `images`.
    fn images(&self, text: &str) {
        fs::write(self.state.config(), format!("{}\n[images]\n{text}\n", self.config)).expect("it can be written");
    }

    fn in_place(place: &Path, more: &str) -> String {
        format!("directory = \"{}\"\n{more}", place.display())
    }

    fn with_bundle(&self, verb: &[&str]) -> Command {
        let (mut command, home) = (self.state.command(verb), self.home.display());
        command
            .arg(bundle("hostile/telltale"))
            .arg("--target=store")
            .arg(format!("--arg=secret={home}/large"))
            .arg(format!("--arg=open={home}/open"))
            .arg(format!("--arg=folder={home}/public"))
            .arg("--arg=way=blind");
        command
    }

    fn propose(&self) -> Ran {
        self.with_bundle(&["--json", "propose", "--hypothesis", "it is large"])
            .arg("--key")
            .arg(self.state.path("agent"))
            .ran()
    }

    #[track_caller]
    fn approved(&self) -> String {
        let proposed = self.propose().expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a name").to_owned();
        self.state
            .command(&["approve", &proposal, "--reason", "agreed", "--key"])
            .arg(self.state.path("alice"))
            .ran()
            .expect(0);
        proposal
    }

    fn run(&self, proposal: &str) -> Ran {
        self.state.run(&["--json", "run", proposal])
    }

    /// Insists that a run is refused before its first change, and gives why.
    #[track_caller]
    fn refused(&self, proposal: &str) -> String {
        let refused = self.run(proposal).expect(3).says("hint: ").json();
        assert_eq!((&refused["outcome"], &refused["changes"]), (&"refused".into(), &serde_json::json!([])));
        assert_eq!(self.large().len(), SIZE, "nothing was changed");
        refused["reason"].as_str().expect("a reason").to_owned()
    }

    /// What rehearsals put aside, and what lies beside it.
    fn aside(&self) -> Vec<PathBuf> {
        let scratch = self.state.path("state/blobs/scratch");
        let mut found = if scratch.exists() { files(&scratch) } else { Vec::new() };
        found.sort();
        found
    }

    fn large(&self) -> Vec<u8> {
        fs::read(self.home.join("large")).expect("it can be read")
    }

    fn used(&self) -> u64 {
        self.state.run(&["--json", "images"]).expect(0).json()["used"].as_u64().expect("a number")
    }
}

/// The regular files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn images_go_to_the_configured_place_and_only_the_runner_reads_them() {
    let store = Store::new("");
    let place = store.state.path("images");
    store.images(&Store::in_place(&place, ""));
    let proposal = store.approved();
    let kept = files(&place);
    let image = kept.iter().find(|path| path.metadata().expect("it is there").len() == SIZE as u64).expect("the image");
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(image), 0o600);
    for folder in image.ancestors().skip(1).take(3) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    assert!(files(&store.state.path("state/blobs")).is_empty());
    store.run(&proposal).expect(0);
    assert!(store.large().len() < 100);

    let told = store.state.run(&["--json", "images"]).expect(0).json();
    assert_eq!(told["directory"], place.canonicalize().expect("it is there").to_str().expect("UTF-8"));
    assert_eq!((&told["cap"], &told["reserve"]), (&(1_u64 << 30).into(), &(256_u64 << 20).into()));
    assert!(told["used"].as_u64().expect("a number") >= SIZE as u64 && told["free"].as_u64().is_some());
    store.state.run(&["images"]).expect(0).shows("1073741824 bytes (1.0 GiB)").shows("3.0 MiB");
}

#[test]
fn what_is_over_the_cap_is_refused_in_rehearsal_and_nothing_stays() {
    let store = Store::new("cap = \"2MiB\"");
    let words = "images of 3145728 bytes do not fit under the cap: 0 of 2097152 bytes are taken";
    let propose = store.propose().expect(3);
    propose.says("what undo needs cannot be kept").says(words).says("raise `cap` under `[images]`");
    store.with_bundle(&["rehearse"]).ran().expect(1).shows(words);
    assert_eq!((store.used(), store.large().len()), (0, SIZE));
    assert_eq!(store.aside(), [""; 0].map(PathBuf::from));
    store.images("cap = \"4MiB\"");
    store.propose().expect(0);
}

#[test]
fn rehearsing_takes_nothing() {
    let store = Store::new("cap = \"4MiB\"");
    // Each rehearsal has images of its own, and all of them together do not fit.
    for round in *b"abc" {
        fs::write(store.home.join("large"), vec![round; SIZE]).expect("it can be written");
        store.with_bundle(&["rehearse"]).ran().expect(0);
        assert_eq!(store.used(), 0);
        assert_eq!(files(&store.state.path("state/blobs")), [""; 0].map(PathBuf::from));
        assert_eq!(store.aside(), [""; 0].map(PathBuf::from));
    }
    let proposal = store.approved();
    assert!(store.used() >= SIZE as u64 && store.aside().is_empty(), "what is proposed is kept");
    store.run(&proposal).expect(0);
}

#[test]
fn what_a_killed_rehearsal_left_behind_goes_with_the_next() {
    let store = Store::new("cap = \"4MiB\"");
    let key = store.state.path("agent.pub");
    // It lists its key and never signs.
    let agent = Impostor::start(vec![identities(&key)]);
    let mut proposing = store.with_bundle(&["propose", "--hypothesis", "it is large"]);
    proposing.arg("--key").arg(&key).env("SSH_AUTH_SOCK", agent.socket()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut proposing = proposing.spawn().expect("the binary starts");
    eventually("that it is to sign", || (agent.asked() == 2).then_some(()));
    let left = store.aside();
    assert!(left.iter().any(|path| path.metadata().expect("it is there").len() == SIZE as u64), "{left:?}");
    // While it lives, others leave what it put aside alone, and are not in its way.
    store.with_bundle(&["rehearse"]).ran().expect(0);
    assert_eq!((store.used(), store.aside()), (0, left.clone()));

    proposing.kill().expect("it can be killed");
    assert_eq!(proposing.wait().expect("it ended").signal(), Some(9));
    assert_eq!((store.used(), store.aside()), (0, left));
    store.with_bundle(&["rehearse"]).ran().expect(0);
    assert_eq!((store.used(), store.aside().len()), (0, 0));
}

#[test]
fn a_run_over_the_cap_is_refused_before_its_first_change_and_spends_no_use() {
    let store = Store::new("");
    let proposal = store.approved();
    store.images("cap = \"3MiB\"");
    let why = store.refused(&proposal);
    assert!(why.contains("so nothing is changed: images of 25 bytes do not fit under the cap"), "{why}");
    store.images("");
    store.run(&proposal).expect(0);
}

#[test]
fn a_run_into_the_reserve_is_refused_before_its_first_change_and_spends_no_use() {
    let store = Store::new("");
    let proposal = store.approved();
    store.images("reserve = \"1EiB\"");
    let why = store.refused(&proposal);
    assert!(why.contains("would eat into the reserve of 1152921504606846976 bytes"), "{why}");
    store.propose().expect(3).says("would eat into the reserve").says("another `directory` under `[images]`");
    store.images("");
    store.run(&proposal).expect(0);
}

#[test]
fn a_run_whose_images_have_no_folder_is_refused_before_its_first_change() {
    let store = Store::new("");
    let proposal = store.approved();
    let (root, aside) = (store.state.path("state/blobs/sha256"), store.state.path("aside"));
    let folders = |from: &Path, to: &Path| {
        for folder in fs::read_dir(from).expect("listed") {
            let folder = folder.expect("an entry");
            fs::rename(folder.path(), to.join(folder.file_name())).expect("moved");
        }
    };
    fs::create_dir(&aside).expect("a directory");
    folders(&root, &aside);
    let why = store.refused(&proposal);
    assert!(why.contains("so nothing is changed") && why.contains("sha256/00` is damaged: it is missing"), "{why}");
    folders(&aside, &root);
    store.run(&proposal).expect(0);
}

/// A file system of its own, unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: PathBuf, size: &str) -> Result<Self, String> {
        fs::create_dir(&at).expect("a mount point");
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).stderr(Stdio::null());
        match mount.status() {
            Ok(status) if status.success() => Ok(Self(at)),
            Ok(status) => Err(format!("`mount` answered {status}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_small_file_system_that_somebody_fills() {
    let store = Store::new("");
    let mount = match Mount::tmpfs(store.state.path("images"), "16m") {
        Ok(mount) => mount,
        Err(why) => {
            eprintln!("skipped: no file system can be mounted here: {why}");
            return;
        }
    };
    let place = mount.0.clone();
    store.images(&Store::in_place(&place, "cap = \"12MiB\"\nreserve = \"4MiB\""));
    let proposal = store.approved();
    // Another makes itself at home between the approval and the run.
    let filler = place.join("filler");
    fs::write(&filler, vec![0; 9 * 1024 * 1024]).expect("there is room yet");
    let why = store.refused(&proposal);
    assert!(why.contains("would eat into the reserve of 4194304 bytes"), "{why}");
    store.propose().expect(3).says("would eat into the reserve");
    fs::remove_file(&filler).expect("it is there");
    store.run(&proposal).expect(0);
}

#[test]
fn a_place_that_is_not_the_operators_own_is_an_error() {
    let store = Store::new("");
    let place = store.state.path("images");
    let error = |more: &str| {
        store.images(&Store::in_place(&place, more));
        store.state.run(&["images"]).expect(1)
    };
    fs::create_dir(&place).expect("a folder");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o750)).expect("its mode can be set");
    error("").says("has mode 0750, so that others can read it");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    fs::write(place.join("mine"), "x").expect("it can be written");
    error("").says("it is not empty, and holds no images").says("name a new or empty directory");
    fs::remove_dir_all(&place).expect("it is there");
    let elsewhere = store.state.path("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, &place).expect("a link");
    error("").says("it is not a directory");
    fs::remove_file(&place).expect("it is there");
    for (text, why) in [
        ("cap = \"much\"", "`cap` is `much`, which is no size"),
        ("reserve = \"-1\"", "`reserve` is `-1`, which is no size"),
        ("cap = \"0\"", "nothing could be changed"),
        ("limit = \"1\"", "unknown field `limit`"),
    ] {
        error(text).says(why);
    }
    assert!(!place.exists(), "what makes no sense makes no directory");
    store.images("directory = \"images\"");
    store.state.run(&["images"]).expect(1).says("`directory` must be an absolute path");
    fs::write(&place, "x").expect("it can be written");
    error("").says("it is not a directory");
}

#[test]
fn no_grant_reaches_the_place() {
    let store = Store::new("");
    // Below what the target's ceilings name, and not made yet.
    store.images(&Store::in_place(&store.home.join("images"), ""));
    store.state.run(&["images"]).expect(1).says("which is the runner's own and never in scope");
}

#[test]
fn images_of_an_earlier_place_are_found() {
    let store = Store::new("");
    let proposal = store.approved();
    let place = store.state.path("images");
    store.images(&Store::in_place(&place, ""));
    store.run(&proposal).expect(0);
    assert!(store.used() >= SIZE as u64, "they count");
}
