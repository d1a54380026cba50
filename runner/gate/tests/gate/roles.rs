//! Who may call at all, and who may write.

use countersign_capability::Phase;
use countersign_gate::Undone;
use countersign_model::{Ability, Mode, Plan, Role};

use crate::support::{ALL, Host, Run, get, put, ring};

#[test]
fn a_write_while_observing_stops_the_step() {
    let host = Host::with(&[("a", "1")]);
    for role in [None, Some(Role::Investigation), Some(Role::Check), Some(Role::Fix), Some(Role::Rollback)] {
        for write in [put("shelf", "a", "2"), ring("shelf", "a", 0)] {
            let mut bench = host.observing();
            bench.begin(role, ALL);
            let why = bench.stop(write);
            assert!(why.contains("is a write, and only a fix or a rollback writes"), "{role:?}: {why}");
        }
    }
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was prepared");
}

#[test]
fn a_role_that_may_not_write_stops_in_a_rehearsal_and_in_a_run() {
    let host = Host::with(&[("a", "1")]);
    for role in [None, Some(Role::Investigation), Some(Role::Check)] {
        let mut bench = host.rehearsing();
        bench.begin(role, ALL);
        bench.stop(put("shelf", "a", "2"));
        assert_eq!(bench.rehearsal(|rehearsal, _| rehearsal.plan().clone()), Plan::default());

        let mut run = Run::scoped(&host);
        run.begin(role, ALL);
        run.stop(put("shelf", "a", "2"));
        assert!(run.failure().is_some(), "the run cannot be committed");
        assert_eq!(run.journaled(), 0);
    }
    assert_eq!(host.shelf.asked(), [""; 0], "nothing was prepared");
}

#[test]
fn no_call_is_performed_before_a_step_begins_or_after_it_ended() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    assert_eq!(bench.stop(get("shelf", "a")), "a call came when no step was running");
    bench.begin(None, ALL);
    bench.value(get("shelf", "a"));
    bench.port.lock().end();
    assert_eq!(bench.stop(get("shelf", "a")), "a call came when no step was running");
    assert_eq!(host.shelf.asked(), ["read a"]);
}

/// A trap ends a guest; the gate does not count on it.
#[test]
fn a_step_that_was_stopped_is_over() {
    let host = Host::with(&[("a", "1")]);
    let mut bench = host.observing();
    bench.begin(Role::Check, ALL);
    bench.stop(put("shelf", "a", "2"));
    assert_eq!(bench.stop(get("shelf", "a")), "a call came when no step was running");
    bench.begin(Role::Check, ALL);
    bench.value(get("shelf", "a"));
}

/// Sessions of a rehearsal have the investigation's credentials: they change nothing even for a live gate.
#[test]
fn only_sessions_that_were_opened_for_a_run_change_a_target() {
    let host = Host::with(&[("a", "1")]);
    for (phase, asked) in [(Phase::Observe, &[][..]), (Phase::Preflight, &[][..]), (Phase::Rehearse, &["prepare a"])] {
        let mut run = Run::in_phase(&host, phase, Mode::Scoped, &Plan::default());
        run.begin(Role::Fix, ALL);
        run.stop(put("shelf", "a", "2"));
        assert_eq!(host.shelf.asked(), asked, "{phase:?}");
        assert_eq!(host.shelf.content("a"), "1");
    }
    let mut run = Run::scoped(&host);
    run.value(put("shelf", "a", "2"));
    host.shelf.asked();
    for phase in [Phase::Observe, Phase::Preflight, Phase::Rehearse] {
        let mut sessions = host.sessions(phase);
        let undone = run.with_live(|live, _| live.undo(&mut sessions, Role::Fix));
        assert!(matches!(&undone[0].result, Undone::Left(why) if why.contains("only a run changes its target")));
        assert_eq!(run.with_live(|live, _| live.settle(&mut sessions)).len(), 1);
        assert_eq!((host.shelf.content("a").as_str(), host.shelf.asked()), ("2", Vec::new()));
    }
}

/// A run's credentials are there before its approval to be asked what they can do, and for nothing else.
#[test]
fn what_a_run_could_do_is_asked_of_its_own_credentials_alone() {
    let host = Host::with(&[("a", "1")]);
    let mut run = Run::scoped(&host);
    run.value(put("shelf", "a", "2"));
    let change = run.with_live(|live, _| live.made().next().map(|(_, change)| change.clone())).expect("a change");
    host.shelf.asked();
    let ask = |phase| host.sessions(phase).can_apply(&mut run.state.blobs(), &change);
    for phase in [Phase::Observe, Phase::Rehearse] {
        assert_eq!(ask(phase), Ability::CannotTell("only a run's credentials tell what a run can do".to_owned()));
        assert_eq!(host.shelf.asked(), Vec::<String>::new(), "the other identity is not asked");
    }
    for phase in [Phase::Preflight, Phase::Live] {
        assert_eq!(ask(phase), Ability::Can);
        assert_eq!(host.shelf.asked(), ["ask a"]);
    }
    let mut reading = Run::in_phase(&host, Phase::Preflight, Mode::Scoped, &Plan::default());
    reading.begin(Role::Check, ALL);
    assert!(reading.fault(get("shelf", "a")).what.contains("read nothing before it is approved"));
    assert_eq!((host.shelf.asked(), host.shelf.content("a")), (Vec::new(), "2".to_owned()));
}
