//! Whatever fails, the target ends as it was or as approved: the runner is killed at every system call of a run that
//! changes something, and what is left is recovered.
//!
//! `make test` tries some of the points, `make test-faults` every one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it found"
)]

mod forgetful;
mod made;
mod place;
mod power;
mod strace;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use forgetful::{LEFT, Left, restore};
use place::Place;
use strace::{Fault, MUTATING, Point, inject, points, short_writes, story};
use support::{Runs as _, State};
use tree::Tree;

/// How many points of each call are tried, unless all are.
const SOME: usize = 3;

/// Whether every point is tried.
fn all() -> bool {
    std::env::var_os("COUNTERSIGN_ALL_FAULTS").is_some()
}

/// The points that are tried: all, or the first, the last and those between, evenly.
fn tried<T: Clone>(points: &[T]) -> Vec<T> {
    if all() || points.len() <= SOME {
        return points.to_vec();
    }
    (0..SOME).map(|step| points[step * (points.len() - 1) / (SOME - 1)].clone()).collect()
}

/// Recovers, and insists on an honest end; gives it.
fn recovered(place: &Place, point: &str, before: &Tree, after: &Tree) -> String {
    let recovered = place.recover();
    assert!([0, 5].contains(&recovered.code), "{point}: {}{}", recovered.stdout, recovered.stderr);
    let (end, tree) = (place.end(), place.tree());
    match end.as_str() {
        // It died before the journal was open, or it was put back.
        "none" | "refused" | "rolled-back" | "in-doubt" | "rollback-incomplete" => {
            assert_eq!(&tree, before, "{point}: {end}: {}", recovered.stderr)
        }
        // It died after the outcome was recorded.
        "committed" => assert_eq!(&tree, after, "{point}"),
        other => panic!("{point}: {other}: {}{}", recovered.stdout, recovered.stderr),
    }
    assert!(end == "in-doubt" || recovered.code == 0, "{point}: {end}: {}", recovered.stdout);
    // Once more finds nothing to do.
    place.recover().expect(0).shows("\"runs\":[]");
    end
}

/// Kills the runner at the points of a run that ends with this exit code, and recovers. Gives how many ended how.
fn killed_in_a_run(place: &Place, code: i32) -> BTreeMap<String, u32> {
    let before = place.tree();
    let run = place.run();
    let (points, ran) = points(&run, MUTATING, &place.scratch("strace.log"));
    ran.expect(code);
    let after = place.tree();
    assert_eq!(before == after, code == 4);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (call, points) in points {
        for nth in tried(&points) {
            place.again();
            let point = format!("{call} {nth}");
            place.kill(&run, &call, &nth);
            let end = recovered(place, &point, &before, &after);
            assert_ne!(end, "rollback-incomplete", "{point}");
            *ends.entry(end).or_default() += 1;
        }
    }
    ends
}

/// Kills the runner at one point of a run, and recovery at its points; recovers again. Gives how many ended how.
fn killed_in_recovery(place: &Place, call: &str, nth: &Point) -> BTreeMap<String, u32> {
    place.again();
    let before = place.tree();
    let (run, recovery) = (place.run(), place.recovery());
    place.kill(&run, call, nth);
    let (points, ran) = points(&recovery, MUTATING, &place.scratch("strace.log"));
    ran.expect(0);
    assert_eq!(place.tree(), before);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (second, points) in points {
        for again in tried(&points) {
            place.again();
            place.kill(&run, call, nth);
            let point = format!("{call} {nth}, then {second} {again} of the recovery");
            place.kill(&recovery, &second, &again);
            *ends.entry(recovered(place, &point, &before, &before)).or_default() += 1;
        }
    }
    ends
}

/// A write that writes nothing, and is no error.
const NOTHING: &str = "nothing written";

