//! Rehearsal: the plan, the overlay, what cannot be known, the least grants, and whether all comes back.

use countersign_model::{FaultKind, Plan, Reversibility, Role};

use crate::support::{ALL, Bench, Host, Trouble, get, put, put_mode, remove, ring, turn};

fn stale(bench: &Bench) -> bool {
    bench.rehearsal(|rehearsal, _| rehearsal.stale())
}

fn undo(bench: &Bench) {
    bench.rehearsal(|rehearsal, sessions| rehearsal.undo_exact(sessions)).expect("undone on the overlay");
}

fn unrestored(bench: &Bench) -> Vec<String> {
    bench.rehearsal(|rehearsal, sessions| rehearsal.unrestored(sessions))
}

#[test]
fn nothing_reaches_the_target_and_later_reads_see_what_would_be() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "a", "new"));
    bench.value(put("shelf", "c", "made"));
    bench.value(remove("shelf", "b"));
    assert_eq!(bench.value(get("shelf", "a")), "new");
    assert_eq!(bench.value(get("shelf", "c")), "made");
    assert_eq!(bench.fault(get("shelf", "b")).kind, FaultKind::NotFound);
    // The next step's reads see it too.
    bench.begin(Role::Check, ALL);
    assert_eq!(bench.value(get("shelf", "a")), "new");
    assert!(!stale(&bench), "the overlay's own capability knows");

    assert_eq!(["a", "b", "c"].map(|key| host.shelf.content(key)), ["1", "2", "-"]);
    let asked = host.shelf.asked();
    assert!(!asked.iter().any(|asked| asked.starts_with("apply") || asked.starts_with("undo")), "{asked:?}");
}

#[test]
fn other_capabilities_reads_are_unknowable_while_a_change_is_pending() {
    let host = Host::with(&[("a", "1")]);
    host.attic.set("x", "9");
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    assert_eq!(bench.value(get("attic", "x")), "9");
    bench.value(put("shelf", "a", "2"));
    assert!(!stale(&bench));
    let fault = bench.fault(get("attic", "x"));
    assert_eq!(fault.kind, FaultKind::Unknowable);
    assert!(fault.what.contains("a change of shelf is pending"), "{fault}");
    assert!(stale(&bench));
    assert_eq!(host.attic.asked(), ["read x"], "what would be wrong is not read");

    // Staleness is each step's own.
    bench.begin(Role::Check, ALL);
    assert!(!stale(&bench));
    bench.value(get("shelf", "a"));
    assert!(!stale(&bench));
    bench.fault(get("attic", "x"));
    bench.value(get("shelf", "a"));
    assert!(stale(&bench), "a later read does not make up for it");

    // With changes of both pending, neither knows.
    bench.begin(Role::Fix, ALL);
    bench.value(put("attic", "x", "8"));
    assert_eq!(bench.fault(get("shelf", "a")).kind, FaultKind::Unknowable);
    assert_eq!(bench.fault(get("attic", "x")).kind, FaultKind::Unknowable);
}

#[test]
fn other_capabilities_reads_are_known_again_after_the_hosts_undo() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    host.attic.set("x", "9");
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "a", "2"));
    bench.value(turn("shelf", "b", 7));
    undo(&bench);
    bench.begin(Role::Rollback, ALL);
    assert_eq!(bench.value(get("attic", "x")), "9");
    assert_eq!(bench.value(get("shelf", "a")), "1");
    assert!(!stale(&bench));
    // What the rollback step itself does is pending too.
    bench.value(put("shelf", "a", "3"));
    assert_eq!(bench.fault(get("attic", "x")).kind, FaultKind::Unknowable);
}

#[test]
fn what_is_irreversible_stays_pending_after_the_hosts_undo() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    host.attic.set("x", "9");
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "a", "2"));
    bench.value(ring("shelf", "bell", 0));
    undo(&bench);
    bench.begin(Role::Rollback, ALL);
    assert_eq!(bench.fault(get("attic", "x")).kind, FaultKind::Unknowable);
    assert!(stale(&bench));
    assert!(!host.shelf.asked().contains(&"rehearse-undo bell".to_owned()), "no undo is pretended");
}

#[test]
fn a_session_that_cannot_know_makes_the_step_stale_too() {
    let host = Host::with(&[("bell", "b"), ("a", "1")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(ring("shelf", "bell", 0));
    bench.begin(Role::Check, ALL);
    assert_eq!(bench.fault(get("shelf", "nothing")).kind, FaultKind::NotFound);
    assert!(!stale(&bench), "another fault is an answer");
    assert_eq!(bench.fault(get("shelf", "bell")).kind, FaultKind::Unknowable);
    assert!(stale(&bench));
}

#[test]
fn the_plan_has_every_change_in_order_forward_and_back() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put_mode("shelf", "a", "22", 0o600));
    bench.value(ring("shelf", "bell", 0));
    assert_eq!(bench.fault(remove("shelf", "nothing")).kind, FaultKind::NotFound);
    bench.value(put("attic", "x", "9"));
    assert_eq!(bench.denied().len(), 0, "another fault is no denial");
    undo(&bench);
    bench.begin(Role::Rollback, ALL);
    bench.value(ring("shelf", "bell", 1));
    bench.value(turn("shelf", "a", 7));

    let plan = bench.rehearsal(|rehearsal, _| rehearsal.plan().clone());
    let summaries = |changes: &[countersign_model::Change]| {
        changes.iter().map(|change| format!("{} {}", change.capability, change.summary)).collect::<Vec<_>>()
    };
    assert_eq!(summaries(&plan.forward), ["shelf put `a`", "shelf ring `bell`", "attic put `x`"]);
    assert_eq!(summaries(&plan.back), ["shelf ring `bell`", "shelf turn `a`"]);
    let first = &plan.forward[0];
    assert_eq!((first.subject.as_str(), first.reversibility), ("a", Reversibility::Exact));
    assert_eq!(first.before.map(|image| image.size), Some(1));
    assert_eq!(first.after.map(|image| image.size), Some(2));
}

