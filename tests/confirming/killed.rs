//! A run that is killed while it waits goes on where it was: it is confirmed, or silence decides, in time.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::counting::install;
use crate::support::place::{Place, give_up, two_faced};
use crate::support::spoken::Spoken;
use crate::support::{Ran, Runs};
use crate::{Confirming, confirm, ends, hours_from_now, outcome, tree, word};

fn recover_at(place: &Place, hours: u64) -> Ran {
    place.command(&["--json", "recover"]).env("COUNTERSIGN_TEST_NOW", hours_from_now(hours)).ran()
}

#[test]
fn with_time_left_it_goes_on_waiting() {
    let place = Place::new();
    let other = place.approved();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let after = tree(&place);
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!((&recovered["runs"], &recovered["stuck"]), (&serde_json::json!([]), &serde_json::json!([])));
    let waits = &recovered["waiting"][0];
    assert_eq!(
        (&waits["run"], &waits["target"], &waits["silence"]),
        (&run.as_str().into(), &"place".into(), &"roll-back".into())
    );
    assert_eq!(tree(&place), after, "nothing was rolled back");
    // Every command tells that nobody looks.
    place
        .state
        .run(&["runs"])
        .expect(0)
        .shows("waiting")
        .says("its process is gone")
        .says("countersign recover --wait");
    place.state.run(&["show", &run]).expect(0).shows("nobody looks at check and guards").shows("countersign confirm");
    place.state.run(&["pending"]).expect(0).shows("its process is gone");
    place.run(&other).expect(3).says("is held by the run").says("waits for a confirmation until");
    assert_eq!(tree(&place), after);

    // Whoever confirms it brings it to its end.
    confirm(&place, &run).expect(0).says("recovered: run").says("committed");
    assert_eq!((outcome(&place, &run).as_str(), place.standing()), ("committed", after));
    place.state.run(&["show", &run]).expect(0).shows("confirmed by alice: seen it");
}

#[test]
fn when_its_time_is_up_it_is_rolled_back() {
    let place = Place::new();
    let before = place.standing();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let recovered = recover_at(&place, 2).expect(0).json();
    let report = &recovered["runs"][0];
    assert_eq!(report["outcome"], "rolled-back", "{recovered}");
    assert_eq!(report["reason"], "nobody confirmed it within 1h, and the runner had ended before the run did");
    assert_eq!((place.standing(), outcome(&place, &run).as_str()), (before, "rolled-back"));
    let mut late = word(&place, "confirm", &run, "alice");
    late.env("COUNTERSIGN_TEST_NOW", hours_from_now(2))
        .ran()
        .expect(3)
        .says("it ended rolled-back: nobody confirmed it");
}

/// `confirm` recovers first, as every command does: whoever comes too late finds it ended.
#[test]
fn who_confirms_too_late_rolls_nothing_forward() {
    let place = Place::new();
    let before = place.standing();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let mut late = word(&place, "confirm", &run, "alice");
    late.env("COUNTERSIGN_TEST_NOW", hours_from_now(2)).ran().expect(3).says("nobody confirmed it within 1h");
    assert_eq!((place.standing(), outcome(&place, &run).as_str()), (before, "rolled-back"));
}

/// Between a person's word and the commit there is nothing that a kill could turn into something else.
#[test]
fn what_was_said_before_it_was_killed_counts() {
    for (verb, ended) in [("confirm", "committed"), ("rollback", "rolled-back")] {
        let place = Place::new();
        let before = place.standing();
        let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
        let after = tree(&place);
        // It cannot hear anything any more.
        confirming.spoken.signal(Signal::STOP);
        word(&place, verb, &confirming.run, "alice").ran().expect(0);
        assert_eq!(outcome(&place, &confirming.run), "open");
        let run = confirming.kill();
        // Whenever it is recovered: what was said in time was said.
        let recovered = recover_at(&place, 2).expect(0).json();
        assert_eq!(recovered["runs"][0]["outcome"], ended, "{recovered}");
        assert_eq!(recovered["runs"][0]["confirmation"]["by"], "alice");
        assert_eq!(outcome(&place, &run), ended);
        assert_eq!(place.standing(), if ended == "committed" { after } else { before });
    }
}

/// Whoever goes on with it asks what whoever began it would have asked: what was revoked, or is late, does not stay.
#[test]
fn what_was_revoked_since_it_was_killed_does_not_stay() {
    let revoked =
        |policy: String| format!("{policy}\n[[revocations]]\nprincipal = \"agent\"\nreason = \"its key was lost\"\n");
    // By a word that was said before, by one that is said now, and by silence.
    for (said, terms) in [
        (Some(true), &["--confirm-within", "1h"][..]),
        (Some(false), &["--confirm-within", "1h"]),
        (None, &["--confirm-within", "1h", "--silence", "keep"]),
    ] {
        let place = Place::new();
        let before = place.standing();
        let confirming = Confirming::approved(&place, terms, &[]);
        confirming.spoken.signal(Signal::STOP);
        if said == Some(true) {
            confirm(&place, &confirming.run).expect(0);
        }
        let run = confirming.kill();
        install(&place, revoked);
        match said {
            Some(true) => drop(place.command(&["recover"]).ran()),
            Some(false) => drop(confirm(&place, &run)),
            None => drop(recover_at(&place, 2)),
        }
        assert_eq!((outcome(&place, &run).as_str(), place.standing()), ("rolled-back", before), "{said:?}");
    }
}

