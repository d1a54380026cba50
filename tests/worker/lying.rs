//! Programs that say what no worker says. What a step's process sends is believed in nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use countersign_model::Role;
use countersign_sandbox::Failure;
use countersign_worker::{Confinement, Program, Step, WorkerError, Workers};

use crate::guests::{admitted, granted, run, trivial};
use crate::held::children;

/// `FromWorker::Held` with nothing missing, and `FromWorker::Ready`.
const READY: &[u8] = b"\x03\0\0\0\x01\0\0\x01\0\0\0\x05";
/// `FromWorker::Held` with nothing missing, and `FromWorker::Compiled`.
const COMPILED: &[u8] = b"\x03\0\0\0\x01\0\0\x01\0\0\0\x02";

/// A program that says the first of these when it is to be ready, and then the other.
struct Liar {
    place: tempfile::TempDir,
}

impl Liar {
    fn new(first: &[u8], then: &[u8]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        for (name, bytes) in [("compiled", COMPILED), ("first", first), ("then", then)] {
            fs::write(place.path().join(name), bytes).expect("written");
        }
        // Not written here: a program that another thread's child has open for writing cannot be started.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/liar.sh");
        symlink(script, place.path().join("liar")).expect("a link");
        Self { place }
    }

    fn step(&self) -> Result<Step, WorkerError> {
        let program = Program::each(&self.place.path().join("liar"));
        let workers = Workers::new(program, Confinement::default(), None);
        workers.start(&admitted(&trivial(Role::Fix)), &granted())?.ready()
    }
}

fn failing(then: &[u8]) -> Failure {
    let liar = Liar::new(READY, then);
    let step = liar.step().expect("it says that it is ready");
    let failure = run(&step).result.expect_err("a lie");
    drop(step);
    assert!(children().is_empty());
    failure
}

#[test]
fn a_frame_longer_than_any_is_refused_before_memory_is_taken() {
    assert_eq!(failing(b"\xff\xff\xff\xff").to_string(), "the step's worker process sent a frame of 4294967295 bytes");
}

#[test]
fn what_is_no_message_ends_the_step() {
    assert_eq!(failing(b"\x01\0\0\0\xff").to_string(), "the step's worker process sent what is no message");
    assert_eq!(failing(b"\0\0\0\0").to_string(), "the step's worker process sent what is no message");
    // A message, and a byte too many.
    assert_eq!(failing(b"\x02\0\0\0\x05\0").to_string(), "the step's worker process sent what is no message");
    // Said at the wrong time.
    assert_eq!(failing(READY).to_string(), "the step's worker process broke its protocol");
}

#[test]
fn what_only_the_runner_can_know_is_not_taken_from_a_worker() {
    // `Ended(Err(Stopped("x")), 0)`: nobody had stopped it.
    let failure = failing(b"\x06\0\0\0\x08\x01\x01\x01x\0");
    assert_eq!(failure.to_string(), "the step's worker process said that it was stopped, and nobody had stopped it");
    // `Ended(Err(OutOfFuel(5)), 9)`: how much it had is not the worker's to say.
    let failure = failing(b"\x05\0\0\0\x08\x01\x03\x05\x09");
    assert_eq!(failure.to_string(), "the step used up its fuel of 20000000000 instructions");
}

#[test]
fn more_lines_than_a_step_may_log_end_it() {
    // `Log(Info, "")`, over and over: each costs as much as 64 bytes.
    let line = b"\x03\0\0\0\x07\x01\0";
    let failure = failing(&line.repeat(256 * 1024 / 64 + 1));
    assert_eq!(failure.to_string(), "the step's worker process broke its protocol");
}

#[test]
fn a_program_that_is_no_worker_is_no_step() {
    let error = Liar::new(b"\x04\0\0\0abcd", b"").step().err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("the process that loaded it sent what is no message"));
}

#[test]
fn a_worker_that_closes_its_socket_and_goes_on_is_ended() {
    let liar = Liar::new(READY, b"");
    fs::write(liar.place.path().join("closes"), "").expect("written");
    let step = liar.step().expect("it says that it is ready");
    let failure = run(&step).result.expect_err("nobody is there");
    assert_eq!(failure.to_string(), "the step's worker process closed its socket and went on, and was ended");
    assert!(children().is_empty());
}

#[test]
fn what_was_not_set_up_is_said() {
    let said = b"no room here";
    let frame = [&[said.len() as u8 + 2, 0, 0, 0, 0, said.len() as u8], said.as_slice()].concat();
    let error = Liar::new(&frame, b"").step().err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("the process that loaded it could not be set up: no room here"));
}

/// More findings than there may be, each a byte or two on the wire and many in memory.
#[test]
fn findings_without_end_are_no_message() {
    // `Ended(Ok(Findings([("", ""), …])), 0)`, two million of them.
    let count = 2_000_000_usize;
    let mut body = vec![8, 0, 0, 0x80, 0x89, 0x7a];
    body.extend(std::iter::repeat_n(0, count * 2 + 1));
    let frame = [&u32::try_from(body.len()).expect("a length").to_le_bytes(), body.as_slice()].concat();
    assert_eq!(failing(&frame).to_string(), "the step's worker process sent what is no message");
}