#[test]
fn what_could_not_be_rehearsed_is_not_planned() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    host.shelf.lock().trouble = Some(Trouble::Missed);
    assert_eq!(bench.fault(put("shelf", "a", "2")).kind, FaultKind::TooLarge);
    assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().clone()), Plan::default());
    bench.value(put("shelf", "a", "3"));
    assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().forward.len()), 1);
}

#[test]
fn the_least_grants_are_what_was_called_and_no_wider() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut bench = host.rehearsing();
    bench.begin_under(Role::Fix, &["shelf.read *", "shelf.write a*", "attic.write * max-calls=9"], ALL);
    bench.value(get("shelf", "b"));
    bench.value(get("shelf", "b"));
    bench.value(put("shelf", "a", "12345"));
    bench.value(put("shelf", "a", "678"));
    bench.value(put("shelf", "aa", "1"));
    // What was denied is needed by nobody who was permitted.
    bench.denial(put("shelf", "b", "1"));
    bench.denial(get("attic", "x"));
    undo(&bench);
    bench.begin(Role::Rollback, ALL);
    bench.value(put("shelf", "a", "9"));
    bench.begin(Role::Check, ALL);
    bench.value(get("shelf", "a"));

    let least = bench.rehearsal(|rehearsal, _| rehearsal.usage().least());
    let least: Vec<_> = least
        .into_iter()
        .map(|(role, grants)| (role, grants.iter().map(ToString::to_string).collect::<Vec<_>>()))
        .collect();
    let grants = |grants: &[&str]| grants.iter().map(|&grant| grant.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        least,
        [
            (
                Role::Fix,
                grants(&[
                    "shelf.read b",
                    "shelf.write a max-calls=2 max-bytes=8",
                    "shelf.write aa max-calls=1 max-bytes=1"
                ])
            ),
            (Role::Rollback, grants(&["shelf.write a max-calls=1 max-bytes=1"])),
            (Role::Check, grants(&["shelf.read a"])),
        ]
    );
}

/// The plan could not be run otherwise: what was rehearsed fits into the least grants that it gave.
#[test]
fn the_least_grants_permit_what_was_rehearsed() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let calls = [get("shelf", "a"), put("shelf", "a", "12"), put("shelf", "a", "345"), ring("shelf", "bell", 0)];
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    calls.iter().for_each(|call| drop(bench.value(call.clone())));
    let least = bench.rehearsal(|rehearsal, _| rehearsal.usage().least());
    let least: Vec<String> = least[&Role::Fix].iter().map(ToString::to_string).collect();
    let least: Vec<&str> = least.iter().map(String::as_str).collect();

    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, &least);
    calls.iter().for_each(|call| drop(bench.value(call.clone())));
    bench.denial(put("shelf", "a", "6"));
    bench.denial(ring("shelf", "bell", 0));
    assert_eq!(bench.value(get("shelf", "a")), "345", "how often it looks is not bounded");
}

#[test]
fn everything_is_restored_after_the_hosts_undo() {
    let host = Host::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    for (key, contents) in [("a", "one"), ("new", "n"), ("a", "two")] {
        bench.value(put("shelf", key, contents));
    }
    bench.value(remove("shelf", "b"));
    bench.value(turn("shelf", "c", 7));
    let named = |unrestored: Vec<String>| -> Vec<String> {
        unrestored.iter().map(|what| what.split(':').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(named(unrestored(&bench)), ["a", "new", "b", "c"]);
    undo(&bench);
    assert_eq!(unrestored(&bench), [""; 0]);
    // Once more does nothing, neither to the overlay nor to what is said of it.
    host.shelf.asked();
    undo(&bench);
    assert_eq!(host.shelf.asked(), [""; 0]);
    assert_eq!(unrestored(&bench), [""; 0]);
}

#[test]
fn what_the_rollback_step_leaves_changed_is_named() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut bench = host.rehearsing();
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "a", "one"));
    undo(&bench);
    bench.begin(Role::Rollback, ALL);
    bench.value(put("shelf", "a", "other"));
    bench.value(put("shelf", "b", "two"));
    let left = unrestored(&bench);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("a: it has the content"), "{left:?}");
    assert_eq!(left[1], "b: it still is as the fix left it");
}
