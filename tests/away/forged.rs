//! A file whose maker has a runner's key of their own and signs whatever they like.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::away::{Elsewhere, pack, text, unpack};
use crate::support::{Incident, Runs, ssh_keygen};

/// Signs a document with a key of the one who forges.
fn signed(elsewhere: &Elsewhere, key: &Path, namespace: &str, bytes: &[u8]) -> Vec<u8> {
    let (file, signature) = (elsewhere.path("to-sign"), elsewhere.path("to-sign.sig"));
    let _ = fs::remove_file(&signature);
    fs::write(&file, bytes).expect("it can be written");
    ssh_keygen(&["-Y", "sign", "-q", "-n", namespace, "-f", text(key), text(&file)]);
    fs::read(&signature).expect("it was signed")
}

/// The file with another word on how its targets stand, by the key that it names.
fn forged(elsewhere: &Elsewhere, incident: &Incident, file: &Path, edit: impl Fn(&mut Value)) -> PathBuf {
    let mut entries = unpack(&fs::read(file).expect("the file is there"));
    let mut standing: Value = serde_json::from_slice(&entries["standing.json"]).expect("JSON");
    edit(&mut standing);
    let standing = serde_json::to_vec(&standing).expect("JSON");
    let key = incident.state.path("state/runner.key");
    entries.insert("standing.json.sig".to_owned(), signed(elsewhere, &key, "standing@countersign", &standing));
    entries.insert("standing.json".to_owned(), standing);
    let forged = elsewhere.path("forged.proposal");
    fs::write(&forged, pack(&entries)).expect("it can be written");
    forged
}

/// What would clear a reviewer's screen and write another review on it.
const NAME: &str = "x\u{1b}[2J\u{1b}[Hmay be approved: yes";

#[test]
fn no_name_in_it_reaches_the_terminal_as_anything_else() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let run = |name: &str| serde_json::json!({ "run": name, "outcome": "committed", "target": "orders", "started": 0, "reason": "" });

    let denied = |name: &str, by: &str, target: &str| {
        serde_json::json!({
            "proposal": name, "digest": format!("sha256:{}", "0".repeat(64)), "by": by, "at": 0, "reason": "",
            "same_bundle": false, "same_fix": false, "same_subjects": [{ "target": target, "subject": "/etc/a" }], "subjects": 1
        })
    };

    // Signed again without an edit, it is taken: what is refused below is the name.
    let taken = forged(&elsewhere, &incident, &file, |standing| {
        standing["targets"][0]["found"]["guards"][0]["name"] = "another name".into();
    });
    elsewhere.run(&["review", text(&taken)]).expect(0).shows("guard `another name`: holds");

    let long = "x".repeat(300);
    for name in [NAME, "x\nmay be approved: yes", "x\u{9b}2J", "x\u{202e}y", long.as_str()] {
        type Edit<'a> = (&'a str, &'a dyn Fn(&mut Value));
        let edits: [Edit<'_>; 11] = [
            ("guard", &|standing| standing["targets"][0]["found"]["guards"][0]["name"] = name.into()),
            ("validator", &|standing| {
                standing["targets"][0]["configured"]["validators"] = serde_json::json!([name]);
            }),
            ("superseded_by", &|standing| standing["superseded-by"] = name.into()),
            ("earlier run", &|standing| standing["earlier-runs"] = serde_json::json!([run(name)])),
            ("denied", &|standing| standing["denied-before"] = serde_json::json!([denied(name, "alice", "orders")])),
            ("denied by", &|standing| standing["denied-before"] = serde_json::json!([denied("p-1", name, "orders")])),
            ("denied on", &|standing| standing["denied-before"] = serde_json::json!([denied("p-1", "alice", name)])),
            ("outcome", &|standing| {
                standing["earlier-runs"] = serde_json::json!([run("r-1")]);
                standing["earlier-runs"][0]["outcome"] = name.into();
            }),
            ("run", &|standing| {
                let approval = format!("sha256:{}", "0".repeat(64));
                standing["runs"] = serde_json::json!([
                    { "run": name, "target": "orders", "approval": approval, "outcome": "committed" }
                ]);
            }),
            ("undoes", &|standing| {
                standing["undoes"] = serde_json::json!({
                    "run": name, "target": "orders", "proposal": "p-1", "proposer": "agent `a`", "approvers": [],
                    "committed": 0, "not_undone": [], "undone_by": null
                });
            }),
            ("revises", &|standing| {
                standing["revision"] = serde_json::json!({
                    "revises": name, "denied": null, "bundle": null, "arguments": [], "grants": [], "terms": null,
                    "evidence": null, "hypothesis": null, "targets": []
                });
            }),
        ];
        for (what, edit) in edits {
            let forged = forged(&elsewhere, &incident, &file, |standing| edit(standing));
            for form in [&["review"][..], &["--json", "review"]] {
                let refused = elsewhere.run(&[form, &[text(&forged)]].concat());
                assert!(refused.stderr.contains("which is no name"), "{what}: {}", refused.stderr);
                let refused = refused.expect(3);
                for hidden in ['\u{9b}', '\u{202e}'] {
                    assert!(!refused.stdout.contains(hidden) && !refused.stderr.contains(hidden), "{what}");
                }
            }
        }
    }
}

