//! The same rules between processes, and after one was killed. Children are this test binary again,
//! running one of the ignored tests below; they talk on their standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use countersign_model::{Digest, Outcome, Plan, Role};
use countersign_record::{BeginError, ChangeState, Holder, RecordError, RunStart, RunState, State};

use crate::support::{TARGET, begin, change, fixture, signal};

const DIR: &str = "COUNTERSIGN_RECORD_TEST_DIR";
const PROPOSAL: &str = "COUNTERSIGN_RECORD_TEST_PROPOSAL";

struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    fn start(test: &str, dir: &Path, proposal: &Digest) -> Self {
        Self::spawn(Command::new("env"), test, dir, proposal)
    }

    /// Through another command, which ends in this test binary.
    fn spawn(mut command: Command, test: &str, dir: &Path, proposal: &Digest) -> Self {
        let mut child = command
            .arg(std::env::current_exe().expect("this binary"))
            .args(["--exact", &format!("processes::{test}"), "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(PROPOSAL, proposal.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("its output"));
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// The rest of the next line that has the marker; other lines are the test harness's.
    fn hear(&mut self, marker: &str) -> String {
        for _ in 0..50 {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).expect("a line"), 0, "the child ended before `{marker}`");
            if let Some((_, rest)) = line.trim_end().split_once(marker) {
                return rest.to_owned();
            }
        }
        panic!("no `{marker}`");
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("its input"), "{line}").expect("said");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child was told, or nothing where it was started by hand.
fn told() -> Option<(State, Digest, Digest)> {
    let dir = std::env::var_os(DIR)?;
    let proposal: Digest = std::env::var(PROPOSAL).ok()?.parse().ok()?;
    let state = State::open(Path::new(&dir)).expect("opens");
    let manifest = state.approvals().of(&proposal).expect("approvals").pop().expect("one").digest;
    Some((state, proposal, manifest))
}

fn wait_for_end() {
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the end");
}

#[test]
#[ignore = "a child of the tests below"]
fn child_begins() {
    let Some((state, proposal, manifest)) = told() else { return };
    println!("\nready:");
    std::io::stdin().read_line(&mut String::new()).expect("go");
    let result = begin(&state, TARGET, &proposal, &manifest, 100);
    match &result {
        Ok(journal) => println!("\nresult:won {}", journal.run()),
        Err(BeginError::Busy(Holder { run: Some(run), .. })) => println!("\nresult:busy {run}"),
        Err(other) => println!("\nresult:{other}"),
    }
    wait_for_end();
}

#[test]
#[ignore = "a child of the tests below"]
#[expect(clippy::zombie_processes, reason = "the grandchild is to outlive this process, which is killed")]
fn child_intends() {
    let Some((state, proposal, manifest)) = told() else { return };
    let mut journal = begin(&state, TARGET, &proposal, &manifest, 1).expect("begins");
    let change = change(&mut journal, b"the bytes before", b"the bytes after");
    let first = journal.intend(Role::Fix, &change).expect("intended");
    journal.done(first).expect("done");
    let second = journal.intend(Role::Fix, &signal()).expect("intended");
    journal.done_now(second).expect("done");
    let third = journal.intend(Role::Fix, &change).expect("intended");
    // Rides along, with nothing to ride on.
    journal.done(third).expect("done");
    // It outlives this process, as a validator may, and must not keep the target held.
    let mut grandchild = Command::new("sh");
    grandchild.args(["-c", "echo up; exec cat >&2"]).stdin(Stdio::inherit()).stdout(Stdio::piped());
    let mut grandchild = grandchild.spawn().expect("a grandchild");
    let mut up = String::new();
    // Only now has it surely closed what it inherited.
    BufReader::new(grandchild.stdout.take().expect("its output")).read_line(&mut up).expect("up");
    println!("\nready:{}", journal.run());
    wait_for_end();
}

#[test]
fn of_several_processes_one_begins() {
    let run = fixture();
    let mut others: Vec<_> = (0..4).map(|_| Other::start("child_begins", run.path(), &run.proposal)).collect();
    for other in &mut others {
        other.hear("ready:");
    }
    for other in &mut others {
        other.say("go");
    }
    let mut results: Vec<_> = others.iter_mut().map(|other| other.hear("result:")).collect();
    results.sort();
    let winner = results.pop().expect("a result");
    let id = winner.strip_prefix("won ").expect(&winner);
    assert!(results.iter().all(|result| *result == format!("busy {id}")), "{results:?}");
    assert_eq!(run.state.runs().running(TARGET).expect("told").as_deref(), Some(id));
    match run.begin(100).expect_err("busy") {
        BeginError::Busy(holder) => assert_eq!(holder.run.as_deref(), Some(id)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_run_whose_process_was_killed_is_unfinished_and_keeps_its_images() {
    let run = fixture();
    let mut other = Other::start("child_intends", run.path(), &run.proposal);
    let id = other.hear("ready:");
    assert_eq!(run.state.runs().running(TARGET).expect("told").as_deref(), Some(id.as_str()));
    assert!(run.state.runs().unfinished(TARGET).expect("told").is_none());
    // The grandchild lives until `other` is dropped, which ends its input.
    other.kill();

    let blocked = run.state.runs().unfinished(TARGET).expect("told").expect("unfinished");
    assert_eq!((blocked.run(), blocked.reason()), (id.as_str(), "the runner ended before the run did"));
    let states: Vec<_> = blocked.changes().iter().map(|change| (change.seq, change.state)).collect();
    assert_eq!(states, [(1, ChangeState::Done), (2, ChangeState::Done), (3, ChangeState::Intended)]);
    let before = blocked.changes()[2].change.before.expect("a before-image");
    assert_eq!(run.state.rehearsal_blobs().get(&before.digest).expect("the image"), b"the bytes before");
    assert_eq!(run.state.runs().get(&id).expect("found").state, RunState::Unfinished);
    match run.begin(1).expect_err("blocked") {
        BeginError::Unfinished(unfinished) => assert_eq!(unfinished.changes().len(), 3),
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "a child of the test below"]
fn child_fills_its_disk() {
    let Some((state, proposal, manifest)) = told() else { return };
    let mut journal = begin(&state, TARGET, &proposal, &manifest, 1).expect("begins");
    // More than the file size that it was started with allows.
    let error = (0..1000_u32)
        .find_map(|n| {
            let image: Vec<u8> = n.to_le_bytes().repeat(10_000);
            let change = change(&mut journal, &image, b"");
            journal.intend(Role::Fix, &change).err()
        })
        .expect("the disk fails");
    assert!(matches!(error, RecordError::DatabaseWrite { .. }), "{}", error.full());
    let last = journal.intend(Role::Fix, &signal()).expect_err("no more intents");
    assert!(matches!(last, RecordError::JournalStopped { .. }), "{last}");
    // Nothing at all is written after that, by whatever way.
    let finish = journal.finish(Outcome::InDoubt, "", &serde_json::json!({}), 3_000).expect_err("not recorded");
    assert!(matches!(finish, RecordError::Stopped(_)), "{finish}");
    assert!(matches!(state.rehearsals().add(b"{}", ""), Err(RecordError::Stopped(_))));
    assert!(matches!(state.blobs().put(b"x"), Err(RecordError::Stopped(_))));
    // A run that cannot begin for the same reason ends all writing as well.
    let other = State::open(state.dir()).expect("opens");
    let long = ["x".repeat(60_000)];
    let plan = Plan::default();
    let start = RunStart {
        proposal: &proposal,
        manifest: &manifest,
        target: "web-2",
        max_uses: 9,
        sources: &[],
        standing: None,
        approvers: &long,
        independent: true,
        at: 2_000,
        plan: &plan,
        guards: &[],
        actor: "alice".into(),
    };
    let begun = other.runs().begin(start).expect_err("the disk fails");
    assert!(matches!(begun, BeginError::Record(RecordError::DatabaseWrite { .. })), "{begun}");
    assert!(matches!(other.rehearsals().add(b"{}", ""), Err(RecordError::Stopped(_))));
    // It may have begun for all that is known, and then whoever recovers it needs what was set aside.
    let locks =
        std::fs::read_dir(state.dir().join("locks")).expect("locks").map(|entry| entry.expect("an entry").path());
    assert_eq!(locks.filter(|path| path.extension().is_some_and(|extension| extension == "reserve")).count(), 2);
    println!("\nready:{}", journal.changes().len());
}

#[test]
fn a_disk_that_fails_under_the_journal_ends_all_writing() {
    let run = fixture();
    let mut shell = Command::new("sh");
    // Files of at most 4 MiB; writing beyond is an error, not a signal.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$@\"", "sh"]);
    let mut other = Other::spawn(shell, "child_fills_its_disk", run.path(), &run.proposal);
    let intended: usize = other.hear("ready:").parse().expect("a number");
    drop(other);
    let blocked = run.state.runs().unfinished(TARGET).expect("told").expect("unfinished");
    assert!(intended > 0);
    assert_eq!(blocked.changes().len(), intended, "exactly what was intended is durable");
    for change in blocked.changes() {
        run.state.rehearsal_blobs().get(&change.change.before.expect("a before-image").digest).expect("readable");
    }
}
