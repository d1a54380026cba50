use std::sync::mpsc;
use std::time::Duration;

use countersign_capability::StepContext;
use countersign_model::{Reply, Role, Stop, Verdict};
use countersign_sandbox::{Failure, Finding, Limits, Output, Sandbox, Settings};

use crate::support::{Answers, agreeable, linked, nothing, run, sandbox, step, trivial};

const FOREVER: &str = r#"(func (export "run") (result i32) (loop $again (br $again)) unreachable)"#;

/// Calls `put` with this many bytes, and answers as it was answered.
fn put(bytes: u32) -> String {
    let body = format!(
        r#"(func (export "run") (result i32)
            (drop (memory.grow (i32.const 400)))
            (call $put (i32.const 65536) (i32.const {bytes}) (i32.const 0))
            (i32.const 0))"#
    );
    step(Role::Fix, &["put"], &body)
}

#[test]
fn every_role_answers() {
    for (role, output) in [
        (Role::Fix, Output::Done),
        (Role::Rollback, Output::Done),
        (Role::Check, Output::Verdict(Verdict::Healthy)),
        (Role::Investigation, Output::Findings(vec![])),
    ] {
        let ended = run(&trivial(role), agreeable(), Limits::default());
        assert_eq!(ended.result, Ok(output));
        assert!(ended.fuel_used > 0 && ended.elapsed > Duration::ZERO);
    }
}

#[test]
fn a_verdict_keeps_its_reason() {
    for (case, verdict) in [(1, Verdict::Unhealthy("broken".to_owned())), (2, Verdict::CannotTell("broken".to_owned()))]
    {
        let body = format!(
            r#"(func (export "run") (result i32) (i32.const 0))
            (data (i32.const 4) "\0{case}\00\00\00\20\00\00\00\06\00\00\00") (data (i32.const 32) "broken")"#
        );
        let ended = run(&step(Role::Check, &[], &body), agreeable(), Limits::default());
        assert_eq!(ended.result, Ok(Output::Verdict(verdict)));
    }
}

#[test]
fn an_error_of_the_step_is_its_own_words() {
    let body = r#"(func (export "run") (result i32) (i32.const 0))
        (data (i32.const 0) "\01\00\00\00\20\00\00\00\0a\00\00\00") (data (i32.const 32) "no\1b[31m luck")"#;
    let ended = run(&step(Role::Fix, &[], body), agreeable(), Limits::default());
    let failure = ended.result.expect_err("it fails");
    assert_eq!(failure, Failure::Returned("no\u{1b}[31m lu".to_owned()));
    assert_eq!(failure.to_string(), "the step failed: no\\u{1b}[31m lu");
    // 64 KiB of it, of which 4 KiB are kept.
    let body = r#"(func (export "run") (result i32) (memory.fill (i32.const 32) (i32.const 97) (i32.const 65536)) (i32.const 0))
        (data (i32.const 0) "\01\00\00\00\20\00\00\00\00\00\01\00")"#;
    let ended = run(&step(Role::Fix, &[], body), agreeable(), Limits::default());
    assert_eq!(ended.result, Err(Failure::Returned("a".repeat(4096) + "…")));
}

