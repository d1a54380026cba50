//! Keys in hardware and passkeys: what people sign with them counts, and what nobody touched does not.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

#[path = "../runner/trust/tests/support/authenticator.rs"]
mod authenticator;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use authenticator::{Authenticator, ORIGIN};
use serde_json::json;
use support::agent::Agent;
use support::away::text;
use support::{Incident, Ran, Runs, State, ssh_keygen};

/// OpenSSH's own stand-in for hardware, which `make setup-test` fetches.
fn sk_dummy() -> Option<PathBuf> {
    let place = "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so";
    let places = [Path::new("/").join(place), support::root().join("target/openssh-tests").join(place)];
    let found = places.into_iter().find(|place| place.exists());
    if found.is_none() {
        eprintln!("skipped: OpenSSH's sk-dummy.so is not here; `make setup-test` fetches it");
    }
    found
}

/// Makes a key on the stand-in, as `ssh-keygen` makes one on hardware.
fn keygen(state: &State, name: &str, kind: &str, dummy: &Path, options: &[&str]) -> PathBuf {
    let path = state.path(name);
    let arguments = ["-q", "-t", kind, "-w", text(dummy), "-N", "", "-C", name, "-f", text(&path)];
    ssh_keygen(&[&arguments[..], options].concat());
    path
}

/// From now on alice has this key, or keys, in the trust policy.
fn alice_has(incident: &Incident, lines: &[&str], rest: &str) {
    incident.state.policy(|policy| {
        let old = policy.lines().skip_while(|line| *line != "name = \"alice\"").nth(1).expect("alice's keys");
        let new = format!("keys = [\"{}\"]", lines.join("\", \""));
        format!("{}\n{rest}", policy.replace(old, &new))
    });
}

fn line(key: &Path) -> String {
    fs::read_to_string(format!("{}.pub", text(key))).expect("a public key").trim().to_owned()
}

fn approve(incident: &Incident, proposal: &str, key: &str, dummy: &Path) -> Command {
    let mut command = incident.state.command(&["--json", "approve", proposal, "--reason", "seen", "--key", key]);
    command.env("SSH_SK_PROVIDER", dummy).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
    command
}

/// Whether `ssh-keygen -Y verify` takes a stored approval for one by alice with this key.
fn verifies(incident: &Incident, approved: &serde_json::Value, line: &str) -> bool {
    let allowed = incident.state.path("allowed_signers");
    fs::write(&allowed, format!("alice {line}\n")).expect("it can be written");
    let signature = approved["signature"].as_str().expect("a signature");
    let output = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "approval@countersign", "-I", "alice", "-s", signature, "-f"])
        .arg(&allowed)
        .stdin(File::open(approved["manifest"].as_str().expect("a manifest")).expect("it is there"))
        .output()
        .expect("ssh-keygen starts");
    output.status.success()
}

#[test]
fn ssh_keygen_signs_with_hardware() {
    let Some(dummy) = sk_dummy() else { return };
    for (kind, options, named) in
        [("ed25519-sk", &[][..], "hardware"), ("ecdsa-sk", &["-O", "verify-required"], "hardware.pub")]
    {
        let incident = Incident::new();
        let key = keygen(&incident.state, "hardware", kind, &dummy, options);
        alice_has(&incident, &[&line(&key)], "");
        let proposal = incident.propose("pool-size");
        // A public key whose handle lies beside it is as good as the handle.
        let approved = approve(&incident, &proposal, text(&incident.state.path(named)), &dummy).ran().expect(0).json();
        assert!(verifies(&incident, &approved, &line(&key)));
        assert!(!verifies(&incident, &approved, &line(&incident.state.path("alice"))));
        incident.run(&proposal).expect(0);
        assert_eq!(incident.status("/orders"), 200);
    }
}