/// The calls that write, each with the errors that a disk answers.
const FAILING: &[(&str, &[&str])] = &[
    ("write", &["ENOSPC", "EIO", "EINTR", NOTHING]),
    ("pwrite64", &["ENOSPC", "EIO", "EINTR", NOTHING]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO", "EINTR"]),
    ("fallocate", &["ENOSPC", "EIO"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("renameat", &["EIO", "ENOSPC"]),
    ("renameat2", &["EIO", "ENOSPC"]),
    ("open", &["ENOSPC", "EIO"]),
    ("openat", &["ENOSPC", "EIO"]),
    ("unlink", &["EIO"]),
    ("unlinkat", &["EIO"]),
];

/// Fails the calls of a run, one at a time, and insists that it says how it ended, and that the target is so. Gives how
/// many ended how.
fn failing_in_a_run(place: &Place) -> BTreeMap<String, u32> {
    place.again();
    let before = place.tree();
    let run = place.run();
    let calls: Vec<_> = FAILING.iter().map(|(call, _)| *call).collect();
    let (points, ran) = points(&run, &calls, &place.scratch("strace.log"));
    ran.expect(0);
    let after = place.tree();
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (call, errors) in FAILING {
        for nth in tried(points.get(*call).map(Vec::as_slice).unwrap_or_default()) {
            for error in *errors {
                place.again();
                let point = format!("{call} {nth} fails with {error}");
                let fault = if *error == NOTHING { Fault::Nothing } else { Fault::Error(error) };
                let ran = inject(&run, call, &nth, fault);
                let said = format!("{point}: exit {}: {}{}", ran.code, ran.stdout, ran.stderr);
                // What it said itself is true, before anybody recovers anything.
                let mut tree = place.tree();
                if ran.stdout.contains("left behind on the target") {
                    tree.retain(|name, _| !name.to_string_lossy().starts_with(".countersign-"));
                }
                match ran.code {
                    0 => assert!(tree == after, "{said}"),
                    1 | 3 | 4 => assert!(tree == before, "{said}"),
                    5 => {}
                    _ => panic!("{said}"),
                }
                let end = recovered(place, &said, &before, &after);
                // Its files are as before, and what was not done is named: the journal took no more intents. Where the disk is
                // only full, it does, by what was set aside for it.
                let incomplete = end == "rollback-incomplete";
                let full = ["ENOSPC", NOTHING].contains(error) && !call.ends_with("sync");
                assert!(!full || !(incomplete || end == "in-doubt"), "{said}: recovered as {end}");
                assert!(
                    !incomplete || (ran.code == 5 && ran.stdout.contains("did not do what was rehearsed")),
                    "{said}"
                );
                assert!(ran.code != 0 || end == "committed", "{said}: recovered as {end}");
                assert!(ran.code != 4 || end == "rolled-back", "{said}: recovered as {end}");
                *ends.entry(end).or_default() += 1;
            }
        }
    }
    ends
}

#[test]
fn five_changes_fail_at_every_call_that_writes() {
    let ends = failing_in_a_run(&Place::settings());
    table::row("a failing call in a run of five changes", &ends);
    assert!(ends["rolled-back"] > 0 && ends["none"] > 0, "{ends:?}");
}

/// Each sync of the target's files and folders, from the first change to what is let go after the last.
#[test]
fn a_sync_of_the_target_that_fails_is_never_success() {
    let place = Place::settings();
    place.again();
    let (before, target) = (place.tree(), place.root().join("target"));
    let run = place.run();
    let (story, ran) = story(&run, &["fsync", "unlinkat"], &place.scratch("strace.log"));
    ran.expect(0);
    let after = place.tree();
    let (mut nth, mut points) = (0, Vec::new());
    for line in &story {
        let of_target = forgetful::path_of(line).starts_with(&target);
        match line.split('(').next() {
            Some("unlinkat") if of_target => break,
            Some("fsync") => nth += 1,
            _ => continue,
        }
        if of_target {
            points.push(Point::nth(nth));
        }
    }
    assert!(points.len() > 5, "{points:?}");
    for point in tried(&points) {
        place.again();
        let ran = inject(&run, "fsync", &point, Fault::Error("EIO"));
        let said = format!("sync {point} of the target fails: exit {}: {}{}", ran.code, ran.stdout, ran.stderr);
        assert_eq!(ran.code, 4, "{said}");
        assert!(place.tree() == before, "{said}");
        assert_eq!(recovered(&place, &said, &before, &after), "rolled-back");
    }
}

#[test]
fn the_demos_fix_fails_at_every_call_that_writes() {
    let ends = failing_in_a_run(&Place::demo());
    table::row("a failing call in the demo's run", &ends);
    assert!(ends["rolled-back"] > 0 && ends["none"] > 0, "{ends:?}");
}

/// Room for so many pages more once the first change is made: each number cuts another write short, as disks do.
#[test]
fn the_demos_fix_is_cut_short_by_a_disk_that_fills_up() {
    let Some(place) = Place::small() else { return };
    let before = place.tree();
    place.leave(None);
    place.run().ran().expect(0);
    let after = place.tree();
    let (mut short, mut ends) = (0, BTreeMap::<String, u32>::new());
    // What is cut short is cut near the beginning: the fewer are tried, the closer they stand there.
    let pages = if all() { (0..=48).collect() } else { vec![0, 1, 3, 6, 12, 48] };
    for pages in pages {
        place.again();
        place.leave(Some(pages));
        let (cut, ran) = short_writes(&place.run(), &place.scratch("strace.log"));
        let point = format!("room for {pages} pages: exit {}: {}{}", ran.code, ran.stdout, ran.stderr);
        short += cut;
        match ran.code {
            0 => assert!(place.tree() == after, "{point}"),
            4 => assert!(place.tree() == before, "{point}"),
            _ => panic!("{point}"),
        }
        let end = recovered(&place, &point, &before, &after);
        assert_eq!(end, if ran.code == 0 { "committed" } else { "rolled-back" }, "{point}");
        *ends.entry(end).or_default() += 1;
    }
    table::row("a disk that fills up in the demo's run", &ends);
    assert!(short > 0 && ends["rolled-back"] > 0 && ends["committed"] > 0, "{short} {ends:?}");
}

#[test]
fn the_demos_fix_is_killed_at_every_call_that_changes_something() {
    let ends = killed_in_a_run(&Place::demo(), 0);
    table::row("killed in the demo's run", &ends);
    assert!(ends["rolled-back"] > 0 && ends["committed"] > 0 && ends["none"] > 0, "{ends:?}");
    // Of a signal nobody can tell, once it was about to be sent.
    assert!(ends.get("in-doubt").is_none_or(|count| *count <= 6), "{ends:?}");
}

#[test]
fn five_changes_are_killed_at_every_call_that_changes_something() {
    let ends = killed_in_a_run(&Place::settings(), 0);
    table::row("killed in a run of five changes", &ends);
    assert!(ends["rolled-back"] > 0 && ends["committed"] > 0 && ends["none"] > 0, "{ends:?}");
    assert_eq!(ends.get("in-doubt"), None);
}

/// A simulated disk under the whole runner: whatever of what was not synced is left where its power is cut, be it nothing, names
/// without bytes, bytes without names or half of both.
fn forgotten_in_a_run(place: &Place, code: i32) -> BTreeMap<String, u32> {
    place.again();
    let before = place.tree();
    // What is only for the test is not on that disk.
    let aside = tempfile::tempdir().expect("a temporary directory");
    let mut disk = forgetful::Disk::of(&place.root());
    let (story, ran) = story(&place.run(), forgetful::CALLS, &aside.path().join("strace.log"));
    ran.expect(code);
    let after = place.tree();
    let standing = disk.left(Left::Nothing);
    let (mut cuts, mut seen) = (LEFT.map(|_| Vec::new()), HashSet::new());
    for (at, line) in story.iter().enumerate() {
        if !disk.replay(line) {
            continue;
        }
        for (cuts, left) in cuts.iter_mut().zip(LEFT) {
            let leftover = disk.left(left);
            let differs: BTreeMap<_, _> =
                leftover.iter().filter(|(path, content)| standing.get(*path) != Some(content)).collect();
            let gone: Vec<_> = standing.keys().filter(|path| !leftover.contains_key(*path)).collect();
            let mut hasher = DefaultHasher::new();
            (differs, gone).hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                cuts.push((at, left, leftover));
            }
        }
    }
    // It knows all that the runner did.
    let (found, known) = (forgetful::Disk::of(&place.root()).left(Left::All), disk.left(Left::All));
    let other: Vec<_> = found.keys().chain(known.keys()).filter(|path| found.get(*path) != known.get(*path)).collect();
    assert!(
        other.is_empty(),
        "{:?}",
        other.iter().map(|path| (path, found.get(*path), known.get(*path))).collect::<Vec<_>>()
    );
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for cuts in cuts {
        // What was synced makes few of them, and each is a promise.
        let each = cuts.first().is_some_and(|(_, left, _)| matches!(left, Left::Nothing));
        for (at, left, leftover) in if each { cuts } else { tried(&cuts) } {
            place.again();
            restore(&standing, &leftover);
            let call = story[at].split('(').next().unwrap_or_default();
            let end = recovered(place, &format!("after {call}, call {at}: {left:?}"), &before, &after);
            *ends.entry(end).or_default() += 1;
        }
    }
    // Once it has ended, whatever is left of the rest, it has ended so.
    for left in LEFT {
        place.again();
        restore(&standing, &disk.left(left));
        let end = recovered(place, &format!("after the run: {left:?}"), &before, &after);
        assert_eq!(end, if code == 0 { "committed" } else { "rolled-back" }, "{left:?}");
    }
    ends
}

#[test]
fn five_changes_survive_a_disk_that_forgets() {
    let ends = forgotten_in_a_run(&Place::settings(), 0);
    table::row("a disk that forgets, in a run of five changes", &ends);
    assert!(ends["rolled-back"] > 0 && ends.contains_key("none") && ends.len() <= 3, "{ends:?}");
}

#[test]
fn what_is_put_back_survives_a_disk_that_forgets() {
    let ends = forgotten_in_a_run(&Place::refused(), 4);
    table::row("a disk that forgets, in a run that rolls back", &ends);
    assert!(ends["rolled-back"] > 0 && ends.contains_key("none") && ends.len() <= 2, "{ends:?}");
}

/// Kills the runner at a point and cuts the power of the disk that state and target are on: what was synced is there, and what
/// was not is not.
#[test]
fn five_changes_survive_the_loss_of_power() {
    let Some(disk) = power::Disk::new() else { return };
    let place = Place::settings_in(State::below(disk.root()), "");
    let before = place.tree();
    disk.save();
    let run = place.run();
    let (points, ran) = points(&run, MUTATING, &disk.beside("strace.log"));
    ran.expect(0);
    let after = place.tree();
    disk.cut();
    assert_eq!(recovered(&place, "after the run", &before, &after), "committed");
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (call, points) in points {
        if !all() && !["fsync", "renameat2", "pwrite64"].contains(&call.as_str()) {
            continue;
        }
        for nth in tried(&points) {
            disk.again();
            place.kill(&run, &call, &nth);
            disk.cut();
            let end = recovered(&place, &format!("power lost at {call} {nth}"), &before, &after);
            *ends.entry(end).or_default() += 1;
        }
    }
    table::row("power lost in a run of five changes", &ends);
    assert!(ends["rolled-back"] > 0 && ends.contains_key("none") && ends.len() <= 3, "{ends:?}");
}

/// Nothing but what was signed is made of a run that is killed before it waits for its confirmation, while it waits, or
/// between the decision and its commit.
#[test]
fn a_waiting_run_is_killed_at_every_call_that_changes_something() {
    let ends = killed_in_a_run(&Place::confirming("1s", "keep"), 0);
    table::row("killed in a run that waits, which silence keeps", &ends);
    assert!(ends["rolled-back"] > 0 && ends["committed"] > 0 && ends["none"] > 0, "{ends:?}");
    assert_eq!(ends.get("in-doubt"), None);
}

/// A word that was not kept was not said, and then silence rolls back; one that was kept commits, whatever dies in between.
#[test]
fn a_confirmation_is_killed_at_every_call_that_changes_something() {
    let place = Place::confirming("30m", "roll-back");
    let before = place.tree();
    let (points, ran) = points(&place.confirmation(), MUTATING, &place.scratch("strace.log"));
    ran.expect(0);
    let after = place.tree();
    assert_ne!(before, after);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (call, points) in points {
        for nth in tried(&points) {
            place.again();
            let point = format!("{call} {nth} of the confirmation");
            place.kill(&place.confirmation(), &call, &nth);
            *ends.entry(recovered(&place, &point, &before, &after)).or_default() += 1;
        }
    }
    table::row("killed in the confirmation of a run whose process is gone", &ends);
    assert!(ends["rolled-back"] > 0 && ends["committed"] > 0, "{ends:?}");
    assert_eq!(ends.len(), 2, "{ends:?}");
}

/// The rollback step among them: what it was about to send may have been sent.
#[test]
fn a_rollback_is_killed_at_every_call_that_changes_something() {
    let ends = killed_in_a_run(&Place::twin(), 4);
    table::row("killed in a run that rolls back", &ends);
    assert!(ends["rolled-back"] > 0 && ends["none"] > 0, "{ends:?}");
    assert_eq!(ends.get("committed"), None);
}

/// The host's undo needs nothing of the bundle, and where the bundle has no rollback step nothing else is needed.
#[test]
fn a_run_is_recovered_without_its_bundle() {
    let place = Place::settings();
    let before = place.tree();
    place.kill(&place.run(), "renameat2", &Point::nth(3));
    std::fs::rename(place.scratch("state/bundles"), place.scratch("hidden")).expect("it can be moved");
    std::fs::create_dir(place.scratch("state/bundles")).expect("a folder");
    place.recover().expect(0).shows("\"outcome\":\"rolled-back\"");
    assert_eq!(place.tree(), before);
}

#[test]
fn recovery_is_killed_at_every_call_that_changes_something() {
    let place = Place::settings();
    // After the second change to one file, and before the last.
    let ends = killed_in_recovery(&place, "renameat2", &Point::nth(3));
    table::row("killed in recovery, five changes", &ends);
    assert_eq!(ends.keys().collect::<Vec<_>>(), ["rolled-back"]);
    // Before the signal of the demo's fix.
    let ends = killed_in_recovery(&Place::demo(), "renameat2", &Point::nth(1));
    table::row("killed in recovery, the demo's fix", &ends);
    assert!(ends["rolled-back"] > 0, "{ends:?}");
}

/// What somebody wrote is there, or what was before the run; and until that is recorded, all that was kept.
#[test]
fn a_resolution_is_killed_at_every_call_that_changes_something() {
    let place = Place::edited();
    let before = place.tree();
    let resolution = place.resolution();
    let (points, ran) = points(&resolution, MUTATING, &place.scratch("strace.log"));
    ran.expect(0);
    let after = place.tree();
    assert!(before != after && place.open() == 0);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (call, points) in points {
        for nth in tried(&points) {
            place.again();
            let point = format!("{call} {nth}");
            place.kill(&resolution, &call, &nth);
            let recovered = place.recover().expect(0);
            let end = if place.open() == 0 { "rolled-back" } else { "rollback-incomplete" };
            let expected = if place.open() == 0 { &after } else { &before };
            assert_eq!(&place.tree(), expected, "{point}: {end}: {}{}", recovered.stdout, recovered.stderr);
            place.recover().expect(0).shows("\"resolutions\":[]");
            // What stayed open is resolved as if nothing had been.
            if place.open() > 0 {
                place.resolution().ran().expect(0);
                assert_eq!(place.tree(), after, "{point}");
            }
            *ends.entry(end.to_owned()).or_default() += 1;
        }
    }
    table::row("killed in a resolution that restores", &ends);
    assert!(ends["rolled-back"] > 0 && ends["rollback-incomplete"] > 0, "{ends:?}");
}

/// The calls of a resolution fail, one at a time: it says what came of it, and that is so.
#[test]
fn a_resolution_fails_at_every_call_that_writes() {
    let place = Place::edited();
    let before = place.tree();
    let resolution = place.resolution();
    let calls: Vec<_> = FAILING.iter().map(|(call, _)| *call).collect();
    let (points, ran) = points(&resolution, &calls, &place.scratch("strace.log"));
    ran.expect(0);
    let after = place.tree();
    for (call, errors) in FAILING {
        for nth in tried(points.get(*call).map(Vec::as_slice).unwrap_or_default()) {
            for error in *errors {
                place.again();
                let point = format!("{call} {nth} fails with {error}");
                let fault = if *error == NOTHING { Fault::Nothing } else { Fault::Error(error) };
                let ran = inject(&resolution, call, &nth, fault);
                let said = format!("{point}: exit {}: {}{}", ran.code, ran.stdout, ran.stderr);
                let mut tree = place.tree();
                if ran.code == 0 {
                    tree.retain(|name, _| !name.to_string_lossy().starts_with(".countersign-"));
                }
                match ran.code {
                    0 => assert!(tree == after, "{said}"),
                    3 => assert!(tree == before, "{said}"),
                    1 | 5 => {}
                    _ => panic!("{said}"),
                }
                place.recover().expect(0);
                let expected = if place.open() == 0 { &after } else { &before };
                assert!(&place.tree() == expected, "{said}");
            }
        }
    }
}
