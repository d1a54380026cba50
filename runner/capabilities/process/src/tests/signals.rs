use countersign_model::{Ability, FaultKind, Reversibility, State};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::child::{Place, Running};
use super::*;

/// A place, a process there, and the words that name it and a HUP.
fn stage() -> (Place, Running, String) {
    let place = Place::new();
    let running = place.run("program");
    let words = format!("exe={} pid-file={} signal=HUP", place.path("program"), place.pid_file(running.pid()));
    (place, running, words)
}

fn started(running: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).expect("stat");
    let (_, rest) = stat.rsplit_once(')').expect("a command");
    rest.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).expect("a start")
}

#[test]
fn a_signal_is_delivered_once() {
    let (place, mut running, words) = stage();
    let mut bench = Bench::new(Phase::Live);
    let change = bench.prepare(&words).expect("a change");
    assert!(running.is_quiet(), "preparing changes nothing");
    assert_eq!(bench.probe(&change), State::Before);
    assert_eq!(bench.apply(&change), Ok(Vec::new()));
    assert_eq!(running.line(), "hup");
    assert!(running.is_quiet());
    // Nothing tells whether it arrived, except for what comes next.
    assert_eq!(bench.probe(&change), State::Unknowable);
    let again = bench.prepare(&words).expect("a change");
    assert_eq!(bench.probe(&again), State::Before);
    assert_eq!(bench.with(|session, cx| session.undo(cx, &change)).expect_err("no undo").kind, FaultKind::Unsupported);
    assert_eq!(bench.with(|session, cx| session.settle(cx, &change)), Ok(()));
    assert!(running.is_quiet());
    drop(place);
}

#[test]
fn what_is_signed_holds_no_process_identifier() {
    let (place, running, words) = stage();
    let exe = place.path("program");
    let change = Bench::new(Phase::Rehearse).prepare(&words).expect("a change");
    let pid_file = place.path("pid");
    assert_eq!(change.subject, format!("exe={exe} pid-file={pid_file}"));
    assert_eq!(change.reversibility, Reversibility::Irreversible);
    assert_eq!((change.before, change.after), (None, None));
    assert_eq!(change.effect, serde_json::json!({"op": "signal", "signal": "HUP", "exe": exe, "pid-file": pid_file}));
    assert_eq!(change.summary, format!("send HUP to the process of `{exe}` that `{pid_file}` names"));
    assert_eq!(
        (change.body["pid"].clone(), change.body["started"].clone()),
        (running.pid().into(), started(&running).into())
    );

    // Restarted between rehearsal and run: the same effect.
    let restarted = place.run("program");
    place.pid_file(restarted.pid());
    let mut bench = Bench::new(Phase::Live);
    assert_eq!(bench.probe(&change), State::Before);
    let live = bench.prepare(&words).expect("a change");
    assert!(live.same_effect(&change) && live.body != change.body);

    let by_start = format!("exe={exe} started={} signal=USR1", started(&restarted));
    let same_tick = started(&restarted) == started(&running);
    match bench.prepare(&by_start) {
        Ok(change) => {
            assert_eq!(change.subject, format!("exe={exe} started={}", started(&restarted)));
            assert_eq!(change.effect["started"], started(&restarted));
            assert_eq!(change.effect["signal"], "USR1");
        }
        // Two in one tick cannot be told apart, and are not.
        Err(fault) => assert!(same_tick && fault.kind == FaultKind::Unsupported, "{fault}"),
    }
}

#[test]
fn a_process_that_is_not_the_prepared_one_gets_nothing() {
    let (place, mut running, words) = stage();
    let mut bench = Bench::new(Phase::Live);
    let change = bench.prepare(&words).expect("a change");
    let mut other = place.run("program");
    // The identifier was used again: the same number, another start; another boot; another process by now.
    for (key, value) in [
        ("started", (started(&running) + 1).into()),
        ("boot", "0".into()),
        ("pid", other.pid().into()),
        ("pid", u32::MAX.into()),
    ] {
        let mut faked = change.clone();
        faked.body[key] = value;
        let fault = bench.apply(&faked).expect_err(key);
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false), "{key}: {fault}");
    }
    // The pid file names another one since.
    place.pid_file(other.pid());
    let fault = bench.apply(&change).expect_err("another");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false));
    place.pid_file(running.pid());
    assert!(running.is_quiet() && other.is_quiet());
    assert_eq!(bench.probe(&change), State::Before);
}

