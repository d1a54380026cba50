//! What is set aside for a rollback: on a disk that is full, a real one, mounted for the test where root allows it.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_model::{Change, Digest, Image, Outcome, Plan, Role};
use countersign_record::{BeginError, ChangeState, Journal, RecordError, RunStart, State, Wanted};
use serde_json::json;
use tempfile::TempDir;

use crate::mount::Mount;
use crate::support::{approve, begin, change, fixture, signal};

const MIB: usize = 1024 * 1024;

/// A state with one approved proposal, alone on a small file system.
struct Small {
    state: State,
    proposal: Digest,
    manifest: Digest,
    mount: Mount,
    _above: TempDir,
}

impl Small {
    fn new(megabytes: u32) -> Option<Self> {
        let above = tempfile::tempdir().expect("a directory");
        let mount = Mount::new(&above.path().join("small"), megabytes)?;
        let state = State::create(&mount.0.join("state")).expect("a new state directory");
        let (proposal, manifest) = approve(&state, b"{\"proposal\":1}");
        Some(Self { state, proposal, manifest, mount, _above: above })
    }

    fn begin(&self, target: &str, plan: &Plan) -> Result<Journal, BeginError> {
        self.state.runs().begin(RunStart {
            proposal: &self.proposal,
            manifest: &self.manifest,
            target,
            max_uses: 1,
            sources: &[],
            standing: None,
            approvers: &["alice".to_owned()],
            independent: true,
            at: 2_000,
            plan,
            guards: &[],
            actor: "alice".into(),
        })
    }

    fn reserves(&self) -> Vec<u64> {
        reserves(self.state.dir()).iter().map(|path| path.metadata().expect("it is there").len()).collect()
    }

    fn states(&self, journal: &Journal) -> Vec<ChangeState> {
        self.state.runs().changes(journal.run()).expect("changes").iter().map(|change| change.state).collect()
    }
}

fn reserves(state: &Path) -> Vec<PathBuf> {
    let locks = fs::read_dir(state.join("locks")).expect("locks").map(|entry| entry.expect("an entry").path());
    locks.filter(|path| path.extension().is_some_and(|extension| extension == "reserve")).collect()
}

/// What no file system can make smaller, another for each number.
fn content(number: usize, size: usize) -> Vec<u8> {
    let block = Digest::of(&number.to_le_bytes()).hex();
    block.into_bytes().into_iter().cycle().take(size).collect()
}

/// A replacement of so much by so much else.
fn replacing(journal: &mut Journal, number: usize, size: usize) -> Change {
    change(journal, &content(2 * number, size), &content(2 * number + 1, size))
}

/// A replacement of a little by so much, as a plan has it.
fn planned(number: usize, size: usize) -> Change {
    let image = |number, size| Some(Image::of(&content(number, size)));
    Change {
        subject: "/etc/app.conf".to_owned(),
        capability: "files".to_owned(),
        before: image(2 * number, 5000),
        after: image(2 * number + 1, size),
        reversibility: countersign_model::Reversibility::Exact,
        ..signal()
    }
}

#[test]
fn on_a_full_disk_the_rollback_is_recorded_and_its_step_with_it() {
    let Some(small) = Small::new(24) else { return };
    let plan = Plan { back: vec![signal()], ..Plan::default() };
    let mut journal = small.begin("web-1", &plan).expect("begins");
    let done = replacing(&mut journal, 0, 5000);
    let first = journal.intend(Role::Fix, &done).expect("intended");
    journal.done(first).expect("done");
    small.mount.fill();
    let next = replacing(&mut journal, 1, MIB);
    let error = journal.intend(Role::Fix, &next).expect_err("there is no room").full();
    assert!(error.contains("full"), "{error}");
    // Forward nothing more, however small, and also if there is room again.
    fs::remove_file(small.mount.0.join("filler")).expect("it can be removed");
    let error = journal.intend(Role::Fix, &signal()).expect_err("stays failed");
    assert!(matches!(error, RecordError::JournalStopped { .. }), "{error}");
    small.mount.fill();
    journal.begin_rollback("the journal failed").expect("marked");
    let row = small.state.runs().get(journal.run()).expect("a run");
    assert_eq!(row.rollback.as_deref(), Some("the journal failed"));
    let second = journal.intend(Role::Rollback, &signal()).expect("intended");
    journal.done_now(second).expect("done");
    journal.undone(first).expect("undone");
    journal.finish(Outcome::RolledBack, "the journal failed", &json!({}), 3_000).expect("recorded");
    journal.settled().expect("recorded");
    assert_eq!(small.states(&journal), [ChangeState::Undone, ChangeState::Done]);
    assert_eq!(small.reserves(), [0; 0]);
}

/// A commit that finds no room is rolled back, and what is set aside is for that.
#[test]
fn nothing_of_it_is_used_for_a_commit() {
    let Some(small) = Small::new(24) else { return };
    let mut journal = small.begin("web-1", &Plan::default()).expect("begins");
    let first = journal.intend(Role::Fix, &signal()).expect("intended");
    journal.done_now(first).expect("done");
    small.mount.fill();
    let report = json!({ "changes": "x".repeat(MIB) });
    journal.finish(Outcome::Committed, "", &report, 3_000).expect_err("there is no room");
    assert_eq!(small.reserves().len(), 1);
    journal.begin_rollback("the commit could not be recorded").expect("marked");
    journal.intend(Role::Rollback, &signal()).expect("intended");
}

