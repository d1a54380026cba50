//! A log directory that has filled its file system: a real one, mounted for the test, where root allows it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use support::mount::Mount;
use support::{Ran, Runs, State, bundle};

/// A service that logs, by a descriptor that it keeps open, as long as its configuration says `debug`.
struct Daemon {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(config: PathBuf, mut log: File) -> Self {
        let ended = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if fs::read_to_string(&config).is_ok_and(|text| text.contains("level = debug")) {
                    // On a full file system it cannot.
                    let _ = log.write_all(line("DEBUG still at it").as_bytes());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A line of 4 KiB.
fn line(text: &str) -> String {
    format!("{text:<4095}\n")
}

struct Full {
    state: State,
    logs: PathBuf,
    config: PathBuf,
    // In this order: the daemon lets go of its log, then the file system goes.
    _daemon: Daemon,
    _mount: Mount,
}

impl Full {
    fn new(megabytes: u32) -> Option<Self> {
        let state = State::new();
        let home = state.dir.path().canonicalize().expect("resolved");
        let logs = home.join("logs");
        let mount = Mount::new(&logs, megabytes)?;
        let config = home.join("service.conf");
        fs::write(&config, "# the service\nlevel = debug\nport = 80\n").expect("its configuration");
        fs::write(logs.join("access.log"), line("GET / 200").repeat(64)).expect("another log");
        let mut log = OpenOptions::new().append(true).create(true).open(logs.join("debug.log")).expect("its log");
        fs::set_permissions(logs.join("debug.log"), fs::Permissions::from_mode(0o640)).expect("its mode");
        let mut number = 0;
        while log.write_all(line(&format!("DEBUG cache miss {number}")).as_bytes()).is_ok() {
            number += 1;
        }
        let daemon = Daemon::start(config.clone(), log);
        let full = Self { state, logs, config, _daemon: daemon, _mount: mount };
        let (logs, config) = (full.logs.display(), full.config.display());
        full.state.configure(&format!(
            r#"
[targets.web]
rollback-owner = "alice"
[targets.web.investigation]
ceiling = ["files.read {config}", "files.read {logs}/**"]
[targets.web.remediation]
ceiling = ["files.read {config}", "files.read {logs}/**", "files.write {config}", "files.write {logs}/* verbs=truncate,discard"]
[[targets.web.guards]]
name = "the other log is there"
call = "files.stat {logs}/access.log"
expect = {{ kind = "file", size = 262144 }}
"#
        ));
        Some(full)
    }

    fn offender(&self) -> PathBuf {
        self.logs.join("debug.log")
    }

    fn arguments(&self, most_used: u32) -> Vec<String> {
        [
            "--target=web".to_owned(),
            format!("--arg=config={}", self.config.display()),
            format!("--arg=directory={}", self.logs.display()),
            format!("--arg=offender={}", self.offender().display()),
            format!("--arg=most-used={most_used}"),
        ]
        .to_vec()
    }

    fn investigate(&self, bundle: &Path) -> Value {
        let mut command = self.state.command(&["--json", "investigate"]);
        command.arg(bundle).args(self.arguments(50)).ran().expect(0).json()
    }

    /// Proposes; gives the proposal's name.
    fn propose(&self, bundle: &Path, most_used: u32) -> String {
        let mut command = self.state.command(&["--json", "propose", "--hypothesis", "level = debug fills it", "--key"]);
        command.arg(self.state.path("agent")).arg(bundle).args(self.arguments(most_used));
        let proposed = command.ran().expect(0).json();
        proposed["proposal"].as_str().expect("a proposal").to_owned()
    }

    fn approve_and_run(&self, proposal: &str) -> Ran {
        let mut approve = self.state.command(&["approve", proposal, "--reason", "seen", "--key"]);
        approve.arg(self.state.path("alice")).ran().expect(0);
        self.state.run(&["--json", "run", proposal])
    }

    fn size(&self) -> u64 {
        fs::metadata(self.offender()).expect("it is there").len()
    }

    /// How much is in use, in percent, asked of the system itself.
    fn used(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.logs).expect("statvfs");
        (found.f_blocks - found.f_bfree) * 100 / found.f_blocks
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config).expect("its configuration")
    }
}

/// The names in a directory, of what the runner may have left there.
fn left_behind(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(".countersign-")).collect()
}

