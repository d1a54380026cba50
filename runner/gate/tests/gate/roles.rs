//! Who may call at all, and who may write.

use countersign_capability::{LogLine, Phase, Port};
use countersign_gate::{Gate, GatePort, Live, ReadRecord, Validators, Witness, Work};
use countersign_model::{Access, Fault, FaultKind, Mode, Plan, Role};

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

/// Sessions of a rehearsal, which have the investigation's credentials, apply nothing even for a live gate.
#[test]
fn only_sessions_that_were_opened_for_a_run_apply() {
    struct Silent;
    impl Validators for Silent {
        fn validate(&mut self, _: &[String]) -> Result<(), String> {
            Ok(())
        }
    }
    impl Witness for Silent {
        fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
            Ok(())
        }
        fn log(&mut self, _: Option<Role>, _: LogLine) {}
    }
    let host = Host::with(&[("a", "1")]);
    for phase in [Phase::Observe, Phase::Rehearse] {
        let run = Run::scoped(&host);
        let (Work::Live(live), _) = take(run) else { panic!("a run") };
        let live = Live::new(live.into_journal(), Mode::Scoped, &Plan::default(), Box::new(Silent));
        let gate = Gate::new(host.sessions(phase), Work::Live(Box::new(live)), Box::new(Silent));
        let mut bench = Bound(GatePort::new(gate));
        bench.begin(&host);
        bench.0.call(put("shelf", "a", "2")).map(drop).unwrap_or_default();
        assert_eq!(host.shelf.asked().iter().filter(|asked| asked.starts_with("apply")).count(), 0, "{phase:?}");
        assert_eq!(host.shelf.content("a"), "1");
    }
}
