//! What a rollback needs is set aside before the first change: on a disk that somebody else fills meanwhile it is recorded,
//! its step runs, and the target ends as it was. On a real file system, mounted for the test, where root allows it.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::killed::Killed;
use support::mount::Mount;
use support::place::Place;
use support::spoken::Spoken;
use support::{Incident, Runs as _, State};
use tempfile::TempDir;

/// The incident with all that belongs to it on one small file system.
struct Small {
    incident: Incident,
    mount: Mount,
    // In this order: the file system goes before its mount point.
    _above: TempDir,
}

impl Small {
    fn new() -> Option<Self> {
        let above = tempfile::tempdir().expect("a temporary directory");
        let mount = Mount::new(&above.path().join("small"), 48)?;
        let incident = Incident::on(State::below(&mount.0));
        incident.state.configure("\n[images]\nreserve = \"1MiB\"\n");
        Some(Self { incident, mount, _above: above })
    }

    /// The approved fix.
    fn approved(&self, example: &str) -> String {
        let proposal = self.incident.propose(example);
        self.incident.approve(&proposal);
        proposal
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.incident.config).expect("its configuration")
    }

    /// What is set aside.
    fn reserves(&self) -> Vec<PathBuf> {
        let locks = fs::read_dir(self.incident.state.path("state/locks")).expect("locks");
        let paths = locks.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "reserve")).collect()
    }
}

/// Before the signal, which then finds no room for its intent.
#[test]
fn a_disk_that_is_filled_before_the_second_change_ends_rolled_back() {
    let Some(small) = Small::new() else { return };
    let filler = small.mount.0.join("filler");
    small.incident.state.configure(&format!(
        "[[targets.orders.validators]]\nname = \"fills\"\npaths = [\"{}\"]\n\
         command = [\"/bin/sh\", \"-c\", \"cat /dev/zero > {} 2>&-; exit 0\"]\n",
        small.incident.config.display(),
        filler.display()
    ));
    let (proposal, before) = (small.approved("pool-size"), small.text());
    let ran = small.incident.run(&proposal).expect(4);
    let report = ran.json();
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("full")), "{report}");
    // The step's signal was sent, and is in the record.
    let sent = report["changes"].as_array().expect("changes").iter().filter(|change| change["role"] == "rollback");
    assert_eq!((sent.count(), small.text() == before), (1, true), "{report}");
    assert!(small.reserves().is_empty());
    let run = report["run"].as_str().expect("a name");
    let shown = small.incident.state.run(&["--json", "show", run]).expect(0).json();
    assert_eq!(shown["outcome"], "rolled-back");
}

#[test]
fn what_was_killed_is_recovered_on_a_disk_that_is_full() {
    let Some(small) = Small::new() else { return };
    let (incident, before) = (&small.incident, small.text());
    incident.state.configure(&Killed::validator(&incident.state, "orders", &incident.config));
    let proposal = small.approved("pool-size");
    let run = Killed::validating(&incident.state, &proposal);
    small.mount.fill();
    run.kill();
    assert!(small.text() != before && small.reserves().len() == 1, "it waits for whoever recovers");
    let recovered = incident.state.run(&["--json", "recover"]).expect(0).json();
    assert_eq!(recovered["runs"][0]["outcome"], "rolled-back", "{recovered}");
    assert!(small.text() == before && small.reserves().is_empty());
    incident.state.run(&["recover"]).expect(0).shows("nothing to recover");
}

/// A fix that never ends uses up all that it has; the rollback step has as much of its own.
#[test]
fn a_rollback_step_has_its_own_time_whatever_the_fix_used_up() {
    let place = Place::new();
    let proposal = place.approved();
    let before = place.standing();
    place.put("mood", "good tireless\n");
    let ran = place.run(&proposal).expect(4);
    let report = ran.json();
    assert!(report["reason"].as_str().is_some_and(|why| why.starts_with("the fix failed: the step")), "{report}");
    let of = |role: &str| report["changes"].as_array().expect("changes").iter().filter(|c| c["role"] == role).count();
    assert_eq!((report["outcome"].as_str(), of("fix"), of("rollback")), (Some("rolled-back"), 2, 2), "{report}");
    place.put("mood", "good\n");
    assert_eq!(place.standing(), before);
}

/// Somebody fills the disk while it waits to be confirmed: what becomes of it is recorded, whichever it is, also by whoever
/// recovers it.
#[test]
fn what_a_run_that_waits_comes_to_is_recorded_on_a_full_disk() {
    let hour = 3_600_000;
    for (silence, code, outcome) in [("roll-back", 4, "rolled-back"), ("keep", 0, "committed")] {
        for killed in [false, true] {
            let Some(small) = Small::new() else { return };
            let (incident, before) = (&small.incident, small.text());
            let proposal = incident.propose("pool-size");
            let within = if killed { "10m" } else { "3s" };
            incident.approve_with(&proposal, &["--confirm-within", within, "--silence", silence]).expect(0);
            let run = Spoken::start(&mut incident.state.command(&["--json", "run", &proposal]));
            run.says("waits for a confirmation until");
            small.mount.fill();
            let report = if killed {
                run.kill();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() + hour;
                let mut recover = incident.state.command(&["--json", "recover"]);
                let recovered = recover.env("COUNTERSIGN_TEST_NOW", now.to_string()).ran().expect(0).json();
                recovered["runs"][0].clone()
            } else {
                let (ended, report, said) = run.end();
                assert_eq!(ended, Some(code), "{silence}: {said}");
                report
            };
            assert_eq!(
                (report["outcome"].as_str(), &report["unrecorded"]),
                (Some(outcome), &Value::Null),
                "{report:#}"
            );
            assert_eq!(small.text() == before, outcome == "rolled-back", "{silence}");
            assert!(small.reserves().is_empty(), "{silence}");
            let run = report["run"].as_str().expect("a name");
            let shown = incident.state.run(&["--json", "show", run]).expect(0).json();
            assert_eq!(shown["outcome"], outcome, "{silence}");
        }
    }
}