#[test]
fn a_process_that_vanished_or_was_replaced_is_changed() {
    let (place, mut running, words) = stage();
    let mut bench = Bench::new(Phase::Live);
    let change = bench.prepare(&words).expect("a change");
    place.copy("new");
    std::fs::rename(place.path("new"), place.path("program")).expect("replaced");
    let fault = bench.apply(&change).expect_err("replaced");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false));
    assert!(fault.what.contains("leads to no process"), "{fault}");
    assert_eq!(bench.prepare(&words).expect_err("replaced").kind, FaultKind::NotFound);
    assert!(matches!(bench.probe(&change), State::Elsewhere(why) if why.contains("leads to no process")));
    assert!(running.is_quiet());

    let (_place, mut running, words) = stage();
    let change = bench.prepare(&words).expect("a change");
    running.end();
    let zombie = bench.apply(&change).expect_err("a zombie");
    running.reap();
    let gone = bench.apply(&change).expect_err("gone");
    for fault in [zombie, gone] {
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false), "{fault}");
    }
    assert!(matches!(bench.probe(&change), State::Elsewhere(_)));
    assert_eq!(bench.prepare(&words).expect_err("gone").kind, FaultKind::NotFound);
}

#[test]
fn the_runner_and_what_it_descends_from_are_never_signalled() {
    let place = Place::new();
    let exe_of = |pid: u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(|path| path.to_str().map(str::to_owned))
    };
    let own = std::process::id();
    let parent = std::os::unix::process::parent_id();
    let vital = FaultKind::Denied;
    for (pid, kind, why) in [
        (own, FaultKind::NotFound, "leads to no process"),
        (parent, vital, if parent == 1 { "never" } else { "descends from" }),
        (1, vital, "never"),
    ] {
        // Whose executable may not be looked at cannot be signalled either; that is another rule.
        let Some(exe) = exe_of(pid) else { continue };
        let words = format!("exe={exe} pid-file={} signal=HUP", place.pid_file(pid));
        let fault = Bench::new(Phase::Live).prepare(&words).expect_err("its own");
        assert_eq!((fault.kind, fault.reached), (kind, false), "{fault}");
        assert!(fault.what.contains(why), "{fault}");
    }
    // A process of the runner's, and the parent of one.
    let (_place, running, words) = stage();
    let protected = Protected { paths: vec![], processes: vec![running.pid()] };
    let fault = Bench::protecting(Phase::Live, &protected).prepare(&words).expect_err("its own");
    assert_eq!(fault.kind, FaultKind::NotFound);
    // A change that was prepared before does not get there either.
    let mut change = Bench::new(Phase::Live).prepare(&words).expect("a change");
    let fault = Bench::protecting(Phase::Live, &protected).apply(&change).expect_err("its own");
    assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false));
    for pid in [0, 1, own] {
        change.body["pid"] = pid.into();
        let fault = Bench::new(Phase::Live).apply(&change).expect_err("never");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false), "{pid}: {fault}");
    }
}

/// A step that has read what is sensitive could tell it by which process of a granted executable it picks.
#[test]
fn a_process_named_by_its_start_is_for_the_step_to_pick() {
    use countersign_capability::{Choice, TypedCall};
    for (which, picked) in [("pid-file=/p", false), ("started=5", true)] {
        let (call, _) = least(&signal(&format!("exe=/n {which} signal=HUP")));
        assert_eq!(call.choice() != Choice::Nothing, picked, "{which}");
        let (call, _) = least(&parse(&format!("process.inspect exe=/n {which}")));
        assert_eq!(call.choice() != Choice::Nothing, picked, "{which}");
    }
    assert_eq!(Call::List { executable: "/n".to_owned() }.choice(), Choice::Nothing);
}

