//! Review and approval away from the host: one file goes out, comes back signed, and nothing else is needed.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod agents;
mod denials;
mod forged;
#[path = "../support/mod.rs"]
mod support;
mod tampering;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::agent::Agent;
use support::away::{Elsewhere, text};
use support::{Incident, Runs, ssh_keygen};

/// What a reviewer is shown is the same at both places, but for what only one of them can say.
fn common(mut review: Value) -> Value {
    let fields = review.as_object_mut().expect("an object");
    fields.remove("exported");
    review
}

fn runner(incident: &Incident) -> String {
    let output = ssh_keygen(&["-l", "-f", text(&incident.state.path("state/runner.pub"))]);
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).expect("a fingerprint").to_owned()
}

#[test]
fn a_fix_is_reviewed_and_approved_elsewhere_by_an_agent_and_runs_here() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let runner = runner(&incident);

    let here = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    let there = elsewhere.run(&["--json", "review", text(&file), "--runner", &runner]).expect(0).json();
    assert_eq!(common(there.clone()), common(here));
    assert_eq!(there["exported"]["runner"], runner.as_str());
    assert_eq!(there["exported"]["runner_pinned"], true);
    assert_eq!(there["targets"][0]["check_now"]["verdict"], "unhealthy");
    assert!(there["changes"][0]["diff"].as_str().is_some_and(|diff| diff.contains("+pool-size = 8")));

    let agent = Agent::start();
    agent.add(&incident.state.path("alice"));
    let approved = elsewhere
        .signing(&incident, "approve", &file, &["--agent", "--reason", "seen, agreed"])
        .env("SSH_AUTH_SOCK", agent.socket())
        .ran()
        .expect(0)
        .json();
    assert_eq!((approved["approver"].as_str(), approved["quorum"].as_u64()), (Some("alice"), Some(1)));
    assert!(elsewhere.left_alone(), "nothing but the file was written");
    let there = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
    assert_eq!(there["approvals"][0]["approvers"][0], "alice");

    incident.run(&proposal).expect(3).says("nobody has");
    let imported = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    assert_eq!(imported["approvals"][0]["by"], "alice");
    assert_eq!(imported["approvals"][0]["new"], true);
    let again = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    assert_eq!(again["approvals"][0]["new"], false);
    assert_eq!(again["approvals"].as_array().map(Vec::len), Some(1));

    ssh_keygen_verifies(&incident, approved["approval"].as_str().expect("a digest"));
    incident.run(&proposal).expect(0);
    assert_eq!(incident.status("/orders"), 200);
}

