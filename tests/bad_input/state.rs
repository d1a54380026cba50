//! A state directory that is read-only, full, or from a newer version.

use std::path::Path;
use std::process::Command;

use crate::row::{Row, is_root};
use crate::support::place::{Place, standing};
use crate::support::{Ran, Runs};

/// Runs a script in a mount namespace of its own, if that can be had; `$1` is the state directory, `$2` the binary, the
/// rest its arguments.
fn mounted(place: &Place, script: &str, arguments: &[&str]) -> Option<Ran> {
    let possible =
        is_root() && Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !possible {
        println!("skipped: only root can mount here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(place.state.path("state")).arg(env!("CARGO_BIN_EXE_countersign"));
    command.arg("--state").arg(place.state.path("state")).args(arguments);
    Some(command.ran())
}

#[test]
fn read_only() {
    let place = Place::new();
    let proposal = place.approved();
    let before = place.standing();
    let script = "set -e; mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; shift; exec \"$@\"";
    for arguments in [&["run", &proposal][..], &["review", &proposal], &["pending"], &["runs"]] {
        let Some(ran) = mounted(&place, script, arguments) else { return };
        ran.row(1, "could not").says("must be writable");
    }
    assert_eq!(place.standing(), before);
    place.run(&proposal).expect(0);
}

/// Whatever room is left: refused before the first change, or all of it is done.
#[test]
fn full() {
    let mut committed = 0;
    for free in [0, 64, 1024, 4000, 8000] {
        let place = Place::new();
        place.state.configure("\n[images]\nreserve = \"1MiB\"\n");
        let proposal = place.approved();
        let before = place.standing();
        // A small file system in the place of the state, filled but for some KiB.
        let script = format!(
            "set -e; aside=$(mktemp -d); cp -a \"$1/.\" \"$aside\"; mount -t tmpfs -o size=48m,mode=700 tmpfs \"$1\"; \
             cp -a \"$aside/.\" \"$1\"; rm -rf \"$aside\"; head -c {free}k /dev/zero >\"$1/room\"; \
             cat /dev/zero >\"$1/full\" 2>/dev/null || true; rm \"$1/room\"; shift; \"$@\""
        );
        let Some(ran) = mounted(&place, &script, &["run", &proposal]) else { return };
        if ran.code == 0 {
            committed += 1;
            assert_eq!(place.text("a"), "fixed\n");
            continue;
        }
        // Where even the database cannot be opened, it is an error; else a refusal. Either says that room is missing.
        let code = if ran.code == 1 { 1 } else { 3 };
        let ran = ran.row(code, "room");
        assert_eq!(place.standing(), before, "{free} KiB free: {} {}", ran.stdout, ran.stderr);
    }
    assert!(committed > 0, "with room it runs");
}

#[test]
fn from_a_newer_version() {
    let place = Place::new();
    let proposal = place.approved();
    let database = place.state.path("state/countersign.db");
    let set = |version: i64| {
        let database = rusqlite::Connection::open(&database).expect("the database");
        database.pragma_update(None, "user_version", version).expect("it can be set");
        database
            .execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [version.to_string()])
            .expect("it can be set");
    };
    set(999);
    let (before, kept) = (place.standing(), kept(&place.state.path("state")));
    for arguments in [&["run", &proposal][..], &["review", &proposal], &["pending"]] {
        place
            .command(arguments)
            .ran()
            .row(1, "has format 999, and this version knows formats up to")
            .says("nothing was changed");
    }
    assert_eq!(place.standing(), before);
    assert_eq!(self::kept(&place.state.path("state")), kept, "the state is as it was");
    set(countersign_record::FORMAT);
    place.run(&proposal).expect(0);
}

/// The files of a state that a command could have changed, but for what SQLite keeps beside its database.
fn kept(state: &Path) -> Vec<String> {
    standing(state).into_keys().filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect()
}

#[test]
fn none_or_something_else() {
    let place = Place::new();
    let with = |state: &str| {
        let mut command = crate::support::countersign();
        command.args(["--state", state, "pending"]).ran()
    };
    with("/nowhere/at/all").row(1, "there is no state directory");
    with(place.folder.to_str().expect("UTF-8")).row(1, "");
    with("/dev/null").row(1, "");
    // Not made where something is.
    let mut command = crate::support::countersign();
    command.arg("--state").arg(&place.folder).args(["init", "--approver"]).arg(place.state.path("alice.pub"));
    let before = place.standing();
    command.ran().row(1, "is not empty");
    assert_eq!(place.standing(), before);
}
