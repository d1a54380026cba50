//! `rolled-back` is said of what was proven: every subject is as before, what nobody can read back was answered after the
//! last of them, and no guard is worse. Otherwise a person is told what remains.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::killed::Killed;
use support::{Incident, bundle_with};

/// A guard that runs a script, in which CONFIG and PID are the service's files and STATE is the state's folder.
fn guard(incident: &Incident, script: &str) -> String {
    format!("[[targets.orders.guards]]\nname = \"acts\"\ntimeout = 90\ncommand = {}\n", shell(incident, script))
}

fn validator(incident: &Incident, script: &str) -> String {
    let paths = json!([incident.config]);
    format!("[[targets.orders.validators]]\nname = \"acts\"\npaths = {paths}\ncommand = {}\n", shell(incident, script))
}

fn shell(incident: &Incident, script: &str) -> Value {
    let script = script
        .replace("CONFIG", incident.config.to_str().expect("UTF-8"))
        .replace("PID", incident.pid_file.to_str().expect("UTF-8"))
        .replace("STATE", incident.state.dir.path().to_str().expect("UTF-8"));
    json!(["/bin/sh", "-c", script])
}

/// What is open of a run that left nothing but what the service was to be told.
fn only_the_signal(report: &Value) -> String {
    assert_eq!(report["outcome"], "rollback-incomplete", "{report}");
    let open = report["open"].as_array().expect("a list");
    assert!(open.iter().all(|open| open["restorable"] == false), "{report}");
    let signal = open.iter().find(|open| open["capability"] == "process").expect("the signal is open");
    signal["why"].as_str().expect("text").to_owned()
}

/// The file is back, and the service still goes by what it read last.
#[test]
fn a_reload_that_was_not_sent_is_no_rollback() {
    let incident = Incident::new();
    incident.state.configure(&guard(&incident, "grep -q 'pool-size = 0' CONFIG || rm -f PID; exit 0"));
    let before = fs::read(&incident.config).expect("it is there");
    let impatient = incident.state.path("impatient");
    let twin = bundle_with("pool-size-twin", &impatient, |text| text.replace("within = \"10s\"", "within = \"1s\""));
    let proposed = incident.propose_with(&twin, &[]).expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a name");
    incident.approve(proposal);
    // While the fix stands, the file goes by which the rollback step finds the service.
    let report = incident.run(proposal).expect(5).json();
    let why = only_the_signal(&report);
    assert!(why.contains("did not do what was rehearsed: send HUP"), "{why}");
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
}

/// It was sent, and before the file was back: nobody knows what the service has read since.
#[test]
fn a_reload_before_the_file_is_back_is_no_rollback() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("it is there");
    // Somebody edits what the fix wrote, so that it is left alone; the runner dies once the rollback step is done.
    incident.state.configure(&validator(&incident, "echo '# edited' >>CONFIG; exit 1"));
    incident
        .state
        .configure(&guard(&incident, "grep -q edited CONFIG || exit 0; echo $$ >STATE/validating; exec sleep 60"));
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let run = Killed::validating(&incident.state, &proposal).kill();
    // The edit is taken back, and recovery can put the file back as it was.
    let edited = fs::read_to_string(&incident.config).expect("it is text");
    fs::write(&incident.config, edited.strip_suffix("# edited\n").expect("the edit")).expect("it can be written");
    let report = incident.state.run(&["--json", "recover"]).expect(5).json()["runs"][0].clone();
    assert_eq!(report["run"], run.as_str());
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    let why = only_the_signal(&report);
    assert!(why.contains("before everything was put back") && why.contains("send HUP"), "{why}");
    // It is not sent again: whoever closes it has seen to it.
    let subject = report["open"][0]["subject"].as_str().expect("a subject");
    let words = ["--json", "resolve", &run, subject, "--accept", "--reason", "reloaded by hand", "--key"];
    let mut resolve = incident.state.command(&words);
    support::Ran::of({
        resolve.arg(incident.state.path("alice"));
        resolve
    })
    .expect(0);
    assert_eq!(incident.state.run(&["--json", "show", &run]).expect(0).json()["resolved"], true);
}