/// What was confirmed in time is not committed after the time by which it had to be finished.
#[test]
fn what_is_recovered_too_late_is_not_committed() {
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h", "--finish-within", "90m"], &[]);
    confirming.spoken.signal(Signal::STOP);
    confirm(&place, &confirming.run).expect(0);
    let run = confirming.kill();
    let recovered = recover_at(&place, 2).expect(0).json();
    let reason = recovered["runs"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("the approval has it finished by"), "{reason}");
    assert_eq!((outcome(&place, &run).as_str(), place.standing()), ("rolled-back", before));
}

/// Nothing is called committed that is not there.
#[test]
fn what_was_put_back_meanwhile_is_not_committed() {
    let place = Place::new();
    let before = place.standing();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    confirming.spoken.signal(Signal::STOP);
    confirm(&place, &confirming.run).expect(0);
    let run = confirming.kill();
    place.put("a", "broken\n");
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(recovered["runs"][0]["outcome"], "rolled-back", "{recovered}");
    assert!(recovered["runs"][0]["reason"].as_str().is_some_and(|why| why.contains("as it was before the run")));
    assert_eq!(place.text("b"), "broken too\n");
    assert_eq!((outcome(&place, &run).as_str(), place.standing()), ("rolled-back", before));
}

/// Where a disk keeps what was decided and not the commit, the target stays as it was decided, and whoever comes next
/// commits it.
#[test]
fn what_was_decided_is_not_rolled_back_where_its_commit_is_not_recorded() {
    let place = Place::new();
    let confirming = Confirming::approved(&place, &["--confirm-within", "1h"], &[]);
    let after = tree(&place);
    confirming.spoken.signal(Signal::STOP);
    confirm(&place, &confirming.run).expect(0);
    let database = rusqlite::Connection::open(place.state.path("state/countersign.db")).expect("the database");
    let broken =
        "CREATE TRIGGER broken BEFORE UPDATE OF outcome ON runs BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(broken).expect("a trigger");
    confirming.spoken.signal(Signal::CONT);
    let run = confirming.run.clone();
    let report = ends(confirming, 5, "committed");
    assert!(report["unrecorded"].as_str().is_some_and(|why| why.contains("could not record the outcome")), "{report}");
    assert_eq!((outcome(&place, &run).as_str(), tree(&place)), ("open", after.clone()));
    database.execute_batch("DROP TRIGGER broken").expect("room again");
    let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(recovered["runs"][0]["reason"], "confirmed by alice: seen it");
    assert_eq!((outcome(&place, &run).as_str(), place.standing()), ("committed", after));
}

/// A command that waits, and the word with which it begins.
fn waiting(place: &Place, run: &str) -> Spoken {
    let spoken = Spoken::start(&mut place.command(&["--json", "recover", "--wait"]));
    spoken.says(&format!("run {run} waits for a confirmation until"));
    spoken
}

#[test]
fn somebody_else_waits_on() {
    // Confirmed.
    let place = Place::new();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let wait = waiting(&place, &run);
    let listed = place.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!(listed["runs"][0]["waiting"]["attended"], true, "{listed}");
    confirm(&place, &run).expect(0);
    let (code, recovered, said) = wait.end();
    assert_eq!((code, &recovered["runs"][0]["outcome"]), (Some(0), &"committed".into()), "{said}");
    assert_eq!(recovered["runs"][0]["guards"][0]["holds"], true, "it looked itself");

    // Found bad.
    let place = Place::new();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let wait = waiting(&place, &run);
    // It must have held once, or its services may be starting still.
    wait.says(&format!("run {run}: check and guards hold"));
    place.put("mood", "bad\n");
    let (code, recovered, said) = wait.end();
    assert_eq!((code, &recovered["runs"][0]["outcome"]), (Some(0), &"rolled-back".into()), "{said}");
    let why = recovered["runs"][0]["reason"].as_str().expect("a reason");
    assert!(why.starts_with("while it waited for a confirmation, the check says unhealthy"), "{why}");
    assert_eq!(place.text("a"), "broken\n");
}

/// Whoever stops waiting for somebody else's run leaves it as it is, as at a shutdown.
#[test]
fn a_signal_leaves_it_waiting() {
    let place = Place::new();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let after = tree(&place);
    let wait = waiting(&place, &run);
    wait.signal(Signal::TERM);
    let (code, recovered, said) = wait.end();
    assert_eq!((code, &recovered["waiting"][0]["run"]), (Some(0), &run.as_str().into()), "{said}");
    assert_eq!((outcome(&place, &run).as_str(), tree(&place)), ("open", after));
    recover_at(&place, 2).expect(0).shows("rolled-back");
}

