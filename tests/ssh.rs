//! Signatures are OpenSSH's: what we write `ssh-keygen` verifies, and what it writes we take.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::process::Command;

use support::{Incident, ssh_keygen};

#[test]
fn ssh_keygen_verifies_what_approve_writes() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let approved = incident.approve(&proposal);
    let (manifest, signature) =
        (approved["manifest"].as_str().expect("a manifest"), approved["signature"].as_str().expect("a signature"));
    let key = fs::read_to_string(incident.state.path("alice.pub")).expect("alice's key");
    let allowed = incident.state.path("allowed_signers");
    fs::write(&allowed, format!("alice {key}")).expect("it can be written");
    let verify = |manifest: &str| {
        Command::new("ssh-keygen")
            .args(["-Y", "verify", "-n", "approval@countersign", "-I", "alice", "-s", signature, "-f"])
            .arg(&allowed)
            .stdin(File::open(manifest).expect("the manifest is there"))
            .output()
            .expect("ssh-keygen starts")
    };
    let output = verify(manifest);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let altered = incident.state.path("altered.json");
    fs::write(&altered, fs::read_to_string(manifest).expect("it is text").replace("seen", "Seen"))
        .expect("it can be written");
    assert!(!verify(altered.to_str().expect("UTF-8")).status.success());

    // It is an in-toto Statement over the steps.
    let statement: serde_json::Value = serde_json::from_slice(&fs::read(manifest).expect("it is there")).expect("JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    let names: Vec<_> = statement["subject"].as_array().expect("subjects").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["investigation", "fix", "rollback", "check"]);
}

#[test]
fn run_takes_what_ssh_keygen_signs() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let manifest = incident.state.path("approval.json");
    let manifest = manifest.to_str().expect("UTF-8");
    incident.state.run(&["approve", &proposal, "--reason", "seen, agreed", "--write-manifest", manifest]).expect(0);
    incident.run(&proposal).expect(3);
    let alice = incident.state.path("alice");
    let sign = |namespace: &str, key: &std::path::Path| {
        let _ = fs::remove_file(format!("{manifest}.sig"));
        ssh_keygen(&["-Y", "sign", "-q", "-n", namespace, "-f", key.to_str().expect("UTF-8"), manifest]);
    };
    let signature = format!("{manifest}.sig");
    let take = || incident.state.run(&["approve", &proposal, "--manifest", manifest, "--signature", &signature]);

    sign("file", &alice);
    take().expect(3).says("namespace");
    sign("approval@countersign", &incident.state.path("agent"));
    take().expect(3);
    incident.state.keygen("stranger");
    sign("approval@countersign", &incident.state.path("stranger"));
    take().expect(3);
    sign("approval@countersign", &alice);
    let good = fs::read(manifest).expect("the manifest is there");
    fs::write(manifest, String::from_utf8_lossy(&good).replace("\"uses\":1", "\"uses\":9")).expect("it can be written");
    take().expect(3);
    fs::write(manifest, good).expect("it can be written");
    incident.run(&proposal).expect(3);

    take().expect(0);
    incident.run(&proposal).expect(0);
    assert_eq!(incident.status("/orders"), 200);
}