#[test]
fn a_run_whose_first_change_finds_no_room_ends_all_the_same() {
    let Some(small) = Small::new(24) else { return };
    let mut journal = small.begin("web-1", &Plan::default()).expect("begins");
    small.mount.fill();
    let next = replacing(&mut journal, 1, MIB);
    journal.intend(Role::Fix, &next).expect_err("there is no room");
    journal.finish(Outcome::RolledBack, "the journal failed", &json!({}), 3_000).expect("recorded");
    assert!(small.state.runs().unfinished("web-1").expect("told").is_none());
}

/// Two at once, whose journals share one log: what was given back to one is neither the other's nor anybody's.
#[test]
fn each_of_two_runs_has_what_its_plan_may_need_whoever_takes_what_is_free() {
    let Some(small) = Small::new(64) else { return };
    let back: Vec<Change> = (0..6).map(|number| planned(number, MIB)).collect();
    let plan = Plan { forward: vec![planned(9, 5000)], back, ..Plan::default() };
    let mut journals = ["web-1", "web-2"].map(|target| small.begin(target, &plan).expect("begins"));
    small.mount.fill();
    for journal in &mut journals {
        journal.begin_rollback(&"why ".repeat(8_000)).expect("marked");
        small.mount.fill();
    }
    for (run, journal) in journals.iter_mut().enumerate() {
        for number in 0..6 {
            // Another content than in the rehearsal, of any size that is kept there.
            let found = replacing(journal, 100 * run + number + 10, MIB);
            let seq = journal.intend(Role::Rollback, &found).expect("intended");
            journal.done_now(seq).expect("done");
            journal.undone(seq).expect("undone");
        }
        let report = json!({ "changes": serde_json::to_value(&plan).expect("JSON") });
        journal.finish(Outcome::RollbackIncomplete, "why", &report, 3_000).expect("recorded");
    }
    assert_eq!(small.reserves(), [0; 0]);
}

#[test]
fn a_run_is_begun_with_what_its_rollback_may_need() {
    let Some(small) = Small::new(24) else { return };
    let large = Plan { back: (0..12).map(|number| planned(number, MIB)).collect(), ..Plan::default() };
    let error = small.begin("web-1", &large).expect_err("there is no room");
    let BeginError::Record(RecordError::NoRoom { needed, reserve, free, .. }) = error else { panic!("{error}") };
    assert!(reserve > 8 * 2 * MIB as u64 && needed > reserve && free < needed, "{needed} {reserve} {free}");
    assert_eq!(small.reserves(), [0; 0]);
    let journal = small.begin("web-1", &Plan::default()).expect("no use is spent");
    let [size] = small.reserves()[..] else { panic!("one run, one reserve") };
    assert!(size >= MIB as u64);
    let taken = fs::metadata(&reserves(small.state.dir())[0]).expect("it is there");
    use std::os::unix::fs::MetadataExt;
    assert!(taken.blocks() * 512 >= size, "it takes what it says");
    drop(journal);
    assert_eq!(small.reserves(), [size], "it waits for whoever recovers");
    small.state.runs().remove_left_reserves().expect("looked at");
    assert_eq!(small.reserves(), [size], "nobody takes it for left behind");
}

#[test]
fn what_a_process_that_died_set_aside_goes() {
    let run = fixture();
    let mut journal = run.begin(1).expect("begins");
    let of_run = reserves(run.path());
    journal.finish(Outcome::Refused, "", &json!({}), 3_000).expect("finished");
    assert_eq!((of_run.len(), reserves(run.path()).len()), (1, 0), "it ends with the run");
    drop(journal);
    // Of a process that died before its run began, or after it had ended.
    fs::write(&of_run[0], "left").expect("written");
    let hold = run.state.runs().hold(Wanted::target("web-1")).expect("held");
    run.state.runs().remove_left_reserves().expect("looked at");
    assert_eq!(reserves(run.path()), of_run, "of one that is about to begin");
    drop(hold);
    run.state.runs().remove_left_reserves().expect("removed");
    assert_eq!(reserves(run.path()), [""; 0].map(PathBuf::from));

    // A run that does not begin leaves nothing.
    begin(&run.state, "web-1", &run.proposal, &run.manifest, 0).expect_err("used up");
    assert_eq!(reserves(run.path()), [""; 0].map(PathBuf::from));
}

/// The disk did not do as it was told: that it was full as well makes nothing better.
#[test]
fn after_a_sync_that_failed_the_rollback_step_is_not_recorded() {
    let run = fixture();
    let disk = crate::disk::Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    let mut journal = begin(&state, "web-1", &run.proposal, &run.manifest, 1).expect("begins");
    disk.fail(Some("sync"));
    state.blobs().put(b"bytes").expect_err("not durable");
    disk.fail(None);
    journal.begin_rollback("the disk failed").expect_err("it cannot be marked");
    journal.intend(Role::Rollback, &signal()).expect_err("nothing more is written");
}

#[test]
fn what_is_set_aside_is_durable_before_the_run_begins() {
    let run = fixture();
    let disk = crate::disk::Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    disk.take();
    let journal = begin(&state, "web-1", &run.proposal, &run.manifest, 1).expect("begins");
    let did = disk.take();
    let last: Vec<&str> = did.iter().rev().take(3).rev().map(|step| step.split(' ').next().expect("a word")).collect();
    assert_eq!(last, ["set-aside", "sync", "sync-dir"], "{did:?}");
    drop(journal);
    for what in ["set-aside", "sync", "sync-dir"] {
        let run = fixture();
        let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
        disk.fail(Some(what));
        begin(&state, "web-1", &run.proposal, &run.manifest, 1).expect_err("nothing is begun without");
        disk.fail(None);
        assert!(state.runs().unfinished("web-1").expect("told").is_none(), "{what}");
    }
}