/// The unit is started once what is due was done, and goes on waiting.
#[test]
fn the_service_manager_is_told_before_it_waits() {
    let place = Place::new();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    let path = place.state.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let mut command = place.command(&["--json", "recover", "--wait"]);
    let wait = Spoken::start(command.env("NOTIFY_SOCKET", &path));
    let mut told = [0; 64];
    let length = socket.recv(&mut told).expect("it tells");
    assert_eq!(&told[..length], b"READY=1");
    assert_eq!(outcome(&place, &run), "open");
    confirm(&place, &run).expect(0);
    assert_eq!(wait.end().0, Some(0));
    // With nothing to wait for it is told as well, and it ends.
    let mut command = place.command(&["recover", "--wait"]);
    command.env("NOTIFY_SOCKET", &path).ran().expect(0).shows("nothing to recover");
    assert_eq!(socket.recv(&mut told).expect("it tells"), 7);
}

/// The steps' bundle is needed to go on looking; where it is gone nobody could tell whether it still holds.
#[test]
fn what_cannot_be_asked_any_more_is_rolled_back() {
    let place = Place::new();
    let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    std::fs::rename(place.state.path("state/bundles"), place.state.path("hidden")).expect("it can be moved");
    std::fs::create_dir(place.state.path("state/bundles")).expect("a folder");
    let recovered = place.state.run(&["--json", "recover", "--wait"]).expect(5).json();
    let report = &recovered["runs"][0];
    // The host's undo needs no bundle; what only the rollback step does is named.
    assert_eq!(report["outcome"], "rollback-incomplete", "{recovered}");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("its check could not be asked any more")));
    assert_eq!((place.text("a").as_str(), outcome(&place, &run).as_str()), ("broken\n", "rollback-incomplete"));
}

/// Where its target hung, only `recover` tries it: whoever has a word to say is not held up, nor told what is not so.
#[test]
fn a_word_on_a_run_that_hung_is_kept_and_not_called_carried_out() {
    for (verb, ended) in [("confirm", "committed"), ("rollback", "rolled-back")] {
        let place = Place::new();
        let before = place.standing();
        let run = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
        let after = tree(&place);
        give_up(&place.state, &run, "run");
        let said = word(&place, verb, &run, "alice").ran().expect(5).json();
        assert_eq!((&said["outcome"], outcome(&place, &run).as_str()), (&serde_json::Value::Null, "open"), "{said}");
        let why = said["stuck"]["message"].as_str().expect("why");
        assert!(why.starts_with("it was not tried again: undoing the change of `/a` did not return"), "{why}");
        assert_eq!(tree(&place), after);
        let recovered = place.state.run(&["--json", "recover"]).expect(0).json();
        assert_eq!(recovered["runs"][0]["outcome"], ended, "{recovered}");
        assert_eq!(place.standing(), if ended == "committed" { after } else { before });
    }
}

/// A run on another target, whose process died while it waited.
fn elsewhere(place: &Place) -> String {
    let folder = place.state.path("elsewhere");
    std::fs::create_dir(&folder).expect("a folder");
    for (name, text) in [("mood", "good\n"), ("a", "broken\n"), ("b", "broken too\n"), ("c", "as ever\n")] {
        std::fs::write(folder.join(name), text).expect("it can be written");
    }
    let (here, there) = (place.folder.display().to_string(), folder.display().to_string());
    place.state.configure(&place.target("").replace("targets.place", "targets.elsewhere").replace(&here, &there));
    let mut propose = place.command(&["--json", "propose", "--target=elsewhere", "--hypothesis", "it is", "--key"]);
    let propose = propose.arg(place.state.path("agent")).arg(two_faced()).arg(format!("--arg=folder={there}"));
    let proposal = crate::support::place::name(&propose.ran().expect(0).json());
    place.approve(&proposal);
    Confirming::begin(place, &proposal, &["--confirm-within", "1h"]).kill()
}

/// A call that does not return ends the process that waits: nobody else's run is to go unwatched for that.
#[test]
fn what_hung_ends_no_waiting_for_others() {
    let place = Place::new();
    let hung = Confirming::approved(&place, &["--confirm-within", "1h"], &[]).kill();
    give_up(&place.state, &hung, "run");
    let other = elsewhere(&place);
    let wait = waiting(&place, &other);
    wait.says(&format!("run {other}: check and guards hold"));
    let listed = place.state.run(&["--json", "runs"]).expect(0).json();
    assert_eq!(listed["runs"][1]["run"], hung, "{listed}");
    assert_eq!(listed["runs"][1]["waiting"]["attended"], false, "{listed}");
    confirm(&place, &other).expect(0);
    let (code, recovered, said) = wait.end();
    assert_eq!((code, &recovered["runs"][0]["outcome"]), (Some(0), &"committed".into()), "{said}");
    assert_eq!((&recovered["waiting"][0]["run"], outcome(&place, &hung).as_str()), (&hung.as_str().into(), "open"));
}
