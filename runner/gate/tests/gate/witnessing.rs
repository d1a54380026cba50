//! Record: every read and every change is witnessed before the guest gets the reply.

use countersign_capability::{LogLine, Port};
use countersign_model::{FaultKind, Role};

use crate::support::{ALL, Host, Run, Trouble, get, put, ring};

#[test]
fn every_read_is_witnessed_and_what_was_denied_was_not_performed() {
    let host = Host::with(&[("a", "1"), ("secret", "2")]);
    host.attic.set("x", "9");
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, &["shelf.read a", "shelf.read nothing", "shelf.write a", "attic.read *"]);
    bench.value(get("shelf", "a"));
    bench.fault(get("shelf", "nothing"));
    bench.denial(get("shelf", "secret"));
    bench.value(put("shelf", "a", "3"));
    bench.begin(Role::Check, ALL);
    bench.value(get("shelf", "a"));
    bench.fault(get("attic", "x"));
    let read =
        |role, call: &str, reply: Result<&str, FaultKind>| (Some(role), call.to_owned(), reply.map(str::to_owned));
    assert_eq!(
        bench.seen().reads,
        [
            read(Role::Fix, "shelf.get a", Ok("1")),
            read(Role::Fix, "shelf.get nothing", Err(FaultKind::NotFound)),
            read(Role::Check, "shelf.get a", Ok("3")),
            read(Role::Check, "attic.get x", Err(FaultKind::Unknowable)),
        ]
    );
    assert_eq!(host.shelf.asked(), ["read a", "read nothing", "prepare a", "rehearse a", "read a"]);
    assert_eq!(host.attic.asked(), [""; 0]);
}

#[test]
fn a_read_that_is_not_recorded_is_refused() {
    let host = Host::with(&[("a", "1")]);
    for mut bench in [host.observing(), host.rehearsing()] {
        bench.begin(Role::Check, ALL);
        bench.seen().fails = true;
        assert_eq!(bench.stop(get("shelf", "a")), "the read was not recorded, so it is refused: the disk is full");
        // Also one that brought nothing, and whose fault tells something.
        bench.begin(Role::Check, ALL);
        bench.stop(get("shelf", "nothing"));
    }
    let mut run = Run::scoped(&host);
    run.seen().fails = true;
    run.stop(get("shelf", "a"));
    assert!(run.failure().expect("it cannot be committed").contains("the disk is full"));
}

#[test]
fn a_steps_log_goes_to_the_witness_with_its_role() {
    let host = Host::new();
    let bench = host.observing();
    let mut port = bench.port.clone();
    let mut log = |message: &str| port.log(LogLine { level: "info", message: message.to_owned() });
    log("before");
    bench.begin(Role::Check, ALL);
    log("during");
    bench.port.lock().end();
    log("after");
    let line = |role, message: &str| (role, message.to_owned());
    assert_eq!(bench.seen().lines, [line(None, "before"), line(Some(Role::Check), "during"), line(None, "after")]);
}

/// A guest that a stop has trapped may still have a line that it had begun.
#[test]
fn what_a_stopped_step_says_last_is_its_own() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::scoped(&host);
    run.begin(Role::Fix, &["shelf.read b"]);
    run.stop(get("shelf", "a"));
    run.port.clone().log(LogLine { level: "warn", message: "it went wrong".to_owned() });
    assert_eq!(run.seen().lines, [(Some(Role::Fix), "it went wrong".to_owned())]);
}

#[test]
fn what_was_or_may_have_been_changed_is_told_once_and_at_once() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let mut run = Run::scoped(&host);
    run.value(put("shelf", "a", "2"));
    assert_eq!(run.seen().changed, ["put `a`"]);
    run.value(ring("shelf", "bell", 1));
    assert_eq!(run.seen().changed, ["put `a`", "ring `bell`"]);
    host.shelf.lock().trouble = Some(Trouble::Unsure);
    run.stop(put("shelf", "a", "3"));
    assert_eq!(run.seen().changed, ["put `a`", "ring `bell`", "put `a`"]);
    let mut run = Run::scoped(&host);
    host.shelf.lock().trouble = Some(Trouble::Missed);
    run.stop(put("shelf", "a", "3"));
    assert_eq!(run.seen().changed, [""; 0]);
}
