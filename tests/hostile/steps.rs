use std::time::{Duration, Instant};

use countersign_capability::{LogLine, Port, StepContext};
use countersign_model::{Call, Reply, Role, Stop};
use countersign_sandbox::{Failure, Limits, Output};
use wit_component::StringEncoding;

use crate::guest::{component, reading, step};
use crate::guests;

/// What is at the other end of the socket: it answers each read with this content, after a while.
#[derive(Default)]
struct Host {
    pause: Duration,
    /// Fewer than 128 bytes.
    contents: Vec<u8>,
    calls: u32,
    log: Vec<LogLine>,
}

impl Port for Host {
    fn call(&mut self, _: Call) -> Result<Reply, Stop> {
        self.calls += 1;
        assert!(self.calls < 1_000_000, "nobody ends it");
        std::thread::sleep(self.pause);
        // A list of bytes as postcard has it.
        let length = u8::try_from(self.contents.len()).expect("a short file");
        Ok(Reply::Value([&[length], self.contents.as_slice()].concat()))
    }

    fn log(&mut self, line: LogLine) {
        self.log.push(line);
    }
}

/// Runs a component in a worker, as the runner does.
fn run_with(component: &[u8], limits: &Limits, host: &mut Host) -> Result<Output, Failure> {
    guests::linked(component).run(host, StepContext::default(), limits, &|| false).result
}

fn ended(component: &[u8], limits: &Limits) -> String {
    match run_with(component, limits, &mut Host::default()) {
        Ok(output) => panic!("{output:?}"),
        Err(failure) => failure.to_string(),
    }
}

/// What a fix fails with that does this.
fn fails(run: &str) -> String {
    ended(&step(Role::Fix, run), &Limits::default())
}

const fn within(milliseconds: u64) -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        table_elements: 100_000,
        fuel: u64::MAX,
        wall_clock: Duration::from_millis(milliseconds),
        hostcall_bytes: (8 << 20) + (64 << 10),
    }
}

#[test]
fn an_endless_loop() {
    let endless = step(Role::Fix, "(func $run (result i32) (loop $again (br $again)) (i32.const 0))");
    let fuel = Limits { fuel: 1_000_000, ..Limits::default() };
    assert_eq!(ended(&endless, &fuel), "the step used up its fuel of 1000000 instructions");
    assert_eq!(ended(&endless, &within(300)), "the step did not end within 300 ms");
}

#[test]
fn endless_host_calls() {
    let body = "(func $run (result i32)
        (loop $again (call $read (i32.const 1024) (i32.const 2) (i32.const 512)) (br $again)) (i32.const 0))";
    let mut host = Host::default();
    let failure = run_with(&step(Role::Fix, body), &within(300), &mut host).expect_err("it never ends");
    assert_eq!(failure.to_string(), "the step did not end within 300 ms");
    assert!(host.calls > 0);
}

#[test]
fn a_host_call_past_its_deadline() {
    let body = "(func $run (result i32) (call $read (i32.const 1024) (i32.const 2) (i32.const 512)) (i32.const 0))";
    let (mut host, begun) = (Host { pause: Duration::from_millis(400), ..Host::default() }, Instant::now());
    let failure = run_with(&step(Role::Fix, body), &within(300), &mut host).expect_err("it is late");
    // It is never abandoned: whoever undoes must not race it.
    assert!(host.calls == 1 && begun.elapsed() >= host.pause);
    assert_eq!(failure.to_string(), "the step did not end within 300 ms");
}

#[test]
fn memory_to_the_limit() {
    let body = "(func $run (result i32)
        (loop $again (drop (memory.grow (i32.const 256))) (br $again)) (i32.const 0))";
    assert_eq!(fails(body), "the step needs more memory than its limit: growing memory to 270532608 bytes");
}

#[test]
fn a_table_to_the_limit() {
    let body = "(table $t 1 funcref) (func $run (result i32)
        (loop $again (drop (table.grow $t (ref.null func) (i32.const 50000))) (br $again)) (i32.const 0))";
    assert_eq!(fails(body), "the step needs more memory than its limit: growing table to 100001 elements");
}

