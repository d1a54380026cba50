//! What an apply that failed leaves behind, by what it says of itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use countersign_gate::Undone;
use countersign_record::ChangeState;

use crate::support::{Host, Run, Trouble, get, put, ring, turn};

fn states(run: &Run) -> Vec<ChangeState> {
    run.with_live(|live, _| live.journal().changes().iter().map(|change| change.state).collect())
}

#[test]
fn what_did_not_reach_the_target_leaves_nothing_to_undo() {
    for call in [put("shelf", "a", "2"), turn("shelf", "a", 7), ring("shelf", "a", 1)] {
        let host = Host::with(&[("a", "1")]);
        let mut run = Run::exact(&host, std::slice::from_ref(&call), &[]);
        host.shelf.lock().trouble = Some(Trouble::Missed);
        let why = run.stop(call);
        assert!(why.ends_with("`a`: nobody answered"), "{why}");
        assert_eq!(run.failure(), Some(why));
        assert!(!run.changed());
        assert_eq!(run.with_live(|live, _| live.made().count()), 0);
        assert!(run.complete().is_err());
        assert_eq!(states(&run), [ChangeState::NotApplied]);
        host.shelf.asked();
        assert_eq!(run.undo(), []);
        assert_eq!(host.shelf.asked(), [""; 0]);
        assert_eq!(run.unrestored(), []);
    }
}

#[test]
fn what_may_have_reached_the_target_is_put_back_whether_it_did_or_not() {
    for trouble in [Trouble::Unsure, Trouble::UnsureButDone] {
        for call in [put("shelf", "a", "2"), turn("shelf", "a", 7)] {
            let host = Host::with(&[("a", "1")]);
            let before = host.shelf.lock().entries.clone();
            let mut run = Run::exact(&host, std::slice::from_ref(&call), &[]);
            host.shelf.lock().trouble = Some(trouble);
            let why = run.stop(call);
            assert!(why.ends_with("`a`: no answer came"), "{why}");
            assert!(run.changed(), "it may have been");
            assert!(run.complete().is_err());
            assert_eq!(states(&run), [ChangeState::Unclear]);
            assert_eq!(run.undo(), [("a".to_owned(), Undone::Restored)]);
            assert_eq!(host.shelf.lock().entries, before);
            assert_eq!(states(&run), [ChangeState::Undone]);
            assert_eq!(run.unrestored(), []);
        }
    }
}

#[test]
fn an_irreversible_change_that_may_have_happened_is_in_doubt() {
    let host = Host::with(&[("bell", "b")]);
    let mut run = Run::exact(&host, &[ring("shelf", "bell", 1)], &[]);
    host.shelf.lock().trouble = Some(Trouble::Unsure);
    run.stop(ring("shelf", "bell", 1));
    assert!(run.changed());
    host.shelf.asked();
    assert_eq!(run.undo(), [("bell".to_owned(), Undone::InDoubt)]);
    assert_eq!(host.shelf.asked(), [""; 0], "nothing is undone");
}

/// Where the session finds another state than it prepared for, nothing was applied and nothing is overwritten.
#[test]
fn a_precondition_that_no_longer_holds_stops_the_run() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    let shelf = host.shelf.clone();
    host.shelf.lock().watch = Some(Box::new(move || shelf.set("a", "somebody's")));
    let why = run.stop(put("shelf", "a", "2"));
    assert!(why.contains("it is not as the change was prepared for"), "{why}");
    assert_eq!((host.shelf.content("a").as_str(), run.changed()), ("somebody's", false));
    assert_eq!(run.undo(), []);
    assert_eq!(run.unrestored().len(), 1, "the proof is of the target all the same");
}

#[test]
fn a_capability_that_panics_leaves_a_gate_that_undoes() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "b", "two")];
    let mut run = Run::exact(&host, &calls, &[]);
    run.value(calls[0].clone());
    host.shelf.lock().trouble = Some(Trouble::Panics);
    let mut port = run.port.clone();
    let panicked = catch_unwind(AssertUnwindSafe(|| countersign_capability::Port::call(&mut port, calls[1].clone())));
    assert!(panicked.is_err());
    assert_eq!(host.shelf.content("b"), "two", "it had happened");
    assert_eq!(run.stop(get("shelf", "a")), "the gate failed in an earlier call");

    assert!(run.changed());
    assert_eq!(run.undo(), [("b".to_owned(), Undone::Restored), ("a".to_owned(), Undone::Restored)]);
    assert_eq!(["a", "b"].map(|key| host.shelf.content(key)), ["1", "2"]);
}
