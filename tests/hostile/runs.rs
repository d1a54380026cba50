//! Whole runs of guests that are well-behaved when they are rehearsed, and then are not: a file tells them which it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use countersign_bundle::Bundle;
use countersign_model::Role;
use serde_json::Value;
use wit_component::StringEncoding;

use crate::guest::component;
use crate::support::place::{Place, name};
use crate::support::{Ran, Runs as _, eventually};

/// What the run is to do with the fix, the rollback and the check: `mood` holds a letter for each. Rehearsed, all are good.
const GOOD: &str = "ggg";

const MANIFEST: &str = r#"
name = "hostile"
description = "Good when it is rehearsed"
mode = "exact"
rollback = "step"
[arguments]
required = ["folder"]
[arguments.properties.folder]
type = "string"
description = "absolute path of the folder that it works in"
[build]
language = "rust"
[steps.fix]
grants = ["files.read {folder}/**", "files.write {folder}/**"]
[steps.rollback]
grants = ["files.read {folder}/**", "files.write {folder}/**"]
[steps.check]
grants = ["files.read {folder}/**"]
within = "1s"
every = "50ms"
hold = "0s"
"#;

/// A core module that knows the folder's files by name, and its letter: `$letter`. `$put` replaces a file with what stands at
/// 2048, and `$line` logs what would take a terminal over.
fn core(folder: &Path, at: u32, body: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (mood, a, b, c) = (path("mood"), path("a"), path("b"), path("c"));
    // Names of one letter are equally long.
    let (mood_length, length) = (mood.len(), a.len());
    let writes = if at < 2 {
        r#"(import "countersign:files/write@0.1.0" "replace" (func $replace (param i32 i32 i32 i32 i32)))"#
    } else {
        ""
    };
    let put = if at < 2 {
        format!(
            "(func $put (param $path i32)
                (call $replace (local.get $path) (i32.const {length}) (i32.const 2048) (i32.const 6) (i32.const 512))
                (if (i32.load8_u (i32.const 512)) (then unreachable)))"
        )
    } else {
        String::new()
    };
    format!(
        r#"
        (import "countersign:files/read@0.1.0" "read" (func $read (param i32 i32 i32)))
        (import "countersign:step/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        {writes}
        (memory (export "memory") 4)
        (data (i32.const 1024) "{mood}") (data (i32.const 1280) "{a}") (data (i32.const 1536) "{b}")
        (data (i32.const 1792) "{c}") (data (i32.const 2048) "fixed\n") (data (i32.const 2304) "\1b[2J\1b]0;owned\07\0d\0aroot@prod# ")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
        (func $letter (result i32)
            (call $read (i32.const 1024) (i32.const {mood_length}) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (i32.load8_u (i32.add (i32.load (i32.const 516)) (i32.const {at}))))
        (func $is (param $letter i32) (result i32) (i32.eq (call $letter) (local.get $letter)))
        (func $line (call $log (i32.const 1) (i32.const 2304) (i32.const 27)))
        {put}
        {body}"#
    )
}

/// Changes `a`, then `b`. `0`, `1`, `2`: traps after so many changes. `h`: calls without end. `l`: loops. `f`: floods the log, and traps. `c`: changes
/// `c` instead of `b`.
const FIX: &str = "(func $run (result i32) (local $lines i32)
    (if (call $is (i32.const 48)) (then unreachable))
    (call $put (i32.const 1280))
    (if (call $is (i32.const 49)) (then unreachable))
    (if (call $is (i32.const 104)) (then (loop $again (drop (call $letter)) (br $again))))
    (if (call $is (i32.const 102)) (then (loop $again (call $line)
        (local.set $lines (i32.add (local.get $lines) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $lines) (i32.const 100000)))) (unreachable)))
    (if (call $is (i32.const 108)) (then (loop $again (br $again))))
    (if (call $is (i32.const 99)) (then (call $put (i32.const 1792))))
    (call $put (i32.const 1536))
    (if (call $is (i32.const 50)) (then unreachable))
    (i32.const 0))";

