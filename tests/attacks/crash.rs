//! A runner that is killed once it has spent a use, so that the approval seems good again.

use std::process::Stdio;

use crate::signed::database;
use crate::support::place::Place;
use crate::support::{State, eventually};

/// The run that has begun and not ended, as soon as there is one, and how many changes it has made.
fn open_run(state: &State) -> Option<(String, u32)> {
    let sql = "SELECT id, (SELECT count(*) FROM changes WHERE run = id) FROM runs WHERE outcome IS NULL";
    database(state).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}

/// Killed between the use and the first change, again and again: the one use that there was is spent.
#[test]
fn a_use_is_spent_once_whoever_dies_after_it() {
    let place = Place::new();
    let proposal = place.approved();
    // The fix looks around for long before it changes anything.
    place.put("mood", "calls\n");
    let before = place.standing();
    let mut run = place.command(&["run", &proposal]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    eventually("the run's beginning", || open_run(&place.state));
    run.kill().expect("it can be killed");
    run.wait().expect("it ended");
    let (id, changes) = open_run(&place.state).expect("it died before its end");
    assert_eq!(changes, 0, "before its first change");
    place.put("mood", "good\n");
    let good = place.standing();
    // Before it is recovered, by the command that recovers it, and ever after.
    for _ in 0..2 {
        place.run(&proposal).expect(3).says("used up");
        assert_eq!(place.standing(), good, "nothing changed");
    }
    let ended = place.state.run(&["--json", "show", &id]).expect(0).json();
    assert_eq!(ended["outcome"], "rolled-back", "{ended}");
    assert_ne!(before, good);
    // A new approval is a new use.
    place.approve(&proposal);
    place.run(&proposal).expect(0);
}