#[test]
fn a_log_too_large_to_keep_is_discarded_and_the_service_goes_on_in_the_same_file() {
    let Some(full) = Full::new(24) else { return };
    let bundle = bundle("full-log-directory");
    assert!(full.used() >= 99, "{}", full.used());
    let (inode, size) = (fs::metadata(full.offender()).expect("metadata").ino(), full.size());
    let found = full.investigate(&bundle)["findings"].to_string();
    for words in ["100 % of the file system", "debug.log", "DEBUG cache miss 0 ", "the log level is debug"] {
        assert!(found.contains(words), "{words} is not in {found}");
    }
    let read =
        full.state.run(&["--json", "read", "web", &format!("files.usage {}", full.logs.display())]).expect(0).json();
    assert_eq!(read["reply"]["bytes"]["total"], 24 << 20);
    assert_eq!(read["reply"]["bytes"]["available"], 0);

    let proposal = full.propose(&bundle, 50);
    let review = full.state.run(&["review", &proposal]).expect(0).stdout;
    let goes = format!("{size} bytes go; only the last 65536 are kept, and nothing brings back the others, sha256:");
    for words in [goes.as_str(), "IRREVERSIBLE: nothing undoes it", "-DEBUG cache miss", "+level = info"] {
        assert!(review.contains(words), "{words} is not in {review}");
    }
    assert!(review.len() < 128 * 1024, "the review is bounded");
    assert!(review.contains("cannot tell"), "usage under pending changes is not guessed: {review}");
    assert_eq!(full.size(), size, "nothing is changed yet");

    let report = full.approve_and_run(&proposal).expect(0).json();
    assert_eq!(report["outcome"], "committed");
    assert_eq!(report["changes"][1]["reversibility"], "irreversible");
    assert_eq!((full.size(), full.text().as_str()), (0, "# the service\nlevel = info\nport = 80\n"));
    assert!(full.used() < 10, "{}", full.used());
    assert_eq!(fs::metadata(full.offender()).expect("metadata").ino(), inode);
    // Set back by hand, it logs on where the descriptor leads that it had open all the time.
    fs::write(&full.config, "level = debug\n").expect("written");
    support::eventually("the service's next line", || (full.size() > 0).then_some(()));
}

#[test]
fn a_log_that_can_be_kept_is_truncated() {
    let Some(full) = Full::new(6) else { return };
    let bundle = bundle("full-log-directory");
    let proposal = full.propose(&bundle, 50);
    let review = full.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(review.contains("all of them are kept") && review.contains("IRREVERSIBLE\n  nothing"), "{review}");
    let report = full.approve_and_run(&proposal).expect(0).json();
    assert_eq!((report["outcome"].as_str(), full.size()), (Some("committed"), 0));
}

#[test]
fn the_bad_twin_cuts_too_little_and_ends_as_it_was() {
    let Some(full) = Full::new(24) else { return };
    let log = fs::read(full.offender()).expect("read");
    let before = (fs::metadata(full.offender()).expect("metadata").ino(), full.text(), full.used());
    let bundle = bundle("full-log-directory-twin");
    full.investigate(&bundle);
    let proposal = full.propose(&bundle, 50);
    let ran = full.approve_and_run(&proposal).expect(4).says("% of the file system are in use");
    let report = ran.json();
    assert_eq!(report["outcome"], "rolled-back");
    assert_eq!(report["irreversible"].as_array().map(Vec::len), Some(0));
    assert!(fs::read(full.offender()).expect("read") == log, "every byte is back");
    assert_eq!((fs::metadata(full.offender()).expect("metadata").ino(), full.text(), full.used()), before);
    assert_eq!(fs::metadata(full.offender()).expect("metadata").mode() & 0o7777, 0o640);
    assert_eq!((left_behind(&full.logs), left_behind(full.state.dir.path())), (vec![], vec![]));
}

#[test]
fn what_was_discarded_is_never_called_undone() {
    let Some(full) = Full::new(24) else { return };
    // Less than the other log needs: the check never passes.
    let proposal = full.propose(&bundle("full-log-directory"), 1);
    let ran = full.approve_and_run(&proposal).expect(5);
    let report = ran.json();
    assert_eq!(report["outcome"], "rollback-incomplete");
    assert!(report["irreversible"][0].as_str().is_some_and(|what| what.starts_with("discard")), "{report}");
    let left = report["left"].to_string();
    assert!(left.contains("debug.log is not as before: discard") && left.contains("nothing undoes it"), "{left}");
    assert!(full.text().contains("level = debug"), "the configuration is back");
    assert!(ran.stderr.contains("  cannot be undone: discard") && !ran.stderr.contains("  undone: discard"));
}