/// `t`: traps. `l`: loops. `h`: calls without end. `c`: changes what the fix never did.
const ROLLBACK: &str = "(func $run (result i32)
    (if (call $is (i32.const 116)) (then unreachable))
    (if (call $is (i32.const 108)) (then (loop $again (br $again))))
    (if (call $is (i32.const 104)) (then (loop $again (drop (call $letter)) (br $again))))
    (if (call $is (i32.const 99)) (then (call $put (i32.const 1792))))
    (i32.const 0))";

/// Content where `a` begins as what the fix writes; `t`: traps. `b`: says that it is not.
fn check(folder: &Path) -> String {
    let length = folder.join("a").display().to_string().len();
    format!(
        "(func $run (result i32) (local $bad i32)
            (if (call $is (i32.const 116)) (then unreachable))
            (local.set $bad (call $is (i32.const 98)))
            (call $read (i32.const 1280) (i32.const {length}) (i32.const 512))
            (if (i32.ne (i32.load8_u (i32.load (i32.const 516))) (i32.const 102)) (then (local.set $bad (i32.const 1))))
            (i32.store (i32.const 8192) (i32.const 0))
            (i32.store8 (i32.const 8196) (local.get $bad))
            (i32.store (i32.const 8200) (i32.const 2048)) (i32.store (i32.const 8204) (i32.const 5))
            (i32.const 8192))"
    )
}

const TRAPPED: &str = "the fix failed: the step trapped: wasm `unreachable` instruction executed";

struct Hostile {
    place: Place,
    bundle: PathBuf,
}

impl Hostile {
    fn new() -> Self {
        let place = Place::new();
        place.put("mood", GOOD);
        let (read, write) = ("countersign:files/read@0.1.0", "countersign:files/write@0.1.0");
        let guest = |role, imports: &[&str], at, body: &str| {
            (role, component(role, imports, StringEncoding::UTF8, &core(&place.folder, at, body)))
        };
        let steps = BTreeMap::from([
            guest(Role::Fix, &[read, write], 0, FIX),
            guest(Role::Rollback, &[read, write], 1, ROLLBACK),
            guest(Role::Check, &[read], 2, &check(&place.folder)),
        ]);
        let bundle = place.state.path("hostile");
        Bundle::write(&bundle, MANIFEST.as_bytes(), &steps).expect("written");
        Self { place, bundle }
    }

    /// What was rehearsed and approved in a good mood, about to be run in this one.
    fn approved(&self, mood: &str) -> String {
        let proposed = self.place.proposing(&self.bundle).ran().expect(0).json();
        let proposal = name(&proposed);
        self.place.approve(&proposal);
        self.place.put("mood", mood);
        proposal
    }

    /// Its run, and whether every file is as before it.
    fn run(&self, mood: &str) -> (Ran, bool) {
        let proposal = self.approved(mood);
        let before = self.place.standing();
        let ran = self.place.run(&proposal);
        let same = self.place.standing() == before;
        (ran, same)
    }
}

#[track_caller]
fn ended(mood: &str, code: i32) -> Value {
    let hostile = Hostile::new();
    let (ran, same) = hostile.run(mood);
    let ran = ran.expect(code);
    assert!(same, "{}", ran.stdout);
    let folder = hostile.place.folder.display().to_string();
    serde_json::from_str(&ran.stdout.replace(&folder, "FOLDER")).expect("JSON")
}

#[track_caller]
fn rolled_back(mood: &str, reason: &str) {
    let report = ended(mood, 4);
    assert_eq!((report["outcome"].as_str(), report["reason"].as_str()), (Some("rolled-back"), Some(reason)));
    assert_eq!(report["left"], serde_json::json!([]));
}

#[track_caller]
fn incomplete(mood: &str, left: &str) {
    let report = ended(mood, 5);
    assert_eq!(report["outcome"], "rollback-incomplete");
    assert_eq!(report["left"], serde_json::json!([left]), "{report:#}");
}

#[test]
fn a_good_one_is_committed() {
    let hostile = Hostile::new();
    let (ran, _) = hostile.run(GOOD);
    assert_eq!(ran.expect(0).json()["outcome"], "committed");
    assert_eq!((hostile.place.text("a"), hostile.place.text("b")), ("fixed\n".to_owned(), "fixed\n".to_owned()));
}

#[test]
fn a_trap_before_between_and_after_the_changes() {
    rolled_back("0gg", TRAPPED);
    rolled_back("1gg", TRAPPED);
    rolled_back("2gg", TRAPPED);
}