/// What the agent signed is OpenSSH's, as the host keeps it.
fn ssh_keygen_verifies(incident: &Incident, approval: &str) {
    let kept = incident.state.path("state/approvals").join(approval.strip_prefix("sha256:").expect("a digest"));
    let allowed = incident.state.path("allowed_signers");
    let key = fs::read_to_string(incident.state.path("alice.pub")).expect("alice's key");
    fs::write(&allowed, format!("alice {key}")).expect("it can be written");
    let output = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "approval@countersign", "-I", "alice", "-f", text(&allowed), "-s"])
        .arg(kept.with_extension("1.sig"))
        .stdin(File::open(kept.with_extension("json")).expect("the manifest is kept"))
        .output()
        .expect("ssh-keygen starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every line that the host's own review has, but for where the file is from; the same for programs.
#[track_caller]
fn shows_the_same(incident: &Incident, elsewhere: &Elsewhere, proposal: &str) -> (Value, PathBuf) {
    let file = elsewhere.export(incident, proposal);
    let here = incident.state.run(&["--json", "review", proposal]).expect(0).json();
    let there = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
    assert_eq!(common(there), common(here.clone()));
    // How long ago something was is another for each of them, and so is what to sign.
    let lines = |shown: &str| -> Vec<String> {
        let lines = shown.replace("check at export:", "check now:");
        let same = |line: &&str| !line.contains(" ago") && !line.contains("  countersign ");
        lines.lines().filter(same).map(str::to_owned).collect()
    };
    let named = ["review", text(&file), "--runner", &incident.state.runner()];
    let there = lines(&elsewhere.run(&named).expect(0).stdout);
    let mut rest = there.iter();
    for line in lines(&incident.state.run(&["review", proposal]).expect(0).stdout) {
        assert!(rest.any(|other| *other == line), "`{line}` is not where it should be in: {there:#?}");
    }
    (here, file)
}

#[test]
fn a_revision_and_an_undoing_show_elsewhere_what_they_show_here() {
    let incident = Incident::new();
    let elsewhere = Elsewhere::new();
    let approve = |file: &Path| {
        elsewhere.approve(&incident, file).expect(0);
        incident.state.run(&["import", text(file)]).expect(0);
    };
    let proposed = |command: &mut Command| -> String {
        command.ran().expect(0).json()["proposal"].as_str().expect("a proposal").to_owned()
    };

    let old = incident.propose("pool-size");
    let before = fs::read_to_string(&incident.config).expect("it is there");
    let edited = format!("{before}# somebody's edit\n");
    fs::write(&incident.config, &edited).expect("it can be edited");
    let mut revise = incident.state.command(&["--json", "propose", "--revise", &old, "--arg", "pool-size=4", "--key"]);
    let new = proposed(revise.arg(incident.state.path("agent")));
    let (reviewed, file) = shows_the_same(&incident, &elsewhere, &new);
    let revision = &reviewed["revision"];
    assert_eq!(revision["arguments"], serde_json::json!([{ "name": "pool-size", "was": 8, "is": 4 }]));
    let drifted = revision["targets"][0]["changes"][0]["drifted"].as_str().expect("a diff");
    assert!(drifted.contains("+# somebody's edit"), "{drifted}");
    // The one before says what took its place, there too.
    let (superseded, late) = shows_the_same(&incident, &elsewhere, &old);
    assert_eq!(superseded["superseded_by"], new.as_str());
    elsewhere.approve(&incident, &late).expect(3).says("superseded");
    approve(&file);
    let run = incident.run(&new).expect(0).json()["run"].as_str().expect("a run").to_owned();

    let mut rollback = incident.state.command(&["--json", "rollback", &run, "--reason", "the sale is over", "--key"]);
    let undoing = proposed(rollback.arg(incident.state.path("second")));
    let (reviewed, file) = shows_the_same(&incident, &elsewhere, &undoing);
    assert_eq!(reviewed["undoes"]["run"], run.as_str());
    assert_eq!(reviewed["undoes"]["not_undone"].as_array().map(Vec::len), Some(1), "the signal");
    approve(&file);
    incident.run(&undoing).expect(0);
    assert_eq!(fs::read_to_string(&incident.config).expect("it is there"), edited);
    // What was undone since is said there, by whoever exports it again.
    let (reviewed, _) = shows_the_same(&incident, &elsewhere, &undoing);
    assert!(reviewed["undoes"]["undone_by"].is_string(), "{reviewed}");
}

#[test]
fn whose_runner_it_is_is_said_and_can_be_pinned() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let review = |more: &[&str]| elsewhere.run(&[&["review", text(&file)], more].concat());
    let (runner, other) = (runner(&incident), "SHA256:hbuDVqexb1o4m6ACvXTV3fDUzy1vX6uSZQuuUMTB2FE");

    let shown = review(&[]).expect(0).stdout;
    for words in
        [&format!("runner {runner}, NOT VERIFIED"), "name it with `--runner`", "looked at when it was exported"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = review(&["--runner", &runner]).expect(0).stdout;
    assert!(!shown.contains("NOT VERIFIED"), "{shown}");
    let exported = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json()["exported"].clone();
    let policy = exported["policy"].as_str().expect("a policy").to_owned();
    review(&["--runner", text(&incident.state.path("state/runner.pub")), "--policy", &policy]).expect(0);

    review(&["--runner", other]).expect(3).says("the runner of the exported proposal is").says(other);
    review(&["--runner", text(&incident.state.path("alice.pub"))]).expect(3).says("runner");
    let another = format!("sha256:{}", "0".repeat(64));
    review(&["--policy", &another]).expect(3).says("the trust policy of the exported proposal is").says(&policy);
    review(&["--runner", "/nowhere"]).expect(1);
    // What others can write tells nobody whom to trust.
    let known = elsewhere.path("known-runners");
    fs::copy(incident.state.path("state/runner.pub"), &known).expect("it can be copied");
    review(&["--runner", text(&known)]).expect(0);
    let mode = |mode| fs::set_permissions(&known, fs::Permissions::from_mode(mode)).expect("its mode can be set");
    for open in [0o622, 0o666] {
        mode(open);
        review(&["--runner", text(&known)]).expect(1).says("can be written by others");
    }
    // Whoever names no runner signs nothing, and whoever pins one nothing of another's.
    let before = fs::read(&file).expect("the file is there");
    for verb in ["approve", "deny"] {
        elsewhere
            .command(&[verb, text(&file), "--reason", "seen", "--key"])
            .arg(incident.state.path("alice"))
            .ran()
            .expect(3)
            .says(&format!("which runner made this file is only its own word: {runner}"))
            .says("name it with `--runner`");
    }
    let manifest = elsewhere.path("unpinned.json");
    let unpinned = ["approve", text(&file), "--reason", "seen", "--write-manifest", text(&manifest)];
    elsewhere.run(&unpinned).expect(3).says("only its own word");
    assert!(!manifest.exists());
    for verb in ["approve", "deny"] {
        elsewhere
            .command(&[verb, text(&file), "--runner", other, "--reason", "seen", "--key"])
            .arg(incident.state.path("alice"))
            .ran()
            .expect(3)
            .says("you named");
    }
    assert_eq!(fs::read(&file).expect("the file is there"), before);
    incident.state.run(&["review", &proposal, "--runner", other]).expect(1).says("exported files");
}

#[test]
fn a_key_file_narrows_and_ssh_keygen_signs_elsewhere_too() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let narrowed = file.clone();
    let config = incident.config.display();
    let approve = |narrow: &str| {
        let narrow = format!("files.write {narrow}");
        elsewhere.sign(&incident, "approve", &file, "alice", &["--reason", "seen", "--narrow", &narrow])
    };
    approve("/etc/passwd").expect(3);
    approve(&format!("{config} max-calls=1 max-bytes=1")).expect(3).says("narrowed so far");
    approve(&format!("{config} max-calls=1 max-bytes=4096")).expect(0);
    let reviewed = elsewhere.run(&["review", text(&file)]).expect(0).stdout;
    assert!(reviewed.contains("narrowed: fix") && reviewed.contains("max-bytes=4096"), "{reviewed}");
    assert!(!reviewed.contains("narrowed: rollback"), "only what differs: {reviewed}");
    elsewhere.sign(&incident, "approve", &file, "alice", &["--reason", "x", "--expires", "30d"]).expect(3);

    // As on the host, OpenSSH's own tool signs a manifest that was written; in a file in which she has not approved yet.
    let file = elsewhere.export(&incident, &proposal);
    let manifest = elsewhere.path("approval.json");
    let signature = elsewhere.path("approval.json.sig");
    let write = ["--reason", "mine", "--write-manifest", text(&manifest)];
    let written = elsewhere.signing(&incident, "approve", &file, &write).ran().expect(0).json();
    assert_eq!(written["proposal"], proposal.as_str());
    let (again, by) = (elsewhere.path("again.json"), incident.state.runner());
    let write = ["approve", text(&file), "--runner", &by, "--reason", "x", "--write-manifest", text(&again)];
    let next = format!("countersign approve {} --runner {} --manifest ", file.display(), runner(&incident));
    elsewhere.run(&write).expect(0).shows(&next);
    let take = ["--manifest", text(&manifest), "--signature", text(&signature)];
    let take = || elsewhere.signing(&incident, "approve", &file, &take).ran();
    for (key, code) in [("agent", 3), ("alice", 0)] {
        let _ = fs::remove_file(&signature);
        let key = incident.state.path(key);
        ssh_keygen(&["-Y", "sign", "-q", "-n", "approval@countersign", "-f", text(&key), text(&manifest)]);
        take().expect(code);
    }
    let imported = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    assert_eq!(imported["approvals"].as_array().map(Vec::len), Some(1));
    // What she signed in the other file would be good for a second run.
    incident.state.run(&["import", text(&narrowed)]).expect(3).says("alice has approved this already");
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["approvals"].as_array().map(Vec::len), Some(1), "{reviewed}");
    incident.run(&proposal).expect(0);
}

