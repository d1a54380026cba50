//! What an earlier run changed is put back through the same gate: permitted, compared with the plan, journaled.

use countersign_model::{Change, Mode, Plan, Reply, Reversibility, Role, Stop};

use crate::support::{ALL, Bench, Host, Run, put, remove, ring};

/// A shelf on which an earlier run made these changes.
fn earlier() -> (Host, Vec<Change>) {
    let host = Host::with(&[("a", "1"), ("b", "2"), ("bell", "b")]);
    let plan = host.plan(&[put("shelf", "a", "one"), remove("shelf", "b"), put("shelf", "a", "uno")], &[]);
    host.shelf.set("a", "uno");
    host.shelf.lock().entries.remove("b");
    (host, plan.forward)
}

fn revert(bench: &Bench, change: &Change) -> Result<Reply, Stop> {
    bench.port.lock().revert(change)
}

/// The plan of undoing these changes, last first, with a rollback step's ring after them.
fn planned(host: &Host, changes: &[Change]) -> Plan {
    let mut bench = host.rehearsing();
    bench.begin_forward(Role::Fix, ALL);
    bench.keep_images(&["1", "2", "one", "uno"]);
    for change in changes.iter().rev() {
        assert!(matches!(revert(&bench, change), Ok(Reply::Value(_))));
    }
    bench.begin_forward(Role::Rollback, ALL);
    bench.value(ring("shelf", "bell", 1));
    bench.rehearsal(|rehearsal, _| rehearsal.plan().clone())
}

#[test]
fn a_chain_is_rehearsed_backwards_on_the_overlay() {
    let (host, changes) = earlier();
    let plan = planned(&host, &changes);
    let subjects: Vec<_> = plan.forward.iter().map(|change| change.subject.as_str()).collect();
    assert_eq!((subjects, plan.back.len()), (vec!["a", "b", "a", "bell"], 0), "the rollback step's change is forward");
    assert_eq!(plan.forward[3].reversibility, Reversibility::Irreversible);
    assert_eq!(host.shelf.content("a"), "uno", "a rehearsal changes nothing");
}

#[test]
fn a_run_puts_everything_back_and_can_be_undone_itself() {
    let (host, changes) = earlier();
    let plan = planned(&host, &changes);
    let mut run = Run::of(&host, Mode::Exact, &plan);
    run.keep_images(&["1", "2", "one", "uno"]);
    run.begin_forward(Role::Fix, ALL);
    for change in changes.iter().rev() {
        assert!(matches!(revert(&run, change), Ok(Reply::Value(_))));
    }
    run.begin_forward(Role::Rollback, ALL);
    run.value(ring("shelf", "bell", 1));
    run.complete().expect("the whole plan was done");
    assert_eq!((host.shelf.content("a").as_str(), host.shelf.content("b").as_str()), ("1", "2"));
    assert_eq!(run.journaled(), 4);
    assert_eq!(run.undo().len(), 4);
    assert_eq!((host.shelf.content("a").as_str(), host.shelf.content("b").as_str()), ("uno", "-"));
}

#[test]
fn the_intent_is_durable_before_anything_is_put_back() {
    let (host, changes) = earlier();
    let run = Run::of(&host, Mode::Exact, &planned(&host, &changes));
    run.keep_images(&["1", "2", "one", "uno"]);
    run.break_journal("INSERT ON changes");
    run.begin_forward(Role::Fix, ALL);
    assert!(revert(&run, &changes[2]).is_err_and(|Stop(why)| why.contains("the journal cannot be written")));
    assert_eq!(host.shelf.content("a"), "uno");
}

#[test]
fn a_later_edit_ends_the_run_and_is_left_alone() {
    let (host, changes) = earlier();
    let run = Run::of(&host, Mode::Exact, &planned(&host, &changes));
    run.keep_images(&["1", "2", "one", "uno"]);
    host.shelf.set("a", "mine");
    run.begin_forward(Role::Fix, ALL);
    assert!(revert(&run, &changes[2]).is_err_and(|Stop(why)| why.contains("it has the content")));
    assert!(run.failure().is_some());
    assert_eq!((host.shelf.content("a").as_str(), run.journaled()), ("mine", 0));
    // A stop is final: nothing else is put back either.
    assert!(revert(&run, &changes[1]).is_err());
    assert_eq!(host.shelf.content("b"), "-");
}

#[test]
fn another_order_or_another_change_is_a_deviation() {
    let (host, changes) = earlier();
    let run = Run::of(&host, Mode::Exact, &planned(&host, &changes));
    run.keep_images(&["1", "2", "one", "uno"]);
    run.begin_forward(Role::Fix, ALL);
    assert!(revert(&run, &changes[1]).is_err_and(|Stop(why)| why.starts_with("deviation")));
    assert_eq!(host.shelf.content("b"), "-");
}

#[test]
fn what_no_grant_or_ceiling_covers_is_not_put_back() {
    let (host, changes) = earlier();
    let plan = planned(&host, &changes);
    for (grants, ceiling) in [(&["shelf.write b"][..], ALL), (ALL, &["shelf.write b"]), (&["shelf.read *"], ALL)] {
        let run = Run::of(&host, Mode::Exact, &plan);
        run.keep_images(&["1", "2", "one", "uno"]);
        run.begin_under(Role::Fix, grants, ceiling);
        assert!(revert(&run, &changes[2]).is_err_and(|Stop(why)| why.contains("no grant or ceiling covers")));
        assert_eq!((host.shelf.content("a").as_str(), run.journaled()), ("uno", 0));
    }
    // In a rehearsal nothing may be planned that nobody may read, since a plan shows it.
    let bench = host.rehearsing();
    bench.keep_images(&["1", "2", "one", "uno"]);
    bench.begin_readable(Role::Fix, ALL, ALL, &["shelf.read b"]);
    assert!(revert(&bench, &changes[2]).is_err());
}

#[test]
fn nothing_is_put_back_while_nothing_runs_or_something_only_looks() {
    let (host, changes) = earlier();
    let run = Run::of(&host, Mode::Exact, &planned(&host, &changes));
    assert!(revert(&run, &changes[2]).is_err_and(|Stop(why)| why.contains("nothing was running")));
    let bench = host.observing();
    bench.begin(Role::Check, ALL);
    assert!(revert(&bench, &changes[2]).is_err_and(|Stop(why)| why.contains("while observing")));
    assert_eq!(host.shelf.content("a"), "uno");
}

/// A rollback step that runs after a failed run is not the forward part of anything.
#[test]
fn a_step_that_begins_as_usual_is_no_forward_part() {
    let (host, changes) = earlier();
    let mut bench = host.rehearsing();
    bench.begin_forward(Role::Fix, ALL);
    bench.keep_images(&["1", "2", "one", "uno"]);
    revert(&bench, &changes[2]).expect("reverted");
    bench.begin(Role::Rollback, ALL);
    bench.value(ring("shelf", "bell", 1));
    let plan = bench.rehearsal(|rehearsal, _| rehearsal.plan().clone());
    assert_eq!((plan.forward.len(), plan.back.len()), (1, 1));
}
