//! However a worker ends, it is a step that failed.

use std::path::Path;
use std::time::{Duration, Instant};

use countersign_model::Role;
use countersign_sandbox::{Failure, Limits, Output};
use countersign_worker::{CompileLimits, Confinement, WorkerError, Workers};
use rustix::process::{Pid, Signal, kill_process};

use crate::guests::{Answers, admitted, empty, granted, linked, program, reading, run, run_with, step, trivial};
use crate::held::children;

fn pid(worker: &Path) -> Pid {
    let number = worker.file_name().expect("a number").to_string_lossy().parse().expect("a number");
    Pid::from_raw(number).expect("a process")
}

/// What becomes of a step whose worker gets this signal during a call.
fn signalled(signal: Signal) -> Failure {
    let step = linked(&reading());
    let answer = &mut |_| {
        for worker in children() {
            kill_process(pid(&worker), signal).expect("it is there");
        }
        Ok(empty())
    };
    let ended = run_with(&step, answer, &Limits { wall_clock: Duration::from_secs(2), ..Limits::default() });
    // A long way from both: this is about whether it ends at all.
    assert!(ended.elapsed < Duration::from_secs(30));
    ended.result.expect_err("it died")
}

#[test]
fn a_worker_that_dies_is_a_step_that_failed() {
    assert_eq!(signalled(Signal::KILL).to_string(), "the step's worker process was killed by signal 9 (SIGKILL)");
    assert_eq!(signalled(Signal::SEGV).to_string(), "the step's worker process was killed by signal 11 (SIGSEGV)");
    assert_eq!(
        signalled(Signal::SYS).to_string(),
        "the step's worker process was ended by the kernel: it made a system call that a step's process may not make"
    );
}

#[test]
fn a_worker_that_stands_still_is_out_of_time() {
    assert_eq!(signalled(Signal::STOP).to_string(), "the step did not end within 2000 ms");
    assert!(children().is_empty(), "a stopped worker is left");
}

#[test]
fn an_endless_loop_is_ended_in_time_and_when_the_run_is_interrupted() {
    let body = r#"(func (export "run") (result i32) (loop $again (br $again)) (i32.const 0))"#;
    let step = linked(&step(Role::Fix, body));
    let limits = Limits { wall_clock: Duration::from_millis(300), fuel: u64::MAX, ..Limits::default() };
    let ended = run_with(&step, &mut |_| Ok(empty()), &limits);
    assert_eq!(ended.result, Err(Failure::OutOfTime(Duration::from_millis(300))));

    let limits = Limits { fuel: u64::MAX, ..Limits::default() };
    let begun = Instant::now();
    // By then it has begun to run.
    let interrupted = || begun.elapsed() > Duration::from_secs(2);
    let ended = step.run(&mut Answers(&mut |_| Ok(empty())), Default::default(), &limits, &interrupted);
    assert_eq!(ended.result, Err(Failure::Interrupted));
    assert!(children().is_empty());
    // Before it has a process, too; none is left of one that was made and not waited for.
    let ended = step.run(&mut Answers(&mut |_| Ok(empty())), Default::default(), &limits, &|| true);
    assert_eq!(ended.result, Err(Failure::Interrupted));
}

#[test]
fn a_waiting_worker_that_was_killed_is_replaced() {
    let step = linked(&trivial(Role::Fix));
    let waiting = children();
    assert_eq!(waiting.len(), 1);
    kill_process(pid(&waiting[0]), Signal::KILL).expect("it is there");
    let dead = || std::fs::read_to_string(waiting[0].join("stat")).is_ok_and(|stat| stat.contains(") Z "));
    while !dead() {
        std::thread::yield_now();
    }
    assert_eq!(run(&step).result, Ok(Output::Done));
}

#[test]
fn a_panic_behind_the_port_ends_the_step() {
    let step = linked(&reading());
    let ended = run_with(&step, &mut |_| panic!("a defect"), &Limits::default());
    assert_eq!(
        ended.result.expect_err("a panic").to_string(),
        "the step was ended by its host: the host panicked: a defect"
    );
    assert!(children().is_empty());
}

#[test]
fn memory_beyond_the_limit_is_the_steps_failure_and_not_the_runners() {
    let body = r#"(func (export "run") (result i32)
        (loop $again (drop (memory.grow (i32.const 64))) (br $again)) (i32.const 0))"#;
    let body = body.replace("memory.grow (i32.const 64)", "memory.grow (i32.const 512)");
    let grown = run(&linked(&step(Role::Fix, &body))).result.expect_err("too much");
    assert!(matches!(grown, Failure::OutOfMemory(_)), "{grown}");
}

#[test]
fn recursion_without_end_is_a_trap() {
    let body = r#"(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (local.get 0)))
        (func (export "run") (result i32) (drop (call $deeper (i64.const 1))) (i32.const 0))"#;
    let trapped = run(&linked(&step(Role::Fix, body))).result;
    assert_eq!(trapped, Err(Failure::Trapped("call stack exhausted".to_owned())));
}

/// A component whose one function takes the compiler very long.
fn bomb() -> String {
    let mut body = String::from(r#"(func (export "run") (result i32) (local $x i32) "#);
    for number in 0..60_000 {
        body.push_str(&format!(
            "(block (br_if 0 (i32.eq (local.get $x) (i32.const {number}))) (local.set $x (i32.add (local.get $x) (i32.load (local.get $x)))))"
        ));
    }
    body.push_str("(i32.const 0))");
    step(Role::Fix, &body)
}

#[test]
fn a_compile_bomb_is_ended_in_time() {
    let compile = CompileLimits { within: Duration::from_secs(1), ..CompileLimits::default() };
    let workers = Workers::new(program(), Confinement { compile, ..Confinement::default() }, None);
    let (admitted, begun) = (admitted(&bomb()), Instant::now());
    let error = workers.start(&admitted, &granted()).err().expect("it takes too long");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(matches!(error, WorkerError::CompileTime(1)), "{error}");
    assert!(children().is_empty(), "the compiler goes on");
}

#[test]
fn a_compiler_without_memory_is_a_step_that_was_not_compiled() {
    let compile = CompileLimits { memory: 24 << 20, ..CompileLimits::default() };
    let workers = Workers::new(program(), Confinement { compile, ..Confinement::default() }, None);
    let admitted = admitted(&bomb());
    let error = workers.start(&admitted, &granted()).err().expect("it has no memory");
    assert!(matches!(error, WorkerError::Crashed { .. } | WorkerError::Compile(_)), "{error}");
}
