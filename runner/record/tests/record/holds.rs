//! What a run holds besides its target.

use countersign_record::{BeginError, Hold, Holder, State, Subject, Wanted};

use crate::support::{TARGET, begin, fixture};

fn file(name: &str) -> Subject {
    Subject { capability: "files".to_owned(), name: Some(name.to_owned()) }
}

fn every(capability: &str) -> Subject {
    Subject { capability: capability.to_owned(), name: None }
}

fn hold(state: &State, target: &str, subjects: &[Subject]) -> Result<Hold, BeginError> {
    state.runs().hold(Wanted { subjects, ..Wanted::target(target) })
}

#[test]
fn a_subject_has_one_run_at_a_time_whatever_its_target() {
    let run = fixture();
    let held = hold(&run.state, TARGET, &[file("/a"), file("/b")]).expect("free");
    drop(hold(&run.state, "web-2", &[file("/c")]).expect("nobody has it"));
    let error = hold(&run.state, "web-2", &[file("/c"), file("/b")]).map(drop).expect_err("held");
    let process = std::process::id();
    let says = format!("`/b` is held by a run that is just beginning or ending on `{TARGET}` (process {process})");
    assert_eq!(error.to_string(), says);
    // All or none: what was free is free still.
    drop(hold(&run.state, "web-3", &[file("/c")]).expect("it was not taken"));
    drop(held);
    drop(hold(&run.state, "web-2", &[file("/b")]).expect("free again"));
}

#[test]
fn one_subject_of_two_capabilities_is_two() {
    let run = fixture();
    let _held = hold(&run.state, TARGET, &[file("/a")]).expect("free");
    let other = Subject { capability: "process".to_owned(), name: Some("/a".to_owned()) };
    drop(hold(&run.state, "web-2", &[other]).expect("another capability's"));
}

#[test]
fn every_subject_is_held_with_each() {
    let run = fixture();
    let one = hold(&run.state, TARGET, &[file("/a")]).expect("free");
    let error = hold(&run.state, "web-2", &[every("files")]).map(drop).expect_err("one of them is held");
    assert!(error.to_string().starts_with("`/a` is held"), "{error}");
    drop(hold(&run.state, "web-2", &[every("process")]).expect("free"));
    drop(one);
    let _all = hold(&run.state, "web-2", &[every("files")]).expect("free");
    let error = hold(&run.state, TARGET, &[file("/a")]).map(drop).expect_err("it is among them");
    assert!(error.to_string().starts_with("`/a` is held"), "{error}");
    let error = hold(&run.state, TARGET, &[every("files")]).map(drop).expect_err("all are held");
    assert!(error.to_string().starts_with("every subject of `files` is held"), "{error}");
}

/// Each has what the other wants: one has both at the end of each round, and nobody waits for ever.
#[test]
fn two_that_want_the_same_in_another_order_never_wait_for_one_another() {
    let run = fixture();
    std::thread::scope(|scope| {
        for (target, names) in [("web-2", ["/a", "/b"]), ("web-3", ["/b", "/a"])] {
            let state = &run.state;
            scope.spawn(move || {
                let wanted = names.map(file);
                for _ in 0..20 {
                    while hold(state, target, &wanted).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
}

#[test]
fn what_a_dead_run_holds_is_held_until_it_is_recovered() {
    let run = fixture();
    let subjects = [file("/a")];
    let held = hold(&run.state, TARGET, &subjects).expect("free");
    let journal = run.begin_held(held).expect("begins");
    let id = journal.run().to_owned();
    let wanted = Wanted { subjects: &subjects, ..Wanted::target("web-2") };
    match run.state.runs().hold(wanted).map(drop).expect_err("held") {
        BeginError::Busy(Holder { target, run, subject, .. }) => {
            assert_eq!((target.as_str(), run, subject.as_deref()), (TARGET, Some(id.clone()), Some("`/a`")));
        }
        other => panic!("{other}"),
    }
    assert!(run.state.runs().blocking(wanted).expect("told").is_none(), "it lives");
    drop(journal);
    match run.state.runs().hold(wanted).map(drop).expect_err("blocked") {
        BeginError::Unfinished(unfinished) => {
            assert_eq!((unfinished.run(), unfinished.target()), (id.as_str(), TARGET))
        }
        other => panic!("{other}"),
    }
    assert_eq!(run.state.runs().blocking(wanted).expect("told").expect("it died").run(), id);
    // Whoever takes the run over holds the same again.
    let taken = run.state.runs().take_over(&id).expect("readable").expect("free");
    assert!(matches!(run.state.runs().hold(wanted), Err(BeginError::Busy(Holder { run: Some(_), .. }))));
    drop(taken);
    // Where its target is gone, nobody ever will.
    let gone = |name: &str| name == TARGET;
    drop(run.state.runs().hold(Wanted { gone: &gone, ..wanted }).expect("free"));
    assert!(begin(&run.state, TARGET, &run.proposal, &run.manifest, 9).is_err(), "and the target is blocked");
}
