//! A clock that jumps.

use std::process::Command;

use crate::row::{NOON, Row, at_noon};
use crate::support::place::{Place, name, two_faced};
use crate::support::{Ran, Runs};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn at(now: u64, command: &mut Command) -> Ran {
    command.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran()
}

fn approved(place: &Place) -> String {
    let proposal = name(&at(NOON, &mut place.proposing(two_faced())).expect(0).json());
    at(NOON, &mut place.approving(&proposal)).expect(0);
    proposal
}

#[test]
fn set_back_an_expired_approval_does_not_revive() {
    let place = at_noon();
    let proposal = approved(&place);
    let (before, run) = (place.standing(), || place.command(&["run", &proposal]));
    at(NOON + HOUR + 10_000, &mut run()).row(3, "the approval expired");
    // Back into the approval's hour: by an hour, and by so little that it might be set right.
    at(NOON + 5_000, &mut run())
        .row(3, "the clock says 2033-05-18T03:33:25Z, and this state has seen 2033-05-18T04:33:30Z")
        .says("latest-time")
        .says("nothing changed");
    at(NOON + HOUR - 20_000, &mut run()).row(3, "the approval expired");
    // Nor is anything approved or proposed by such a clock.
    at(NOON, &mut place.approving(&proposal)).row(3, "the clock says");
    at(NOON, &mut place.proposing(two_faced())).row(3, "the clock says");
    assert_eq!(place.standing(), before);
    // Looking is not refused.
    at(NOON, &mut place.command(&["runs"])).expect(0);
    // Nor does whoever removes the note of it gain anything: the refusal stands in the log, and time never goes below that.
    std::fs::remove_file(place.state.path("state/latest-time")).expect("it can be removed");
    at(NOON + HOUR / 2, &mut run()).row(3, "this state has seen 2033-05-18T04:33:30Z").says("audit log");
    assert_eq!(place.standing(), before);
}

/// What any command saw counts, not only what was refused.
#[test]
fn set_back_after_a_command_that_only_looks() {
    let place = at_noon();
    let proposal = approved(&place);
    at(NOON + 2 * HOUR, &mut place.command(&["pending"])).expect(0);
    at(NOON + MINUTE, &mut place.command(&["run", &proposal])).row(3, "the clock says");
    // That refusal is dated by the log, which saw nothing later: an operator whose clock was ahead can begin anew.
    std::fs::remove_file(place.state.path("state/latest-time")).expect("it can be removed");
    at(NOON + MINUTE, &mut place.command(&["run", &proposal])).expect(0);
}

#[test]
fn set_forward_approvals_expire_and_nothing_else_breaks() {
    let place = at_noon();
    let proposal = approved(&place);
    at(NOON + 20 * 365 * 24 * HOUR, &mut place.command(&["run", &proposal])).row(3, "expired");
    at(u64::MAX, &mut place.command(&["run", &proposal])).row(3, "expired");
    at(u64::MAX, &mut place.command(&["pending"])).expect(0);
}

/// Steps and schedules count by a clock that does not jump, and so does not stand still either.
#[test]
fn that_stands_still_ends_a_check_all_the_same() {
    let place = at_noon();
    let proposal = approved(&place);
    place.put("mood", "bad");
    let before = place.standing();
    let begun = std::time::Instant::now();
    let ran = at(NOON, &mut place.command(&["run", &proposal])).expect(4);
    assert!(ran.stdout.contains("times within 1000 ms"), "{}", ran.stdout);
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(place.standing(), before);
}

#[test]
fn set_back_before_the_epoch() {
    let place = at_noon();
    // No policy is taken that was made later than it is.
    at(0, &mut place.proposing(two_faced()))
        .row(1, "it was issued at 2033-05-18T00:00:00Z, and it is 1970")
        .says("the clock");
    let proposal = approved(&place);
    at(0, &mut place.command(&["run", &proposal])).row(3, "the clock says 1970-01-01T00:00:00Z");
}
