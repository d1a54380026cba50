//! The rollback step does what was rehearsed, or puts a subject of the plan back to its before-image, and nothing else.

use countersign_model::{Call, Mode, Role};

use crate::support::{ALL, Host, Run, put, put_mode, remove, ring, turn};

fn host() -> Host {
    Host::with(&[("a", "1"), ("b", "2"), ("c", "3"), ("bell", "b")])
}

fn fix() -> [Call; 3] {
    [put("shelf", "a", "one"), put("shelf", "new", "n"), turn("shelf", "c", 7)]
}

fn back() -> [Call; 3] {
    [ring("shelf", "bell", 1), put("shelf", "b", "two"), turn("shelf", "b", 5)]
}

/// A run whose fix is done and undone and whose rollback step begins.
fn rolling_back(host: &Host) -> Run {
    let mut run = Run::exact(host, &fix(), &back());
    fix().into_iter().for_each(|call| drop(run.value(call)));
    run.undo();
    run.begin_rollback();
    host.shelf.asked();
    run
}

/// The rollback step makes each of these calls, and it is no use.
fn refused(calls: &[Call]) {
    let host = host();
    let mut run = rolling_back(&host);
    let before = host.shelf.lock().entries.clone();
    for call in calls {
        run.begin(Role::Rollback, ALL);
        let why = run.stop(call.clone());
        assert!(why.contains("was not rehearsed, or not so often, and restores no before-image"), "{why}");
        assert!(!host.shelf.asked().iter().any(|asked| asked.starts_with("apply")));
        assert_eq!(host.shelf.lock().entries, before);
        assert_eq!(run.journaled(), 3, "the fix's");
    }
}

fn unanswered(run: &Run) -> Vec<String> {
    run.unanswered().into_iter().map(|(summary, _)| summary).collect()
}

#[test]
fn what_was_rehearsed_is_done_in_any_order_and_once() {
    let host = host();
    let mut run = rolling_back(&host);
    for call in [2, 0, 1].map(|at: usize| back()[at].clone()) {
        run.value(call);
    }
    assert_eq!(host.shelf.content("b"), "two");
    let made = run.with_live(|live, _| live.made().filter(|(role, _)| *role == Role::Rollback).count());
    assert_eq!((made, run.journaled()), (3, 6));
    for again in back() {
        run.begin(Role::Rollback, ALL);
        run.stop(again);
    }
    assert_eq!(run.journaled(), 6);
}

#[test]
fn what_was_rehearsed_twice_is_done_twice() {
    let host = host();
    let mut run = Run::exact(&host, &[], &[ring("shelf", "bell", 1), ring("shelf", "bell", 1)]);
    run.begin_rollback();
    run.value(ring("shelf", "bell", 1));
    assert_eq!(unanswered(&run), ["ring `bell`"]);
    run.value(ring("shelf", "bell", 1));
    assert_eq!(unanswered(&run), [""; 0]);
    run.stop(ring("shelf", "bell", 1));
}

/// What can be read back from the target is proven; a reload that was never sent is not.
#[test]
fn what_is_irreversible_and_was_left_out_is_named() {
    let host = host();
    let mut run = rolling_back(&host);
    run.value(back()[1].clone());
    assert_eq!(unanswered(&run), ["ring `bell`"]);
    run.value(back()[0].clone());
    assert_eq!(unanswered(&run), [""; 0]);
    assert_eq!(unanswered(&Run::scoped(&host)), [""; 0], "nothing was rehearsed that it is held to");
}

#[test]
fn a_before_image_is_restored() {
    let host = host();
    let mut run = rolling_back(&host);
    // As where the host's undo had found a conflict, which a person then took back by half.
    host.shelf.set("a", "half");
    host.shelf.set("new", "half");
    run.value(put("shelf", "a", "1"));
    run.value(remove("shelf", "new"));
    // Once more than needed does no harm.
    run.value(put("shelf", "a", "1"));
    assert_eq!(["a", "new"].map(|key| host.shelf.content(key)), ["1", "-"]);
    assert_eq!(run.unrestored(), []);
}

#[test]
fn another_write_stops() {
    refused(&[
        // The plan's subject with another content, also the one that the fix gave it.
        put("shelf", "a", "one"),
        put("shelf", "a", "other"),
        put("shelf", "new", "n"),
        remove("shelf", "a"),
        // What was rehearsed, on another subject or in another capability.
        put("shelf", "c", "two"),
        put("attic", "b", "two"),
        ring("shelf", "a", 1),
        // A before-image on another subject, or in another capability.
        put("shelf", "b", "1"),
        put("attic", "a", "1"),
        remove("shelf", "bell"),
        // The subject of a change that has no images, so that none is its before-image.
        remove("shelf", "c"),
    ]);
}

#[test]
fn what_was_rehearsed_is_not_done_with_another_effect() {
    refused(&[ring("shelf", "bell", 2), put_mode("shelf", "b", "two", 0o666), turn("shelf", "b", 6)]);
}

#[test]
fn what_was_rehearsed_is_not_done_as_another_sort_of_change() {
    let host = host();
    let mut run = Run::exact(&host, &[], &[turn("shelf", "b", 5)]);
    run.begin_rollback();
    let why = run.stop(ring("shelf", "b", 5));
    assert!(why.contains("was not rehearsed"), "{why}");
    let mut run = Run::exact(&host, &[], &[remove("shelf", "b")]);
    run.begin_rollback();
    run.stop(turn("shelf", "b", 0));
    assert_eq!(host.shelf.content("b"), "2");
}

