//! A file with a denial in it: whatever became of the rest, the proposal has ended.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::away::{Elsewhere, text, unpack};
use crate::support::{Incident, Ran, Runs};

/// `approve` or `deny` of a file with somebody's key.
fn sign(incident: &Incident, elsewhere: &Elsewhere, verb: &str, file: &Path, key: &str) -> Ran {
    let key = incident.state.path(key);
    let how = ["--runner", &incident.state.runner(), "--reason", "not today", "--key", text(&key)];
    elsewhere.run(&[&[verb, text(file)], how.as_slice()].concat())
}

/// A proposal, exported, approved and then denied in the file.
fn both(elsewhere: &Elsewhere) -> (Incident, String, PathBuf) {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let file = elsewhere.export(&incident, &proposal);
    for verb in ["approve", "deny"] {
        sign(&incident, elsewhere, verb, &file, "alice").expect(0);
    }
    (incident, proposal, file)
}

fn approvals_kept(incident: &Incident) -> usize {
    fs::read_dir(incident.state.path("state/approvals")).expect("listed").count()
}

#[track_caller]
fn denied(incident: &Incident, imported: &Value) {
    assert_eq!(imported["denials"][0]["by"], "alice", "{imported}");
    assert_eq!(imported["approvals"], Value::Array(Vec::new()), "{imported}");
    assert_eq!((&imported["not_kept"][0]["what"], &imported["approval"]), (&"approval".into(), &Value::Null));
    assert_eq!(approvals_kept(incident), 0);
}

#[test]
fn no_approval_beside_it_is_kept() {
    let elsewhere = Elsewhere::new();
    let (incident, proposal, file) = both(&elsewhere);
    let shown = incident.state.run(&["import", text(&file)]).expect(0);
    let shown = shown.shows("by alice: kept").shows("not kept: the proposal is denied");
    assert!(!shown.stdout.contains("next "), "{}", shown.stdout);
    assert_eq!(approvals_kept(&incident), 0);
    let again = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    denied(&incident, &again);
    assert_eq!(again["denials"][0]["new"], false);
    incident.run(&proposal).expect(3).says("denied");
}

/// Neither an approval that expired, nor a target that was configured anew, nor one that is gone lets it be lost.
#[test]
fn it_is_kept_whatever_became_of_the_approvals() {
    let hours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let later = (hours + 2 * 3_600_000).to_string();
    let elsewhere = Elsewhere::new();
    for change in ["time", "max-calls=2", "targets.orders"] {
        let (incident, proposal, file) = both(&elsewhere);
        let mut import = incident.state.command(&["--json", "import", text(&file)]);
        match change {
            "time" => _ = import.env("COUNTERSIGN_TEST_NOW", &later),
            words => {
                let config = fs::read_to_string(incident.state.config()).expect("it is text");
                let other = config.replace(words, &words.replace('2', "3").replace("orders", "other"));
                fs::write(incident.state.config(), other).expect("it can be written");
            }
        }
        denied(&incident, &import.ran().expect(0).json());
        let pending = incident.state.run(&["--json", "pending"]).expect(0).json();
        assert_eq!(pending["pending"], Value::Array(Vec::new()), "{change}: {proposal} waits for nothing");
    }
}

/// What stands in the way of the second approval keeps the first one out, too.
#[test]
fn approvals_are_kept_all_or_none() {
    let incident = Incident::new();
    incident.state.keygen("bob");
    incident.state.policy(|policy| {
        let bob = fs::read_to_string(incident.state.path("bob.pub")).expect("bob's key");
        format!(
            "{}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n",
            policy.replace("people = 1", "people = 2"),
            bob.trim()
        )
    });
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    for key in ["alice", "bob"] {
        sign(&incident, &elsewhere, "approve", &file, key).expect(0);
    }
    let entries = unpack(&fs::read(&file).expect("the file is there"));
    let last = entries.keys().rfind(|name| name.starts_with("approvals/") && name.ends_with(".json")).expect("two");
    let in_the_way = incident.state.path("state").join(last);
    fs::write(&in_the_way, "something else").expect("it can be written");
    incident.state.run(&["import", text(&file)]).expect(1).says("it holds something else");
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["approvals"], Value::Array(Vec::new()), "{reviewed}");

    fs::remove_file(&in_the_way).expect("it can be removed");
    let imported = incident.state.run(&["import", text(&file)]).expect(0);
    // Two approvals by two people, of each term the stricter one.
    imported.shows("next      countersign run p-");
    let imported = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    assert_eq!((&imported["signed"], &imported["quorum"]), (&2.into(), &2.into()));
    assert_eq!(imported["approvals"].as_array().map(Vec::len), Some(2));
}

/// The time it is good for does not start anew when somebody else signs.
#[test]
fn an_approval_that_expired_in_the_file_is_cosigned_by_nobody() {
    let incident = Incident::new();
    incident.state.keygen("bob");
    incident.state.policy(|policy| {
        let bob = fs::read_to_string(incident.state.path("bob.pub")).expect("bob's key");
        format!("{policy}\n[[people]]\nname = \"bob\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n", bob.trim())
    });
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    sign(&incident, &elsewhere, "approve", &file, "alice").expect(0);
    let shown = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
    let approval = shown["approvals"][0]["approval"].as_str().expect("a digest").to_owned();
    let before = fs::read(&file).expect("the file is there");
    let (bob, runner) = (incident.state.path("bob"), incident.state.runner());
    let cosign = |at: &str| {
        let how = ["approve", text(&file), "--cosign", &approval, "--runner", &runner, "--key", text(&bob)];
        elsewhere.command(&how).env("COUNTERSIGN_TEST_NOW", at).ran()
    };
    let expires = shown["approvals"][0]["expires"].as_u64().expect("a time");
    cosign(&expires.to_string()).expect(3).says("the approval expired");
    assert_eq!(fs::read(&file).expect("the file is there"), before);
    cosign(&(expires - 1).to_string()).expect(0);
}
