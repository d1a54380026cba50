//! The journal: what is durable when, and what ends it.

use countersign_model::{Digest, Image, Outcome, Role};
use countersign_record::{ChangeState, RecordError, When};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{change, fail, fixture, signal};

/// The states of all changes, as another process sees them.
fn states(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT state FROM changes ORDER BY seq").expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a state")).collect()
}

fn count(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
}

#[test]
fn an_intent_is_durable_with_its_images_before_it_returns() {
    let run = fixture();
    let other = run.second();
    let mut journal = run.begin(1).expect("begins");
    let change = change(&mut journal, b"before", b"after");
    assert_eq!(count(&other, "images"), 0, "an image costs no commit of its own");
    assert_eq!(journal.blobs().get(&Digest::of(b"before")).expect("pending"), b"before");

    assert_eq!(journal.intend(Role::Fix, &change).expect("intended"), 1);
    assert_eq!(states(&other), ["intended"]);
    assert_eq!(count(&other, "images"), 2);
    let found = run.state.runs().changes(journal.run()).expect("changes");
    assert_eq!((found[0].seq, found[0].role, &found[0].change), (1, Role::Fix, &change));
    assert_eq!(run.state.rehearsal_blobs().get(&Digest::of(b"before")).expect("an image"), b"before");
}

#[test]
fn images_and_intent_are_one_transaction() {
    let run = fixture();
    let other = run.second();
    let mut journal = run.begin(1).expect("begins");
    let change = change(&mut journal, b"before", b"after");
    // The images are written first; if they were committed by themselves, they would stay.
    fail(&other, "INSERT ON changes");
    journal.intend(Role::Fix, &change).expect_err("the journal fails");
    assert_eq!((count(&other, "images"), count(&other, "changes")), (0, 0));
}

#[test]
fn marks_ride_along_with_the_next_commit() {
    let run = fixture();
    let other = run.second();
    let mut journal = run.begin(1).expect("begins");
    let change = change(&mut journal, b"before", b"after");
    let first = journal.intend(Role::Fix, &change).expect("intended");
    journal.done(first).expect("done");
    journal.event("validator", &json!({"command": "nginx -t"}), When::Riding).expect("an event");
    assert_eq!((states(&other), count(&other, "events")), (vec!["intended".to_owned()], 0));
    assert_eq!(journal.changes()[0].state, ChangeState::Done, "the process itself knows");

    let second = journal.intend(Role::Fix, &signal()).expect("intended");
    assert_eq!((states(&other), count(&other, "events")), (vec!["done".to_owned(), "intended".to_owned()], 1));

    // A signal cannot be probed.
    journal.done_now(second).expect("done");
    assert_eq!(states(&other), ["done", "done"]);
    journal.event("check", &json!({"verdict": "fail"}), When::Now).expect("an event");
    assert_eq!(count(&other, "events"), 2);

    journal.begin_rollback("the check failed").expect("rolls back");
    assert_eq!(run.state.runs().get(journal.run()).expect("a run").rollback.as_deref(), Some("the check failed"));
    journal.undone(first).expect("undone");
    assert_eq!(states(&other), ["done", "done"]);
    let third = journal.intend(Role::Rollback, &signal()).expect("intended");
    journal.failed(third, true).expect("failed");
    journal.finish(Outcome::RolledBack, "the check failed", &json!({"ok": true}), 3_000).expect("finished");
    assert_eq!(states(&other), ["undone", "done", "unclear"]);

    let runs = run.state.runs();
    assert_eq!(runs.report(journal.run()).expect("a report"), Some(json!({"ok": true})));
    assert_eq!(runs.plan(journal.run()).expect("a plan"), Some(countersign_model::Plan::default()));
    let events = runs.events(journal.run()).expect("events");
    assert_eq!(
        events.iter().map(|event| (event.after_change, event.kind.as_str())).collect::<Vec<_>>(),
        [(1, "validator"), (2, "check")]
    );
    for error in [
        journal.intend(Role::Rollback, &signal()).map(drop),
        journal.event("late", &json!(1), When::Now),
        journal.finish(Outcome::InDoubt, "", &json!(1), 1),
    ] {
        assert!(error.expect_err("finished").to_string().contains("the run is finished"));
    }
}

#[test]
fn a_journal_that_failed_takes_no_more_intents_but_the_outcome() {
    let run = fixture();
    let other = run.second();
    let mut journal = run.begin(1).expect("begins");
    let change = change(&mut journal, b"before", b"after");
    let first = journal.intend(Role::Fix, &change).expect("intended");
    journal.done(first).expect("done");
    fail(&other, "INSERT ON changes");
    let error = journal.intend(Role::Fix, &signal()).expect_err("fails").full();
    assert!(
        error.starts_with("the database could not record an intent; nothing was changed: the disk is full"),
        "{error}"
    );
    assert_eq!(journal.changes().len(), 1, "what is not durable was not applied");
    assert_eq!(states(&other), ["intended"]);

    other.execute_batch("DROP TRIGGER broken").expect("the disk has room again");
    let error = journal.intend(Role::Fix, &signal()).expect_err("stays failed");
    assert!(matches!(error, RecordError::JournalStopped { .. }), "{error}");
    assert!(journal.failure().expect("a failure").contains("the disk is full"));
    assert!(journal.finish(Outcome::Committed, "", &json!({}), 3_000).is_err(), "never committed after that");
    journal.begin_rollback("the journal failed").expect("rolls back");
    journal.intend(Role::Rollback, &signal()).expect_err("nor in the rollback");
    journal.undone(first).expect("undone");
    journal.finish(Outcome::RolledBack, "the journal failed", &json!({}), 3_000).expect("finished");
    assert_eq!(states(&other), ["undone"], "what could not ride before rides now");
}