#[test]
fn findings_are_bounded() {
    // `many` findings, all of the same 300 characters and 65536 bytes.
    let body = |many: u32| {
        format!(
            r#"(func (export "run") (result i32) (local $at i32)
                (memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536))
                (i32.store (i32.const 4) (i32.const 1024))
                (i32.store (i32.const 8) (i32.const {many}))
                (local.set $at (i32.const 1024))
                (loop $next
                    (i32.store offset=0 (local.get $at) (i32.const 65536))
                    (i32.store offset=4 (local.get $at) (i32.const 300))
                    (i32.store offset=8 (local.get $at) (i32.const 65536))
                    (i32.store offset=12 (local.get $at) (i32.const 65536))
                    (local.set $at (i32.add (local.get $at) (i32.const 16)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const {end}))))
                (i32.const 0))"#,
            end = 1024 + many * 16
        )
    };
    let ended = run(&step(Role::Investigation, &[], &body(100)), agreeable(), Limits::default());
    let Ok(Output::Findings(found)) = ended.result else { panic!("{:?}", ended.result) };
    assert_eq!(found.len(), 100);
    assert_eq!(found[99], Finding { summary: "a".repeat(200) + "…", detail: "a".repeat(16384) + "…" });
    let ended = run(&step(Role::Investigation, &[], &body(101)), agreeable(), Limits::default());
    let why = "the step's answer cannot be used: 101 findings are more than 100";
    assert_eq!(ended.result.expect_err("too many").to_string(), why);
    // The host never holds more than a call may carry.
    let limits = Limits { hostcall_bytes: 1 << 20, ..Limits::default() };
    let ended = run(&step(Role::Investigation, &[], &body(100)), agreeable(), limits);
    assert!(matches!(ended.result, Err(Failure::Trapped(_))), "{:?}", ended.result);
}

#[test]
fn an_endless_loop_ends_with_its_fuel_or_its_time() {
    let limits = Limits { fuel: 100_000, ..Limits::default() };
    let ended = run(&step(Role::Fix, &[], FOREVER), agreeable(), limits);
    assert_eq!(ended.result, Err(Failure::OutOfFuel(100_000)));
    assert_eq!(ended.fuel_used, 100_000);

    let limits = Limits { fuel: u64::MAX, wall_clock: Duration::from_millis(50), ..Limits::default() };
    let ended = run(&step(Role::Fix, &[], FOREVER), agreeable(), limits);
    assert_eq!(ended.result, Err(Failure::OutOfTime(Duration::from_millis(50))));
    assert!(ended.elapsed >= Duration::from_millis(50) && ended.elapsed < Duration::from_secs(20), "{ended:?}");
}

#[test]
fn a_loop_before_the_export_is_called_ends_too() {
    let body = r#"(func $start (loop $again (br $again))) (start $start)
        (func (export "run") (result i32) (i32.const 0))"#;
    let limits = Limits { wall_clock: Duration::from_millis(50), ..Limits::default() };
    let ended = run(&step(Role::Fix, &[], body), agreeable(), limits);
    assert_eq!(ended.result, Err(Failure::OutOfTime(Duration::from_millis(50))));
}

#[test]
fn endless_host_calls_end_with_their_time() {
    let body = r#"(func (export "run") (result i32)
        (loop $again (call $get (i32.const 64) (i32.const 8) (i32.const 0)) (br $again)) unreachable)"#;
    let (calls, called) = mpsc::channel();
    let port = Answers(move |call| {
        let answer = nothing(&call);
        let _ = calls.send(call);
        Ok(answer)
    });
    let limits = Limits { wall_clock: Duration::from_millis(50), ..Limits::default() };
    let ended = run(&step(Role::Fix, &["get"], body), Box::new(port), limits);
    assert_eq!(ended.result, Err(Failure::OutOfTime(Duration::from_millis(50))));
    assert!(called.iter().count() > 10);
}

#[test]
fn a_slow_host_call_counts_but_is_never_abandoned() {
    // The guest goes on after the call, and it returns at once.
    for body in [
        r#"(func (export "run") (result i32) (call $put (i32.const 0) (i32.const 0) (i32.const 64))
            (loop $again (br $again)) unreachable)"#,
        r#"(func (export "run") (result i32) (call $put (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0))"#,
    ] {
        let (finished, finishes) = mpsc::channel();
        let port = Answers(move |call| {
            std::thread::sleep(Duration::from_millis(120));
            let _ = finished.send(());
            Ok(nothing(&call))
        });
        let limits = Limits { wall_clock: Duration::from_millis(30), ..Limits::default() };
        let ended = run(&step(Role::Fix, &["put"], body), Box::new(port), limits);
        assert_eq!(ended.result, Err(Failure::OutOfTime(Duration::from_millis(30))));
        assert_eq!(finishes.try_recv(), Ok(()));
    }
}

