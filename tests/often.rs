//! Who looks at targets too often waits, and nobody else does.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use support::place::{Place, two_faced};
use support::{Ran, Runs};

fn read(place: &Place, key: Option<&str>) -> std::process::Command {
    let mut command = place.command(&["--json", "read", "place"]);
    command.arg(format!("files.read {}", place.folder.join("c").display()));
    if let Some(key) = key {
        command.arg("--key").arg(place.state.path(key));
    }
    command
}

/// How many reads are recorded.
fn recorded(place: &Place) -> i64 {
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    database.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0)).expect("counted")
}

fn bundled(place: &Place, verb: &str, key: &str) -> Ran {
    let mut command = place.command(&["--json", verb, "--target=place", "--key"]);
    command.arg(place.state.path(key)).arg(two_faced()).arg(place.argument()).ran()
}

#[test]
fn who_reads_too_often_waits_and_nobody_else_does() {
    let place = Place::new();
    place.state.policy(|policy| format!("{policy}\n[investigations]\nper-hour = 2\n"));
    read(&place, Some("agent")).ran().expect(0);
    // A rehearsal is one, however much it reads.
    bundled(&place, "rehearse", "agent").expect(0);
    let before = recorded(&place);
    for refused in [read(&place, Some("agent")).ran(), bundled(&place, "rehearse", "agent")] {
        let refused =
            refused.expect(3).says("agent `agent` has begun 2 reads, investigations and rehearsals within an hour");
        refused.says("nothing was read").says("`per-hour` under `[investigations]`");
    }
    assert_eq!(recorded(&place), before, "it was refused before anything was read");
    // What is refused by the rules is not counted, and what is proposed is counted elsewhere.
    place.propose();

    // Another agent goes on, and so does whoever operates the host; and this one later.
    read(&place, Some("second")).ran().expect(0);
    read(&place, None).ran().expect(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    read(&place, Some("agent")).env("COUNTERSIGN_TEST_NOW", (now + 3_700_000).to_string()).ran().expect(0);
}

#[test]
fn keys_that_are_not_listed_are_counted_together() {
    let place = Place::new();
    place.state.policy(|policy| {
        format!("{}\n[investigations]\nper-hour = 1\n", policy.replace("who = [\"*\"]", "who = [\"*\", \"unlisted\"]"))
    });
    for key in ["stranger", "another"] {
        place.state.keygen(key);
    }
    read(&place, Some("stranger")).ran().expect(0);
    read(&place, Some("another")).ran().expect(3).says("within an hour");
}
