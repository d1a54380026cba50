//! One incident, end to end, through the binary and on a real service.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value;
use support::{Incident, Runs, bundle};

fn outcome(report: &Value) -> &str {
    report["outcome"].as_str().expect("an outcome")
}

#[test]
fn a_good_fix_is_committed() {
    let incident = Incident::new();
    assert_eq!(incident.status("/orders"), 503);
    let before = fs::metadata(&incident.config).expect("the configuration is there");

    let investigated = incident
        .state
        .command(&["--json", "investigate"])
        .arg(bundle("pool-size"))
        .args(incident.arguments())
        .ran()
        .expect(0)
        .json();
    assert!(investigated["findings"].as_array().is_some_and(|findings| !findings.is_empty()), "{investigated}");
    let evidence = investigated["evidence"][0]["id"].as_str().expect("evidence").to_owned();

    let proposed = incident.propose_with(&bundle("pool-size"), &["--evidence", &evidence]).expect(0).json();
    let proposal = proposed["proposal"].as_str().expect("a proposal").to_owned();
    assert_eq!(proposed["restores"], true);
    assert_eq!(proposed["evidence"][0]["id"], evidence.as_str());
    assert_eq!(incident.status("/orders"), 503, "proposing changes nothing");

    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["targets"][0]["check_now"]["verdict"], "unhealthy");
    assert_eq!(reviewed["targets"][0]["drift"].as_array().map(Vec::len), Some(0));
    assert_eq!(reviewed["plan"]["digest"], proposed["plan"]["digest"]);
    assert!(reviewed["changes"][0]["diff"].as_str().is_some_and(|diff| diff.contains("+pool-size = 8")));
    assert_eq!(reviewed["evidence"][0]["cited"], true);

    incident.approve(&proposal);
    let report = incident.run(&proposal).expect(0).json();
    assert_eq!(outcome(&report), "committed");
    assert_eq!(report["changes"][0]["subject"], incident.config.to_str().expect("UTF-8"));
    assert_eq!(report["changes"][0]["reversibility"], "exact");
    assert_eq!(report["changes"][1]["reversibility"], "irreversible");
    assert_eq!(incident.status("/orders"), 200);

    let after = fs::metadata(&incident.config).expect("the configuration is there");
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
    let left: Vec<_> = fs::read_dir(incident.config.parent().expect("a folder"))
        .expect("it can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing of the runner stays beside the file");

    let run = report["run"].as_str().expect("a run");
    let shown = incident.state.run(&["--json", "show", run]).expect(0).json();
    assert_eq!((shown["outcome"].as_str(), shown["changes"][0]["state"].as_str()), (Some("committed"), Some("done")));
    let runs = incident.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!(runs["runs"][0]["run"], run);
    incident.run(&proposal).expect(3).says("used up");
}

#[test]
fn a_fix_that_makes_things_worse_is_rolled_back_with_proof() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("the configuration is there");
    let metadata = fs::metadata(&incident.config).expect("the configuration is there");
    let proposal = incident.propose("pool-size-twin");
    incident.approve(&proposal);

    let ran = incident.run(&proposal).expect(4);
    let report = ran.json();
    assert_eq!(outcome(&report), "rolled-back");
    assert_eq!(report["check"]["verdict"], "unhealthy");
    assert_eq!(report["left"].as_array().map(Vec::len), Some(0));
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    let after = fs::metadata(&incident.config).expect("it is there");
    assert_eq!((metadata.ino(), metadata.mtime_nsec()), (after.ino(), after.mtime_nsec()), "the very file is back");
    assert_eq!(incident.status("/healthz"), 200, "the service answers again");
    assert!(ran.stderr.contains("every subject read back equals its before-image"), "{}", ran.stderr);
}

#[test]
fn a_fix_that_reaches_outside_its_grants_is_denied_with_the_grant() {
    let incident = Incident::new();
    let outside = incident.config.with_file_name("orders.toml.authorized_keys");
    incident
        .propose_with(&bundle("hostile/out-of-bounds"), &[])
        .expect(3)
        .says("no grant covers it")
        .says(&format!("files.write {}", outside.display()));
    assert!(!outside.exists());

    let rehearsed = incident
        .state
        .command(&["--json", "rehearse"])
        .arg(bundle("hostile/out-of-bounds"))
        .args(incident.arguments())
        .ran()
        .expect(3)
        .json();
    assert_eq!(rehearsed["denied"][0]["role"], "fix");
    assert!(!outside.exists());
}

#[test]
fn a_rehearsal_says_what_would_change_and_changes_nothing() {
    let incident = Incident::new();
    let before = fs::read(&incident.config).expect("the configuration is there");
    let rehearsed = incident
        .state
        .command(&["--json", "rehearse"])
        .arg(bundle("pool-size"))
        .args(incident.arguments())
        .ran()
        .expect(0)
        .json();
    assert_eq!(rehearsed["restores"], true);
    assert_eq!(rehearsed["rollback_rehearsed"], true);
    assert_eq!(rehearsed["check"]["before"]["verdict"], "unhealthy");
    // What the service would answer after its reload is not guessed.
    assert_eq!(rehearsed["check"]["after"]["verdict"], "cannot-tell");
    let grants: Vec<_> =
        rehearsed["grants"].as_array().expect("grants").iter().map(|g| g["grant"].to_string()).collect();
    let least = format!("files.write {} verbs=replace max-calls=1 max-bytes=", incident.config.display());
    assert!(grants.iter().any(|grant| grant.contains(&least)), "{grants:?}");
    assert_eq!(fs::read(&incident.config).expect("it is there"), before);
    assert_eq!(incident.status("/orders"), 503);
}

