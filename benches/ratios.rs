//! Ratios against a floor measured in the same run; `make bench` prints them. Times alone say more
//! about the machine than about the code, so nothing here is asserted.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_capability::{LogLine, Phase, Port, Protected, Registry};
use countersign_files::Files;
use countersign_gate::{Allowance, Bounds, Gate, GatePort, ReadRecord, Sessions, Step, Witness, Work};
use countersign_model::{Fault, Grant, Reply, Role, Selector};
use support::Incident;

fn main() {
    gated_read();
    whole_run();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn timed<T>(rounds: usize, mut f: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let begun = Instant::now();
        black_box(f());
        begun.elapsed()
    };
    median((0..rounds).map(time).collect())
}

fn print(what: &str, floor_name: &str, measured: Duration, floor: Duration) {
    let ratio = measured.as_secs_f64() / floor.as_secs_f64();
    println!("{what}: {measured:.2?} against {floor:.2?} for {floor_name}: {ratio:.2}");
}

struct Silent;

impl Witness for Silent {
    fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}

/// A 4 KiB file read through the gate, call encoding and system calls included, against `std::fs::read`.
fn gated_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().canonicalize().expect("it resolves").join("file");
    std::fs::write(&path, vec![b'x'; 4096]).expect("it can be written");
    let registry = Arc::new(Registry::default().with::<Files>());
    let selector = Selector::word(path.to_str().expect("UTF-8"));
    let call = registry.get("files").and_then(|files| files.parse_call("read", &selector)).expect("a call");
    let grant: Grant = format!("files.read{selector}").parse().expect("a grant");
    let sessions =
        Sessions::new(Arc::clone(&registry), BTreeMap::new(), Phase::Observe, Arc::new(Protected::default()));
    let gate = GatePort::new(Gate::new(sessions, Work::Observe { denied: Vec::new() }, Box::new(Silent)));
    let mut port = gate.clone();
    let bounds = || Bounds::new(&registry, std::slice::from_ref(&grant)).expect("bounds");
    let gated = timed(2000, || {
        // A step may make 10,000 calls; each round is a step's first.
        gate.lock().begin(Step { role: Some(Role::Check), allowance: Allowance::new(bounds(), bounds()) });
        assert!(matches!(port.call(call.clone()), Ok(Reply::Value(_))));
    });
    let floor = timed(2000, || std::fs::read(&path).expect("it can be read"));
    print("a gated 4 KiB file read", "std::fs::read", gated, floor);
}

/// `countersign run` of the demo's fix with a warm compile cache, check and guards included, against `bash`
/// doing the same edit, signal and check without any of it.
fn whole_run() {
    let incident = Incident::new();
    let config = incident.config.display().to_string();
    let broken = std::fs::read_to_string(&incident.config).expect("it is text");
    let reset = || {
        std::fs::write(&incident.config, &broken).expect("it can be written");
        let pid = rustix::process::Pid::from_raw(i32::try_from(incident.pid()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("the service is there");
        support::eventually("the incident", || (incident.status("/orders") == 503).then_some(()));
    };
    let mut runs = Vec::new();
    for _ in 0..9 {
        reset();
        let proposal = incident.propose("pool-size");
        incident.approve(&proposal);
        let begun = Instant::now();
        let ran = incident.run(&proposal);
        runs.push(begun.elapsed());
        ran.expect(0);
    }
    let (host, port) = incident.address.split_once(':').expect("an address and a port");
    let script = format!(
        "sed -i 's/^pool-size = .*/pool-size = 8/' {config}; kill -HUP $(cat {}); \
         until exec 3<>/dev/tcp/{host}/{port} && printf 'GET /orders HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3; do :; done",
        incident.pid_file.display()
    );
    let mut floors = Vec::new();
    for _ in 0..9 {
        reset();
        let begun = Instant::now();
        let status = Command::new("bash").args(["-c", &script]).status().expect("bash starts");
        floors.push(begun.elapsed());
        assert!(status.success());
    }
    print("a whole `countersign run`, warm cache", "bash doing the same edit unsafely", median(runs), median(floors));
}
