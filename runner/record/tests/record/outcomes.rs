//! Who may begin, what a use is, and which outcome a run may claim.

use std::sync::Barrier;

use countersign_model::{Digest, Outcome, Role};
use countersign_record::{BeginError, Holder, RecordError, Refusal, RunState, State, Wanted};
use serde_json::json;

use crate::support::{TARGET, approve, begin, change, fixture, signal};

#[test]
fn an_approval_is_good_for_so_many_runs() {
    let run = fixture();
    assert!(matches!(run.begin(0), Err(BeginError::UsedUp { used: 0, max: 0 })));
    for used in 1..=2 {
        let mut journal = run.begin(2).expect("begins");
        journal.finish(Outcome::Committed, "ok", &json!({}), 3_000).expect("finished");
        assert_eq!(run.state.runs().uses(&run.manifest, crate::support::TARGET).expect("counted"), used);
    }
    let error = run.begin(2).expect_err("used up");
    assert!(matches!(error, BeginError::UsedUp { used: 2, max: 2 }));
    assert_eq!(error.to_string(), "the approval is used up: 2 of 2 uses are spent");
    assert_eq!(run.state.runs().list(10).expect("listed").len(), 2, "nothing else was recorded");
    // An approval names its targets, and is good for so many runs on each.
    begin(&run.state, "web-2", &run.proposal, &run.manifest, 2).expect("another target has uses of its own");
}

#[test]
fn a_refusal_spends_no_use() {
    let run = fixture();
    let refusal = Refusal { proposal: &run.proposal, target: TARGET, reason: "expired", at: 3_000, actor: None };
    let id = run.state.runs().refuse(refusal).expect("recorded");
    let found = run.state.runs().get(&id).expect("found");
    assert_eq!((found.state, found.reason.as_deref()), (RunState::Finished(Outcome::Refused), Some("expired")));
    assert_eq!((found.manifest, found.bundle), (None, Digest::of(b"bundle")));
    let unknown = Digest::of(b"unknown");
    assert!(run.state.runs().refuse(Refusal { proposal: &unknown, ..refusal }).is_err());

    // Nor does a run that found its target drifted before its first change.
    let mut journal = run.begin(1).expect("begins");
    let change = change(&mut journal, b"a", b"b");
    let seq = journal.intend(Role::Fix, &change).expect("intended");
    journal.failed(seq, false).expect("failed");
    journal.finish(Outcome::Refused, "drifted", &json!({}), 3_000).expect("finished");
    assert_eq!(run.state.runs().uses(&run.manifest, crate::support::TARGET).expect("counted"), 0);
    drop(journal);
    run.begin(1).expect("begins");
}

/// It may have been kept while the run was tested.
#[test]
fn a_denial_that_was_kept_lets_no_run_begin() {
    let run = fixture();
    let (other, _) = approve(&run.state, b"other");
    run.state.approvals().add_denial(&other, b"no", "signed", &[]).expect("denied");
    run.begin(2).expect("another proposal's denial").finish(Outcome::Committed, "ok", &json!({}), 3_000).expect("ends");
    run.state.approvals().add_denial(&run.proposal, b"no, not this", "signed", &[]).expect("denied");
    let error = run.begin(2).expect_err("denied");
    assert!(matches!(error, BeginError::Denied), "{error}");
    assert_eq!(run.state.runs().uses(&run.manifest, TARGET).expect("counted"), 1);
}

#[test]
fn a_manifest_approves_only_its_own_proposal() {
    let run = fixture();
    let (other, _) = approve(&run.state, b"other");
    for (proposal, manifest) in [(other, run.manifest), (run.proposal, Digest::of(b"unknown"))] {
        let error = begin(&run.state, TARGET, &proposal, &manifest, 1).expect_err("refused");
        assert!(matches!(error, BeginError::Record(RecordError::NotFound { .. })), "{error}");
    }
}