#[test]
fn a_drifted_target_is_refused_and_spends_no_use() {
    let incident = Incident::new();
    let proposal = incident.propose("pool-size");
    incident.approve(&proposal);
    let before = fs::read_to_string(&incident.config).expect("the configuration is there");
    fs::write(&incident.config, format!("{before}# an edit\n")).expect("it can be edited");

    incident.run(&proposal).expect(3).says("not as it was rehearsed");
    assert_eq!(incident.status("/orders"), 503);
    let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
    assert_eq!(reviewed["targets"][0]["drift"].as_array().map(Vec::len), Some(1));

    fs::write(&incident.config, before).expect("it can be put back");
    fs::set_permissions(&incident.config, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    incident.run(&proposal).expect(3).says("mode");
    fs::set_permissions(&incident.config, fs::Permissions::from_mode(0o640)).expect("its mode can be set");
    assert_eq!(outcome(&incident.run(&proposal).expect(0).json()), "committed");
}

#[test]
fn new_content_of_a_file_with_special_bits_is_noted() {
    let incident = Incident::new();
    let mode = |mode| fs::set_permissions(&incident.config, fs::Permissions::from_mode(mode)).expect("its mode");
    let owner = fs::metadata(&incident.config).expect("it is there");
    let (user, group) = (owner.uid(), owner.gid());
    for (bits, who) in [(0o4750, format!("user {user}")), (0o6750, format!("user {user} and group {group}"))] {
        mode(bits);
        let proposal = incident.propose("pool-size");
        let note = format!("NOTE: its new content will run as {who} for");
        incident.state.run(&["review", &proposal]).expect(0).shows(&note);
        let reviewed = incident.state.run(&["--json", "review", &proposal]).expect(0).json();
        assert_eq!(reviewed["changes"][0]["runs_as"], who.as_str());
    }
    mode(0o750);
    let proposal = incident.propose("pool-size");
    let shown = incident.state.run(&["review", &proposal]).expect(0).stdout;
    assert!(!shown.contains("will run as"), "{shown}");
}

/// What one run leaves is not as the others' plans found it, so each of them holds the target before it looks.
#[test]
fn of_runs_that_start_together_one_commits_and_the_others_keep_their_use() {
    let incident = Incident::new();
    let mut waiting: Vec<String> = (0..4).map(|_| incident.propose("pool-size")).collect();
    waiting.iter().for_each(|proposal| drop(incident.approve(proposal)));
    while !waiting.is_empty() {
        let started: Vec<_> = waiting
            .drain(..)
            .map(|proposal| {
                let mut command = incident.state.command(&["--json", "run", &proposal]);
                (proposal, std::thread::spawn(move || command.ran()))
            })
            .collect();
        let mut committed = 0;
        for (proposal, run) in started {
            let ran = run.join().expect("it ran");
            if ran.code == 0 {
                committed += 1;
                continue;
            }
            let report = ran.expect(3).json();
            assert_eq!(outcome(&report), "refused", "{report}");
            waiting.push(proposal);
        }
        assert_eq!(committed, 1);
        // As it was: whoever was refused has its use still.
        incident.deploy(0);
    }
}

/// What a run has tested stays so until it begins, however long another test takes: nobody changes the target meanwhile.
#[test]
fn a_run_that_still_tests_what_it_presupposes_holds_its_target() {
    let incident = Incident::new();
    // Between the check and the service: while it is held up, so is the check, after the drift was looked at.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let between = listener.local_addr().expect("its address").to_string();
    let held_up = std::sync::Arc::new(std::sync::Mutex::new(()));
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let (gate, service) = (held_up.clone(), incident.address.clone());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let _ = arrived.send(());
            drop(gate.lock());
            let Ok(server) = std::net::TcpStream::connect(&service) else { return };
            let pairs = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
            for (from, to) in pairs {
                let (mut from, mut to) = (from.expect("cloned"), to.expect("cloned"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    let config = fs::read_to_string(incident.state.config()).expect("it is text");
    let direct = format!("\"http.read http://{}/**\"", incident.address);
    let both = format!("{direct}, \"http.read http://{between}/**\"");
    fs::write(incident.state.config(), config.replace(&direct, &both)).expect("it can be written");

    let quick = incident.propose("pool-size");
    let mut command = incident.state.command(&["--json", "propose", "--hypothesis", "no worker", "--key"]);
    command.arg(incident.state.path("agent")).arg(bundle("pool-size"));
    command.args(incident.arguments().iter().map(|argument| argument.replace(&incident.address, &between)));
    let slow = support::Runs::ran(&mut command).expect(0).json()["proposal"].as_str().expect("a name").to_owned();
    [&quick, &slow].into_iter().for_each(|proposal| drop(incident.approve(proposal)));

    while arrivals.try_recv().is_ok() {}
    let held = held_up.lock().expect("held up");
    let mut command = incident.state.command(&["--json", "run", &slow]);
    let run = std::thread::spawn(move || command.ran());
    arrivals.recv_timeout(std::time::Duration::from_secs(60)).expect("the check is asked");
    incident.state.run(&["run", &quick, "--lock-timeout", "0s"]).expect(3).says("is held by");
    drop(held);
    assert_eq!(outcome(&run.join().expect("it ran").expect(0).json()), "committed");
    incident.deploy(0);
    incident.run(&quick).expect(0);
}