/// It has no content before and none after, and so has the change of a subject that was not there.
#[test]
fn a_change_without_images_restores_none() {
    refused(&[turn("shelf", "c", 6), turn("shelf", "a", 6)]);
    let host = host();
    let mut run = rolling_back(&host);
    host.shelf.set("new", "somebody's");
    run.stop(turn("shelf", "new", 6));
    assert_eq!(host.shelf.lock().entries["new"].mode, 0o644);
}

#[test]
fn an_irreversible_change_restores_nothing() {
    refused(&[ring("shelf", "c", 0), ring("shelf", "a", 0)]);
}

#[test]
fn a_rollback_step_that_was_stopped_is_over() {
    let host = host();
    let mut run = rolling_back(&host);
    run.stop(put("shelf", "a", "other"));
    run.stop(back()[0].clone());
    assert!(!host.shelf.asked().contains(&"apply bell".to_owned()));
}

/// The fix's failure is what the run ends with, whatever the rollback step meets.
#[test]
fn the_first_failure_is_kept() {
    let host = host();
    let mut run = Run::exact(&host, &fix(), &back());
    let why = run.stop(put("shelf", "a", "other"));
    run.begin_rollback();
    run.stop(put("shelf", "c", "other"));
    assert_eq!(run.failure(), Some(why));
}

/// In `scoped` mode a fix may do other things than were rehearsed; its rollback may put back what it really did.
#[test]
fn a_scoped_rollback_is_held_to_what_its_fix_did() {
    let host = host();
    let mut run = Run::of(&host, Mode::Scoped, &host.plan(&fix(), &back()));
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "other"));
    run.value(put("shelf", "c", "unplanned"));
    run.value(ring("shelf", "a", 3));
    // Somebody's edit, which the host leaves alone.
    host.shelf.set("c", "somebody's");
    run.undo();
    run.with_live(|live, _| live.journal().begin_rollback("why")).expect("marked");
    let stopped = |run: &mut Run, call: Call| {
        let why = run.stop(call);
        assert!(why.contains("was not rehearsed, or not so often, and restores no before-image"), "{why}");
        run.begin(Role::Rollback, ALL);
    };
    run.begin(Role::Rollback, ALL);
    // Other content on a subject of the fix's, other subjects, and what nothing undoes where the fix did nothing like it.
    for call in [
        put("shelf", "a", "anything"),
        put("shelf", "new", "anything"),
        put("shelf", "b", "anything"),
        put("attic", "c", "3"),
        ring("shelf", "c", 1),
    ] {
        stopped(&mut run, call);
    }
    // What the fix changed is put back, and each thing that it did for good is answered once.
    run.value(put("shelf", "c", "3"));
    run.value(ring("shelf", "a", 4));
    stopped(&mut run, ring("shelf", "a", 4));
    // What was rehearsed.
    run.value(ring("shelf", "bell", 1));
    stopped(&mut run, ring("shelf", "bell", 1));
    assert_eq!((run.unrestored(), run.unanswered()), (vec![], vec![]));
}

#[test]
fn a_scoped_rollback_is_held_to_its_grants() {
    let host = host();
    let mut run = Run::of(&host, Mode::Scoped, &host.plan(&fix(), &back()));
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "a", "other"));
    run.undo();
    run.with_live(|live, _| live.journal().begin_rollback("why")).expect("marked");
    run.begin(Role::Rollback, &["shelf.write b"]);
    run.value(put("shelf", "b", "two"));
    run.stop(put("shelf", "a", "1"));
    assert_eq!(host.shelf.content("a"), "1");
}

/// A reload after the file is back has seen it; one before has not, and nobody can tell that by looking.
#[test]
fn what_is_done_for_good_comes_after_the_last_that_is_put_back() {
    let host = host();
    let mut run = rolling_back(&host);
    run.value(back()[0].clone());
    assert_eq!(unanswered(&run), [""; 0]);
    run.value(put("shelf", "a", "1"));
    let unanswered = run.unanswered();
    assert_eq!(unanswered[0].0, "ring `bell`");
    assert!(unanswered[0].1.contains("before everything was put back"), "{unanswered:?}");
}

/// So does what the host undoes of the rollback step's own.
#[test]
fn what_the_host_puts_back_last_is_not_seen_by_what_was_done_before() {
    let host = host();
    let mut run = rolling_back(&host);
    run.value(back()[1].clone());
    run.value(back()[0].clone());
    assert_eq!(unanswered(&run), [""; 0]);
    run.undo_of(Role::Rollback);
    assert_eq!(unanswered(&run), ["ring `bell`"]);
    // Durably, before anything was put back.
    let events = run.state.runs().events(&run.id).expect("events");
    assert!(events.iter().any(|event| event.kind == "answered-too-early"), "{events:?}");
}

/// A fix that had a service reload what it wrote, and no rollback step that has it reload what is back.
#[test]
fn what_the_fix_did_for_good_must_be_answered() {
    for mode in [Mode::Exact, Mode::Scoped] {
        let host = host();
        let fix = [put("shelf", "a", "one"), ring("shelf", "bell", 1)];
        let mut run = Run::of(&host, mode, &host.plan(&fix, &[]));
        run.begin(Role::Fix, ALL);
        fix.into_iter().for_each(|call| drop(run.value(call)));
        run.undo();
        run.begin_rollback();
        assert_eq!(run.unrestored(), []);
        let unanswered = run.unanswered();
        assert_eq!(unanswered.len(), 1, "{mode:?}");
        assert!(unanswered[0].1.contains("no rollback step answered"), "{unanswered:?}");
    }
}