#[test]
fn a_target_has_one_run_at_a_time() {
    let run = fixture();
    let journal = run.begin(9).expect("begins");
    let runs = run.state.runs();
    match run.begin(9).expect_err("busy") {
        BeginError::Busy(holder) => {
            assert_eq!((holder.run.as_deref(), holder.process), (Some(journal.run()), Some(std::process::id())));
        }
        other => panic!("{other}"),
    }
    assert_eq!(runs.running(TARGET).expect("told").as_deref(), Some(journal.run()));
    assert!(runs.unfinished(TARGET).expect("told").is_none());
    assert_eq!(runs.get(journal.run()).expect("found").state, RunState::Running);
    let elsewhere = begin(&run.state, "web-2", &run.proposal, &run.manifest, 9).expect("another target is free");

    let id = journal.run().to_owned();
    drop(journal);
    assert_eq!(runs.running(TARGET).expect("told"), None);
    let blocked = runs.unfinished(TARGET).expect("told").expect("unfinished");
    assert_eq!((blocked.run(), blocked.target()), (id.as_str(), TARGET));
    match run.begin(9).expect_err("blocked") {
        BeginError::Unfinished(unfinished) => assert_eq!(unfinished.run(), id),
        other => panic!("{other}"),
    }
    let listed = runs.list(10).expect("listed");
    let state = |id: &str| listed.iter().find(|run| run.id == id).expect("listed").state;
    assert_eq!((state(&id), state(elsewhere.run())), (RunState::Unfinished, RunState::Running));
}

#[test]
fn a_finished_run_holds_its_target_until_it_is_let_go() {
    let run = fixture();
    let mut journal = run.begin(9).expect("begins");
    journal.finish(Outcome::Committed, "", &json!({}), 3_000).expect("finished");
    let error = run.begin(9).expect_err("busy");
    let process = std::process::id();
    let says = format!("the target is held by a run that is just beginning or ending (process {process})");
    assert_eq!(error.to_string(), says);
    drop(journal);
    run.begin(9).expect("begins");
}

#[test]
fn a_target_that_is_held_is_begun_by_its_holder_alone() {
    let run = fixture();
    let runs = run.state.runs();
    let hold = runs.hold(Wanted::target(TARGET)).expect("free");
    assert!(matches!(runs.hold(Wanted::target(TARGET)), Err(BeginError::Busy(Holder { run: None, .. }))));
    assert!(matches!(run.begin(9), Err(BeginError::Busy(Holder { run: None, .. }))));
    drop(hold);
    let hold = runs.hold(Wanted::target(TARGET)).expect("free again");
    let journal = run.begin_held(hold).expect("begins");
    assert!(matches!(runs.hold(Wanted::target(TARGET)), Err(BeginError::Busy(Holder { run: Some(_), .. }))));
    drop(journal);
    assert!(
        matches!(runs.hold(Wanted::target(TARGET)), Err(BeginError::Unfinished(_))),
        "it died, and blocks its target"
    );
}

#[test]
fn of_many_threads_one_begins() {
    let run = fixture();
    let threads = 8;
    let barrier = Barrier::new(threads);
    let held: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let state = State::open(run.path()).expect("opens");
                    barrier.wait();
                    // Journals are kept, so that nobody begins after another has ended.
                    begin(&state, TARGET, &run.proposal, &run.manifest, 100)
                })
            })
            .collect();
        spawned.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(held.iter().filter(|result| result.is_ok()).count(), 1);
    for error in held.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(error, BeginError::Busy(Holder { run: Some(_), .. })), "{error}");
    }
    assert_eq!(run.state.runs().list(10).expect("listed").len(), 1);
}

#[test]
fn looking_never_stands_in_the_way_of_beginning() {
    let run = fixture();
    // An unfinished run on another target makes every look take that target's lock for a moment.
    drop(begin(&run.state, "web-2", &run.proposal, &run.manifest, 1_000).expect("begins"));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let state = State::open(run.path()).expect("opens");
            for _ in 0..100 {
                state.runs().list(10).expect("listed");
                assert_eq!(state.runs().running("web-2").expect("told"), None);
                assert!(state.runs().unfinished("web-2").expect("told").is_some());
            }
        });
        for _ in 0..50 {
            let error = begin(&run.state, "web-2", &run.proposal, &run.manifest, 1_000).expect_err("unfinished");
            assert!(matches!(error, BeginError::Unfinished(_)), "{error}");
        }
        looks.join().expect("no panic");
    });
}

