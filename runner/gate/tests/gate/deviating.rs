//! A run is held to its plan: whatever else is done stops before it is journaled, let alone applied.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_model::{Call, FaultKind, Mode, Plan, Role};

use crate::support::{ALL, Host, NAMELESS, Run, get, put, put_mode, remove, ring, turn};

/// Makes the first calls as planned and then, each as if the step had just come there, others that are not.
/// Gives the first one's reason.
fn deviate(plan: &[Call], first: usize, others: &[Call]) -> String {
    let host = Host::with(&[("a", "1"), ("b", "1"), ("bell", "b")]);
    let mut run = Run::exact(&host, plan, &[]);
    plan[..first].iter().for_each(|call| drop(run.value(call.clone())));
    let before = host.shelf.lock().entries.clone();
    host.shelf.asked();
    for other in others {
        run.begin(Role::Fix, ALL);
        let why = run.stop(other.clone());
        assert!(why.starts_with("deviation: "), "{why}");
        // Where the guest goes on all the same, what was planned is not done either.
        run.stop(plan.get(first).unwrap_or(&plan[0]).clone());
        assert!(!host.shelf.asked().iter().any(|asked| asked.starts_with("apply")));
        assert_eq!(host.shelf.lock().entries, before);
        assert_eq!(run.journaled(), first, "it was not journaled");
        assert_eq!(run.with_live(|live, _| live.made().count()), first);
    }
    run.failure().expect("the run cannot be committed")
}

#[test]
fn the_whole_plan_and_nothing_else_is_done() {
    let host = Host::with(&[("a", "1"), ("b", "2"), ("bell", "b")]);
    let calls = [put("shelf", "a", "one"), turn("shelf", "b", 7), ring("shelf", "bell", 1), remove("shelf", "b")];
    let mut run = Run::exact(&host, &calls, &[]);
    assert!(!run.changed());
    for call in &calls {
        assert!(run.complete().is_err());
        run.value(get("shelf", "bell"));
        // Nor is it a deviation to look for, or to try, what is not there.
        assert_eq!(run.fault(get("shelf", "nothing")).kind, FaultKind::NotFound);
        assert_eq!(run.fault(remove("shelf", "nothing")).kind, FaultKind::NotFound);
        run.value(call.clone());
    }
    assert_eq!(run.complete(), Ok(()));
    assert_eq!((run.failure(), run.changed()), (None, true));
    assert_eq!(["a", "b"].map(|key| host.shelf.content(key)), ["one", "-"]);
    assert_eq!(run.journaled(), 4);
    let made =
        run.with_live(|live, _| live.made().map(|(role, change)| (role, change.summary.clone())).collect::<Vec<_>>());
    assert_eq!(
        made.iter().map(|(_, summary)| summary.as_str()).collect::<Vec<_>>(),
        ["put `a`", "turn `b`", "ring `bell`", "remove `b`"]
    );
    assert!(made.iter().all(|(role, _)| *role == Role::Fix));
}

#[test]
fn another_content_is_a_deviation() {
    let why = deviate(&[put("shelf", "a", "2")], 0, &[put("shelf", "a", "3"), put("shelf", "a", "")]);
    assert_eq!(
        why,
        "deviation: change 1 is `put `a`` where the approved plan has `put `a`` (the content after is another)"
    );
}

#[test]
fn another_subject_is_a_deviation() {
    deviate(&[put("shelf", "a", "2")], 0, &[put("shelf", "b", "2"), put("attic", "a", "2")]);
    deviate(&[ring("shelf", "a", 0)], 0, &[ring("shelf", "b", 0)]);
}

#[test]
fn another_order_is_a_deviation() {
    let why = deviate(&[put("shelf", "a", "2"), put("shelf", "b", "2")], 0, &[put("shelf", "b", "2")]);
    assert_eq!(why, "deviation: change 1 is `put `b`` where the approved plan has `put `a``");
}

#[test]
fn a_change_that_was_done_once_is_not_done_twice() {
    deviate(&[ring("shelf", "bell", 1), put("shelf", "a", "2")], 1, &[ring("shelf", "bell", 1)]);
}

#[test]
fn an_extra_write_is_a_deviation() {
    let why = deviate(&[put("shelf", "a", "2")], 1, &[put("shelf", "b", "2"), ring("shelf", "bell", 0)]);
    assert_eq!(why, "deviation: `put `b`` comes after the approved plan's 1 changes");
}

#[test]
fn another_effect_is_a_deviation() {
    let why = deviate(&[put("shelf", "a", "2")], 0, &[put_mode("shelf", "a", "2", 0o666)]);
    assert!(why.ends_with("(owner, mode, attributes or another detail differ)"), "{why}");
    deviate(&[ring("shelf", "bell", 1)], 0, &[ring("shelf", "bell", 9)]);
    deviate(&[turn("shelf", "a", 7)], 0, &[turn("shelf", "a", 8)]);
}

#[test]
fn another_sort_of_change_is_a_deviation() {
    deviate(&[turn("shelf", "bell", 7)], 0, &[ring("shelf", "bell", 7)]);
    deviate(&[put("shelf", "a", "2")], 0, &[remove("shelf", "a")]);
}

#[test]
fn another_content_before_is_a_deviation() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    host.shelf.set("a", "somebody's");
    let why = run.stop(put("shelf", "a", "2"));
    assert!(why.ends_with("(the content before is another)"), "{why}");
    assert_eq!((host.shelf.content("a").as_str(), run.journaled()), ("somebody's", 0));
}