#[test]
fn only_a_run_sends() {
    let (_place, mut running, words) = stage();
    assert_eq!(Bench::new(Phase::Observe).prepare(&words).expect_err("observe").kind, FaultKind::Denied);
    let mut rehearsal = Bench::new(Phase::Rehearse);
    let change = rehearsal.prepare(&words).expect("a change");
    for mut bench in [rehearsal, Bench::new(Phase::Observe)] {
        let fault = bench.apply(&change).expect_err("no run");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false));
    }
    let mut live = Bench::new(Phase::Live);
    assert!(live.with(|session, cx| session.rehearse(cx, &change)).is_err());
    live.patience = Duration::ZERO;
    let fault = live.apply(&change).expect_err("over");
    assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false));
    assert!(running.is_quiet());
}

#[test]
fn after_a_rehearsed_signal_nothing_is_known() {
    let (place, mut running, words) = stage();
    let other = Place::new();
    let mut bench = Bench::new(Phase::Rehearse);
    let exe = place.path("program");
    let inspect = format!("process.inspect exe={exe} pid-file={}", place.path("pid"));
    let change = bench.prepare(&words).expect("a change");
    assert!(bench.read(&inspect).is_ok());
    assert_eq!(bench.probe(&change), State::Before);
    assert_eq!(bench.with(|session, cx| session.rehearse(cx, &change)), Ok(Vec::new()));
    for call in [inspect, format!("process.list exe={exe}")] {
        assert_eq!(bench.read(&call).expect_err("unknowable").kind, FaultKind::Unknowable);
    }
    assert_eq!(bench.probe(&change), State::Unknowable);
    assert!(bench.read(&format!("process.list exe={}", other.path("program"))).is_ok());
    let fault = bench.with(|session, cx| session.rehearse_undo(cx, &change)).expect_err("no undo");
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.what.contains("cannot be undone"));
    let grant = format!("process.write exe={exe} signals=HUP").parse().expect("a grant");
    let fault = bench.with(|session, cx| session.revert(cx, &grant, &change)).expect_err("no revert");
    assert_eq!((fault.kind, fault.what.as_str()), (FaultKind::Unsupported, "a signal cannot be undone"));
    let other = "process.write exe=/usr/sbin/other signals=HUP".parse().expect("a grant");
    let fault = bench.with(|session, cx| session.revert(cx, &other, &change)).expect_err("not covered");
    assert_eq!(fault.kind, FaultKind::Denied);
    // A second reload can be planned; after an end nothing can.
    let again = bench.prepare(&words).expect("a change");
    assert_eq!(bench.probe(&again), State::Before);
    let end = bench.prepare(&words.replace("signal=HUP", "signal=TERM")).expect("a change");
    assert!(bench.with(|session, cx| session.rehearse(cx, &end)).is_ok());
    assert_eq!(bench.prepare(&words).expect_err("ended").kind, FaultKind::Unknowable);
    assert!(running.is_quiet());
}

#[test]
fn a_grant_is_enforced_again() {
    let (place, mut running, words) = stage();
    let exe = place.path("program");
    let mut bench = Bench::new(Phase::Live);
    let (call, _) = least(&signal(&words));
    for grant in [
        format!("process.write exe={exe} signals=TERM"),
        format!("process.write exe={exe} pid-file=/run/other.pid signals=HUP"),
        format!("process.write exe={exe}2 signals=HUP"),
        format!("process.read exe={exe}"),
    ] {
        let scopes = scopes(&grant.parse().expect("a grant"));
        let by = Permitting { scopes: scopes.as_ref(), at: 0 };
        let fault = bench.with(|session, cx| session.prepare(cx, by, call.as_ref())).expect_err("not covered");
        assert_eq!(fault.kind, FaultKind::Denied);
    }
    let scopes = scopes(&format!("process.write exe={exe} signals=HUP,TERM").parse().expect("a grant"));
    let by = Permitting { scopes: scopes.as_ref(), at: 0 };
    let change = bench.with(|session, cx| session.prepare(cx, by, call.as_ref())).expect("covered");
    // There is no second one.
    let by = Permitting { scopes: scopes.as_ref(), at: 1 };
    bench.with(|session, cx| session.prepare(cx, by, call.as_ref())).expect_err("not covered");
    assert_eq!(scopes.reaching(countersign_model::Access::Write, &change.subject), [0]);
    assert!(scopes.reaching(countersign_model::Access::Write, "exe=/x started=1").is_empty());
    assert!(scopes.reaching(countersign_model::Access::Write, "nonsense").is_empty());
    assert!(running.is_quiet());
}

