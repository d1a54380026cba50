//! A target that never answers: the kernel holds the opening of a file, as it does where a network mount hangs.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod mount;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::json;
use support::Runs;
use support::place::{Place, give_up, half_resolved};
use support::under::Under;

/// A program of this folder, built.
fn c(name: &str) -> PathBuf {
    let built = support::built().join(name);
    let source = support::root().join(format!("tests/hanging/{name}.c"));
    let status = Command::new("cc").arg("-o").arg(&built).arg(source).status().expect("cc, as cargo needs too");
    assert!(status.success());
    built
}

/// Whoever holds the openings of a file until it is dropped.
struct Holding {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Holding {
    /// `None` where only root may, and this is not.
    fn of(path: &Path) -> Option<Self> {
        static BUILT: LazyLock<PathBuf> = LazyLock::new(|| c("hold"));
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can hold the openings of a file");
            return None;
        }
        let mut child = Command::new(&*BUILT).arg(path).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
        let mut holding = Self { child, lines };
        assert_eq!(holding.next().as_deref(), Some("holds"), "the kernel can hold openings");
        Some(holding)
    }

    fn next(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.expect("it is text"))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place where a call is given up soon after its own time.
fn place(more: &str) -> Place {
    let place = Place::with(more);
    let config = std::fs::read_to_string(place.state.config()).expect("it is text");
    std::fs::write(place.state.config(), format!("call-grace = 1\n{config}")).expect("it can be written");
    place
}

#[test]
fn a_run_whose_undo_hangs_ends_in_doubt_and_is_recovered_once_the_target_answers() {
    let place = place("");
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let before = place.standing();
    let proposal = place.approved();
    let under = Under::way(&place.state, &proposal);
    let a = place.folder.join("a");
    let Some(mut holding) = Holding::of(&a) else { return };
    // What was written is refused: `b` is put back, and then `a`, which hangs.
    let ran = under.answer("bad").expect(5);
    assert!(holding.next().is_some(), "it is held in the kernel");
    let report = ran.json();
    let says = format!("of `{}` did not return within 31 s, and was given up", a.display());
    assert_eq!(report["outcome"], "in-doubt", "{report}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains(&says)), "{report}");
    assert_eq!(report["rollback_owner"], "alice");
    assert!(report["unrecorded"].as_str().is_some_and(|why| why.contains("`countersign recover` goes on")), "{report}");
    assert_eq!((place.text("b"), report["changes"].as_array().map(Vec::len)), ("broken too\n".to_owned(), Some(2)));
    ran.says("nothing more is touched");

    // Whoever recovers it meanwhile meets the same; whoever has other work is not held up, and the target is blocked.
    let recovered = place.state.run(&["--json", "recover"]).expect(5).says("was given up").json();
    assert_eq!(recovered["runs"][0]["outcome"], "in-doubt", "{recovered}");
    for list in ["settled", "resolutions", "waiting", "stuck"] {
        assert_eq!(recovered[list], json!([]), "{recovered}");
    }
    let runs = place.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!(runs["runs"][0]["outcome"], "unfinished", "{runs}");
    assert_eq!(place.text("b"), "broken too\n");

    place.state.run(&["--json", "run", &proposal]).expect(5).says("died without an outcome and blocks it");

    drop(holding);
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(recovered["runs"][0]["outcome"], "rolled-back", "{recovered}");
    assert_eq!(place.standing(), before);
}

/// What is read before anything is changed changes nothing.
#[test]
fn a_precondition_that_hangs_begins_no_run() {
    let place = place("");
    let proposal = place.approved();
    let before = place.standing();
    let Some(holding) = Holding::of(&place.folder.join("a")) else { return };
    let ran = place.run(&proposal).expect(1).says("was given up").says("nothing was changed");
    assert_eq!(ran.json()["error"]["code"], json!(1));
    drop(holding);
    assert_eq!(place.standing(), before);
    place.run(&proposal).expect(0);
}

/// A place whose run left `a` as somebody else had written it meanwhile, and a resolution of that whose process died; the
/// run's name.
fn half_restored() -> (Place, String) {
    let place = place("");
    let edits = format!(
        "[[targets.place.validators]]\nname = \"edits\"\npaths = [\"{0}/b\"]\n\
         command = [\"/bin/sh\", \"-c\", \"echo somebody >{0}/a; exit 1\"]\n",
        place.folder.display()
    );
    place.state.configure(&edits);
    let report = place.run(&place.approved()).expect(5).json();
    let run = report["run"].as_str().expect("a run").to_owned();
    half_resolved(&place.state, &run, place.folder.join("a").to_str().expect("UTF-8"));
    (place, run)
}

/// What a resolution was about to do is no business of what hangs after it was recovered.
#[test]
fn what_hangs_after_a_resolution_was_recovered_changed_nothing() {
    let (place, _) = half_restored();
    let a = place.folder.join("a");
    let Some(_holding) = Holding::of(&a) else { return };
    let mut read = place.command(&["--json", "read", "place", &format!("files.read {}", a.display()), "--key"]);
    let read = read.arg(place.state.path("agent")).ran().says("the runner ended before it was resolved").expect(1);
    read.says("was given up").says("nothing was changed");
}

/// It is met once, and then by `recover` alone.
#[test]
fn a_resolution_that_hangs_holds_up_one_command() {
    let (place, run) = half_restored();
    let a = place.folder.join("a");
    // It was about to write `a` when its process died.
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let sql = "INSERT INTO changes (run, seq, role, change, state, resolution)
               SELECT run, (SELECT max(seq) + 1 FROM changes WHERE run = ?1), 'rollback', change, 'intended', 1
               FROM changes WHERE run = ?1 AND json_extract(change, '$.subject') = ?2 LIMIT 1";
    let about = database.execute(sql, [run.as_str(), a.to_str().expect("UTF-8")]).expect("it can be written");
    assert_eq!(about, 1);
    let Some(holding) = Holding::of(&a) else { return };
    place.state.run(&["runs"]).expect(5).says("was given up").says("is as before run").says("is not known");
    let listed = place.state.run(&["runs"]).expect(0);
    assert!(!listed.stderr.contains("given up"), "{}", listed.stderr);
    drop(holding);
    // What it holds now is neither, so a person is needed.
    let recovered = place.state.run(&["--json", "recover"]).expect(5).json();
    assert_eq!(recovered["resolutions"].as_array().map(Vec::len), Some(1), "{recovered}");
    assert_eq!(place.text("a"), "somebody\n");
}

/// A process that the kernel does not let go of holds its locks still.
#[test]
fn a_run_whose_process_is_not_gone_is_left_alone() {
    let place = place("");
    place.state.configure(&Under::validator(&place.state, "place", &place.folder.join("b")));
    let under = Under::way(&place.state, &place.approved());
    let runs = place.state.run(&["--json", "runs"]).expect(0).json();
    let run = runs["runs"][0]["run"].as_str().expect("a run");
    give_up(&place.state, run, "run");
    let stuck = place.state.run(&["--json", "recover"]).expect(5);
    let object = stuck.json();
    assert_eq!(object["stuck"][0]["run"], run, "{object}");
    let why = object["stuck"][0]["error"]["message"].as_str().expect("why");
    assert!(why.contains("its process is not gone yet, and holds `place` still: undoing the change of `/a`"), "{why}");
    assert_eq!(place.text("a"), "fixed\n");
    under.answer("bad").expect(4);
}
