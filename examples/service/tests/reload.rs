//! The service as its users see it: started, asked, signalled, ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
    directory: tempfile::TempDir,
}

impl Running {
    fn start(pool_size: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        write(&directory.path().join("orders.toml"), pool_size);
        let path = |name: &str| directory.path().join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_orders"))
            .args(["--config".into(), path("orders.toml"), "--pid-file".into(), path("pid")])
            .args(["--address-file".into(), path("address")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service");
        let lines = BufReader::new(child.stderr.take().expect("its log"));
        let mut running = Self { child, lines, directory };
        running.wait_for("listening on");
        running
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Reads the log up to a line with this text.
    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).expect("a line"), 0, "the log ended before `{text}`");
        }
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.path("pid")).expect("a pid file");
        assert_eq!(pid.trim(), self.child.id().to_string());
        assert!(Command::new("kill").args(["-s", name, pid.trim()]).status().expect("kill").success());
    }

    fn get(&self, path: &str) -> (u16, String) {
        let address = std::fs::read_to_string(self.path("address")).expect("an address file");
        let mut stream = TcpStream::connect(address.trim()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).expect("a status").parse().expect("a number"), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &std::path::Path, pool_size: &str) {
    let text = format!("listen = \"127.0.0.1:0\"\npool-size = {pool_size}\ntimeout-ms = 500\n");
    std::fs::write(path, text).expect("a configuration");
}

#[test]
fn a_reload_changes_what_is_served() {
    let mut service = Running::start("0");
    let (status, body) = service.get("/healthz");
    assert_eq!(status, 200, "it is up, though no order gets through");
    assert!(body.contains("\"reason\":\"the pool has no worker\",\"generation\":1,\"pool-size\":0"), "{body}");
    assert_eq!(service.get("/orders").0, 503);

    write(&service.path("orders.toml"), "8");
    service.signal("HUP");
    service.wait_for("generation 2");
    assert_eq!(service.get("/orders"), (200, "{\"order\":1}\n".to_owned()));
    assert!(service.get("/healthz").1.contains("\"reason\":null,\"generation\":2,\"pool-size\":8"));

    write(&service.path("orders.toml"), "500");
    service.signal("HUP");
    service.wait_for("configuration rejected");
    let (status, body) = service.get("/orders");
    assert_eq!((status, body.as_str()), (503, "configuration rejected: pool-size: `500` is more than 64\n"));
    let (status, body) = service.get("/healthz");
    assert_eq!(status, 503);
    assert!(body.contains("\"generation\":2,\"pool-size\":null,\"reload-error\":\"pool-size: `500` is more than 64\""));

    write(&service.path("orders.toml"), "8");
    service.signal("HUP");
    service.wait_for("generation 3");
    assert_eq!(service.get("/orders").0, 200);
}

#[test]
fn it_ends_cleanly() {
    let mut service = Running::start("1");
    service.signal("TERM");
    assert!(service.child.wait().expect("an end").success());
    assert!(!service.path("pid").exists() && !service.path("address").exists());
}

#[test]
fn it_does_not_start_with_a_configuration_that_it_would_reject() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("orders.toml");
    write(&config, "500");
    let output = Command::new(env!("CARGO_BIN_EXE_orders"))
        .args(["--config".into(), config, "--pid-file".into(), directory.path().join("pid")])
        .output()
        .expect("the service");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("more than 64"));
}
