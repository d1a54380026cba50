//! A manifest of an approval as a file, and the ways in which somebody may bring a signature on it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::away::text;
use crate::support::place::Place;
use crate::support::{Ran, State, ssh_keygen};

/// The namespace of approvals.
pub(crate) const APPROVAL: &str = "approval@countersign";

/// The manifest of an approval of a proposal, which nobody has signed yet.
pub(crate) struct Unsigned<'a> {
    pub(crate) place: &'a Place,
    pub(crate) proposal: String,
    pub(crate) manifest: PathBuf,
}

impl<'a> Unsigned<'a> {
    pub(crate) fn of(place: &'a Place) -> Self {
        Self::of_proposal(place, &place.propose())
    }

    pub(crate) fn of_proposal(place: &'a Place, proposal: &str) -> Self {
        let manifest = place.state.path(&format!("{proposal}.json"));
        place.state.run(&["approve", proposal, "--reason", "x", "--write-manifest", text(&manifest)]).expect(0);
        Self { place, proposal: proposal.to_owned(), manifest }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.manifest).expect("it was written")
    }

    pub(crate) fn digest(&self) -> String {
        countersign_model::Digest::of(&self.bytes()).to_string()
    }

    /// By OpenSSH's own tool.
    pub(crate) fn sign(&self, key: &str, namespace: &str) -> String {
        sign(&self.place.state, key, namespace, &self.manifest)
    }

    /// As somebody hands it in.
    pub(crate) fn hand_in(&self, signature: &str) -> Ran {
        hand_in(&self.place.state, &self.proposal, &self.manifest, signature)
    }

    /// As somebody finds it who writes it over one that was taken; the run that follows.
    pub(crate) fn slip_in(&self, taken: &Value, signature: &str) -> Ran {
        let path = taken["signature"].as_str().expect("a signature");
        let good = fs::read(path).expect("it was kept");
        fs::write(path, signature).expect("it can be written");
        let ran = self.place.run(&self.proposal);
        fs::write(path, good).expect("it can be put back");
        ran
    }
}

pub(crate) fn hand_in(state: &State, proposal: &str, manifest: &Path, signature: &str) -> Ran {
    let file = state.path("signature");
    fs::write(&file, signature).expect("it can be written");
    state.run(&["--json", "approve", proposal, "--manifest", text(manifest), "--signature", text(&file)])
}

/// Signs a file by OpenSSH's own tool.
pub(crate) fn sign(state: &State, key: &str, namespace: &str, file: &Path) -> String {
    let signature = PathBuf::from(format!("{}.sig", text(file)));
    let _ = fs::remove_file(&signature);
    ssh_keygen(&["-Y", "sign", "-q", "-n", namespace, "-f", text(&state.path(key)), text(file)]);
    fs::read_to_string(&signature).expect("it was signed")
}

/// From now on alice has these keys in the trust policy, and it says this besides.
pub(crate) fn alice_has(state: &State, lines: &[String], rest: &str) {
    state.policy(|policy| {
        let old = policy.lines().skip_while(|line| *line != "name = \"alice\"").nth(1).expect("alice's keys");
        let new = format!("keys = [\"{}\"]", lines.join("\", \""));
        format!("{}\n{rest}", policy.replace(old, &new))
    });
}

pub(crate) fn line(state: &State, key: &str) -> String {
    fs::read_to_string(state.path(&format!("{key}.pub"))).expect("a public key").trim().to_owned()
}

pub(crate) fn database(state: &State) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(state.path("state/countersign.db")).expect("the database");
    database.execute_batch("PRAGMA foreign_keys = OFF").expect("whoever bends it asks for nothing");
    database
}

/// A proposal's digest.
pub(crate) fn digest(state: &State, proposal: &str) -> String {
    let shown = state.run(&["--json", "review", proposal]).expect(0).json();
    shown["digest"].as_str().expect("a digest").to_owned()
}
