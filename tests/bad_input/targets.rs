//! Targets that are blocked, slow, or worse off than the check says.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::row::Row;
use crate::support::eventually;
use crate::support::killed::Killed;
use crate::support::place::Place;

/// The check is the agent's; the guard is not.
#[test]
fn a_guard_that_fails_after_the_fix_rolls_it_back() {
    let place = Place::new();
    let more = format!(
        "[[targets.place.guards]]\nname = \"b is broken\"\ncall = \"files.read {}/b\"\nexpect = {{ content = \"broken too\\n\" }}\n",
        place.folder.display()
    );
    place.state.configure(&more);
    let proposal = place.approved();
    let before = place.standing();
    let report = place.run(&proposal).expect(4).json();
    assert_eq!(report["check"]["verdict"], "healthy");
    assert!(
        report["reason"].as_str().is_some_and(|reason| reason.contains("guard `b is broken` does not hold")),
        "{report}"
    );
    assert_eq!(place.standing(), before);
}

/// What an operator's guard may take bounds its call too, whatever answers it.
#[test]
fn a_guards_call_that_is_not_answered_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let place = Place::with(&format!(
        "[[targets.place.guards]]\nname = \"silent\"\ncall = \"http.get http://{address}/\"\nexpect = {{ status = 200 }}\ntimeout = 1\n"
    ));
    let proposal = place.propose();
    let begun = Instant::now();
    let reviewed = place.state.run(&["--json", "review", &proposal]).expect(0).json();
    let guards = reviewed["targets"][0]["guards_now"].as_array().expect("guards").clone();
    let silent = guards.iter().find(|guard| guard["name"] == "silent").expect("it was asked");
    assert_eq!(silent["holds"], false, "{silent}");
    // The capability's own bound is 10 s.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn an_unfinished_run_blocks_and_is_said_by_propose_and_review() {
    let place = Place::new();
    place.state.configure(&Killed::validator(&place.state, "place", &place.folder.join("**")));
    let proposal = place.approved();
    let run = Killed::validating(&place.state, &proposal);
    // While it is at work, a second one is refused and told to wait.
    place.run(&proposal).row(3, "");
    run.kill();
    // What cannot be read whole is not gone by.
    place.state.damage_journal(true);

    let before = place.standing();
    for ran in [place.try_propose(), place.run(&proposal)] {
        let ran = ran.row(5, "died without an outcome and blocks it");
        let said = ran.json();
        assert!(said["changes"].as_array().is_some_and(|changes| changes.len() == 2), "{}", ran.stdout);
        assert_eq!((&said["target"], &said["rollback_owner"]), (&json!("place"), &json!("alice")), "{said}");
        assert!(said["error"]["message"].as_str().is_some_and(|message| !message.contains('\n')), "{said}");
        // What was there before is where it is said to be.
        let kept = said["changes"][0]["kept_file"].as_str().expect("a kept file");
        assert!(kept.starts_with(&place.folder.display().to_string()), "{kept}");
        assert_eq!(fs::read_to_string(kept).expect("it is kept"), "broken\n");
        assert!(ran.stderr.contains(kept) && ran.stderr.contains("alice answers for `place`"), "{}", ran.stderr);
    }
    let reviewed = place.state.run(&["review", &proposal]).expect(0);
    assert!(reviewed.stdout.contains("BLOCKED: run r-"), "{}", reviewed.stdout);
    assert_eq!(place.standing(), before);
    place.state.run(&["recover"]).expect(5).shows("STILL UNFINISHED").shows("hint: ");
}

/// What cannot be let go of after a commit is named, and the commit stands.
#[test]
fn what_settling_leaves_behind_is_named() {
    let place = Place::new();
    // The check's last look comes before settling: a guard takes what was kept and writes to it.
    let script = format!(
        "for kept in {}/.countersign-*; do [ -e \\\"$kept\\\" ] && echo mine >> \\\"$kept\\\"; done; exit 0",
        place.folder.display()
    );
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"meddles\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n"
    ));
    let proposal = place.approved();
    let report = place.run(&proposal).expect(0).json();
    assert_eq!(report["outcome"], "committed");
    let left = report["left_behind"].as_array().expect("what is left").clone();
    assert_eq!(left.len(), 2, "{report}");
    assert!(left[0].as_str().is_some_and(|what| what.contains(".countersign-")), "{report}");
    let kept = place.standing().into_keys().filter(|name| name.starts_with(".countersign-")).count();
    assert_eq!(kept, 2, "somebody else's bytes are left alone");
    assert_eq!(place.text("a"), "fixed\n");
}

/// The target is as before, and that the record could not say so is said.
#[test]
fn a_proven_rollback_that_cannot_be_recorded() {
    let place = Place::new();
    // The guard that is asked after the rollback waits until the test holds the database.
    let script = place.state.path("wait.sh");
    let text = format!(
        "cd {home}; grep -q fixed folder/a && touch was-fixed; [ -e was-fixed ] || exit 0; grep -q fixed folder/a && exit 0\n\
         touch rolled-back; while [ ! -e held ]; do sleep 0.05; done\n",
        home = place.state.dir.path().display()
    );
    fs::write(&script, text).expect("it can be written");
    place.state.configure(&format!(
        "[[targets.place.guards]]\nname = \"waits\"\ncommand = [\"/bin/sh\", \"{}\"]\ntimeout = 120\n",
        script.display()
    ));
    let proposal = place.approved();
    place.put("mood", "bad");
    let before = place.standing();
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| place.run(&proposal));
        eventually("the rollback", || place.state.path("rolled-back").exists().then_some(()));
        let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
        database.execute_batch("BEGIN IMMEDIATE").expect("it can be held");
        fs::write(place.state.path("held"), "").expect("it can be written");
        // Until its patience with the database is over.
        run.join().expect("it ran")
    });
    let report = ran.expect(5).json();
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    assert!(report["unrecorded"].as_str().is_some_and(|why| !why.is_empty()), "{report}");
    let after = place.standing();
    assert!(before.iter().all(|(name, was)| after.get(name) == Some(was)), "the target is as before");
    // The state does not know, and the next command finds out.
    let again = place.run(&proposal).row(3, "used up");
    assert!(again.stderr.contains("recovered: run r-") && again.stderr.contains("rolled-back"), "{}", again.stderr);
}