#[test]
fn memory_has_a_limit() {
    let body = r#"(func (export "run") (result i32)
        (loop $again (drop (memory.grow (i32.const 16))) (br $again)) unreachable)"#;
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let failure = run(&step(Role::Fix, &[], body), agreeable(), limits).result.expect_err("too much");
    // 4 pages to begin with, and 16 more each time.
    let why = "the step needs more memory than its limit: growing memory to 8650752 bytes";
    assert_eq!(failure.to_string(), why);
    // The memory that it begins with counts.
    let limits = Limits { memory_bytes: 3 << 16, ..Limits::default() };
    let failure = run(&trivial(Role::Fix), agreeable(), limits).result.expect_err("too much");
    assert!(matches!(failure, Failure::OutOfMemory(_)), "{failure}");
}

#[test]
fn several_memories_share_one_limit() {
    let body = r#"(func (export "run") (result i32) (drop (memory.grow (i32.const 12))) (i32.const 0))"#;
    let one = step(Role::Fix, &[], body);
    let two = one.replacen("(component", "(component (core module $m (memory 1)) (core instance (instantiate $m))", 1);
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(run(&one, agreeable(), limits).result, Ok(Output::Done));
    let failure = run(&two, agreeable(), limits).result.expect_err("half is not enough");
    assert!(matches!(failure, Failure::OutOfMemory(_)), "{failure}");
    let many = "(core instance (instantiate $m))".repeat(5);
    let many = one.replacen("(component", &format!("(component (core module $m (memory 1)) {many}"), 1);
    let compiled = sandbox().compile(&crate::support::admitted(&many));
    let ran = compiled.is_ok() && run(&many, agreeable(), Limits::default()).result.is_ok();
    assert!(!ran, "five memories");
}

#[test]
fn tables_have_a_limit() {
    let body = r#"(table 1 funcref) (func (export "run") (result i32)
        (drop (table.grow (ref.null func) (i32.const 5000))) (i32.const 0))"#;
    assert_eq!(run(&step(Role::Fix, &[], body), agreeable(), Limits::default()).result, Ok(Output::Done));
    let limits = Limits { table_elements: 1000, ..Limits::default() };
    let failure = run(&step(Role::Fix, &[], body), agreeable(), limits).result.expect_err("too large");
    let why = "the step needs more memory than its limit: growing table to 5001 elements";
    assert_eq!(failure.to_string(), why);
}

#[test]
fn instances_have_a_limit() {
    let many = "(core instance (instantiate $e))".repeat(150);
    let wat = trivial(Role::Fix).replacen("(component", &format!("(component (core module $e) {many}"), 1);
    let sandbox = sandbox();
    let compiled = sandbox.compile(&crate::support::admitted(&wat));
    let ran = compiled.is_ok()
        && linked(&sandbox, &wat).run(agreeable(), StepContext::default(), Limits::default()).result.is_ok();
    assert!(!ran, "150 instances");
}

#[test]
fn deep_recursion_is_a_trap_of_one_line() {
    let body = r#"(func $f (param i32) (result i32)
            (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1)))))
        (func (export "run") (result i32) (call $f (i32.const 0)))"#;
    let failure = run(&step(Role::Fix, &[], body), agreeable(), Limits::default()).result.expect_err("too deep");
    assert_eq!(failure.to_string(), "the step trapped: call stack exhausted");
}

