//! Another machine: a home with nothing in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::{Incident, Ran, Runs, countersign};

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A home without state, configuration or keys.
pub struct Elsewhere {
    dir: TempDir,
    exports: AtomicUsize,
}

impl Elsewhere {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("home")).expect("a home can be made");
        Self { dir, exports: AtomicUsize::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exports a proposal there.
    #[track_caller]
    pub fn export(&self, incident: &Incident, proposal: &str) -> PathBuf {
        let number = self.exports.fetch_add(1, Ordering::Relaxed);
        let file = self.path(&format!("{number}.proposal"));
        incident.state.run(&["export", proposal, text(&file)]).expect(0);
        file
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = countersign();
        command.env("HOME", self.path("home")).env_remove("SSH_AUTH_SOCK").current_dir(self.path("home"));
        // Root's default is not in the home.
        command.env("COUNTERSIGN_STATE", self.path("home/no-state")).args(arguments);
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).ran()
    }

    /// A command that has an exported file signed there, its runner named: `approve` or `deny`.
    pub fn signing(&self, incident: &Incident, verb: &str, file: &Path, how: &[&str]) -> Command {
        let runner = incident.state.runner();
        self.command(&[&["--json", verb, text(file), "--runner", &runner], how].concat())
    }

    /// The same with one of the incident's keys, which this machine has then.
    #[track_caller]
    pub fn sign(&self, incident: &Incident, verb: &str, file: &Path, key: &str, how: &[&str]) -> Ran {
        let key = incident.state.path(key);
        self.signing(incident, verb, file, &[how, &["--key", text(&key)]].concat()).ran()
    }

    #[track_caller]
    pub fn approve(&self, incident: &Incident, file: &Path) -> Ran {
        self.sign(incident, "approve", file, "alice", &["--reason", "seen, agreed"])
    }

    /// Whether nothing was written into the home.
    pub fn left_alone(&self) -> bool {
        fs::read_dir(self.path("home")).expect("it can be read").next().is_none()
    }
}

/// An exported file's entries, the mark among them.
pub fn unpack(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    use std::io::Read;
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it can be read");
        (String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8"), content)
    });
    entries.collect()
}

/// The same as `countersign export` would pack it, whatever it holds: the mark first.
pub fn pack(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    const MARK: &str = "countersign-proposal";
    let mut builder = tar::Builder::new(Vec::new());
    let rest = entries.iter().filter(|(name, _)| *name != MARK);
    for (name, bytes) in entries.iter().filter(|(name, _)| *name == MARK).chain(rest) {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("a short name");
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).expect("it is in memory");
    }
    builder.into_inner().expect("it is in memory")
}