#[test]
fn a_denial_elsewhere_ends_the_proposal_here() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let late = elsewhere.export(&incident, &proposal);
    let deny = |key: &str| elsewhere.sign(&incident, "deny", &file, key, &["--reason", "not today"]);
    deny("agent").expect(3);
    deny("alice").expect(0);
    elsewhere.approve(&incident, &file).expect(3).says("not today");
    assert!(elsewhere.run(&["review", text(&file)]).expect(0).stdout.contains("DENIED"));

    incident.approve(&proposal);
    for new in [true, false] {
        let imported = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
        assert_eq!((&imported["denials"][0]["by"], &imported["denials"][0]["new"]), (&"alice".into(), &new.into()));
    }
    incident.run(&proposal).expect(3).says("denied");
    assert_eq!(incident.status("/orders"), 503);

    // Whoever had not heard of it signed in vain.
    elsewhere.approve(&incident, &late).expect(0);
    incident.state.run(&["import", text(&late)]).expect(3).says("denied").says("not today");
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["approvals"].as_array().map(Vec::len), Some(1), "{reviewed}");
}

#[test]
fn several_approvers_pass_one_file_on() {
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
    let approve = |key: &str, how: &[&str]| elsewhere.sign(&incident, "approve", &file, key, how);
    let first = approve("alice", &["--reason", "seen"]).expect(0).json();
    let approval = first["approval"].as_str().expect("a digest").to_owned();
    incident.state.run(&["import", text(&file)]).expect(0);
    incident.run(&proposal).expect(3).says("2 people must approve by the quorum");

    approve("bob", &["--cosign", "sha256:00000000"]).expect(1).says("no approval");
    approve("bob", &["--cosign", &approval, "--narrow", "files.write /x"]).expect(2);
    let second = approve("bob", &["--cosign", &approval[7..19]]).expect(0).json();
    assert_eq!(second["approvers"], serde_json::json!(["alice", "bob"]));
    let imported = incident.state.run(&["--json", "import", text(&file)]).expect(0).json();
    let new = imported["approvals"].as_array().expect("approvals").iter().filter(|paper| paper["new"] == true);
    assert_eq!(new.count(), 1);
    incident.run(&proposal).expect(0);
}