#[test]
fn what_is_logged_after_the_rehearsal_refuses_the_run() {
    let Some(full) = Full::new(24) else { return };
    let proposal = full.propose(&bundle("full-log-directory"), 50);
    fs::remove_file(full.logs.join("access.log")).expect("some room");
    let size = full.size();
    support::eventually("the service's next line", || (full.size() > size).then_some(()));
    full.approve_and_run(&proposal).expect(3).says("is not as it was rehearsed");
    assert!(full.size() > size && full.text().contains("level = debug"));
}

/// What cannot be written whole is not there, so that it can be tried again.
#[test]
fn a_file_that_does_not_fit_is_exported_once_there_is_room() {
    let incident = support::Incident::new();
    let proposal = incident.propose("pool-size");
    let point = incident.state.path("small");
    let Some(_mount) = Mount::new(&point, 8) else { return };
    let filler = point.join("filler");
    let mut fill = File::create(&filler).expect("a file");
    while fill.write_all(&[0; 4096]).is_ok() {}
    fill.set_len(fill.metadata().expect("it is there").len() - 16 * 1024).expect("it can be cut");
    drop(fill);
    let file = point.join("orders.proposal");
    let export = || incident.state.command(&["export", &proposal]).arg(&file).ran();
    export().expect(1).says("cannot be written, and is not there").says("make room, and try again");
    assert_eq!(fs::read_dir(&point).expect("listed").count(), 1, "only what filled it");
    fs::remove_file(&filler).expect("it can be removed");
    export().expect(0);
}

#[test]
fn of_what_cannot_be_put_back_whole_it_is_known_where_the_rest_is() {
    let Some(full) = Full::new(24) else { return };
    // While it validates, somebody takes all of the room but a little.
    let filler = full.logs.join("filler");
    let fill = format!("cat /dev/zero > {0} 2>&-; truncate -s -102400 {0}; exit 1", filler.display());
    full.state.configure(&format!(
        "[[targets.web.validators]]\nname = \"fills\"\npaths = [\"{}\"]\ncommand = [\"/bin/sh\", \"-c\", \"{fill}\"]\n",
        full.offender().display()
    ));
    let log = fs::read(full.offender()).expect("read");
    let proposal = full.propose(&bundle("full-log-directory-twin"), 50);
    let report = full.approve_and_run(&proposal).expect(5).json();
    assert_eq!(report["outcome"], "rollback-incomplete", "{report}");
    let left = report["left"].to_string();
    assert!(
        left.contains("bytes that were cut off are back; its end from byte ") && !left.contains("not known"),
        "{left}"
    );

    let name = report["run"].as_str().expect("a run");
    let shown = full.state.run(&["--json", "show", name]).expect(0).json();
    let changes = shown["changes"].as_array().expect("changes");
    let cut = changes.iter().find(|change| change["kept"]["from"].is_u64()).expect("the truncation");
    let (from, place) = (cut["kept"]["from"].as_u64().expect("bytes"), cut["kept_at"].as_str().expect("a place"));
    assert!(left.contains(&format!("from byte {from} on is kept at {place}")), "{left} {place}");
    // No more than 1 MiB: it is in the database.
    let database = full.state.path("state/countersign.db");
    let digest = cut["kept"]["image"]["digest"].as_str().expect("a digest");
    let row = format!("row `{digest}` of the table `images` in {}", database.canonicalize().expect("there").display());
    assert_eq!(place, row);
    let opened = rusqlite::Connection::open(database).expect("the database");
    let kept: Vec<u8> = opened
        .query_row("SELECT bytes FROM images WHERE digest = ?1", [digest], |row| row.get(0))
        .expect("it is there");
    assert!(kept == log[usize::try_from(from).expect("small")..], "it is what was cut off");
    full.state
        .run(&["show", name])
        .expect(0)
        .shows(&format!("kept at: {place}"))
        .shows(&format!("from byte {from} on"));
}
