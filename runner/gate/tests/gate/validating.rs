//! Validators are asked of what was written before anything irreversible.

use countersign_model::Role;

use crate::support::{Host, Run, put, ring, turn};

fn host() -> Host {
    Host::with(&[("a", "1"), ("b", "2"), ("c", "3"), ("bell", "b")])
}

#[test]
fn validators_are_asked_with_what_was_written_before_anything_irreversible() {
    let host = host();
    let calls = [
        put("shelf", "a", "one"),
        turn("shelf", "b", 7),
        ring("shelf", "bell", 1),
        ring("shelf", "bell", 2),
        put("shelf", "c", "three"),
        ring("shelf", "bell", 3),
        put("shelf", "a", "last"),
    ];
    let mut run = Run::exact(&host, &calls, &[]);
    let asked = [0, 0, 1, 1, 1, 2, 2];
    for (call, asked) in calls.iter().zip(asked) {
        run.value(call.clone());
        assert_eq!(run.validated().len(), asked);
    }
    assert_eq!(run.validated(), [vec!["a", "b"], vec!["c"]]);
    run.with_live(|live, _| live.validate()).expect("valid");
    run.with_live(|live, _| live.validate()).expect("nothing is left to ask");
    assert_eq!(run.validated(), [vec!["a", "b"], vec!["c"], vec!["a"]]);
}

/// Before it is applied, not after: the validator looks at a target that nothing irreversible happened to.
#[test]
fn a_refusing_validator_stops_before_the_irreversible_change() {
    let host = host();
    let mut run = Run::exact(&host, &[put("shelf", "a", "one"), ring("shelf", "bell", 1)], &[]);
    run.value(put("shelf", "a", "one"));
    run.validators.lock().expect("validators").refusal = Some("line 3 is wrong".to_owned());
    assert_eq!(run.stop(ring("shelf", "bell", 1)), "line 3 is wrong");
    assert_eq!(run.failure().as_deref(), Some("line 3 is wrong"));
    assert!(!host.shelf.asked().contains(&"apply bell".to_owned()));
    assert_eq!(run.journaled(), 1, "nor was it journaled");
    // What was refused is not valid because it was asked once.
    assert!(run.with_live(|live, _| live.validate()).is_err());
}

#[test]
fn validators_are_asked_only_where_something_was_written() {
    let host = host();
    let mut run = Run::exact(&host, &[ring("shelf", "bell", 1)], &[]);
    run.value(ring("shelf", "bell", 1));
    assert!(run.validated().is_empty());
}

/// What a rollback follows is the target's own before-image, good or bad: nothing may stop it.
#[test]
fn validators_are_not_asked_for_a_rollback() {
    let host = host();
    let fix = [put("shelf", "a", "one")];
    let back = [put("shelf", "c", "back"), ring("shelf", "bell", 1)];
    let mut run = Run::exact(&host, &fix, &back);
    run.value(fix[0].clone());
    run.validators.lock().expect("validators").refusal = Some("line 3 is wrong".to_owned());
    run.undo();
    run.begin_rollback();
    back.iter().for_each(|call| drop(run.value(call.clone())));
    assert!(run.validated().is_empty());
    // Nor are they told later of what the rollback wrote.
    assert!(run.with_live(|live, _| live.validate()).is_err());
    assert_eq!(run.validated(), [vec!["a"]]);
    let roles = run.with_live(|live, _| live.made().map(|(role, _)| role).collect::<Vec<_>>());
    assert_eq!(roles, [Role::Fix, Role::Rollback, Role::Rollback]);
}
