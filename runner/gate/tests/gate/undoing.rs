//! The host's undo, and the proof that is read from the target.

use countersign_gate::Undone;
use countersign_model::Role;
use countersign_record::ChangeState;

use crate::support::{Host, Run, put, remove, ring, turn};

fn restored(subject: &str) -> (String, Undone) {
    (subject.to_owned(), Undone::Restored)
}

#[test]
fn undo_goes_backwards_to_the_first_image() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let before = host.shelf.lock().entries.clone();
    let calls = [
        put("shelf", "a", "one"),
        put("shelf", "new", "n"),
        put("shelf", "a", "two"),
        turn("shelf", "b", 7),
        remove("shelf", "a"),
        ring("shelf", "b", 1),
    ];
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    host.shelf.asked();
    let bell = ("b".to_owned(), Undone::Irreversible);
    let [a, b, new] = ["a", "b", "new"].map(restored);
    assert_eq!(run.undo(), [bell.clone(), a.clone(), b, a.clone(), new, a]);
    assert_eq!(host.shelf.asked(), ["undo a", "undo b", "undo a", "undo new", "undo a"]);
    assert_eq!(host.shelf.lock().entries, before);
    assert_eq!(run.unrestored(), []);
    // Once more does nothing, but lists what cannot be undone.
    host.shelf.asked();
    assert_eq!(run.undo(), [bell]);
    assert_eq!(host.shelf.asked(), [""; 0]);
}

#[test]
fn somebody_elses_edit_is_left_alone_and_reported() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "b", "two"), put("shelf", "a", "two")];
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    host.shelf.set("a", "somebody's");
    let undone = run.undo();
    assert_eq!(undone[1], restored("b"), "the others are undone");
    for (subject, result) in [&undone[0], &undone[2]] {
        assert_eq!(subject, "a");
        assert!(matches!(result, Undone::Left(why) if why.contains("it has the content")), "{result:?}");
    }
    assert_eq!(host.shelf.content("a"), "somebody's");
    assert_eq!(host.shelf.content("b"), "2");
    let changes = run.with_live(|live, _| live.journal().changes().to_vec());
    let states: Vec<_> = changes.iter().map(|change| change.state).collect();
    assert_eq!(states, [ChangeState::Conflict, ChangeState::Undone, ChangeState::Conflict]);
    assert!(changes[2].note.as_deref().is_some_and(|note| note.contains("it has the content")));
    let left = run.unrestored();
    assert_eq!(left.len(), 1, "a subject is reported once");
    assert!(left[0].0 == "a" && left[0].1.contains("it has the content"), "{left:?}");
}

#[test]
fn an_undo_that_gets_stuck_is_in_doubt() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    run.value(put("shelf", "a", "2"));
    host.shelf.lock().stuck = true;
    assert_eq!(run.undo(), [("a".to_owned(), Undone::InDoubt)]);
    assert_eq!(run.unrestored(), [("a".to_owned(), "it still is as the fix left it".to_owned())]);
    // It is tried again where it is asked for again.
    host.shelf.lock().stuck = false;
    assert_eq!(run.undo(), [restored("a")]);
    assert_eq!(run.unrestored(), []);
}

/// What is large goes back in as many calls as it takes, so long as each gets on.
#[test]
fn an_undo_that_gets_on_goes_on_in_another_call() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    run.value(put("shelf", "a", "2"));
    host.shelf.lock().slow = Some(5);
    assert_eq!(run.undo(), [restored("a")]);
    assert_eq!((run.unrestored(), host.shelf.content("a").as_str()), (vec![], "1"));

    // But not without end.
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    host.shelf.lock().slow = None;
    run.value(put("shelf", "a", "2"));
    host.shelf.lock().slow = Some(1_000);
    host.shelf.asked();
    assert!(matches!(&run.undo()[..], [(_, Undone::Left(why))] if why == "the call's time is over"));
    let calls = host.shelf.asked().iter().filter(|asked| *asked == "undo a").count();
    assert_eq!(calls, 8);
}

#[test]
fn the_proof_is_read_from_the_target_and_not_from_the_journal() {
    let host = Host::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "b", "two"), turn("shelf", "c", 7), put("shelf", "new", "n")];
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    assert_eq!(run.unrestored().len(), 4);
    run.undo();
    assert_eq!(run.unrestored(), []);

    host.shelf.set("a", "somebody's");
    host.shelf.set("b", "two");
    host.shelf.set("new", "n");
    host.shelf.lock().entries.remove("c");
    let left = run.unrestored();
    let named: Vec<_> = left.iter().map(|(subject, why)| (subject.as_str(), why.as_str())).collect();
    assert!(named[0].0 == "a" && named[0].1.starts_with("it has the content"), "{named:?}");
    assert_eq!(
        named[1..],
        [("b", "it still is as the fix left it"), ("c", "it is gone"), ("new", "it still is as the fix left it")]
    );
}

/// Two changes of one subject: what counts is the image before the first.
#[test]
fn the_proof_is_against_the_first_image() {
    let host = Host::with(&[("a", "1")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "a", "two")];
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    host.shelf.set("a", "one");
    assert_eq!(run.unrestored().len(), 1, "as before the second change is not as before");
    host.shelf.set("a", "1");
    assert_eq!(run.unrestored(), []);
}

#[test]
fn one_name_in_two_capabilities_is_two_subjects() {
    let host = Host::with(&[("a", "1")]);
    host.attic.set("a", "9");
    let calls = [put("shelf", "a", "one"), put("attic", "a", "nine")];
    let mut run = Run::scoped(&host);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    assert_eq!(run.unrestored().len(), 2);
    run.undo();
    assert_eq!(run.unrestored(), []);
    host.attic.set("a", "somebody's");
    assert_eq!(run.unrestored().len(), 1);
}

#[test]
fn a_step_is_undone_by_itself() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let (fix, back) = ([put("shelf", "a", "one")], [put("shelf", "b", "two")]);
    let mut run = Run::exact(&host, &fix, &back);
    run.value(fix[0].clone());
    run.undo();
    run.begin_rollback();
    run.value(back[0].clone());
    assert_eq!(run.unrestored(), [("b".to_owned(), "it still is as the fix left it".to_owned())]);
    assert_eq!(run.undo(), [], "the rollback step's change is not the fix's");
    assert_eq!(run.undo_of(Role::Rollback), [restored("b")]);
    assert_eq!(run.unrestored(), []);
}

#[test]
fn settling_lets_go_of_every_change_and_names_what_stays_behind() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "b", "two")];
    let mut run = Run::exact(&host, &calls, &[]);
    calls.iter().for_each(|call| drop(run.value(call.clone())));
    host.shelf.asked();
    let settle = |run: &Run| run.with_live(|live, sessions| live.settle(sessions));
    assert_eq!(settle(&run), [""; 0]);
    assert_eq!(host.shelf.asked(), ["settle a", "settle b"]);
    host.shelf.lock().stuck = true;
    assert_eq!(settle(&run), ["the bin beside `a` is full", "the bin beside `b` is full"]);
}