#[test]
fn what_the_host_would_refuse_is_refused_elsewhere() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();

    // An edit of the subject is drift: it is shown, and the run refuses it.
    let before = fs::read_to_string(&incident.config).expect("the configuration is there");
    fs::write(&incident.config, format!("{before}# an edit\n")).expect("it can be edited");
    let drifted = elsewhere.export(&incident, &proposal);
    let shown = elsewhere.run(&["--json", "review", text(&drifted)]).expect(0).json();
    assert_eq!(shown["targets"][0]["drift"].as_array().map(Vec::len), Some(1), "{shown}");
    fs::write(&incident.config, &before).expect("it can be put back");

    // A target that was configured anew is another one.
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    let reconfigured = elsewhere.export(&incident, &proposal);
    elsewhere.approve(&incident, &reconfigured).expect(3).says("configuration");
    // One whose ceiling was lowered cannot be approved for what exceeds it.
    fs::write(incident.state.config(), config.replace("files.write ", "files.write /elsewhere")).expect("written");
    let shown = elsewhere.run(&["review", text(&elsewhere.export(&incident, &proposal))]).expect(0).stdout;
    assert!(shown.contains("CANNOT BE APPROVED"), "{shown}");
    fs::write(incident.state.config(), config).expect("it can be put back");

    // A proposal is open for a week, by the clock of whoever signs.
    let file = elsewhere.export(&incident, &proposal);
    let expires = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json()["expires"].to_string();
    let alice = incident.state.path("alice");
    elsewhere
        .signing(&incident, "approve", &file, &["--reason", "seen", "--key", text(&alice)])
        .env("COUNTERSIGN_TEST_NOW", &expires)
        .ran()
        .expect(3)
        .says("the proposal expired");
    let late = elsewhere.command(&["review", text(&file)]).env("COUNTERSIGN_TEST_NOW", &expires).ran().expect(0);
    assert!(late.stdout.contains("EXPIRED"), "{}", late.stdout);

    // Neither the proposer nor a stranger counts.
    let file = elsewhere.export(&incident, &proposal);
    incident.state.keygen("stranger");
    for key in ["agent", "stranger"] {
        elsewhere.sign(&incident, "approve", &file, key, &["--reason", "mine"]).expect(3);
    }
    // The policy was changed meanwhile: the approval names the one that it was given under.
    elsewhere.approve(&incident, &file).expect(0);
    incident.state.policy(|policy| format!("{policy}# another one\n"));
    incident.state.run(&["import", text(&file)]).expect(3).says("under the trust policy");
    incident.run(&proposal).expect(3).says("nobody has");
}

