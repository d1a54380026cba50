//! What undo needs is kept, or the change is not made: that is no answer that a guest could go on from.

use countersign_capability::Phase;
use countersign_model::{Mode, Plan, Role};

use crate::support::{ALL, Host, Run, put};

#[test]
fn an_image_that_has_no_room_ends_a_rehearsed_step() {
    let host = Host::with(&[("a", "1234"), ("b", "1")]);
    let mut bench = host.rehearsing_with(9);
    bench.begin(Role::Fix, ALL);
    bench.value(put("shelf", "b", "2"));
    let why = bench.stop(put("shelf", "a", "12345"));
    assert!(why.starts_with("the change is not made, since what undo needs cannot be kept: "), "{why}");
    assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().forward.len()), 1);
    bench.stop(put("shelf", "b", "3"));
}

#[test]
fn an_image_that_has_no_room_ends_a_run_before_its_intent() {
    let host = Host::with(&[("a", "1234"), ("b", "1")]);
    let mut run = Run::under_cap(&host, Phase::Live, Mode::Scoped, &Plan::default(), 9);
    run.begin(Role::Fix, ALL);
    run.value(put("shelf", "b", "2"));
    let why = run.stop(put("shelf", "a", "12345"));
    assert!(why.contains("do not fit under the cap: 6 of 9 bytes are taken"), "{why}");
    assert_eq!(run.journaled(), 1, "no intent was recorded");
    assert_eq!(host.shelf.content("a"), "1234");
    assert_eq!(run.failure(), Some(why), "the run cannot be committed");
    // What is kept already takes no more, so undo and the rollback step go on.
    run.undo();
    assert_eq!(host.shelf.content("b"), "1");
    run.begin_rollback();
    host.shelf.set("b", "2");
    run.value(put("shelf", "b", "1"));
}