#[test]
fn a_trap_is_one_line() {
    for (body, why) in [
        ("unreachable", "wasm `unreachable` instruction executed"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "integer divide by zero"),
        ("(i32.load (i32.const -4))", "out of bounds memory access"),
    ] {
        let body = format!(r#"(func (export "run") (result i32) {body})"#);
        let failure = run(&step(Role::Fix, &[], &body), agreeable(), Limits::default()).result.expect_err(why);
        assert_eq!(failure.to_string(), format!("the step trapped: {why}"));
    }
    // An error outside of its memory, and one that is no text.
    for bytes in [r"\01\00\00\00\ff\ff\ff\7f\ff\ff\ff\00", r"\01\00\00\00\0c\00\00\00\04\00\00\00\ff\ff\ff\ff"] {
        let body = format!(r#"(func (export "run") (result i32) (i32.const 0)) (data (i32.const 0) "{bytes}")"#);
        let failure = run(&step(Role::Fix, &[], &body), agreeable(), Limits::default()).result.expect_err("no text");
        assert!(matches!(&failure, Failure::Trapped(what) if what.lines().count() == 1), "{failure}");
    }
}

#[test]
fn a_stop_ends_the_step() {
    let body = r#"(func (export "run") (result i32)
        (loop $again (call $put (i32.const 0) (i32.const 0) (i32.const 64)) (br $again)) unreachable)"#;
    let mut left = 3;
    let port = Answers(move |call| {
        left -= 1;
        if left == 0 { Err(Stop("the plan has no such change".to_owned())) } else { Ok(nothing(&call)) }
    });
    let ended = run(&step(Role::Fix, &["put"], body), Box::new(port), Limits::default());
    assert_eq!(ended.result, Err(Failure::Stopped(Stop("the plan has no such change".to_owned()))));
}

#[test]
fn a_panic_of_the_host_is_a_failure_of_this_step_only() {
    let sandbox = sandbox();
    let wat = put(1);
    let ended = linked(&sandbox, &wat).run(
        Box::new(Answers(|_| panic!("a defect"))),
        StepContext::default(),
        Limits::default(),
    );
    let why = "the step was ended by its host: the host panicked: a defect";
    assert_eq!(ended.result.expect_err("a panic").to_string(), why);
    let ended = linked(&sandbox, &wat).run(agreeable(), StepContext::default(), Limits::default());
    assert_eq!(ended.result, Ok(Output::Done));
}

#[test]
fn a_thread_with_room_runs_steps_itself() {
    let sandbox = sandbox();
    let asks = step(
        Role::Fix,
        &["get"],
        r#"(func (export "run") (result i32) (call $get (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0))"#,
    );
    let asks = linked(&sandbox, &asks);
    let asked_on = || {
        let (sender, asked) = std::sync::mpsc::channel();
        let port = Answers(move |call| {
            sender.send(std::thread::current().id()).expect("somebody waits");
            Ok(nothing(&call))
        });
        let ended = asks.run(Box::new(port), StepContext::default(), Limits::default());
        assert_eq!(ended.result, Ok(Output::Done));
        asked.recv().expect("it asked")
    };
    assert_ne!(asked_on(), std::thread::current().id());
    // A panic, too deep a recursion: each ends its step, and the thread goes on.
    let endless = r#"(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (local.get 0)))
        (func (export "run") (result i32) (drop (call $deeper (i64.const 1))) (i32.const 0))"#;
    let endless = linked(&sandbox, &step(Role::Fix, &[], endless));
    let roomy = || {
        countersign_sandbox::take_room();
        assert_eq!(asked_on(), std::thread::current().id());
        let ended = asks.run(Box::new(Answers(|_| panic!("a defect"))), StepContext::default(), Limits::default());
        assert_eq!(
            ended.result.expect_err("a panic").to_string(),
            "the step was ended by its host: the host panicked: a defect"
        );
        let ended = endless.run(agreeable(), StepContext::default(), Limits::default());
        assert_eq!(ended.result, Err(Failure::Trapped("call stack exhausted".to_owned())));
        assert_eq!(asked_on(), std::thread::current().id());
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(countersign_sandbox::ROOM_BYTES);
        thread.spawn_scoped(scope, roomy).expect("a thread").join().expect("no panic");
    });
    assert_ne!(asked_on(), std::thread::current().id());
}

