//! A real nginx whose configuration has a stray character, repaired and, by the bad twin, put back.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Ran, Runs, State, bundle, eventually, root};

const NGINX: &str = "/usr/sbin/nginx";
/// The line of the example's configuration with the stray `x`.
const LINE: &str = "17";

struct Nginx {
    state: State,
    home: PathBuf,
    origin: String,
    master: Child,
}

impl Nginx {
    /// nginx as it was started before the bad deployment, which a reload has refused since.
    fn new() -> Self {
        assert!(Path::new(NGINX).exists(), "nginx is needed: apt-get install nginx");
        let state = State::new();
        let home = state.path("nginx");
        fs::create_dir(&home).expect("a home for nginx");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        let template =
            fs::read_to_string(root().join("examples/nginx-stray-character/nginx.conf")).expect("it is there");
        let broken =
            template.replace("{directory}", home.to_str().expect("UTF-8")).replace("{port}", &port.to_string());
        let config = home.join("nginx.conf");
        let start = broken.find("        location = /healthz").expect("the new location");
        let end = broken[start..].find("        }\n").expect("its end") + start + "        }\n".len();
        fs::write(&config, format!("{}{}", &broken[..start], &broken[end..])).expect("it can be written");
        let master = Command::new(NGINX)
            .arg("-c")
            .arg(&config)
            .args(["-e"])
            .arg(home.join("error.log"))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let origin = format!("127.0.0.1:{port}");
        let nginx = Self { state, home, origin, master };
        eventually("nginx's start", || nginx.get("/").ok().filter(|(status, _)| *status == 200));
        eventually("its pid file", || {
            fs::read_to_string(nginx.home.join("nginx.pid")).ok().filter(|pid| !pid.is_empty())
        });
        // The deployment: the new file is there, and the reload that should take it is refused.
        fs::write(&config, broken).expect("it can be written");
        let pid = rustix::process::Pid::from_child(&nginx.master);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("nginx is there");
        eventually("the refused reload", || {
            fs::read_to_string(nginx.home.join("error.log")).ok().filter(|log| log.contains("[emerg]"))
        });
        nginx.configure();
        nginx
    }

    fn configure(&self) {
        let (home, origin) = (self.home.display(), &self.origin);
        self.state.configure(&format!(
            r#"
[targets.web]
rollback-owner = "alice"
[targets.web.investigation]
ceiling = ["files.read {home}/*", "http.read http://{origin}/**", "process.read exe={NGINX}"]
[targets.web.remediation]
ceiling = ["files.read {home}/nginx.conf", "files.write {home}/nginx.conf", "process.write exe={NGINX} pid-file={home}/nginx.pid signals=HUP"]
[[targets.web.guards]]
name = "the site answers"
call = "http.get http://{origin}/"
expect = {{ status = 200, body = "welcome\n" }}
[[targets.web.validators]]
name = "nginx -t"
paths = ["{home}/nginx.conf"]
command = ["{NGINX}", "-t", "-e", "stderr", "-c", "{home}/nginx.conf"]
"#
        ));
    }

    fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.origin)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
    }

    fn status(&self, path: &str) -> u16 {
        self.get(path).expect("nginx answers").0
    }

    fn config(&self) -> String {
        fs::read_to_string(self.home.join("nginx.conf")).expect("it is there")
    }

    fn arguments(&self) -> Vec<String> {
        let home = self.home.display();
        [
            "--target=web".to_owned(),
            format!("--arg=config={home}/nginx.conf"),
            format!("--arg=error-log={home}/error.log"),
            format!("--arg=pid-file={home}/nginx.pid"),
            format!("--arg=executable={NGINX}"),
            format!("--arg=origin=http://{}", self.origin),
            format!("--arg=line={LINE}"),
            "--arg=stray=x".to_owned(),
        ]
        .to_vec()
    }

    /// Investigates, proposes, approves and runs.
    fn remediate(&self, example: &str) -> Ran {
        let bundle = bundle(example);
        let mut investigate = self.state.command(&["--json", "investigate"]);
        let found = investigate.arg(&bundle).args(self.arguments()).ran().expect(0).json();
        assert!(found["findings"].to_string().contains("emerg"), "{found}");
        let mut propose = self.state.command(&["--json", "propose", "--hypothesis", "a stray x", "--key"]);
        let proposed = propose.arg(self.state.path("agent")).arg(&bundle).args(self.arguments()).ran().expect(0).json();
        let proposal = proposed["proposal"].as_str().expect("a proposal");
        let mut approve = self.state.command(&["approve", proposal, "--reason", "seen", "--key"]);
        approve.arg(self.state.path("alice")).ran().expect(0);
        self.state.run(&["--json", "run", proposal])
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.master);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.master.wait();
    }
}

#[test]
fn a_stray_character_is_taken_out_and_nginx_reloads() {
    let nginx = Nginx::new();
    assert_eq!((nginx.status("/"), nginx.status("/healthz")), (200, 404));
    let broken = nginx.config();
    let ran = nginx.remediate("nginx-stray-character").expect(0);
    assert_eq!(ran.json()["outcome"], "committed");
    // Told as it happens.
    let told = ["  changed: replace", "validator `nginx -t` accepts", "  changed: send HUP"];
    let places = told.map(|line| ran.stderr.find(line).expect(line));
    assert!(places.is_sorted(), "{}", ran.stderr);
    // A worker process of before the reload may answer once more.
    eventually("the new configuration", || (nginx.status("/healthz") == 200).then_some(()));
    assert_eq!(nginx.status("/"), 200);
    assert_eq!(nginx.config(), broken.replace(";x\n", ";\n"));
}

#[test]
fn the_bad_twin_passes_the_validator_and_ends_as_it_was() {
    let nginx = Nginx::new();
    let broken = nginx.config();
    let ran = nginx.remediate("nginx-stray-character-twin").expect(4);
    let report = ran.json();
    assert_eq!(report["outcome"], "rolled-back");
    assert!(ran.stderr.contains("validator `nginx -t` accepts"), "{}", ran.stderr);
    assert_eq!(nginx.config(), broken);
    assert_eq!((nginx.status("/"), nginx.status("/healthz")), (200, 404));
}

/// What the validator refuses never reaches nginx: the file is back and no signal was sent.
#[test]
fn what_the_validator_refuses_is_rolled_back_before_anything_irreversible() {
    let nginx = Nginx::new();
    let config = fs::read_to_string(nginx.state.config()).expect("it is text");
    // A validator that is never content, as if the fix had broken something else.
    let strict = format!("\"{NGINX}\", \"-t\", \"-e\", \"stderr\", \"-c\", \"{}/absent.conf\"", nginx.home.display());
    let own = format!("\"{NGINX}\", \"-t\", \"-e\", \"stderr\", \"-c\", \"{}/nginx.conf\"", nginx.home.display());
    fs::write(nginx.state.config(), config.replace(&own, &strict)).expect("it can be written");
    let broken = nginx.config();
    let report = nginx.remediate("nginx-stray-character").expect(4).says("absent.conf").json();
    assert_eq!(nginx.config(), broken);
    let fix: Vec<_> = report["changes"].as_array().expect("changes").iter().filter(|c| c["role"] == "fix").collect();
    assert_eq!(fix.len(), 1, "no signal was sent by the fix: {report}");
}
