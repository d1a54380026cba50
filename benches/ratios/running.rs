//! A whole run through the binary, and what it needs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use crate::harness::Row;
use crate::support::{self, Incident};

const ROUNDS: usize = 15;

/// `countersign run` of the demo's fix with a warm compile cache, check and guards included, against `bash`
/// doing the same edit, signal and check without any of it.
pub fn measure() -> Vec<Row> {
    let stage = Stage::new();
    let mut peaks = Vec::new();
    let row = Row::of(
        "a whole `countersign run`, warm cache",
        "bash: sed, kill -HUP, and asking until it answers",
        ROUNDS,
        || {
            let (time, peak) = stage.run();
            peaks.push(peak);
            time
        },
        || stage.bash(),
    );
    peaks.sort_unstable();
    let (least, most) = (peaks.first().copied().unwrap_or_default(), peaks.last().copied().unwrap_or_default());
    let row = row.goal(4.0);
    vec![row.note(format!("peak memory of the run: {} to {} KiB resident", least / 1024, most / 1024))]
}

struct Stage {
    incident: Incident,
    broken: String,
    script: String,
}

impl Stage {
    fn new() -> Self {
        let incident = Incident::new();
        let broken = std::fs::read_to_string(&incident.config).expect("it is text");
        let (host, port) = incident.address.split_once(':').expect("an address and a port");
        let script = format!(
            "sed -i 's/^pool-size = .*/pool-size = 8/' {}; kill -HUP $(cat {}); \
             until exec 3<>/dev/tcp/{host}/{port} && printf 'GET /orders HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3; do :; done",
            incident.config.display(),
            incident.pid_file.display()
        );
        Self { incident, broken, script }
    }

    fn reset(&self) {
        std::fs::write(&self.incident.config, &self.broken).expect("it can be written");
        let pid = i32::try_from(self.incident.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("the service is there");
        support::eventually("the incident", || (self.incident.status("/orders") == 503).then_some(()));
    }

    /// The time and the most memory, in bytes, of one run.
    fn run(&self) -> (Duration, u64) {
        self.reset();
        let proposal = self.incident.propose("pool-size");
        self.incident.approve(&proposal);
        let mut command = self.incident.state.command(&["--json", "run", &proposal]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let ended = command.spawn().expect("it starts").wait4().expect("it ends");
        let time = begun.elapsed();
        assert!(ended.status.success(), "the run failed");
        (time, ended.rusage.maxrss)
    }

    fn bash(&self) -> Duration {
        self.reset();
        let begun = Instant::now();
        let status = Command::new("bash").args(["-c", &self.script]).status().expect("bash starts");
        assert!(status.success());
        begun.elapsed()
    }
}