#[test]
fn a_reply_that_does_not_decode_is_a_failure() {
    let body = r#"(func (export "run") (result i32)
        (call $get (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0))"#;
    // A list of seven bytes that has one; an empty list with something after it.
    for (reply, why) in [(vec![7, 7], "a call was not decoded"), (vec![0, 0], "a call has 1 bytes too many")] {
        let port = Answers(move |_| Ok(Reply::Value(reply.clone())));
        let ended = run(&step(Role::Fix, &["get"], body), Box::new(port), Limits::default());
        let failure = ended.result.expect_err("not a reply").to_string();
        assert!(failure.starts_with(&format!("the step trapped: {why}")), "{failure}");
    }
}

#[test]
fn a_call_carries_the_largest_file_and_no_more() {
    assert_eq!(run(&put(8 << 20), agreeable(), Limits::default()).result, Ok(Output::Done));
    let failure = run(&put(9 << 20), agreeable(), Limits::default()).result.expect_err("too many bytes");
    assert!(matches!(failure, Failure::Trapped(_)), "{failure}");
    // Each call for itself.
    let call = "(call $put (i32.const 65536) (i32.const 5242880) (i32.const 0))";
    let twice = put(5 << 20).replace(call, &call.repeat(2));
    assert_eq!(twice.matches(call).count(), 2);
    assert_eq!(run(&twice, agreeable(), Limits::default()).result, Ok(Output::Done));
}

#[test]
fn arguments_reach_the_step() {
    // Fails with the arguments as its own words.
    let body = r#"(func (export "run") (result i32)
        (i32.store (i32.const 0) (i32.const 1)) (call $arguments (i32.const 4)) (i32.const 0))"#;
    let context = StepContext { arguments: r#"{"a":1}"#.to_owned(), ..StepContext::default() };
    let ended = linked(&sandbox(), &step(Role::Fix, &["arguments"], body)).run(agreeable(), context, Limits::default());
    assert_eq!(ended.result, Err(Failure::Returned(r#"{"a":1}"#.to_owned())));
}

#[test]
fn steps_beyond_the_set_number_are_refused_and_slots_come_back() {
    let sandbox = Sandbox::new(Settings { concurrent_steps: 1, ..Settings::default() }).expect("a sandbox");
    let step = linked(&sandbox, &put(1));
    std::thread::scope(|scope| {
        // In here, so that a failed assertion hangs up on the first step before it is waited for.
        let (entered, enters) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let first = scope.spawn(|| {
            let port = Answers(move |call| {
                entered.send(()).expect("the test waits");
                left.recv().expect("the test answers");
                Ok(nothing(&call))
            });
            step.run(Box::new(port), StepContext::default(), Limits::default()).result
        });
        enters.recv().expect("the first step is running");
        let second = step.run(agreeable(), StepContext::default(), Limits::default());
        let why = "the step was ended by its host: more steps run at once than the sandbox was set up for";
        assert_eq!(second.result.expect_err("no room").to_string(), why);
        leave.send(()).expect("the first step waits");
        assert_eq!(first.join().expect("no panic"), Ok(Output::Done));
    });
    for _ in 0..20 {
        assert_eq!(step.run(agreeable(), StepContext::default(), Limits::default()).result, Ok(Output::Done));
    }
}

#[test]
fn nothing_stays_in_memory_for_the_next_step() {
    let sandbox = Sandbox::new(Settings { concurrent_steps: 1, ..Settings::default() }).expect("a sandbox");
    // Fails if it finds what it leaves.
    let body = r#"(func (export "run") (result i32)
        (if (i32.load (i32.const 4096)) (then unreachable))
        (i32.store (i32.const 4096) (i32.const 1)) (i32.const 0))"#;
    let step = linked(&sandbox, &step(Role::Fix, &[], body));
    for _ in 0..3 {
        assert_eq!(step.run(agreeable(), StepContext::default(), Limits::default()).result, Ok(Output::Done));
    }
}