#[test]
fn a_file_is_taken_back_where_it_came_from() {
    let incident = Incident::new();
    let before = incident.state.path("before");
    let copied = Command::new("cp").arg("-a").arg(incident.state.path("state")).arg(&before).status();
    assert!(copied.expect("cp starts").success());
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    elsewhere.approve(&incident, &file).expect(0);

    let other = support::State::new();
    other.run(&["import", text(&file)]).expect(3).says("exported by the runner");
    support::countersign().args(["--state", text(&before), "import", text(&file)]).ran().expect(3).says("no proposal");
    elsewhere.run(&["import", text(&file)]).expect(1).says("no state directory");
    incident.state.run(&["import", text(&incident.config)]).expect(1).says("not an exported proposal");
    // The steps can be inspected there, by this program or out of any tar.
    let inspected = elsewhere.run(&["--json", "inspect", text(&file)]).expect(0).json();
    let unpacked = elsewhere.path("unpacked");
    fs::create_dir(&unpacked).expect("a folder can be made");
    let tar = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&unpacked).status().expect("tar starts");
    assert!(tar.success());
    let bundle = elsewhere.run(&["--json", "inspect", text(&unpacked.join("bundle"))]).expect(0).json();
    assert_eq!(inspected, bundle);
    // Nothing is overwritten, and others cannot read what the target's files say.
    incident.state.run(&["export", &proposal, text(&file)]).expect(1).says("cannot be made");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    incident.state.run(&["import", text(&file)]).expect(0);
}

/// What `approve` would refuse on the host is not kept because it was signed elsewhere, earlier.
#[test]
fn an_approval_that_could_not_be_given_here_any_more_is_not_kept() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    elsewhere.sign(&incident, "approve", &file, "alice", &["--reason", "seen", "--expires", "1h"]).expect(0);
    let kept = || fs::read_dir(incident.state.path("state/approvals")).expect("listed").count();

    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    incident.state.run(&["import", text(&file)]).expect(3).says("configuration of `orders` was changed");
    fs::write(incident.state.config(), config.replace("targets.orders", "targets.other")).expect("it can be written");
    incident.state.run(&["import", text(&file)]).expect(3).says("`orders` is not configured");
    fs::write(incident.state.config(), config).expect("it can be put back");

    let hours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let later = (hours + 2 * 3_600_000).to_string();
    // In a copy, since what saw that time takes no earlier one.
    let copy = incident.state.path("copy");
    let copied = Command::new("cp").arg("-a").arg(incident.state.path("state")).arg(&copy).status();
    assert!(copied.expect("cp starts").success());
    support::countersign()
        .args(["--state", text(&copy), "import", text(&file)])
        .env("COUNTERSIGN_TEST_NOW", &later)
        .ran()
        .expect(3)
        .says("the approval expired");
    assert_eq!(kept(), 0);
    incident.state.run(&["import", text(&file)]).expect(0);
    assert_ne!(kept(), 0);
}

/// Two at once: the second is told, and what the first signed is not lost.
#[test]
fn nobody_signs_a_file_that_somebody_else_is_signing() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let elsewhere = Elsewhere::new();
    let file = elsewhere.export(&incident, &proposal);
    let approve = || elsewhere.approve(&incident, &file);
    let held = File::open(&file).expect("it can be opened");
    held.lock().expect("it can be locked");
    approve().expect(1).says("about to sign");
    elsewhere.run(&["review", text(&file)]).expect(1).says("about to sign");
    held.unlock().expect("it was locked");
    // Who only looks keeps nobody from looking.
    held.lock_shared().expect("it can be locked");
    approve().expect(1).says("or looks at it");
    elsewhere.run(&["review", text(&file)]).expect(0);
    drop(held);
    approve().expect(0);
    approve().expect(3).says("alice has approved this already").says("nothing was signed");
    let shown = elsewhere.run(&["--json", "review", text(&file)]).expect(0).json();
    assert_eq!(shown["approvals"].as_array().map(Vec::len), Some(1));
}
