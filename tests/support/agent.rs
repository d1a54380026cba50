//! A real ssh-agent, and things that only pretend to be one.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::eventually;

/// An `ssh-agent` of the test's own, stopped with it.
pub struct Agent {
    dir: TempDir,
    child: Child,
}

impl Agent {
    pub fn start() -> Self {
        Self::begin(&mut Command::new("ssh-agent"))
    }

    /// One that runs this program before it signs with a key that is to be confirmed, and signs where that succeeds.
    pub fn confirming(ask: &Path) -> Self {
        let mut agent = Command::new("ssh-agent");
        Self::begin(agent.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0"))
    }

    /// One that reaches hardware keys by this library too.
    pub fn providing(library: &Path) -> Self {
        Self::begin(Command::new("ssh-agent").arg("-P").arg(library))
    }

    fn begin(agent: &mut Command) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let child = agent
            .args(["-D", "-a"])
            .arg(dir.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ssh-agent is installed: apt-get install openssh-client");
        let agent = Self { dir, child };
        eventually("the agent's start", || std::os::unix::net::UnixStream::connect(agent.socket()).ok());
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub fn add(&self, key: &Path) {
        self.ssh_add(&["-q", key.to_str().expect("UTF-8")]);
    }

    /// The same with a key of which each use is to be confirmed.
    pub fn add_to_confirm(&self, key: &Path) {
        self.ssh_add(&["-q", "-c", key.to_str().expect("UTF-8")]);
    }

    /// A hardware key by its handle, and the library that reaches it.
    pub fn add_hardware(&self, handle: &Path, library: &Path) {
        self.ssh_add(&["-q", "-S", library.to_str().expect("UTF-8"), handle.to_str().expect("UTF-8")]);
    }

    /// Locks it with a password, after which it lists nothing and signs nothing.
    pub fn lock(&self) {
        self.ssh_add(&["-x"]);
    }

    fn ssh_add(&self, arguments: &[&str]) {
        let ask = self.dir.path().join("ask");
        std::fs::write(&ask, "#!/bin/sh\necho password\n").expect("it can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&ask, mode).expect("its mode can be set");
        let output = Command::new("ssh-add")
            .args(arguments)
            .env("SSH_AUTH_SOCK", self.socket())
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::null())
            .output()
            .expect("ssh-add starts");
        assert!(output.status.success(), "ssh-add {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What listens where an agent should and answers each request with these bytes, as they are; where there are none it
/// never answers.
pub struct Impostor {
    dir: TempDir,
    asked: Arc<AtomicUsize>,
}

impl Impostor {
    pub fn start(answers: Vec<Vec<u8>>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("socket")).expect("a socket can be made");
        let asked = Arc::new(AtomicUsize::new(0));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut length = [0; 4];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                let _ = stream.read_exact(&mut request);
                heard.fetch_add(1, Ordering::Relaxed);
                match answers.next() {
                    Some(answer) => drop(stream.write_all(&answer)),
                    None => held.push(stream),
                }
            }
        });
        Self { dir, asked }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// How many requests came so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A message of the agent's protocol: its length, then these parts.
pub fn message(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).expect("it is short").to_be_bytes()[..], &body].concat()
}

/// The answer of an agent that holds this one key.
pub fn identities(public: &Path) -> Vec<u8> {
    let line = std::fs::read_to_string(public).expect("a public key");
    let key = base64(line.split(' ').nth(1).expect("base64"));
    let length = u32::try_from(key.len()).expect("it is short").to_be_bytes();
    message(&[&[12], &1_u32.to_be_bytes(), &length, &key, &0_u32.to_be_bytes()])
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.bytes().filter(|c| *c != b'=').map(|c| ALPHABET.iter().position(|a| *a == c).expect("base64"));
    let bits: String = bits.map(|six| format!("{six:06b}")).collect();
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes.map(|byte| u8::from_str_radix(std::str::from_utf8(byte).expect("digits"), 2).expect("a byte")).collect()
}
