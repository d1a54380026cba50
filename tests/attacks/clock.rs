//! A clock that is set back, by whoever removes what notes the time as well.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::place::{Place, name, two_faced};
use crate::support::{Ran, Runs};

const HOUR: u64 = 3_600_000;

fn at(now: u64, command: &mut Command) -> Ran {
    command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the end")
}

fn forget(place: &Place) {
    fs::remove_file(place.state.path("state/latest-time")).expect("it was noted");
}

/// The log's last entry was signed: whoever sets the clock behind it, so that an approval that expired is good again, decides nothing.
#[test]
fn behind_the_logs_last_entry() {
    let place = Place::new();
    let (begun, before) = (now(), place.standing());
    let proposal = name(&at(begun, &mut place.proposing(two_faced())).expect(0).json());
    at(begun, &mut place.approving(&proposal)).expect(0);
    at(begun + 2 * HOUR, &mut place.command(&["run", &proposal])).expect(3).says("the approval expired");
    forget(&place);
    for verb in [vec!["run", &proposal], vec!["run", &proposal, "--wait"]] {
        at(begun + HOUR / 2, &mut place.command(&verb)).expect(3).says("the clock says").says("this state has seen");
    }
    at(begun + HOUR / 2, &mut place.approving(&proposal)).expect(3).says("the clock says");
    at(begun + HOUR / 2, &mut place.proposing(two_faced())).expect(3).says("the clock says");
    assert_eq!(place.standing(), before, "nothing changed");
}

/// Nor is any time believed from before the trust policy in force was issued.
#[test]
fn behind_the_trust_policy() {
    let place = Place::new();
    let (begun, before) = (now(), place.standing());
    let proposal = name(&at(begun, &mut place.proposing(two_faced())).expect(0).json());
    at(begun, &mut place.approving(&proposal)).expect(0);
    let issued = countersign_trust::moment(begun + 3 * HOUR);
    place.state.policy(|policy| {
        let line = |line: &str| match line.split_once(" = ") {
            Some(("issued", _)) => format!("issued = \"{issued}\""),
            _ => line.to_owned(),
        };
        policy.lines().map(|text| line(text) + "\n").collect()
    });
    at(begun, &mut place.command(&["run", &proposal])).expect(1).says("it was issued at");
    at(begun + 4 * HOUR, &mut place.command(&["pending"])).expect(0);
    forget(&place);
    at(begun + HOUR / 2, &mut place.command(&["run", &proposal])).expect(3).says("the clock says");
    assert_eq!(place.standing(), before, "nothing changed");
}