#[test]
fn stopping_early_is_a_deviation() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2"), put("shelf", "b", "3")], &[]);
    run.value(put("shelf", "a", "2"));
    run.port.lock().end();
    assert_eq!(
        run.complete(),
        Err("deviation: the fix stopped after 1 of the approved plan's 2 changes; next would be `put `b``".to_owned())
    );
}

/// A guest that swallows a refusal ends as if it had not.
#[test]
fn a_denied_call_ends_the_step_and_fails_the_run() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    for denied in [put("shelf", "b", "3"), get("shelf", "b")] {
        let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
        run.begin(Role::Fix, &["shelf.write a", "shelf.read a"]);
        let why = run.stop(denied);
        assert!(why.contains("no grant covers it; the grant `shelf."), "{why}");
        run.stop(put("shelf", "a", "2"));
        assert_eq!((host.shelf.content("a").as_str(), run.journaled()), ("1", 0));
        let failure = run.failure().expect("it cannot be committed");
        assert!(failure.contains("was denied: no grant covers it"), "{failure}");
        assert_eq!(run.denied().len(), 1);
        assert!(host.shelf.asked().is_empty());
    }
}

#[test]
fn a_denied_call_that_no_grant_can_be_named_for_ends_the_step_too() {
    let host = Host::with(&[(NAMELESS, "1")]);
    for call in [get("shelf", NAMELESS), put("shelf", NAMELESS, "2")] {
        let mut run = Run::scoped(&host);
        run.begin(Role::Fix, &["shelf.read a", "shelf.write a"]);
        run.stop(call.clone());
        assert!(run.failure().is_some());
        let mut bench = host.rehearsing();
        bench.begin(Role::Fix, &[]);
        bench.fault(call);
    }
    assert_eq!(host.shelf.asked(), [""; 0]);
}

#[test]
fn a_reply_over_the_limit_ends_the_step_and_fails_the_run() {
    let host = Host::with(&[("a", "12345")]);
    let mut run = Run::scoped(&host);
    run.begin(Role::Fix, &["shelf.read a max-bytes=4", "shelf.write a"]);
    let why = run.stop(get("shelf", "a"));
    assert!(why.contains("5 bytes are over"), "{why}");
    assert!(run.failure().is_some());
    assert_eq!(run.seen().reads.len(), 1, "it was read, so it is witnessed");
}

#[test]
fn scoped_is_held_to_its_grants_alone() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let mut run = Run::of(&host, Mode::Scoped, &host.plan(&[put("shelf", "a", "2")], &[]));
    run.begin(Role::Fix, &["shelf.write a max-calls=2"]);
    run.value(put("shelf", "a", "3"));
    run.value(put("shelf", "a", "4"));
    assert_eq!((run.complete(), run.journaled()), (Ok(()), 2));
    run.stop(put("shelf", "a", "5"));
    assert_eq!((host.shelf.content("a").as_str(), run.journaled()), ("4", 2));
    assert!(run.failure().expect("over its limit").contains("is used up"));
}

/// An empty plan is the strictest there is, not none.
#[test]
fn an_empty_plan_allows_nothing() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::of(&host, Mode::Exact, &Plan::default());
    run.begin(Role::Fix, ALL);
    run.stop(put("shelf", "a", "2"));
    assert_eq!(run.journaled(), 0);
}

/// Validators take their time, and what they are asked before cannot be undone.
#[test]
fn who_wants_the_end_while_validators_are_asked_gets_nothing_irreversible() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let fix = [put("shelf", "a", "2"), ring("shelf", "bell", 1)];
    let mut run = Run::exact(&host, &fix, &[]);
    run.value(fix[0].clone());
    run.validators.lock().expect("validators").interrupts = Some(Arc::clone(&run.interrupted));
    assert_eq!(run.stop(fix[1].clone()), countersign_gate::INTERRUPTED);
    assert_eq!((run.validated().len(), run.journaled()), (1, 1));
    assert!(!host.shelf.asked().contains(&"apply bell".to_owned()));
}

/// Who wants the run to end gets no more changes of the fix, and the rollback all the same.
#[test]
fn an_interrupted_fix_changes_nothing_more() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let fix = [put("shelf", "a", "2"), ring("shelf", "bell", 1)];
    let mut run = Run::exact(&host, &fix, &[ring("shelf", "bell", 2)]);
    run.value(fix[0].clone());
    run.interrupted.store(true, Ordering::Relaxed);
    let why = run.stop(fix[1].clone());
    assert_eq!(why, countersign_gate::INTERRUPTED);
    assert_eq!((run.failure(), run.journaled()), (Some(why), 1));
    assert!(!host.shelf.asked().contains(&"apply bell".to_owned()));
    run.undo();
    run.begin_rollback();
    run.value(ring("shelf", "bell", 2));
    assert_eq!(host.shelf.content("a"), "1");
}

/// So it is once the time that was signed is over, which the rollback is not held to.
#[test]
fn a_fix_changes_nothing_once_its_time_is_over() {
    let host = Host::with(&[("a", "1"), ("bell", "b")]);
    let fix = [put("shelf", "a", "2"), ring("shelf", "bell", 1)];
    let mut run = Run::exact(&host, &fix, &[ring("shelf", "bell", 2)]);
    let over = run.until();
    run.value(fix[0].clone());
    over.store(true, Ordering::Relaxed);
    let why = run.stop(fix[1].clone());
    assert_eq!((why.as_str(), run.journaled()), ("it is late", 1));
    run.undo();
    run.begin_rollback();
    run.value(ring("shelf", "bell", 2));
    assert_eq!(host.shelf.content("a"), "1");
}
