//! Bad input gets a clear error, the right exit code, and changes nothing.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use support::{Incident, Ran, Runs, State, bundle, countersign, root};

fn inspect(path: &Path) -> Ran {
    countersign().arg("inspect").arg(path).ran()
}

/// A component from a few lines of its text format.
fn component(state: &State, name: &str, text: &str) -> std::path::PathBuf {
    let path = state.path(name);
    fs::write(&path, wat::parse_str(text).expect("the component's text is right")).expect("it can be written");
    path
}

/// A fix that does nothing and imports an instance of this name.
fn fix(import: &str) -> String {
    format!(
        r#"(component
            (import "{import}" (instance))
            (core module $m (func (export "f") (result i32) i32.const 0) (memory (export "memory") 1))
            (core instance $i (instantiate $m))
            (alias core export $i "f" (core func $f))
            (alias core export $i "memory" (core memory $memory))
            (func (export "fix") (result (result (error string))) (canon lift (core func $f) (memory $memory))))"#
    )
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

#[test]
fn what_is_no_step() {
    let state = State::new();
    fs::write(state.path("text"), "not wasm").expect("it can be written");
    inspect(&state.path("text")).expect(1).says("WebAssembly");
    let core = component(&state, "core", "(module)");
    inspect(&core).expect(1).says("core WebAssembly module");
    let other = component(&state, "other", "(component)");
    inspect(&other).expect(1).says("export");
    for import in ["evil:files/write@0.1.0", "wasi:sockets/tcp@0.2.0", "countersign:files/write@0.1.7", "files"] {
        inspect(&component(&state, "imports", &fix(import))).expect(1).says(import);
    }
    inspect(&component(&state, "good", &fix("countersign:step/types@0.1.0"))).expect(0);
    inspect(&state.path("absent")).expect(1).says("cannot be read");
}

#[test]
fn an_investigation_that_could_write_is_refused_before_it_is_compiled() {
    let state = State::new();
    let out = state.path("bundle");
    let built = support::build(&root().join("examples/hostile/writing-investigation"), &out);
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("countersign:files/write@0.1.0") && stderr.contains("before it was compiled"), "{stderr}");
    assert!(!out.exists());
}

#[test]
fn a_bundle_with_other_bytes_than_its_digests_say() {
    let state = State::new();
    let copied = state.path("copy");
    copy(&bundle("pool-size"), &copied);
    inspect(&copied).expect(0);
    let blob = fs::read_dir(copied.join("blobs/sha256"))
        .expect("blobs")
        .map(|entry| entry.expect("it can be read").path())
        .max_by_key(|path| fs::metadata(path).expect("it is there").len())
        .expect("a blob");
    let mut bytes = fs::read(&blob).expect("it can be read");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&blob, bytes).expect("it can be written");
    inspect(&copied).expect(1).says(blob.file_name().expect("a name").to_str().expect("UTF-8"));
}

#[test]
fn arguments_outside_the_schema() {
    let incident = Incident::new();
    for (argument, why) in [
        ("pool-size=65", "pool-size"),
        ("pool-size=many", "pool-size"),
        ("colour=red", "colour"),
        ("pool-size=1.5", "pool-size"),
    ] {
        incident.propose_with(&bundle("pool-size"), &["--arg", argument]).expect(1).says(why);
    }
    // An argument cannot widen a grant.
    let output = incident
        .state
        .command(&["propose", "--hypothesis", "x", "--target=orders", "--arg=config=/etc/**", "--key"])
        .arg(incident.state.path("agent"))
        .arg(bundle("pool-size"))
        .args(&incident.arguments()[2..])
        .ran();
    output.expect(1).says("config");
    let usage = countersign().args(["propose", "--arg", "no-equals"]).ran();
    assert_eq!(usage.code, 2);
}

#[test]
fn signatures_that_are_missing_wrong_or_over_other_bytes() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.run(&proposal).expect(3).says("approve");

    // The proposer's own key, and one that nobody knows.
    for key in ["agent", "stranger"] {
        if key == "stranger" {
            incident.state.keygen(key);
        }
        let mut command = incident.state.command(&["approve", &proposal, "--reason", "mine", "--key"]);
        command.arg(incident.state.path(key)).ran().expect(3);
    }
    incident.run(&proposal).expect(3);

    // A manifest that was changed after it was signed.
    let approved = incident.approve(&proposal);
    let manifest = approved["manifest"].as_str().expect("a manifest");
    let good = fs::read_to_string(manifest).expect("it is text");
    fs::write(manifest, good.replace("\"uses\":1", "\"uses\":9")).expect("it can be written");
    incident.run(&proposal).expect(3).says("changed since it was signed");
    fs::write(manifest, &good).expect("it can be written");

    // A signature that is cut, and one from another approval.
    let signature = approved["signature"].as_str().expect("a signature");
    let whole = fs::read_to_string(signature).expect("it is text");
    fs::write(signature, &whole[..whole.len() / 2]).expect("it can be written");
    incident.run(&proposal).expect(3);
    fs::write(signature, &whole).expect("it can be written");
    assert_eq!(incident.status("/orders"), 503, "nothing changed so far");
    incident.run(&proposal).expect(0);
}

#[test]
fn an_expired_or_used_up_approval() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve_with(&proposal, &["--expires", "1s"]).expect(0);
    support::eventually("the approval's expiry", || {
        let ran = incident.state.run(&["runs"]);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        Some(ran)
    });
    incident.run(&proposal).expect(3).says("expired");
    assert_eq!(incident.status("/orders"), 503);

    incident.approve(&proposal);
    incident.run(&proposal).expect(0);
    incident.run(&proposal).expect(3);
    incident.approve_with(&proposal, &["--expires", "1w"]).expect(2);
}