/// One process has several names as a subject, and what a run holds is none of them.
#[test]
fn every_name_of_a_process_is_held_as_one() {
    use countersign_capability::Capability as _;
    let held = ["exe=/usr/sbin/app pid-file=/run/app.pid", "exe=/usr/sbin/app started=12"]
        .map(crate::ProcessCapability::held_as);
    assert_eq!(held, ["exe=/usr/sbin/app", "exe=/usr/sbin/app"]);
}

fn can(bench: &mut Bench, change: &AnyChange) -> Ability {
    bench.with(|session, cx| session.can_apply(cx, change)).expect("an answer")
}

#[test]
fn whether_it_may_be_sent_is_asked_without_sending_it() {
    let (place, mut running, words) = stage();
    let change = Bench::new(Phase::Rehearse).prepare(&words).expect("a change");
    for phase in [Phase::Preflight, Phase::Live] {
        assert_eq!(can(&mut Bench::new(phase), &change), Ability::Can);
    }
    for phase in [Phase::Observe, Phase::Rehearse] {
        let asked = Bench::new(phase).with(|session, cx| session.can_apply(cx, &change));
        assert_eq!(asked.expect_err("it is not a run's").kind, FaultKind::Denied);
    }
    let mut asking = Bench::new(Phase::Preflight);
    assert_eq!(asking.prepare(&words).expect_err("it only asks").kind, FaultKind::Denied);
    assert_eq!(asking.apply(&change).expect_err("it only asks").kind, FaultKind::Denied);
    assert!(running.is_quiet(), "nobody was signalled");

    let own = Protected { paths: vec![], processes: vec![running.pid()] };
    let said = can(&mut Bench::protecting(Phase::Preflight, &own), &change);
    assert!(matches!(&said, Ability::Cannot(_)), "{said:?}");
    running.end();
    running.reap();
    let said = can(&mut Bench::new(Phase::Preflight), &change);
    assert!(matches!(&said, Ability::Cannot(why) if why.contains("pid")), "{said:?}");
    drop(place);
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
fn a_process_that_is_not_the_runners_to_signal_is_said_to_be_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root looks at others' processes");
        return;
    }
    let place = Place::new();
    let mut running = place.run_as("program", 65_534);
    let words = format!("exe={} pid-file={} signal=HUP", place.path("program"), place.pid_file(running.pid()));
    let mut bench = Bench::new(Phase::Live);
    let change = bench.prepare(&words).expect("a change");
    assert_eq!(can(&mut bench, &change), Ability::Can);
    std::thread::scope(|scope| {
        // The kernel has capabilities by thread.
        let lacks = scope.spawn(|| {
            let mut sets = capabilities(None).expect("capabilities");
            sets.effective -= CapabilitySet::KILL;
            set_capabilities(None, sets).expect("fewer can always be had");
            let said = can(&mut bench, &change);
            let not_permitted = format!("the runner may not signal process {}", running.pid());
            assert_eq!(said, Ability::Cannot(not_permitted.clone()));
            assert_eq!(bench.apply(&change).expect_err("it is so").what, not_permitted);
        });
        lacks.join().expect("it ended");
    });
    assert!(running.is_quiet());
}