/// An operator's own name that could not be exported is refused where it is written.
#[test]
fn a_guard_whose_name_hides_something_is_an_error_of_the_configuration() {
    let incident = Incident::new();
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let guard = config.replace("name = \"up\"", "name = \"up\\u001b[2J\"");
    assert_ne!(guard, config);
    let validator = "[[targets.orders.validators]]\nname = \"v\\u009b\"\npaths = [\"/x\"]\ncommand = [\"/bin/true\"]\n";
    for (text, says) in [(guard, "guard `up\\u{1b}[2J`"), (format!("{config}{validator}"), "validator `v\\u{9b}`")] {
        fs::write(incident.state.config(), text).expect("it can be written");
        incident.state.run(&["pending"]).expect(1).says(says).says("all of which can be seen");
    }
}

/// Whatever a command prints that nobody made visible is made so at the end.
#[test]
fn a_path_that_was_typed_is_printed_as_it_is() {
    let incident = Incident::new();
    let place = incident.state.path("s\u{1b}[2J");
    let init = |form: &[&str], name: &str| {
        let mut command = crate::support::countersign();
        command.args(form).arg("--state").arg(place.join(name)).args(["init", "--approver"]);
        command.arg(incident.state.path("alice.pub")).ran().expect(0)
    };
    fs::create_dir(&place).expect("a folder");
    init(&[], "a").shows("s\\u{1b}[2J");
    assert!(init(&["--json"], "b").json()["state"].as_str().expect("a path").contains("s\u{1b}[2J"));
}

/// An approver who lost that right, and somebody's signature that was put there by hand.
#[test]
fn what_does_not_count_any_more_keeps_no_file_back() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let approval = incident.approve(&proposal);
    let approval = approval["approval"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    let kept = incident.state.path("state/approvals").join(approval);
    incident.state.keygen("stranger");
    let manifest = fs::read(kept.with_extension("json")).expect("the manifest is kept");
    let stranger = signed(&elsewhere, &incident.state.path("stranger"), "approval@countersign", &manifest);
    fs::write(kept.with_extension("2.sig"), stranger).expect("it can be written");
    let approvals = || {
        let file = elsewhere.export(&incident, &proposal);
        let shown = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
        assert_eq!(shown["denied"], Value::Null);
        shown["approvals"].clone()
    };
    assert_eq!(approvals()[0]["approvers"], serde_json::json!(["alice"]));

    incident.state.keygen("bob");
    incident.state.policy(|policy| {
        let [alice, bob] =
            ["alice.pub", "bob.pub"].map(|key| fs::read_to_string(incident.state.path(key)).expect("a key"));
        policy.replace(alice.split(' ').nth(1).expect("base64"), bob.split(' ').nth(1).expect("base64"))
    });
    assert_eq!(approvals(), Value::Array(Vec::new()));
}
