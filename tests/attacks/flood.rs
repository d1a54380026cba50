//! An agent that proposes more than anybody can look at.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::place::{Place, name, two_faced};
use crate::support::{Ran, Runs};

const HOUR: u64 = 3_600_000;

fn propose(place: &Place, key: &str, at: u64) -> Ran {
    let mut command = place.command(&["--json", "propose", "--target=place", "--hypothesis", "again", "--key"]);
    command.arg(place.state.path(key)).arg(two_faced()).arg(place.argument());
    command.env("COUNTERSIGN_TEST_NOW", at.to_string()).ran()
}

#[test]
fn an_agent_that_floods_is_slowed_down_and_nobody_else() {
    let place = Place::new();
    place.state.keygen("stranger");
    place.state.policy(|policy| format!("{policy}\n[proposals]\nper-hour = 5\n"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now = u64::try_from(now).expect("before the end");
    for _ in 0..5 {
        propose(&place, "agent", now).expect(0);
    }
    for _ in 0..3 {
        propose(&place, "agent", now).expect(3).says("may make no more").says("nothing changed");
    }
    // What it revises, and another key that is nobody's, help it no more than patience.
    let pending =
        place.command(&["--json", "pending"]).env("COUNTERSIGN_TEST_NOW", now.to_string()).ran().expect(0).json();
    let first = pending["pending"][0]["proposal"].as_str().expect("a proposal").to_owned();
    let mut revise = place.command(&["propose", "--revise", &first, "--key"]);
    revise.arg(place.state.path("agent")).env("COUNTERSIGN_TEST_NOW", now.to_string());
    revise.ran().expect(3).says("may make no more");
    // Others propose, approve and run as ever.
    let theirs = name(&propose(&place, "second", now).expect(0).json());
    let at = |command: &mut std::process::Command| command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran();
    at(&mut place.approving(&theirs)).expect(0);
    at(&mut place.command(&["run", &theirs])).expect(0);
    // An hour later it is heard again.
    for file in ["a", "b"] {
        place.put(file, "broken once more\n");
    }
    propose(&place, "agent", now + HOUR + 1000).expect(0);
}

/// What is kept of ten thousand proposals of one agent, as if it had had the time.
#[test]
fn ten_thousand_of_one_agent_hide_nobody_elses() {
    let place = Place::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now = u64::try_from(now).expect("before the end");
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO proposals (digest, bundle, proposer, created, expires, document, signature)
         SELECT printf('sha256:%064d', i), printf('sha256:%064d', 0), 'agent', {now} - 10000 + i, {now} + 90000000, x'7b7d', ''
         FROM n"
    );
    crate::signed::database(&place.state).execute(&sql, []).expect("proposals");
    propose(&place, "agent", now).expect(3).says("may make no more");
    let theirs = name(&propose(&place, "second", now).expect(0).json());
    let at = |command: &mut std::process::Command| command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran();
    let listed = at(&mut place.command(&["--json", "pending"])).expect(0).says("9001 later ones are left off").json();
    let all = listed["pending"].as_array().expect("a list");
    let waits: Vec<_> = all.iter().filter(|proposal| proposal["proposal"] == theirs.as_str()).collect();
    assert_eq!((all.len(), waits.len()), (1000, 1), "the other agent's is among those that are looked at");
    at(&mut place.approving(&theirs)).expect(0);
    at(&mut place.command(&["run", &theirs])).expect(0);
}
