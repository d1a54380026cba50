//! What it costs that a step is in a process of its own.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign_capability::{Registry, StepContext};
use countersign_sandbox::{Limits, Output, Sandbox, Settings};
use countersign_worker::{Confinement, Program, Step, Workers};

use crate::guest::{self, Silent};
use crate::harness::{Row, each, median, shown};
use crate::memory::Memory;

/// The argument by which the benchmark is the other end of a bare socketpair.
pub const ECHO: &str = "--echo";
const ROUNDS: usize = 40;
const STARTS: u32 = 5;
const CALLS: u32 = 1000;
/// Bytes of a call for a file of a short path, with its frame; and what it brings back.
const REQUEST: usize = 48;
const SIZE: usize = 4096;

pub fn measure() -> Vec<Row> {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let program = Program::at(Path::new(env!("CARGO_BIN_EXE_countersign")));
    let workers = Workers::new(program, Confinement::default(), Some(&place.path().join("cache")));
    // As deep as `/etc/nginx/nginx.conf`: each directory on the way is looked at, which `reads` measures.
    let shallow = tempfile::tempdir().expect("a temporary directory");
    let mut rows = vec![started(&workers, place.path())];
    rows.extend(called(&workers, shallow.path()));
    rows
}

fn step(workers: &Workers, component: &[u8]) -> Step {
    let admitted = guest::admitted(component);
    workers.start(&admitted, &guest::granted()).expect("started").ready().expect("linked")
}

/// From nothing to a step that is linked and waits, and its end; what loading its code takes is taken out.
fn started(workers: &Workers, place: &Path) -> Row {
    let idle = guest::idle();
    drop(step(workers, &idle));
    let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
    let admitted = guest::admitted(&idle);
    let kept = place.join("kept");
    std::fs::write(&kept, sandbox.precompile(&admitted).expect("compiled")).expect("it can be written");
    let load = median(ROUNDS, || {
        each(1, || {
            let file = std::fs::File::open(&kept).expect("it is there");
            let compiled = sandbox.load(&file, admitted.outline()).expect("loaded");
            drop(sandbox.link(&compiled, &guest::registry(), &guest::granted()).expect("linked"));
        })
    });
    let spawned = || {
        let begun = Instant::now();
        for _ in 0..STARTS {
            let none = || Stdio::null();
            let mut child =
                Command::new("/bin/true").stdin(none()).stdout(none()).stderr(none()).spawn().expect("it starts");
            child.wait().expect("it ends");
        }
        begun.elapsed() / STARTS
    };
    let confined = || {
        let begun = Instant::now();
        (0..STARTS).for_each(|_| drop(step(workers, &idle)));
        (begun.elapsed() / STARTS).saturating_sub(Duration::from_secs_f64(load))
    };
    let row =
        Row::of("a confined worker, started and ended", "/bin/true, spawned and waited for", ROUNDS, confined, spawned);
    row.goal(3.0).note(format!("loading and linking its step, taken out: {}", shown(load)))
}

/// One call from the guest through the socket and the gate, and 4 KiB back: from memory, and read from a file.
fn called(workers: &Workers, place: &Path) -> Vec<Row> {
    let path = place.join("file");
    std::fs::write(&path, vec![b'x'; SIZE]).expect("it can be written");
    let text = path.to_str().expect("UTF-8");
    let step = step(workers, &guest::reading(text, SIZE, CALLS));
    let idle = self::step(workers, &guest::idle());
    let run = |step: &Step, registry: Registry| {
        let bounds = guest::bounds_of(&registry, &[format!("files.read {text}")]);
        let gate = guest::gate_of(registry, Box::new(Silent));
        guest::begin(&gate, &bounds);
        let begun = Instant::now();
        let ended = step.run(&mut gate.clone(), StepContext::default(), &Limits::default(), &|| false);
        assert!(matches!(ended.result, Ok(Output::Verdict(_))), "{:?}", ended.result);
        begun.elapsed()
    };
    let mut echo = Echo::new();
    let mut against = |what: &str, registry: fn() -> Registry| {
        // A run starts a process; that is the other row's.
        let call = || run(&step, registry()).saturating_sub(run(&idle, registry())) / CALLS;
        let floor = "a bare socketpair round trip of the same size, to another process";
        Row::of(what, floor, ROUNDS, call, || echo.trips())
    };
    vec![
        against("a gated call over the socket, answered with 4 KiB", || Registry::default().with::<Memory>()).goal(2.0),
        against("the same, and the 4 KiB read from a file two directories deep", guest::registry),
    ]
}

/// Another process that answers each request with 4 KiB.
struct Echo {
    socket: UnixStream,
    child: std::process::Child,
}

impl Echo {
    fn new() -> Self {
        let (socket, theirs) = UnixStream::pair().expect("a socketpair");
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        let child = command.arg(ECHO).stdin(Stdio::from(OwnedFd::from(theirs))).spawn().expect("it starts");
        Self { socket, child }
    }

    fn trips(&mut self) -> Duration {
        let (request, mut reply) = ([1; REQUEST], [0; SIZE]);
        let begun = Instant::now();
        for _ in 0..CALLS {
            self.socket.write_all(&request).expect("sent");
            self.socket.read_exact(&mut reply).expect("answered");
        }
        begun.elapsed() / CALLS
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process.
pub fn echo() {
    let socket = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().expect("a socket");
    let mut socket = UnixStream::from(socket);
    let mut request = [0; REQUEST];
    while socket.read_exact(&mut request).is_ok() {
        if socket.write_all(&[1; SIZE]).is_err() {
            return;
        }
    }
}