#[test]
fn a_mark_that_could_not_be_recorded_is_remembered() {
    let run = fixture();
    let other = run.second();
    let mut journal = run.begin(1).expect("begins");
    let seq = journal.intend(Role::Fix, &signal()).expect("intended");
    fail(&other, "UPDATE ON changes");
    journal.done_now(seq).expect_err("not durable");
    assert_eq!(journal.changes()[0].state, ChangeState::Done);
    assert!(journal.begin_rollback("the journal failed").is_err());
    assert!(journal.finish(Outcome::RollbackIncomplete, "", &json!({}), 3_000).is_err());
    drop(journal);
    let blocked = run.state.runs().unfinished("web-1").expect("told").expect("unfinished");
    assert_eq!(blocked.changes()[0].state, ChangeState::Intended, "only a probe can tell");
}

#[test]
fn an_intent_without_its_image_is_refused() {
    let run = fixture();
    for both in [true, false] {
        let mut journal = run.begin(2).expect("begins");
        let mut change = change(&mut journal, b"before", b"after");
        let missing = Some(Image::of(b"never put"));
        if both {
            change.before = missing
        } else {
            change.after = missing
        }
        let error = journal.intend(Role::Fix, &change).expect_err("refused").to_string();
        assert!(error.contains("was never put"), "{error}");
        assert!(journal.failure().is_some());
        journal.finish(Outcome::Refused, "", &json!({}), 3_000).expect("nothing was changed");
    }
    assert_eq!(count(&run.second(), "images"), 0);
}

#[test]
fn an_intent_that_would_not_read_back_is_refused() {
    let run = fixture();
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for body in [json!({"ratio": 0.5}), deep, json!("x".repeat(1024 * 1024))] {
        let mut journal = run.begin(9).expect("begins");
        let mut change = signal();
        change.body = body;
        journal.intend(Role::Fix, &change).expect_err("refused");
        journal.finish(Outcome::Refused, "", &json!({}), 3_000).expect("nothing was changed");
    }
}

#[test]
fn steps_write_only_in_their_turn() {
    let run = fixture();
    for role in [Role::Rollback, Role::Check, Role::Investigation] {
        let mut journal = run.begin(9).expect("begins");
        let error = journal.intend(role, &signal()).expect_err("refused").to_string();
        assert!(error.contains("where only the `fix` step may make one"), "{error}");
        journal.finish(Outcome::Refused, "", &json!({}), 3_000).expect("nothing was changed");
    }
    let mut journal = run.begin(9).expect("begins");
    journal.begin_rollback("why").expect("rolls back");
    journal.intend(Role::Fix, &signal()).expect_err("the fix is over");
}

#[test]
fn a_change_goes_one_way() {
    type Step = fn(&mut countersign_record::Journal, u32) -> Result<(), RecordError>;
    let (done, failed, unclear, undone, conflict): (Step, Step, Step, Step, Step) = (
        |journal, seq| journal.done(seq),
        |journal, seq| journal.failed(seq, false),
        |journal, seq| journal.failed(seq, true),
        |journal, seq| journal.undone(seq),
        |journal, seq| journal.conflict(seq, "someone\u{1b}[2J edited it"),
    );
    let ways: [(&[Step], bool); 12] = [
        (&[done, undone], true),
        (&[undone], true),
        (&[unclear, undone], true),
        (&[done, conflict, undone], true),
        (&[undone, undone], true),
        (&[done, done], false),
        (&[failed, done], false),
        (&[failed, undone], false),
        (&[undone, done], false),
        (&[undone, conflict], false),
        (&[done, failed], false),
        (&[conflict, done], false),
    ];
    let run = fixture();
    for (number, (steps, right)) in ways.into_iter().enumerate() {
        let mut journal = run.begin(99).expect("begins");
        let change = change(&mut journal, b"before", b"after");
        let seq = journal.intend(Role::Fix, &change).expect("intended");
        let result = steps.iter().try_for_each(|step| step(&mut journal, seq));
        assert_eq!(result.is_ok(), right, "way {number}: {result:?}");
        journal.finish(Outcome::InDoubt, "", &json!({}), 3_000).expect("finished");
    }
    let mut journal = run.begin(99).expect("begins");
    let seq = journal.intend(Role::Fix, &signal()).expect("intended");
    conflict(&mut journal, seq).expect("a conflict");
    assert_eq!(journal.changes()[0].note.as_deref(), Some("someone\\u{1b}[2J edited it"));
    let error = undone(&mut journal, seq).expect_err("irreversible").to_string();
    assert!(error.contains("the irreversible change 1 is `conflict` and cannot become `undone`"), "{error}");
    assert!(done(&mut journal, 7).is_err(), "never intended");
}
