//! Permit: a call is inside a grant, inside a ceiling, and inside their limits.

use std::time::Duration;

use countersign_capability::Registry;
use countersign_gate::Bounds;
use countersign_model::{Call, FaultKind, Role};

use crate::support::{ALL, Bench, Host, get, put};

#[test]
fn without_a_grant_a_call_is_denied_with_the_least_grant() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut bench = host.observing();
    // A grant of another key, of the other access and of another capability's same key is none.
    bench.begin(Role::Investigation, &["shelf.read b", "shelf.write a", "attic.read a"]);
    assert_eq!(
        bench.denial(get("shelf", "a")),
        "denied: `shelf.get a`: no grant covers it; the grant `shelf.read a` would allow it"
    );
    let denied = bench.denied();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].grant, Some("shelf.read a".parse().expect("a grant")));
    assert_eq!((denied[0].role, denied[0].call.as_str()), (Role::Investigation, "shelf.get a"));
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was performed");
    assert_eq!(bench.value(get("shelf", "b")), "2");
}

#[test]
fn without_a_grant_a_write_is_denied_too() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, &["shelf.read *", "shelf.write b*"]);
    let what = bench.denial(put("shelf", "a", "2"));
    assert!(what.ends_with("no grant covers it; the grant `shelf.write a` would allow it"), "{what}");
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was prepared");
}

#[test]
fn a_grant_without_a_ceiling_permits_nothing() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    bench.begin_under(None, &["shelf.read a"], &["shelf.read b", "shelf.write *", "attic.read *"]);
    let what = bench.denial(get("shelf", "a"));
    assert!(what.contains("no ceiling of the target covers it; the grant `shelf.read a`"), "{what}");

    let mut bench = host.rehearsing();
    bench.begin_under(Role::Fix, &["shelf.write a"], &["shelf.write b", "shelf.read *", "attic.write *"]);
    let what = bench.denial(put("shelf", "a", "2"));
    assert!(what.contains("no ceiling of the target covers it; the grant `shelf.write a`"), "{what}");
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was performed");
}

#[test]
fn calls_are_counted_against_the_grant_and_against_the_ceiling() {
    let host = Host::with(&[("a", "1")]);
    let limited = "shelf.read * max-calls=2";
    for (grants, ceiling) in [(&[limited], ALL), (&["shelf.read *"], &[limited][..])] {
        let mut bench = host.observing();
        bench.begin_under(None, grants, ceiling);
        // Also a call that the session answers with a fault is one.
        bench.value(get("shelf", "a"));
        assert_eq!(bench.fault(get("shelf", "nothing")).kind, FaultKind::NotFound);
        let what = bench.denial(get("shelf", "a"));
        assert!(what.contains("the limit of `shelf.read * max-calls=2` is used up"), "{what}");
        assert_eq!(host.shelf.asked().len(), 2);
    }
    let limited = "shelf.write * max-calls=1";
    for (grants, ceiling) in [(&[limited], ALL), (&["shelf.write *"], &[limited][..])] {
        let mut bench = host.rehearsing();
        bench.begin_under(Role::Fix, grants, ceiling);
        bench.value(put("shelf", "a", "2"));
        let what = bench.denial(put("shelf", "a", "3"));
        assert!(what.contains("the limit of `shelf.write * max-calls=1` is used up"), "{what}");
        assert_eq!(host.shelf.asked(), ["prepare a", "rehearse a"]);
    }
}

#[test]
fn bytes_written_are_counted_against_the_grant_and_against_the_ceiling() {
    let host = Host::with(&[("a", "1")]);
    let limited = "shelf.write * max-bytes=10";
    for (grants, ceiling) in [(&[limited], ALL), (&["shelf.write *"], &[limited][..])] {
        let mut bench = host.rehearsing();
        bench.begin_under(Role::Fix, grants, ceiling);
        bench.value(put("shelf", "a", "12345"));
        let what = bench.denial(put("shelf", "a", "123456"));
        assert!(what.contains("the limit of `shelf.write * max-bytes=10` is used up"), "{what}");
        bench.value(put("shelf", "a", "67890"));
        bench.denial(put("shelf", "a", "1"));
        assert_eq!(host.shelf.asked().len(), 4, "two were performed");
    }
}

