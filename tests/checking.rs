//! The check before the fix, and the schedule on which check and guards are asked after it.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Incident, Runs, bundle, bundle_with, eventually};

fn may_pass_before(manifest: &str) -> String {
    manifest.replace("[steps.check]", "[steps.check]\nmay-pass-before = true")
}

/// A guard that counts how often it is asked, and holds for so many times.
fn counting_guard(incident: &Incident, holds: u32) -> std::path::PathBuf {
    let (script, count) = (incident.state.path("guard"), incident.state.path("count"));
    let text = format!("#!/bin/sh\necho asked >> {0}\n[ $(wc -l < {0}) -le {holds} ]\n", count.display());
    fs::write(&script, text).expect("it can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    let guard = format!("[[targets.orders.guards]]\nname = \"counting\"\ncommand = [\"{}\"]\n", script.display());
    incident.state.configure(&guard);
    count
}

fn asked(count: &std::path::Path) -> usize {
    fs::read_to_string(count).map(|text| text.lines().count()).unwrap_or_default()
}

#[test]
fn a_check_that_passes_before_the_fix_is_not_proposed() {
    let incident = Incident::new();
    incident.deploy(4);
    let before = fs::read(&incident.config).expect("it is there");
    incident
        .propose_with(&bundle("pool-size"), &[])
        .expect(3)
        .says("the check passes on `orders` before the fix")
        .says("may-pass-before = true");
    let pending = incident.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"].as_array().map(Vec::len), Some(0));
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}

#[test]
fn a_check_that_passes_before_the_fix_is_not_run() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    // The file is as it was rehearsed, and the service has another one in memory: no drift, and nothing to fix.
    incident.deploy(8);
    incident.edit(0);
    incident.run(&proposal).expect(3).says("the check passes on `orders` before the fix").says("no use of an approval");
    let reviewed = incident.state.run(&["review", &proposal]).expect(0);
    assert!(reviewed.stdout.contains("while it does, a run is refused"), "{}", reviewed.stdout);
    // No use was spent.
    incident.reload();
    eventually("the incident's return", || (incident.status("/orders") == 503).then_some(()));
    incident.run(&proposal).expect(0);
    assert_eq!(incident.status("/orders"), 200);
}

#[test]
fn a_check_may_pass_before_the_fix_where_its_manifest_says_so() {
    let incident = Incident::new();
    incident.deploy(4);
    let lenient = bundle_with("pool-size", &incident.state.path("lenient"), may_pass_before);
    // Its rehearsal says of a proposal what becomes of it.
    for (bundle, then) in [(&lenient, "it may, as its author asks"), (&bundle("pool-size"), "a proposal is refused")] {
        let mut rehearse = incident.state.command(&["rehearse"]);
        rehearse.arg(bundle).args(incident.arguments()).ran().expect(0).shows(&format!("prove nothing; {then}"));
    }
    let proposed = incident.propose_with(&lenient, &[]).expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a proposal").to_owned();
    let reviewed = incident.state.run(&["review", &proposal]).expect(0);
    assert!(reviewed.stdout.contains("the check MAY PASS BEFORE the fix"), "{}", reviewed.stdout);
    assert!(reviewed.stdout.contains("the guards alone decide"), "{}", reviewed.stdout);
    // It is signed, as a part of the success terms.
    let approved = incident.approve(&proposal);
    let manifest = fs::read_to_string(approved["manifest"].as_str().expect("a manifest")).expect("it is text");
    assert!(manifest.contains("\"may-pass-before\":true"), "{manifest}");
    assert_eq!(incident.run(&proposal).expect(0).json()["outcome"], "committed");
}

#[test]
fn the_operator_decides_for_how_long_it_must_hold() {
    let incident = Incident::new();
    // The bundle asks for no hold at all; the operator wants a second of it.
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let held = config.replace("[targets.orders]\n", "[targets.orders]\nhold = 1\n");
    fs::write(incident.state.config(), held).expect("it can be written");
    let count = counting_guard(&incident, 1_000_000);
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let begun = std::time::Instant::now();
    incident.run(&proposal).expect(0);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    // Once before the run, once after the fix, and then on: the host repeats, nobody waits inside a step.
    assert!(asked(&count) >= 3, "{}", asked(&count));
}

#[test]
fn what_holds_once_and_not_for_as_long_as_the_operator_wants_is_rolled_back() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let held = config.replace("[targets.orders]\n", "[targets.orders]\nhold = 2\n");
    fs::write(incident.state.config(), held).expect("it can be written");
    // It holds before the run and at the first look after the fix, and then no more.
    counting_guard(&incident, 2);
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let report = incident.run(&proposal).json();
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("and then no longer")), "{report}");
    assert_ne!(report["outcome"], "committed");
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}
