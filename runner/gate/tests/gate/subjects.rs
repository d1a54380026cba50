//! A call is inside its bounds, and what it turned out to change is not.

use countersign_model::{Plan, Role};

use crate::support::{ALL, Host, Run, get, put};

/// `a-link` stands for `secret`.
fn host() -> Host {
    let host = Host::with(&[("secret", "1")]);
    host.shelf.lock().aliases.insert("a-link".to_owned(), "secret".to_owned());
    host
}

/// The grant is wide and the ceiling narrow, the other way round, and neither takes in the subject.
const BOUNDS: [(&[&str], &[&str]); 3] = [
    (&["shelf.write *"], &["shelf.write a*"]),
    (&["shelf.write a*"], &["shelf.write *"]),
    (&["shelf.write a*"], &["shelf.write a*"]),
];

#[test]
fn a_subject_that_is_not_covered_is_denied_in_a_rehearsal_and_listed() {
    for (grants, ceiling) in BOUNDS {
        let host = host();
        let mut bench = host.rehearsing();
        bench.begin_under(Role::Fix, grants, ceiling);
        let what = bench.denial(put("shelf", "a-link", "2"));
        assert!(what.contains("`secret`"), "{what}");
        let denied = bench.denied();
        assert_eq!(denied.len(), 1, "{grants:?}");
        assert!(denied[0].why.contains("`secret`"), "{}", denied[0].why);
        assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().clone()), Plan::default());
        assert_eq!(host.shelf.asked(), ["prepare a-link"]);
        // The step goes on, to be told of everything that is missing.
        bench.denial(put("shelf", "b", "2"));
        assert_eq!(bench.denied().len(), 2);
    }
}

/// What was called is covered already: its least grant would change nothing.
#[test]
fn no_grant_is_said_to_allow_what_it_would_not() {
    for (grants, ceiling) in BOUNDS {
        let host = host();
        let mut bench = host.rehearsing();
        bench.begin_under(Role::Fix, grants, ceiling);
        let what = bench.denial(put("shelf", "a-link", "2"));
        assert!(!what.contains("would allow it"), "{what}");
    }
}

#[test]
fn a_subject_that_may_not_be_read_is_denied_in_a_rehearsal() {
    let host = host();
    let mut bench = host.rehearsing();
    bench.begin_readable(Role::Fix, ALL, ALL, &["shelf.read a*"]);
    let what = bench.denial(put("shelf", "a-link", "2"));
    assert!(what.contains("`secret`"), "{what}");
    assert_eq!(bench.denied().len(), 1);
    assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().clone()), Plan::default());
    assert_eq!(host.shelf.asked(), ["prepare a-link"]);
}

#[test]
fn a_subject_that_is_not_covered_ends_a_runs_step() {
    for (grants, ceiling) in BOUNDS {
        let host = host();
        let mut run = Run::scoped(&host);
        run.begin_under(Role::Fix, grants, ceiling);
        let why = run.stop(put("shelf", "a-link", "2"));
        assert!(why.contains("`secret`"), "{why}");
        assert!(run.failure().expect("it cannot be committed").contains("`secret`"));
        assert_eq!(run.denied().len(), 1);
        assert_eq!((run.journaled(), run.changed()), (0, false));
        assert_eq!(host.shelf.asked(), ["prepare a-link"]);
        assert_eq!(host.shelf.content("secret"), "1");
    }
}

/// What a session refuses by what it opened is denied like what the gate refuses by the call's text.
#[test]
fn what_a_session_denies_is_denied() {
    let host = Host::with(&[("secret", "1")]);
    host.shelf.lock().forbidden.insert("secret".to_owned());
    for call in [put("shelf", "secret", "2"), get("shelf", "secret")] {
        let mut run = Run::scoped(&host);
        let why = run.stop(call.clone());
        assert!(why.contains("`secret` is never touched"), "{why}");
        assert!(run.failure().expect("it cannot be committed").contains("`secret` is never touched"));
        assert_eq!(run.denied().len(), 1);

        for role in [Role::Fix, Role::Rollback] {
            let mut bench = host.rehearsing();
            bench.begin(role, ALL);
            bench.denial(call.clone());
            assert_eq!(bench.denied().len(), 1, "a run would end there, so nobody should approve it");
        }
    }
    // A check is asked again and again and ends nothing; that it cannot look is its answer.
    let mut bench = host.rehearsing();
    bench.begin(Role::Check, ALL);
    bench.denial(get("shelf", "secret"));
    assert_eq!(bench.denied().len(), 0);
}