#[test]
fn bytes_read_are_counted_and_an_overlong_reply_is_not_handed_on() {
    let host = Host::with(&[("six", "123456"), ("five", "secrt")]);
    let limited = "shelf.read * max-bytes=10";
    for (grants, ceiling) in [(&[limited], ALL), (&["shelf.read *"], &[limited][..])] {
        let mut bench = host.observing();
        bench.begin_under(None, grants, ceiling);
        assert_eq!(bench.value(get("shelf", "six")), "123456");
        let what = bench.denial(get("shelf", "five"));
        assert!(what.contains("5 bytes are over") && !what.contains("secrt"), "{what}");
        // The witness learns that it failed, and not what it would have brought.
        assert_eq!(bench.seen().reads[1].2, Err(FaultKind::Denied));
        host.shelf.set("four", "four");
        assert_eq!(bench.value(get("shelf", "four")), "four", "what was not handed on is not charged");
        host.shelf.set("one", "1");
        bench.denial(get("shelf", "one"));
    }
}

#[test]
fn bytes_read_in_a_rehearsal_are_charged_to_the_investigations_ceiling() {
    let host = Host::with(&[("six", "123456"), ("five", "12345")]);
    let mut bench = host.rehearsing();
    bench.begin_readable(Role::Fix, ALL, &["shelf.read * max-bytes=1"], &["shelf.read * max-bytes=10"]);
    assert_eq!(bench.value(get("shelf", "six")), "123456");
    bench.denial(get("shelf", "five"));
    bench.begin_readable(Role::Fix, ALL, &[], &["shelf.read * max-calls=1"]);
    bench.value(get("shelf", "six"));
    bench.denial(get("shelf", "six"));
}

#[test]
fn a_rehearsed_read_is_bounded_by_what_may_be_read_before_approval() {
    let host = Host::with(&[("public", "1"), ("secret", "2")]);
    let mut bench = host.rehearsing();
    bench.begin_readable(Role::Fix, ALL, ALL, &["shelf.read public"]);
    bench.value(get("shelf", "public"));
    let what = bench.denial(get("shelf", "secret"));
    assert!(what.contains("no ceiling of the target covers it"), "{what}");
    assert_eq!(host.shelf.asked(), ["read public"]);
}

#[test]
fn a_rehearsed_write_of_what_may_not_be_read_is_denied() {
    let host = Host::with(&[("secret", "2")]);
    let mut bench = host.rehearsing();
    // A write grant in the investigation's ceiling does not let anyone read.
    bench.begin_readable(Role::Fix, ALL, ALL, &["shelf.read public", "shelf.write *", "attic.read *"]);
    let what = bench.denial(put("shelf", "secret", "3"));
    assert!(
        what.contains(
            "the plan would show `secret`, which the target's investigation ceiling does not let anyone read"
        ),
        "{what}"
    );
    assert_eq!(host.shelf.asked(), [""; 0], "its before-image was not read");
    assert_eq!(bench.denied().len(), 1);
}

#[test]
fn the_next_grant_that_covers_a_call_takes_over() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    // The grants of the other capability stand between, so that positions differ.
    let grants = ["shelf.read a max-calls=1", "attic.read *", "shelf.read * max-calls=2"];
    bench.begin(None, &grants);
    (0..3).for_each(|_| drop(bench.value(get("shelf", "a"))));
    let what = bench.denial(get("shelf", "a"));
    assert!(what.contains("the limit of `shelf.read * max-calls=2` is used up"), "{what}");
}

#[test]
fn what_is_no_call_and_what_is_denied_count_as_calls() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    bench.begin(None, &["shelf.read a"]);
    let mut none = get("shelf", "a");
    none.arguments.push(0);
    for _ in 0..5_000 {
        assert!(!bench.fault(none.clone()).reached);
        bench.denial(get("shelf", "b"));
    }
    let what = bench.denial(get("shelf", "a"));
    assert!(what.contains("a step may make 10000 calls at most"), "{what}");
    assert_eq!(bench.stop(none), "a step may make 10000 calls at most");
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was performed");
}

