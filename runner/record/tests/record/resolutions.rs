//! What a run leaves is open until it is closed, once, by whoever holds the target.

use countersign_model::documents::OpenSubject;
use countersign_model::{Outcome, Role};
use countersign_record::{BeginError, NewResolution, RecordError, RunRecord, Subject, Wanted};
use serde_json::json;

use crate::support::{Fixture, TARGET, change, fixture};

fn open(subject: &str) -> OpenSubject {
    OpenSubject {
        subject: subject.to_owned(),
        capability: Some("files".to_owned()),
        why: "somebody changed it".to_owned(),
        restorable: true,
        before: None,
        found: None,
    }
}

fn new(subject: &str) -> NewResolution<'_> {
    NewResolution { subject, person: "alice", document: b"{}", signature: "signed" }
}

/// A run that left these subjects open.
fn left(run: &Fixture, subjects: &[&str]) -> RunRecord {
    let mut journal = run.begin(9).expect("begins");
    let made = change(&mut journal, b"a", b"b");
    let seq = journal.intend(Role::Fix, &made).expect("intended");
    journal.done(seq).expect("marked");
    let open: Vec<_> = subjects.iter().map(|subject| open(subject)).collect();
    let id = journal.run().to_owned();
    journal.finish_leaving(Outcome::RollbackIncomplete, "no", &json!({}), &open, 3_000).expect("finished");
    drop(journal);
    run.state.runs().get(&id).expect("found")
}

#[test]
fn nothing_is_open_of_a_run_that_ended_well() {
    let run = fixture();
    let mut journal = run.begin(1).expect("begins");
    let error = journal.finish_leaving(Outcome::Committed, "ok", &json!({}), &[open("/a")], 3_000).expect_err("open");
    assert!(matches!(error, RecordError::JournalRule { .. }), "{error}");
    journal.finish(Outcome::Committed, "ok", &json!({}), 3_000).expect("finished");
}

#[test]
fn each_subject_is_closed_once_and_the_run_is_settled_with_the_last() {
    let run = fixture();
    let (runs, record) = (run.state.runs(), left(&run, &["/a", "/b"]));
    for (at, subject) in ["/a", "/b"].into_iter().enumerate() {
        assert_eq!(runs.open_subjects(&record.id).expect("read").len(), 2 - at);
        assert_eq!((runs.with_open_subjects().expect("read").len(), runs.unsettled().expect("read").len()), (1, 0));
        let resolving =
            runs.resolve(&record, new(subject), runs.hold(Wanted::target(TARGET)).expect("held")).expect("begins");
        assert_eq!(runs.being_resolved().expect("read").len(), 1);
        assert!(runs.hold(Wanted::target(TARGET)).is_err(), "its target is held");
        drop(resolving.close().expect("closed"));
        let again = runs.resolve(&record, new(subject), runs.hold(Wanted::target(TARGET)).expect("held"));
        assert!(matches!(again.expect_err("closed"), RecordError::NotFound { .. }));
    }
    assert_eq!((runs.with_open_subjects().expect("read").len(), runs.unsettled().expect("read").len()), (0, 1));
    assert_eq!(runs.resolutions(&record.id).expect("read").iter().filter(|one| one.closed == Some(true)).count(), 2);
    assert_eq!(runs.get(&record.id).expect("found"), record, "how it ended stays what it was");
}

/// Its changes are its own, after those of the run, and are found again when it died.
#[test]
fn a_resolution_that_died_is_taken_over_and_nothing_else_is_resolved_before() {
    let run = fixture();
    let (runs, record) = (run.state.runs(), left(&run, &["/etc/app.conf", "/b"]));
    let subjects = [Subject { capability: "memory".to_owned(), name: Some("/etc/app.conf".to_owned()) }];
    let on = |target| Wanted { target, subjects: &subjects, gone: &|_| false };
    let mut resolving =
        runs.resolve(&record, new("/etc/app.conf"), runs.hold(on(TARGET)).expect("held")).expect("begins");
    let back = change(&mut resolving.journal, b"somebody's", b"a");
    assert!(resolving.journal.intend(Role::Fix, &back).is_err(), "it is no step's");
    drop(resolving);
    let mut resolving = runs.take_over_resolution(&record).expect("read").expect("it has not ended");
    let back = change(&mut resolving.journal, b"somebody's", b"a");
    resolving.journal.intend(Role::Rollback, &back).expect("intended");
    drop(resolving);
    // Until then nobody begins on its target, nor with its subject on another.
    for wanted in [Wanted::target(TARGET), on(TARGET), on("another")] {
        let held = runs.hold(wanted).err().expect("another died");
        assert!(matches!(&held, BeginError::Busy(holder) if holder.run.as_ref() == Some(&record.id)), "{held}");
    }
    drop(runs.hold(Wanted::target("another")).expect("what it does not want is free"));

    let resolving = runs.take_over_resolution(&record).expect("read").expect("it has not ended");
    assert_eq!((resolving.made().count(), resolving.own().count()), (1, 1));
    assert_eq!(resolving.own().next().and_then(|own| own.resolution), Some(1));
    resolving.fail("it was cut off").expect("recorded");
    assert_eq!(runs.open_subjects(&record.id).expect("read").len(), 2, "it stays open");
    let shown = runs.resolutions(&record.id).expect("read");
    assert_eq!((shown[0].closed, shown[0].note.as_deref()), (Some(false), Some("it was cut off")));
    drop(
        runs.resolve(&record, new("/b"), runs.hold(Wanted::target(TARGET)).expect("held"))
            .expect("begins")
            .close()
            .expect("closed"),
    );
}

/// A target that hung in one thing may answer in the next.
#[test]
fn what_was_given_up_is_of_what_the_run_was_at() {
    let run = fixture();
    let (runs, record) = (run.state.runs(), left(&run, &["/a", "/b"]));
    let begin = |subject| runs.resolve(&record, new(subject), runs.hold(Wanted::target(TARGET)).expect("held"));
    let why = || runs.given_up(&record.id).expect("read");
    let resolving = begin("/a").expect("begins");
    assert_eq!(why(), None);
    runs.give_up(&record.id, "it hung", 1).expect("recorded");
    assert_eq!(why().as_deref(), Some("it hung"));
    drop(resolving.close().expect("closed"));
    assert_eq!(why(), None, "that one ended");
    let resolving = begin("/b").expect("begins");
    assert_eq!(why(), None, "another one is another");
    drop(resolving.close().expect("closed"));
    runs.give_up(&record.id, "letting go hung", 2).expect("recorded");
    assert_eq!(why().as_deref(), Some("letting go hung"));
}