#[test]
fn calls_without_end_after_a_change() {
    rolled_back("hgg", "`files.read FOLDER/mood` was denied: a step may make 10000 calls at most");
}

#[test]
fn a_change_in_another_place_than_was_rehearsed() {
    rolled_back(
        "cgg",
        "deviation: change 2 is `replace `FOLDER/c` (8 bytes become 6)` where the approved plan has \
         `replace `FOLDER/b` (11 bytes become 6)`",
    );
}

#[test]
fn a_flood_of_terminal_escapes_between_two_changes() {
    let (ran, same) = Hostile::new().run("fgg");
    let ran = ran.expect(4);
    assert!(same);
    assert_eq!(ran.json()["reason"], TRAPPED);
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!ran.stderr.contains(control) && !ran.stdout.contains(control), "{:?}", ran.stderr);
    assert!(ran.stderr.len() < 1 << 20, "{} bytes", ran.stderr.len());
}

#[test]
fn a_check_that_traps_or_changes_its_mind() {
    // How often it was asked is a matter of how fast the machine is.
    for (mood, says) in [
        (
            "ggt",
            "the check says cannot tell: the check failed: the step trapped: wasm `unreachable` instruction executed (asked ",
        ),
        ("ggb", "the check says unhealthy: fixed (asked "),
    ] {
        let report = ended(mood, 4);
        assert_eq!((report["outcome"].as_str(), &report["left"]), (Some("rolled-back"), &serde_json::json!([])));
        assert!(report["reason"].as_str().is_some_and(|reason| reason.starts_with(says)), "{report:#}");
    }
}

/// The host's undo does not need it: every file is as before. That it failed is for a person to know.
#[test]
fn a_rollback_step_that_traps_or_goes_on_without_end() {
    incomplete("1tg", "the rollback step failed: the step trapped: wasm `unreachable` instruction executed");
    incomplete(
        "1hg",
        "the rollback step failed: denied: `files.read FOLDER/mood`: a step may make 10000 calls at most",
    );
    // Whichever ends first on this machine; `steps.rs` has each by itself.
    let report = ended("1lg", 5);
    let bounds = ["used up its fuel of 20000000000 instructions", "did not end within 60000 ms"];
    let left = bounds.map(|bound| serde_json::json!([format!("the rollback step failed: the step {bound}")]));
    assert!(left.contains(&report["left"]) && report["outcome"] == "rollback-incomplete", "{report:#}");
}

#[test]
fn a_rollback_step_that_changes_something_else() {
    incomplete(
        "1cg",
        "the rollback step failed: deviation: the rollback step's `replace `FOLDER/c` (8 bytes become 6)` was not rehearsed, \
         or not so often, and restores no before-image",
    );
}

/// One that only computes hears of nothing: the kernel ends it with its runner.
#[test]
fn a_step_ends_with_its_runner() {
    let hostile = Hostile::new();
    let proposal = hostile.approved("lgg");
    let before = hostile.place.standing();
    let mut command = hostile.place.command(&["run", &proposal]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    eventually("the first change", || (hostile.place.text("a") == "fixed\n").then_some(()));
    let workers = workers_of(run.id());
    eventually("the loop", || workers.iter().any(|worker| ticks(worker) > 20).then_some(()));
    run.kill().expect("it runs");
    run.wait().expect("it ended");
    for worker in workers {
        eventually("the end of a worker", || {
            // Long before its fuel would end it.
            assert!(ticks(&worker) < 400, "it goes on without its runner");
            (!worker.exists()).then_some(())
        });
    }
    hostile.place.command(&["recover"]).ran().expect(0).shows("rolled-back");
    assert_eq!(hostile.place.standing(), before);
}

/// The workers that a process started, as places in /proc.
fn workers_of(process: u32) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children: Vec<String> = children.collect();
    children
        .iter()
        .flat_map(|children| children.split_whitespace())
        .map(|child| Path::new("/proc").join(child))
        .collect()
}

/// The processor time that a process has taken for itself, in hundredths of a second; of one that is gone, none.
fn ticks(process: &Path) -> u64 {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let user = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(11)?.parse().ok());
    user.unwrap_or_default()
}
