//! Runs that wait for a person's word: who was first is decided once, and by the database.

use std::time::{Duration, Instant};

use countersign_model::{Outcome, Role};
use countersign_record::{Decided, Journal, KeptConfirmation, RunState, Waiting};
use serde_json::json;

use crate::support::{Fixture, change, fail, fixture};

/// A run with one change that waits until 5,000.
fn waiting(run: &Fixture) -> Journal {
    let mut journal = run.begin(9).expect("begins");
    let change = change(&mut journal, b"before", b"after");
    let seq = journal.intend(Role::Fix, &change).expect("intended");
    journal.done(seq).expect("done");
    journal.wait(3_000, 5_000).expect("it waits");
    journal
}

fn word(text: &str) -> KeptConfirmation {
    KeptConfirmation { document: text.as_bytes().to_vec(), signature: format!("signed {text}") }
}

#[test]
fn a_waiting_run_is_seen_and_its_changes_are_known() {
    let run = fixture();
    let journal = waiting(&run);
    let waits = Some(Waiting { since: 3_000, until: 5_000, kept: None });
    let seen = run.state.runs().get(journal.run()).expect("a run");
    assert_eq!((seen.state, seen.waits().cloned()), (RunState::Running, waits.clone()));
    // What became of its changes does not wait for another commit: whoever takes it over need not probe.
    assert_eq!(run.state.runs().changes(journal.run()).expect("changes")[0].state.to_string(), "done");
    let id = journal.run().to_owned();
    assert!(run.state.runs().take_over(&id).expect("it can be told").is_none(), "its process is alive");
    drop(journal);
    let taken = run.state.runs().take_over(&id).expect("it can be told").expect("nobody holds it");
    assert_eq!((taken.run.waits(), taken.journal.is_rolling_back()), (waits.as_ref(), false));
}

#[test]
fn words_are_kept_while_it_waits_and_no_longer() {
    let run = fixture();
    let runs = run.state.runs();
    let mut journal = run.begin(9).expect("begins");
    let id = journal.run().to_owned();
    let kept = |text: &str, now| runs.add_confirmation(&id, &word(text), now, &[]).expect("it can be told");
    assert!(!kept("too early", 2_500), "it does not wait yet");
    journal.wait(3_000, 5_000).expect("it waits");
    assert!(!kept("too late", 5_000));
    assert!(kept("one", 4_999) && kept("two", 4_000));
    assert_eq!(runs.confirmations(&id).expect("words"), [word("one"), word("two")]);
    assert!(journal.end_waiting(Decided::Keep("both said so"), 2).expect("decided"));
    assert!(!kept("after the decision", 4_000));
    journal.finish(Outcome::Committed, "", &json!({}), 4_500).expect("finished");
    assert!(!kept("after the end", 4_000));
    assert_eq!(runs.confirmations(&id).expect("words").len(), 2);
}

#[test]
fn no_word_is_overheard() {
    let run = fixture();
    let runs = run.state.runs();
    let mut journal = waiting(&run);
    let id = journal.run().to_owned();
    assert!(runs.add_confirmation(&id, &word("keep"), 4_000, &[]).expect("kept"));
    // Whoever looked before it was kept decides nothing by that look.
    for decided in [Decided::RollBack("nobody said anything"), Decided::Keep("silence keeps")] {
        assert!(!journal.end_waiting(decided, 0).expect("it can be told"));
    }
    assert!(!journal.is_rolling_back());
    assert!(runs.get(&id).expect("a run").waits().expect("it waits").kept.is_none());
    assert!(journal.end_waiting(Decided::RollBack("the word does not count"), 1).expect("decided"));
    assert!(journal.is_rolling_back());
    let seen = runs.get(&id).expect("a run");
    assert_eq!((seen.rollback.as_deref(), seen.waits()), (Some("the word does not count"), None));
    assert!(journal.end_waiting(Decided::Keep("changed my mind"), 1).is_err(), "it was decided");
}

#[test]
fn a_decision_that_cannot_be_written_is_none() {
    let run = fixture();
    let mut journal = waiting(&run);
    fail(&run.second(), "UPDATE OF kept ON runs");
    journal.end_waiting(Decided::Keep("silence keeps"), 0).expect_err("the disk is full");
    let id = journal.run().to_owned();
    assert!(run.state.runs().get(&id).expect("a run").waits().expect("it waits").kept.is_none());
    // It may be tried again, and what is decided then counts.
    run.second().execute_batch("DROP TRIGGER broken").expect("room again");
    assert!(journal.end_waiting(Decided::Keep("silence keeps"), 0).expect("decided"));
    drop(journal);
    let mut taken = run.state.runs().take_over(&id).expect("it can be told").expect("nobody holds it");
    assert_eq!(taken.run.waits().expect("it waits").kept.as_deref(), Some("silence keeps"));
    taken.journal.finish(Outcome::Committed, "silence keeps", &json!({}), 6_000).expect("it commits");
}

#[test]
fn a_word_ends_the_wait_at_once() {
    let run = fixture();
    let watch = run.state.watch_waiting();
    run.state.tell_waiting().expect("told");
    let begun = Instant::now();
    watch.wait(Duration::from_secs(60));
    assert!(begun.elapsed() < Duration::from_secs(60), "it was told");
    // It is told once.
    let begun = Instant::now();
    watch.wait(Duration::from_millis(50));
    assert!(begun.elapsed() >= Duration::from_millis(50));
}