#[test]
fn recursion_without_end() {
    let deeper = "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (local.get 0)))
        (func $run (result i32) (drop (call $deeper (i64.const 1))) (i32.const 0))";
    assert_eq!(fails(deeper), "the step trapped: call stack exhausted");
    // The host's own functions are called at every depth, down to the last.
    let calling = "(func $deeper (param i64) (result i64)
            (call $read (i32.const 1024) (i32.const 2) (i32.const 512))
            (i64.add (call $deeper (local.get 0)) (local.get 0)))
        (func $run (result i32) (drop (call $deeper (i64.const 1))) (i32.const 0))";
    assert_eq!(ended(&step(Role::Fix, calling), &within(30_000)), "the step trapped: call stack exhausted");
}

#[test]
fn a_string_of_a_gibibyte() {
    // Longer than the memory.
    let body = "(func $run (result i32)
        (call $read (i32.const 0) (i32.const 0x40000000) (i32.const 512)) (i32.const 0))";
    assert_eq!(fails(body), "the step trapped: string pointer/length out of bounds of memory");
    // Within it, and longer than any call may carry.
    let body = "(func $run (result i32) (drop (memory.grow (i32.const 1000)))
        (call $read (i32.const 0) (i32.const 0x3000000) (i32.const 512)) (i32.const 0))";
    assert_eq!(
        fails(body),
        "the step trapped: too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted"
    );
    // Its own words: as long, and longer than its memory.
    let body = "(func $run (result i32) (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 0)) (i32.store (i32.const 8) (i32.const 0x40000000)) (i32.const 0))";
    assert_eq!(fails(body), "the step trapped: string pointer/length out of bounds of memory");
}

#[test]
fn text_that_is_none() {
    let body = r#"(data (i32.const 2048) "\ff\fe") (func $run (result i32)
        (call $read (i32.const 2048) (i32.const 2) (i32.const 512)) (i32.const 0))"#;
    assert_eq!(fails(body), "the step trapped: invalid utf-8 sequence of 1 bytes from index 0");
    // A high surrogate that nothing follows.
    let core = r#"
        (import "countersign:files/read@0.1.0" "read" (func $read (param i32 i32 i32)))
        (memory (export "memory") 32) (data (i32.const 2048) "\00\d8")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
        (func $run (result i32) (call $read (i32.const 2048) (i32.const 1) (i32.const 512)) (i32.const 0))"#;
    let utf16 = component(Role::Fix, &["countersign:files/read@0.1.0"], StringEncoding::UTF16, core);
    assert_eq!(ended(&utf16, &Limits::default()), "the step trapped: unpaired surrogate found: d800");
}

