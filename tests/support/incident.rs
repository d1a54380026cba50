//! The real service that tests break and repair.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Ran, Runs, State, bundle, eventually, root, service_executable};

/// The orders service with a bad value in its configuration, in a place of its own, and a state whose
/// target it is.
pub struct Incident {
    pub state: State,
    pub address: String,
    pub config: PathBuf,
    pub executable: PathBuf,
    pub pid_file: PathBuf,
    service: Child,
}

impl Incident {
    pub fn new() -> Self {
        Self::on(State::new())
    }

    /// With this state, whose target it is.
    pub fn on(state: State) -> Self {
        let incident = Self::of(state);
        incident.state.configure(&incident.target("orders", ""));
        incident
    }

    /// The service, and a state that need not be initialized yet.
    pub fn of(state: State) -> Self {
        let home = state.path("orders");
        fs::create_dir(&home).expect("a home for the service");
        let executable = home.join("orders");
        fs::copy(service_executable(), &executable).expect("the service can be copied");
        let config = home.join("orders.toml");
        let good = fs::read_to_string(root().join("examples/service/orders.toml")).expect("its configuration is there");
        fs::write(&config, good.replace("pool-size = 8", "pool-size = 0")).expect("its configuration can be written");
        fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("its mode can be set");
        let (pid_file, address_file) = (home.join("orders.pid"), home.join("address"));
        let mut service = Command::new(&executable);
        service
            .arg("--config")
            .arg(&config)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg("--address-file")
            .arg(&address_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(home.join("log")).expect("its log can be made"));
        // What another test forks meanwhile holds the copy open for writing until it executes something else.
        let service = eventually("the end of the copying", || match service.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            spawned => Some(spawned.expect("the service starts")),
        });
        let address = eventually("the service's start", || {
            fs::read_to_string(&address_file).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        });
        Self { state, address, config, executable, pid_file, service }
    }

    /// The target's configuration, with more of it at its end.
    pub fn target(&self, name: &str, more: &str) -> String {
        let (config, executable, address) = (self.config.display(), self.executable.display(), &self.address);
        format!(
            r#"
[targets.{name}]
rollback-owner = "alice"
[targets.{name}.investigation]
ceiling = ["files.read {config}", "http.read http://{address}/**", "process.read exe={executable}"]
[targets.{name}.remediation]
ceiling = ["files.read {config}", "files.write {config} max-calls=2", "process.write exe={executable} signals=HUP"]
[[targets.{name}.guards]]
name = "up"
call = "http.get http://{address}/healthz"
expect = {{ status = 200 }}
{more}
"#
        )
    }

    pub fn arguments(&self) -> Vec<String> {
        [
            "--target=orders".to_owned(),
            format!("--arg=config={}", self.config.display()),
            format!("--arg=origin=http://{}", self.address),
            format!("--arg=executable={}", self.executable.display()),
            format!("--arg=pid-file={}", self.pid_file.display()),
        ]
        .to_vec()
    }

    /// Proposes an example's bundle; gives the proposal's name.
    #[track_caller]
    pub fn propose(&self, example: &str) -> String {
        let proposed = self.propose_with(&bundle(example), &[]).expect(0).json();
        proposed["proposal"].as_str().expect("a proposal").to_owned()
    }

    pub fn propose_with(&self, bundle: &Path, more: &[&str]) -> Ran {
        self.state
            .command(&["--json", "propose", "--hypothesis", "the pool has no worker", "--key"])
            .arg(self.state.path("agent"))
            .arg(bundle)
            .args(self.arguments())
            .args(more)
            .ran()
    }

    #[track_caller]
    pub fn approve(&self, proposal: &str) -> Value {
        self.approve_with(proposal, &[]).expect(0).json()
    }

    pub fn approve_with(&self, proposal: &str, more: &[&str]) -> Ran {
        self.state
            .command(&["--json", "approve", proposal, "--reason", "seen, agreed", "--key"])
            .arg(self.state.path("alice"))
            .args(more)
            .ran()
    }

    pub fn run(&self, proposal: &str) -> Ran {
        self.state.run(&["--json", "run", proposal])
    }

    /// Deploys a configuration behind the runner's back, and waits until the service has it.
    pub fn deploy(&self, pool_size: u32) {
        self.edit(pool_size);
        self.reload();
        let status = if pool_size == 0 { 503 } else { 200 };
        eventually("the service's reload", || (self.status("/orders") == status).then_some(()));
    }

    /// Edits the configuration, which the service does not read until it is told to.
    pub fn edit(&self, pool_size: u32) {
        let text = fs::read_to_string(&self.config).expect("its configuration is there");
        let line = text.lines().find(|line| line.starts_with("pool-size = ")).expect("it has a pool-size");
        fs::write(&self.config, text.replace(line, &format!("pool-size = {pool_size}"))).expect("it can be edited");
    }

    pub fn reload(&self) {
        let pid = rustix::process::Pid::from_child(&self.service);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    }

    /// Ends the service.
    pub fn stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.service);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the service runs");
        eventually("the service's end", || std::net::TcpStream::connect(&self.address).is_err().then_some(()));
    }

    pub fn pid(&self) -> u32 {
        self.service.id()
    }

    /// The status of a GET, by hand: the product is not asked about itself.
    pub fn status(&self, path: &str) -> u16 {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(&self.address).expect("the service listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }
}

impl Drop for Incident {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
