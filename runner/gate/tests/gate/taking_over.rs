//! A run whose process died is taken over: what was made is undone, what may have happened does not happen again.

use countersign_gate::Undone;
use countersign_model::{Call, Mode, Plan, Role};

use crate::support::{ALL, Host, Run, put, ring};

fn host() -> Host {
    Host::with(&[("a", "1"), ("b", "2"), ("bell", "b")])
}

/// One subject is changed twice.
fn fix() -> [Call; 3] {
    [put("shelf", "a", "one"), put("shelf", "b", "two"), put("shelf", "a", "three")]
}

fn plan(host: &Host) -> Plan {
    host.plan(&fix(), &[ring("shelf", "bell", 1)])
}

fn content(host: &Host) -> [String; 2] {
    [host.shelf.content("a"), host.shelf.content("b")]
}

#[test]
fn what_was_made_is_undone_whatever_was_marked() {
    let (host, plan) = (host(), plan(&host()));
    for made in 1..=3 {
        let mut run = Run::of(&host, Mode::Exact, &plan);
        run.begin(Role::Fix, ALL);
        fix().into_iter().take(made).for_each(|call| drop(run.value(call)));
        // The last one's mark was to ride with the next commit.
        let run = run.dies(&host, Mode::Exact, &plan);
        assert!(run.changed());
        let undone = run.undo();
        assert_eq!(undone.len(), made);
        assert!(undone.iter().all(|(_, result)| *result == Undone::Restored), "{undone:?}");
        assert_eq!((content(&host), run.unrestored()), (["1", "2"].map(str::to_owned), Vec::new()));
    }
}

/// It died after the intent, before the change.
#[test]
fn what_was_not_made_is_told_from_what_was() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "one"));
    // As if it had never been applied.
    host.shelf.set("a", "1");
    let run = run.dies(&host, Mode::Exact, &plan);
    assert!(!run.changed());
    assert_eq!(run.undo(), []);
}

#[test]
fn what_is_as_before_already_is_left_alone() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    fix().into_iter().for_each(|call| drop(run.value(call)));
    run.with_live(|live, _| live.journal().begin_rollback("it was asked for")).expect("marked");
    // Undone, and not marked: an undo of the last change alone would find neither its before nor its after.
    run.undo();
    let run = run.dies(&host, Mode::Exact, &plan);
    assert_eq!(run.undo(), []);
    assert_eq!((content(&host), run.unrestored()), (["1", "2"].map(str::to_owned), Vec::new()));
}

#[test]
fn an_edit_since_is_left_alone_and_told() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    fix().into_iter().for_each(|call| drop(run.value(call)));
    host.shelf.set("b", "somebody's");
    let run = run.dies(&host, Mode::Exact, &plan);
    let undone = run.undo();
    assert!(undone.iter().any(|(subject, result)| subject == "b" && matches!(result, Undone::Left(_))), "{undone:?}");
    assert_eq!(content(&host), ["1", "somebody's"].map(str::to_owned));
    assert_eq!(run.unrestored().len(), 1);
}

/// A rollback step that was cut off after its one rehearsed effect.
#[test]
fn what_was_done_for_good_does_not_happen_again() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "one"));
    run.undo();
    run.begin_rollback();
    run.value(ring("shelf", "bell", 1));
    let mut run = run.dies(&host, Mode::Exact, &plan);
    assert!(run.with_live(|live, _| live.answered() && live.doubtful().is_empty()));
    run.begin(Role::Rollback, ALL);
    run.stop(ring("shelf", "bell", 1));
}

/// The same where nobody knows whether it was done: the mark was lost.
#[test]
fn what_may_have_happened_does_not_happen_again() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "one"));
    run.undo();
    run.begin_rollback();
    // Its intent is durable, its mark is not.
    run.break_journal("UPDATE ON changes");
    run.stop(ring("shelf", "bell", 1));
    run.second().execute_batch("DROP TRIGGER broken").expect("it is gone");
    let mut run = run.dies(&host, Mode::Exact, &plan);
    assert_eq!(run.with_live(|live, _| live.doubtful()), ["ring `bell`"]);
    assert!(run.undo_of(Role::Rollback).iter().any(|(_, result)| *result == Undone::InDoubt));
    run.begin(Role::Rollback, ALL);
    run.stop(ring("shelf", "bell", 1));
}

/// What recovery puts back was not seen by what a rollback step had done before, also where recovery dies in between.
#[test]
fn what_was_done_for_good_before_recovery_put_something_back_is_no_answer() {
    let (host, plan) = (host(), plan(&host()));
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "one"));
    // Somebody's edit is in the way, and gone when recovery looks.
    host.shelf.set("a", "somebody's");
    run.undo();
    run.begin_rollback();
    run.value(ring("shelf", "bell", 1));
    assert_eq!(run.unanswered(), []);
    host.shelf.set("a", "one");
    let run = run.dies(&host, Mode::Exact, &plan);
    assert!(run.with_live(|live, _| live.answered()));
    assert_eq!(run.undo(), [("a".to_owned(), Undone::Restored)]);
    assert!(run.with_live(|live, _| live.answered_too_early() && !live.answered()));
    let run = run.dies(&host, Mode::Exact, &plan);
    assert_eq!((run.undo(), run.unrestored()), (vec![], vec![]), "all of it is as before");
    let unanswered = run.unanswered();
    assert!(unanswered.len() == 1 && unanswered[0].1.contains("before everything was put back"), "{unanswered:?}");
}

/// So it is where the rollback step itself put something back after it.
#[test]
fn the_order_of_a_rollback_steps_own_changes_is_kept() {
    let host = host();
    let back = [ring("shelf", "bell", 1), put("shelf", "b", "by the way"), put("shelf", "b", "2")];
    let plan = host.plan(&fix(), &back);
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "one"));
    run.undo();
    run.begin_rollback();
    back.into_iter().for_each(|call| drop(run.value(call)));
    assert_eq!(run.unanswered().len(), 1);
    let run = run.dies(&host, Mode::Exact, &plan);
    assert!(run.with_live(|live, _| live.answered_too_early()));
    assert_eq!(run.unanswered().len(), 1);
}
