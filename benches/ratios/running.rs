//! A whole run through the binary, and what it needs.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Row;
use crate::peak;
use crate::support::{self, Incident};

const ROUNDS: usize = 15;

/// `countersign run` of the demo's fix with a warm compile cache, check and guards included, against `bash`
/// doing the same edit, signal and check without any of it.
pub fn measure() -> Vec<Row> {
    let stage = Stage::new();
    let (mut peaks, mut again) = (Vec::new(), 0);
    let row = Row::of(
        "a whole `countersign run`, warm cache",
        "bash: sed, kill -HUP, and asking until it answers",
        ROUNDS,
        || {
            let (time, peak, waited) = stage.run();
            peaks.push(peak);
            again += u32::from(waited);
            time
        },
        || stage.bash(),
    );
    peaks.sort_unstable();
    let (least, most) = (peaks.first().copied().unwrap_or_default(), peaks.last().copied().unwrap_or_default());
    let row = row.goal(6.0);
    let mut rows =
        vec![row.note(format!("peak memory of the run: {least} to {most} KiB resident")).note(format!(
            "{again} of {} runs waited out the check's signed pause, and asked a second time",
            peaks.len()
        ))];
    rows.extend(stage.ansible());
    rows
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

    /// The time of one run, the most memory that it had, in KiB, and whether the service was too slow for the check's
    /// first asking.
    fn run(&self) -> (Duration, u64, bool) {
        self.reset();
        let proposal = self.incident.propose("pool-size");
        self.incident.approve(&proposal);
        let mut command = self.incident.state.command(&["--json", "run", &proposal]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let (time, peak, mut child) = peak::of(command);
        let mut said = String::new();
        child.stderr.take().expect("its stderr").read_to_string(&mut said).expect("it is text");
        (time, peak, said.contains("for the 2. time"))
    }

    /// The same run against `ansible-core` doing the same edit, signal and check on this host; nothing where it is not installed.
    fn ansible(&self) -> Option<Row> {
        let program = std::env::var_os("ANSIBLE_PLAYBOOK").unwrap_or_else(|| "ansible-playbook".into());
        if Command::new(&program).arg("--version").output().is_err() {
            eprintln!(
                "not measured against ansible-core, which is not installed: pip install ansible-core, or ANSIBLE_PLAYBOOK=PATH"
            );
            return None;
        }
        let playbook = self.incident.state.path("playbook.yml");
        let (config, pid_file, address) =
            (self.incident.config.display(), self.incident.pid_file.display(), &self.incident.address);
        let text = format!(
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n\
             \x20 - lineinfile: {{ path: {config}, regexp: '^pool-size = ', line: 'pool-size = 8' }}\n\
             \x20 - shell: kill -HUP $(cat {pid_file})\n\
             \x20 - uri: {{ url: 'http://{address}/orders' }}\n    register: answer\n    until: answer.status == 200\n    retries: 50\n    delay: 1\n"
        );
        std::fs::write(&playbook, text).expect("it can be written");
        let row = Row::of(
            "the same run",
            "ansible-playbook -c local: lineinfile, kill -HUP, uri until it answers",
            5,
            || self.run().0,
            || {
                self.reset();
                let begun = Instant::now();
                let mut command = Command::new(&program);
                command
                    .args(["-c", "local", "-i", "localhost,"])
                    // Its own, as where no inventory is given; otherwise it would look for one each time.
                    .args(["-e", "ansible_python_interpreter={{ ansible_playbook_python }}"])
                    .arg(&playbook)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                assert!(command.status().expect("it starts").success());
                begun.elapsed()
            },
        );
        Some(row.goal(0.01))
    }

    fn bash(&self) -> Duration {
        self.reset();
        let begun = Instant::now();
        let status = Command::new("bash").args(["-c", &self.script]).status().expect("bash starts");
        assert!(status.success());
        begun.elapsed()
    }
}
