//! A change's intent and images are durable before it is applied, and without a journal nothing is.

use std::sync::{Arc, Mutex};

use countersign_gate::Undone;
use countersign_model::Digest;
use countersign_record::ChangeState;

use crate::support::{Entry, Host, Run, put, remove, ring};

#[test]
fn intent_and_images_are_durable_before_a_change_is_applied() {
    let host = Host::with(&[("a", "before"), ("b", "gone")]);
    let calls = [put("shelf", "a", "after"), remove("shelf", "b"), ring("shelf", "a", 1)];
    let mut run = Run::exact(&host, &calls, &[]);
    // As another process finds the database in the moment in which the session is asked to apply.
    let found = Arc::<Mutex<Vec<(Vec<String>, Vec<bool>)>>>::default();
    let (found_then, second) = (Arc::clone(&found), run.second());
    host.shelf.lock().watch = Some(Box::new(move || {
        let mut intents = second.prepare("SELECT change FROM changes WHERE state = 'intended' ORDER BY seq").unwrap();
        let intents = intents.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        let summaries = intents.map(|change| {
            let change: serde_json::Value = serde_json::from_str(&change).unwrap();
            change["summary"].as_str().unwrap().to_owned()
        });
        let image = |bytes: &[u8]| {
            let sql = "SELECT bytes FROM images WHERE digest = ?1";
            let stored = second.query_row(sql, [Digest::of(bytes).to_string()], |row| row.get::<_, Vec<u8>>(0));
            stored.is_ok_and(|stored| stored == bytes)
        };
        let images = [&b"before"[..], b"after", b"gone"].map(image).to_vec();
        found_then.lock().unwrap().push((summaries.collect(), images));
    }));
    for call in &calls {
        run.value(call.clone());
    }
    let found = found.lock().unwrap();
    let expected: [(&[&str], [bool; 3]); 3] = [
        (&["put `a`"], [true, true, false]),
        // The first one's mark rode along with the second one's intent.
        (&["remove `b`"], [true, true, true]),
        (&["ring `a`"], [true, true, true]),
    ];
    assert_eq!(found.len(), 3);
    for ((summaries, images), (expected, durable)) in found.iter().zip(expected) {
        assert_eq!(
            (summaries.as_slice(), images.as_slice()),
            (&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..], &durable[..])
        );
    }
    // What no probe can tell is durable when the guest hears of it.
    let states: Vec<_> = run.state.runs().changes(&run.id).expect("changes").iter().map(|c| c.state).collect();
    assert_eq!(states, [ChangeState::Done, ChangeState::Done, ChangeState::Done]);
}

#[test]
fn without_its_image_a_change_is_not_applied() {
    for call in [put("shelf", "a", "2"), remove("shelf", "a")] {
        let host = Host::with(&[("a", "1")]);
        let mut run = Run::exact(&host, std::slice::from_ref(&call), &[]);
        host.shelf.lock().forgetful = true;
        let why = run.stop(call);
        assert!(why.contains("was never put"), "{why}");
        assert_eq!(host.shelf.content("a"), "1");
        assert_eq!(host.shelf.asked(), ["prepare a"]);
        assert_eq!((run.changed(), run.journaled()), (false, 0));
    }
}

#[test]
fn where_the_journal_fails_nothing_more_is_applied() {
    let host = Host::with(&[("a", "1"), ("b", "2")]);
    let calls = [put("shelf", "a", "one"), put("shelf", "b", "two")];
    let mut run = Run::exact(&host, &calls, &[ring("shelf", "a", 1)]);
    run.value(calls[0].clone());
    run.break_journal("INSERT ON changes");
    let why = run.stop(calls[1].clone());
    assert!(why.contains("the journal cannot be written, so nothing more is changed"), "{why}");
    assert!(run.failure().is_some());
    assert_eq!(host.shelf.content("b"), "2");
    assert_eq!(host.shelf.asked(), ["prepare a", "apply a", "prepare b"]);

    // It stays failed when the disk has room again, for the next step too.
    run.second().execute_batch("DROP TRIGGER broken").expect("repaired");
    assert_eq!(run.undo(), [("a".to_owned(), Undone::Restored)], "undone from what is durable");
    assert_eq!(host.shelf.content("a"), "1");
    run.begin_rollback();
    let why = run.stop(ring("shelf", "a", 1));
    assert!(why.contains("the journal cannot be written"), "{why}");
    assert!(!host.shelf.asked().contains(&"apply a".to_owned()));
    assert_eq!(run.unrestored(), []);
}

#[test]
fn a_journal_whose_database_is_gone_stops_everything() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    run.second().execute_batch("DROP TABLE changes").expect("gone");
    run.stop(put("shelf", "a", "2"));
    assert_eq!(host.shelf.asked(), ["prepare a"]);
    assert_eq!(host.shelf.content("a"), "1");
    assert!(!run.changed());
}

/// The signal is out; nobody may be told that it is not, and nothing may follow it.
#[test]
fn an_irreversible_change_whose_mark_fails_ends_the_step_and_stays_listed() {
    let host = Host::with(&[("bell", "b"), ("a", "1")]);
    let mut run = Run::exact(&host, &[ring("shelf", "bell", 1), put("shelf", "a", "2")], &[]);
    run.break_journal("UPDATE ON changes");
    let why = run.stop(ring("shelf", "bell", 1));
    assert!(why.contains("the journal cannot be written"), "{why}");
    assert!(run.failure().is_some() && run.changed());
    assert!(run.complete().is_err());
    assert_eq!(run.undo(), [("bell".to_owned(), Undone::Irreversible)]);
    run.stop(put("shelf", "a", "2"));
    assert_eq!(host.shelf.content("a"), "1");
}

/// An undo that is done and cannot be marked is done: a probe finds that out.
#[test]
fn undo_does_not_wait_for_the_journal() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::exact(&host, &[put("shelf", "a", "2")], &[]);
    run.value(put("shelf", "a", "2"));
    run.break_journal("UPDATE ON changes");
    run.with_live(|live, _| live.journal().begin_rollback("why")).expect_err("it cannot be marked");
    assert_eq!(run.undo(), [("a".to_owned(), Undone::Restored)]);
    assert_eq!(host.shelf.lock().entries["a"], Entry { contents: b"1".to_vec(), mode: 0o644 });
}