#[test]
fn an_outcome_must_agree_with_the_changes() {
    let run = fixture();
    let finish = |journal: &mut countersign_record::Journal, outcome| {
        journal.finish(outcome, "why", &json!({}), 3_000).map_err(|error| error.to_string())
    };
    // Applied, or perhaps applied: neither refused nor rolled back.
    let mut journal = run.begin(99).expect("begins");
    let first = change(&mut journal, b"a", b"b");
    let seq = journal.intend(Role::Fix, &first).expect("intended");
    for outcome in [Outcome::Refused, Outcome::Committed, Outcome::RolledBack] {
        let error = finish(&mut journal, outcome).expect_err("an intent is open");
        assert!(error.contains("while change 1 is `intended`"), "{error}");
    }
    journal.done(seq).expect("done");
    for outcome in [Outcome::Refused, Outcome::RolledBack] {
        assert!(finish(&mut journal, outcome).expect_err("done").contains("while change 1 is `done`"));
    }
    // A wrong claim does not end the journal.
    assert_eq!(journal.failure(), None);
    let signal = journal.intend(Role::Fix, &signal()).expect("intended");
    journal.done_now(signal).expect("done");
    journal.begin_rollback("the check failed").expect("rolls back");
    assert!(finish(&mut journal, Outcome::Committed).is_err(), "it is being rolled back");
    assert!(finish(&mut journal, Outcome::RolledBack).is_err(), "the file is not undone");
    journal.undone(seq).expect("undone");
    finish(&mut journal, Outcome::RolledBack).expect("the signal is irreversible, the file undone");
    drop(journal);

    for outcome in [Outcome::RollbackIncomplete, Outcome::InDoubt] {
        let mut journal = run.begin(99).expect("begins");
        let change = change(&mut journal, b"a", b"b");
        journal.intend(Role::Fix, &change).expect("intended");
        finish(&mut journal, outcome).expect("these claim nothing");
    }
    let states: Vec<_> = run
        .state
        .runs()
        .of_bundle(&Digest::of(b"bundle"), 10)
        .expect("listed")
        .into_iter()
        .map(|run| run.state)
        .collect();
    assert_eq!(states.len(), 3);
    assert!(!states.contains(&RunState::Running) && !states.contains(&RunState::Unfinished));
}

#[test]
fn runs_are_found_by_what_people_type() {
    let run = fixture();
    let mut journal = run.begin(9).expect("begins");
    journal.finish(Outcome::Committed, "all is well", &json!({}), 3_000).expect("finished");
    let id = journal.run().to_owned();
    assert_eq!(id.len(), 14);
    for name in [id.as_str(), &id[2..], &id[..8], &id[2..8]] {
        let found = run.state.runs().get(name).expect(name);
        assert_eq!((found.id.as_str(), found.started, found.finished), (id.as_str(), 2_000, Some(3_000)));
        assert_eq!((found.approvers, found.independent), (vec!["alice".to_owned()], true));
        assert_eq!((found.manifest, found.reason.as_deref()), (Some(run.manifest), Some("all is well")));
    }
    for bad in ["r-", &id[..7], "r-zzzzzz", "p-123456"] {
        assert!(matches!(run.state.runs().get(bad), Err(RecordError::BadName { .. })), "{bad}");
    }
    // However many are refused, they hide none that began.
    let refusal = Refusal { proposal: &run.proposal, target: TARGET, reason: "drifted", at: 9_000, actor: None };
    (0..3).for_each(|_| drop(run.state.runs().refuse(refusal).expect("recorded")));
    let (runs, bundle) = (run.state.runs(), Digest::of(b"bundle"));
    for began in [runs.of_proposal(&run.proposal, 2), runs.of_bundle(&bundle, 2)] {
        assert_eq!(began.expect("listed").into_iter().map(|run| run.id).collect::<Vec<_>>(), [id.as_str()]);
    }
    assert_eq!(runs.refused_of_bundle(&bundle, 2).expect("listed").len(), 2);
    assert_eq!(run.state.runs().list(0).expect("listed"), []);
}