#[test]
fn a_step_makes_ten_thousand_calls_at_most() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    bench.begin(None, ALL);
    for _ in 0..10_000 {
        bench.value(get("shelf", "a"));
    }
    let what = bench.denial(get("shelf", "a"));
    assert!(what.contains("a step may make 10000 calls at most"), "{what}");
    assert_eq!(host.shelf.asked().len(), 10_000);

    bench.begin(None, ALL);
    bench.value(get("shelf", "a"));
}

#[test]
fn a_step_moves_256_mib_at_most() {
    let host = Host::with(&[("rest", "r")]);
    host.shelf.set("large", &"x".repeat(64 * 1024 * 1024));
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "small", "s"));
    (0..3).for_each(|_| drop(bench.value(get("shelf", "large"))));
    // The byte that was written counts, so that the fourth does not fit.
    let what = bench.denial(get("shelf", "large"));
    assert!(what.contains("67108864 bytes are over"), "{what}");

    host.shelf.set("left", &"x".repeat(64 * 1024 * 1024 - 1));
    bench.value(get("shelf", "left"));
    bench.denial(get("shelf", "rest"));
    let what = bench.denial(put("shelf", "small", "t"));
    assert!(what.contains("a step may move 268435456 bytes at most"), "{what}");
}

#[test]
fn a_call_has_thirty_seconds_at_most() {
    let host = Host::with(&[("a", "1")]);
    let seconds = Duration::from_secs;
    let benches = [host.observing(), host.observing_within(seconds(3600)), host.observing_within(seconds(5))];
    for (mut bench, most) in benches.into_iter().zip([30, 30, 5]) {
        bench.begin(None, ALL);
        bench.value(get("shelf", "a"));
        let time = host.shelf.lock().times.pop().expect("a read");
        assert!(time <= seconds(most) && time > seconds(most - 2), "{time:?} of {most} s");
    }
}

#[test]
fn what_a_step_used_is_not_the_next_ones() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.rehearsing();
    for role in [Role::Fix, Role::Rollback] {
        bench.begin_under(role, &["shelf.write * max-calls=1 max-bytes=1"], &["shelf.write * max-calls=1"]);
        bench.value(put("shelf", "a", "2"));
        bench.denial(put("shelf", "a", "3"));
    }
}

#[test]
fn a_call_that_makes_no_sense_is_not_performed() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    bench.begin(None, ALL);
    let read = get("shelf", "a");
    let fault = bench.fault(Call { capability: "cellar".to_owned(), ..read.clone() });
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.what.contains("there is no capability `cellar`"), "{fault}");
    // It calls itself a read and encodes a write, or the other way round.
    let write = put("shelf", "a", "2");
    for (name, encoded) in [(&read, &write), (&write, &read)] {
        let call = Call { arguments: encoded.arguments.clone(), ..name.clone() };
        assert_eq!(bench.fault(call).kind, FaultKind::Invalid);
    }
    for arguments in [Vec::new(), vec![0xff; 40], [read.arguments.as_slice(), b"more"].concat()] {
        bench.fault(Call { arguments, ..read.clone() });
    }
    assert_eq!(host.shelf.asked(), [""; 0]);
}

#[test]
fn a_grant_of_an_unknown_capability_bounds_nothing() {
    let grant = "cellar.read a".parse().expect("a grant");
    let fault = Bounds::new(&Registry::default(), &[grant]).err().expect("refused");
    assert_eq!(fault.kind, FaultKind::Unsupported);
}

/// A guest learns from a denial no more than it asked for, however often it asks.
#[test]
fn denials_are_listed_once_and_a_hundred_at_most() {
    let host = Host::new();
    for mut bench in [host.observing(), host.rehearsing()] {
        bench.begin(Role::Fix, &[]);
        let ask = |bench: &mut Bench, key: &str| drop(bench.denial(get("shelf", key)));
        (0..3).for_each(|_| ask(&mut bench, "a"));
        assert_eq!(bench.denied().len(), 1);
        (0..200).for_each(|number| ask(&mut bench, &number.to_string()));
        assert_eq!(bench.denied().len(), 100);
    }
}