#[test]
fn what_was_changed_after_the_approval() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);

    // The bundle that the state keeps.
    let bundles = incident.state.path("state/bundles");
    let kept = fs::read_dir(&bundles).expect("bundles").next().expect("one").expect("it can be read").path();
    let aside = incident.state.path("aside");
    fs::rename(&kept, &aside).expect("it can be moved");
    copy(&bundle("pool-size-twin"), &kept);
    incident.run(&proposal).expect(3).says("bundle");
    fs::remove_dir_all(&kept).expect("it can be removed");
    fs::rename(&aside, &kept).expect("it can be put back");

    // The target's configuration.
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    fs::write(incident.state.config(), config.replace("max-calls=2", "max-calls=3")).expect("it can be written");
    incident.run(&proposal).expect(3).says("configuration");
    fs::write(incident.state.config(), config).expect("it can be written");

    // The arguments: the signed proposal in the database.
    let database = rusqlite::Connection::open(incident.state.path("state/countersign.db")).expect("the database");
    let change = |from: &str, to: &str| {
        let sql = "UPDATE proposals SET document = CAST(replace(CAST(document AS TEXT), ?1, ?2) AS BLOB)";
        assert_eq!(database.execute(sql, [from, to]).expect("it can be written"), 1);
    };
    change("\"pool-size\":8", "\"pool-size\":9");
    incident.run(&proposal).expect(3);
    change("\"pool-size\":9", "\"pool-size\":8");
    assert_eq!(incident.status("/orders"), 503, "nothing changed so far");
    incident.run(&proposal).expect(0);
}

#[test]
fn a_target_that_is_not_configured() {
    let incident = Incident::new();
    incident.state.run(&["read", "nowhere", "files.read /etc/hosts"]).expect(1).says("not configured").says("orders");
    incident.propose_with(&bundle("pool-size"), &["--target", "nowhere"]).expect(1).says("nowhere");
}

#[test]
fn a_grant_that_reaches_the_runner_itself() {
    let incident = Incident::new();
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let state = incident.state.path("state");
    for reaching in ["/**".to_owned(), format!("{}/**", state.display()), format!("{}/runner.key", state.display())] {
        let own = format!("\"files.read {}\"", incident.config.display());
        let changed = config.replacen(&own, &format!("{own}, \"files.read {reaching}\""), 1);
        fs::write(incident.state.config(), changed).expect("it can be written");
        incident.state.run(&["pending"]).expect(1).says("the runner's own");
    }
    fs::write(incident.state.config(), config).expect("it can be written");

    // The same by an agent's argument.
    let arguments: Vec<String> = incident
        .arguments()
        .into_iter()
        .map(|argument| match argument.strip_prefix("--arg=config=") {
            Some(_) => format!("--arg=config={}/config.toml", state.display()),
            None => argument,
        })
        .collect();
    let mut command = incident.state.command(&["propose", "--hypothesis", "x", "--key"]);
    command
        .arg(incident.state.path("agent"))
        .arg(bundle("pool-size"))
        .args(arguments)
        .ran()
        .expect(3)
        .says("the runner's own");
}

#[test]
fn a_read_beyond_the_ceiling_is_denied_with_the_grant() {
    let incident = Incident::new();
    incident.state.run(&["read", "orders", "files.read /etc/passwd"]).expect(3).says("files.read /etc/passwd");
    incident.state.run(&["read", "orders", "files.replace /etc/passwd"]).expect(1);
    incident.state.run(&["read", "orders", "nonsense"]).expect(1).says("capability.name");
}

#[test]
fn a_denied_proposal_cannot_be_approved_or_run() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let deny = |key: &str| {
        let mut command = incident.state.command(&["deny", &proposal, "--reason", "not today", "--key"]);
        command.arg(incident.state.path(key)).ran()
    };
    deny("agent").expect(3);
    deny("alice").expect(0);
    incident.run(&proposal).expect(3).says("denied");
    incident.approve_with(&proposal, &[]).expect(3).says("not today");
    let pending = incident.state.run(&["--json", "pending"]).expect(0).json();
    assert_eq!(pending["pending"].as_array().map(Vec::len), Some(0));
    assert_eq!(incident.status("/orders"), 503);
}

#[test]
fn a_target_without_guards_runs_nothing() {
    let incident = Incident::new();
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let (without, _) = config.split_once("[[targets.orders.guards]]").expect("a guard");
    fs::write(incident.state.config(), without).expect("it can be written");
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    incident.run(&proposal).expect(3).says("no guards");
    assert_eq!(incident.status("/orders"), 503);
}

#[test]
fn approvals_are_narrowed_within_what_was_asked_and_what_is_needed() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    let config = incident.config.display();
    incident.approve_with(&proposal, &["--narrow", "files.write /etc/passwd"]).expect(3);
    incident.approve_with(&proposal, &["--narrow", &format!("files.write {config} max-calls=1 max-bytes=1")]).expect(3);
    incident.approve_with(&proposal, &["--narrow", &format!("files.write {config} max-calls=2")]).expect(3);
    incident
        .approve_with(&proposal, &["--narrow", &format!("files.write {config} max-calls=1 max-bytes=4096")])
        .expect(0);
    incident.run(&proposal).expect(0);
}