/// What the contract has of the kind is the level of a log line and the cases of a verdict and of a result. It has no flags and
/// no characters: `refused.rs` shows that nobody brings them in.
#[test]
fn values_that_are_none() {
    let core = r#"
        (import "countersign:step/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func $run (result i32) (call $log (i32.const 4) (i32.const 0) (i32.const 0)) (i32.const 0))"#;
    let level = component(Role::Fix, &[], StringEncoding::UTF8, core);
    assert_eq!(ended(&level, &Limits::default()), "the step trapped: unexpected discriminant: 4");
    let result = "(func $run (result i32) (i32.store8 (i32.const 0) (i32.const 2)) (i32.const 0))";
    assert_eq!(fails(result), "the step trapped: invalid expected discriminant");
    // `ok` of a verdict with a fourth case.
    let verdict = "(func $run (result i32) (i32.store8 (i32.const 4) (i32.const 3)) (i32.const 0))";
    assert_eq!(ended(&step(Role::Check, verdict), &Limits::default()), "the step trapped: unexpected discriminant: 3");
    // A result that is not in memory at all.
    let nowhere = "(func $run (result i32) (i32.const 0x7ffffff0))";
    assert_eq!(fails(nowhere), "the step trapped: pointer out of bounds of memory");
    let crooked = "(func $run (result i32) (i32.const 2))";
    assert_eq!(fails(crooked), "the step trapped: return pointer not aligned");
}

/// What the host returns is put where the guest says.
#[test]
fn an_allocator_that_lies_traps_or_reenters() {
    let call = "(func $run (result i32) (call $read (i32.const 1024) (i32.const 2) (i32.const 512)) (i32.const 0))";
    let fuel = Limits { fuel: 1_000_000, ..Limits::default() };
    let came = |realloc: &str| {
        let component = reading(Role::Fix, &format!("{realloc} {call}"));
        run_with(&component, &fuel, &mut Host { contents: vec![7; 64], ..Host::default() })
            .expect_err("it fails")
            .to_string()
    };
    let export = |body: &str| format!(r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {body})"#);
    assert_eq!(came(&export("(i32.const 0x7ffffff0)")), "the step trapped: realloc return: beyond end of memory");
    assert_eq!(came(&export("(unreachable)")), "the step trapped: wasm `unreachable` instruction executed");
    assert_eq!(
        came(&export("(loop $again (br $again)) (i32.const 0)")),
        "the step used up its fuel of 1000000 instructions"
    );
    assert_eq!(
        came(&export("(call $read (i32.const 1024) (i32.const 2) (i32.const 512)) (i32.const 131072)")),
        "the step trapped: cannot leave component instance"
    );
}

/// The contract has no resources, and the inert WASI has timers.
#[test]
fn handles_that_were_never_given_or_are_dropped_twice() {
    let dropping = |body: &str| {
        let text = format!(
            r#"(component
                (import "wasi:io/poll@0.2.6" (instance $io (export "pollable" (type (sub resource)))))
                (alias export $io "pollable" (type $pollable))
                (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
                    (alias outer 1 $pollable (type $outer))
                    (export "pollable" (type $own (eq $outer)))
                    (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
                (core func $drop (canon resource.drop $pollable))
                (alias export $clock "subscribe-duration" (func $subscribe))
                (core func $timer (canon lower (func $subscribe)))
                (core module $m
                    (import "" "drop" (func $drop (param i32)))
                    (import "" "timer" (func $timer (param i64) (result i32)))
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                    (func (export "run") (result i32) (local $timer i32)
                        (local.set $timer (call $timer (i64.const 1))) {body} (i32.const 0)))
                (core instance $i (instantiate $m (with ""
                    (instance (export "drop" (func $drop)) (export "timer" (func $timer))))))
                (alias core export $i "run" (core func $run))
                (alias core export $i "memory" (core memory $memory))
                (alias core export $i "realloc" (core func $realloc))
                (func (export "fix") (result (result (error string)))
                    (canon lift (core func $run) (memory $memory) (realloc $realloc))))"#
        );
        run_with(text.as_bytes(), &Limits::default(), &mut Host::default()).map_err(|failure| failure.to_string())
    };
    let once = "(call $drop (local.get $timer))";
    assert_eq!(dropping(once), Ok(Output::Done));
    let unknown = |handle: &str| Err(format!("the step trapped: unknown handle index {handle}"));
    assert_eq!(dropping(&once.repeat(2)), unknown("1"));
    assert_eq!(dropping("(call $drop (i32.const 7))"), unknown("7"));
    assert_eq!(dropping("(call $drop (i32.const 0))"), unknown("0"));
    assert_eq!(dropping("(call $drop (i32.const -1))"), unknown("4294967295"));
}

/// The functions that run before the step's own are the step's too, and are counted like it.
#[test]
fn a_start_function_that_works() {
    let looping = "(func $start (loop $again (br $again))) (start $start) (func $run (result i32) (i32.const 0))";
    assert_eq!(ended(&step(Role::Fix, looping), &within(300)), "the step did not end within 300 ms");
    // Its calls go the same way, and are answered.
    let calling = guests::step(
        Role::Fix,
        r#"(func $start (call $read (i32.const 1024) (i32.const 2) (i32.const 512))) (start $start)
        (func (export "run") (result i32) (i32.const 0))"#,
    );
    let mut host = Host::default();
    assert_eq!(run_with(calling.as_bytes(), &Limits::default(), &mut host), Ok(Output::Done));
    assert_eq!(host.calls, 1);
}

#[test]
fn a_flood_of_log_lines_is_cut_and_ends() {
    let core = r#"
        (import "countersign:step/host@0.1.0" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 4) (data (i32.const 0) "\1b[2J\1b]0;owned\07\0d\0aroot@prod#")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func $run (result i32) (local $left i32) (local.set $left (i32.const 100000))
            (loop $again
                (call $log (i32.const 1) (i32.const 0) (i32.const 65536))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
            (i32.const 65552))"#;
    let flood = component(Role::Fix, &[], StringEncoding::UTF8, core);
    let mut host = Host::default();
    assert_eq!(run_with(&flood, &Limits::default(), &mut host), Ok(Output::Done));
    let logged: usize = host.log.iter().map(|line| line.message.len()).sum();
    assert_eq!((host.log.len(), logged), (64, 256 << 10));
}