#[test]
fn what_hardware_does_not_sign_is_said() {
    let Some(dummy) = sk_dummy() else { return };
    let incident = Incident::new();
    let key = keygen(&incident.state, "hardware", "ed25519-sk", &dummy, &[]);
    let untouched = keygen(&incident.state, "untouched", "ed25519-sk", &dummy, &["-O", "no-touch-required"]);
    alice_has(&incident, &[&line(&key), &line(&untouched)], "");
    let proposal = incident.propose("pool-size");
    let sign = |key: &Path, dummy: &Path| approve(&incident, &proposal, text(key), dummy);

    sign(&key, Path::new("/nowhere/sk.so")).ran().expect(1).says("`ssh-keygen` signed nothing").says("hint: ");
    sign(&untouched, &dummy).ran().expect(1).says("signed without a touch").says("hint: ");
    let empty = tempfile::tempdir().expect("a directory");
    sign(&key, &dummy)
        .env("PATH", empty.path())
        .ran()
        .expect(1)
        .says("is not installed or not in PATH")
        .says("OpenSSH");

    // What answers in its place.
    let fake = empty.path().join("ssh-keygen");
    let answers = |script: &str| {
        fs::write(&fake, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
        let path = format!("{}:/usr/bin:/bin", text(empty.path()));
        sign(&key, &dummy).env("PATH", path).ran().expect(1).says("hint: ")
    };
    let other = text(&incident.state.path("agent")).to_owned();
    answers("kill $$").says("was ended before it signed");
    answers("exit 0").says("something that is no signature");
    answers("head -c 20000 /dev/zero >\"$7.sig\"").says("something that is no signature");
    answers("echo signed >\"$7.sig\"").says("no signature by the key");
    answers(&format!("/usr/bin/ssh-keygen -Y sign -n approval@countersign -f {other} \"$7\"")).says("signed, and not");
    answers("/usr/bin/ssh-keygen -Y sign -n denial@countersign -f \"$6\" \"$7\"").says("no signature by the key");

    incident.run(&proposal).expect(3);
    sign(&key, &dummy).ran().expect(0);
    incident.run(&proposal).expect(0);
}

#[test]
fn an_agent_signs_with_hardware() {
    let Some(dummy) = sk_dummy() else { return };
    let incident = Incident::new();
    let key = keygen(&incident.state, "hardware", "ecdsa-sk", &dummy, &[]);
    alice_has(&incident, &[&line(&key)], "");
    let proposal = incident.propose("pool-size");
    let agent = Agent::providing(&dummy);
    agent.add_hardware(&key, &dummy);
    let by = |arguments: &[&str]| -> Ran {
        let command = ["--json", "approve", &proposal, "--reason", "seen"];
        incident.state.command(&[&command, arguments].concat()).env("SSH_AUTH_SOCK", agent.socket()).ran()
    };
    let approved = by(&["--agent", "--key", &format!("{}.pub", text(&key))]).expect(0).json();
    assert!(verifies(&incident, &approved, &line(&key)));
    by(&["--agent"]).expect(3).says("alice has approved this already");
    incident.run(&proposal).expect(0);
}

/// Signs a proposal's manifest, and hands the signature in.
fn sign(incident: &Incident, proposal: &str, by: &Authenticator) -> Ran {
    let manifest = incident.state.path(&format!("{proposal}.json"));
    if !manifest.exists() {
        incident.state.run(&["approve", proposal, "--reason", "seen", "--write-manifest", text(&manifest)]).expect(0);
    }
    let signature = incident.state.path("signature");
    let bytes = fs::read(&manifest).expect("a manifest");
    fs::write(&signature, by.sign("approval@countersign", &bytes)).expect("it can be written");
    let hand_in = ["--json", "approve", proposal, "--manifest", text(&manifest), "--signature", text(&signature)];
    incident.state.run(&hand_in)
}

/// As a software authenticator signs: what counts is stored, and OpenSSH takes it.
#[test]
fn every_kind_of_hardware_approves() {
    for by in [Authenticator::ed25519(1), Authenticator::ecdsa(2), Authenticator::passkey(3)] {
        let incident = Incident::new();
        alice_has(&incident, &[&by.line()], &format!("[keys]\norigins = [\"{ORIGIN}\"]\n"));
        let proposal = incident.propose("pool-size");
        sign(&incident, &proposal, &by.clone().untouched())
            .expect(3)
            .says("nobody touched the hardware key")
            .says("hint: ");
        sign(&incident, &proposal, &by.clone().for_application("ssh:other")).expect(3).says("does not list");
        if by.browser.is_some() {
            let elsewhere = by.clone().at("https://countersign.example.net");
            sign(&incident, &proposal, &elsewhere).expect(3).says("at the origin `https://countersign.example.net`");
            let twice = by.clone().says(|challenge, origin| {
                let honest = authenticator::client_data(challenge, origin);
                honest.replace("}", ",\"origin\":\"https://evil.example\"}")
            });
            sign(&incident, &proposal, &twice).expect(3).says("stands twice");
        }
        incident.run(&proposal).expect(3);
        let approved = sign(&incident, &proposal, &by.clone().verified()).expect(0).json();
        assert!(verifies(&incident, &approved, &by.line()), "{}", by.kind());
        let origin = by.browser.as_ref().map(|browser| browser.origin.clone());
        let hardware =
            json!({ "touch": true, "pin": true, "counter": 7, "application": by.application, "origin": origin });
        assert_eq!(approved["hardware"], hardware);
        incident.run(&proposal).expect(0);
        assert_eq!(incident.status("/orders"), 200);
    }
}

#[test]
fn a_passkey_needs_a_listed_origin() {
    let incident = Incident::new();
    let by = Authenticator::passkey(3);
    alice_has(&incident, &[&by.line()], "");
    let proposal = incident.propose("pool-size");
    sign(&incident, &proposal, &by).expect(3).says("none is allowed").says("[keys]");
    incident.run(&proposal).expect(3);
}

/// Programs cannot touch anything, and runners must not wait for whoever can.
#[test]
fn hardware_is_for_people() {
    let state = State::new();
    let write = |name: &str, by: &Authenticator| {
        let path = state.path(name);
        fs::write(&path, format!("{} {name}\n", by.line())).expect("it can be written");
        path
    };
    let key = write("hardware.pub", &Authenticator::ed25519(1));
    let init = |arguments: &[&str]| {
        let mut command = support::countersign();
        command.arg("--state").arg(state.path("another")).arg("init").args(arguments).ran()
    };
    let alice = format!("{}.pub", text(&state.path("alice")));
    init(&["--approver", &alice, "--proposer", text(&key)]).expect(1).says("hardware is for people").says("hint: ");
    // One secret is one key.
    let same = write("same.pub", &Authenticator::ed25519(1).for_application("ssh:other"));
    init(&["--approver", text(&key), "--approver", text(&same)]).expect(1).says("the same secret").says("hint: ");
    init(&["--approver", text(&key)]).expect(0);
    let review = state.run(&["review", "/dev/null", "--runner", text(&key)]);
    review.expect(1).says("whose private half is in hardware");
    if let Some(dummy) = sk_dummy() {
        let handle = keygen(&state, "handle", "ed25519-sk", &dummy, &[]);
        state.configure(
            "[targets.here]\nrollback-owner = \"alice\"\n[targets.here.investigation]\nceiling = [\"files.read /etc/hostname\"]\n",
        );
        let read = state.run(&["read", "here", "files.read /etc/hostname", "--key", text(&handle)]);
        read.expect(1).says("whose private half is in hardware").says("hint: ");
    }
}
