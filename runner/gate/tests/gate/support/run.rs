//! A run: a live gate over a real journal.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use countersign_capability::Phase;
use countersign_gate::{Live, NotAsBefore, Unanswered, Undo, Undone, Validators};
use countersign_model::{Call, Digest, Mode, Plan, Role};
use countersign_record::{ImagesPlace, NewProposal, RunStart, State};
use rusqlite::Connection;
use tempfile::TempDir;

use super::bench::{ALL, Bench, Host};

/// A live gate that a fix is running through.
pub(crate) struct Run {
    bench: Bench,
    pub(crate) state: Arc<State>,
    pub(crate) id: String,
    pub(crate) validators: Arc<Mutex<Asked>>,
    pub(crate) interrupted: Arc<AtomicBool>,
    _directory: TempDir,
}

/// What validators were asked, and what they say.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) subjects: Vec<Vec<String>>,
    pub(crate) refusal: Option<String>,
    /// Set while they are asked, as a signal may arrive then.
    pub(crate) interrupts: Option<Arc<AtomicBool>>,
}

struct Recording(Arc<Mutex<Asked>>);

impl Validators for Recording {
    fn validate(&mut self, written: &[String]) -> Result<(), String> {
        let mut asked = self.0.lock().expect("validators");
        asked.subjects.push(written.to_vec());
        if let Some(interrupted) = &asked.interrupts {
            interrupted.store(true, Ordering::Relaxed);
        }
        asked.refusal.clone().map_or(Ok(()), Err)
    }
}

impl Run {
    /// Begins a run that is held to the plan of these calls; its fix has every grant and made no call yet.
    pub(crate) fn exact(host: &Host, fix: &[Call], rollback: &[Call]) -> Self {
        let run = Self::of(host, Mode::Exact, &host.plan(fix, rollback));
        run.begin(Role::Fix, ALL);
        run
    }

    /// Begins a run that nothing but its grants holds.
    pub(crate) fn scoped(host: &Host) -> Self {
        let run = Self::of(host, Mode::Scoped, &Plan::default());
        run.begin(Role::Fix, ALL);
        run
    }

    /// Begins a run; no step runs yet.
    pub(crate) fn of(host: &Host, mode: Mode, plan: &Plan) -> Self {
        Self::in_phase(host, Phase::Live, mode, plan)
    }

    /// Begins a run with sessions of this phase; only those of [`Phase::Live`] are right.
    pub(crate) fn in_phase(host: &Host, phase: Phase, mode: Mode, plan: &Plan) -> Self {
        Self::under_cap(host, phase, mode, plan, u64::MAX)
    }

    /// Begins a run whose images may take no more than this.
    pub(crate) fn under_cap(host: &Host, phase: Phase, mode: Mode, plan: &Plan, cap: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::create(&directory.path().join("state")).expect("a new state directory");
        let place = ImagesPlace { directory: None, cap, reserve: 0 };
        let state = Arc::new(state.keeping_images(&place).expect("a place"));
        let new = NewProposal {
            document: b"{\"proposal\":1}",
            signature: "signed",
            bundle: &Digest::of(b"bundle"),
            proposer: "agent",
            created: 1_000,
            expires: 9_000,
            evidence: &[],
            fix: None,
            subjects: &[],
        };
        let proposal = state.proposals().add(new).expect("a proposal");
        let manifest = state.approvals().add_manifest(&proposal, b"{\"manifest\":1}").expect("a manifest");
        let start = RunStart {
            proposal: &proposal,
            manifest: &manifest,
            target: "web-1",
            max_uses: 1,
            sources: &[],
            standing: None,
            approvers: &["alice".to_owned()],
            independent: true,
            at: 2_000,
            plan,
            guards: &[],
            actor: "alice".into(),
        };
        let journal = state.runs().begin(start).expect("the run begins");
        let id = journal.run().to_owned();
        let validators = Arc::<Mutex<Asked>>::default();
        let interrupted = Arc::<AtomicBool>::default();
        let recording = Box::new(Recording(Arc::clone(&validators)));
        let live = Live::new(journal, mode, plan, recording, Arc::clone(&interrupted));
        Self { bench: host.live(phase, live), state, id, validators, interrupted, _directory: directory }
    }

    /// From now on it has a time, which is over once this is set.
    pub(crate) fn until(&self) -> Arc<AtomicBool> {
        let over = Arc::<AtomicBool>::default();
        let told = Arc::clone(&over);
        self.with_live(|live, _| {
            live.until(move || told.load(Ordering::Relaxed).then(|| "it is late".to_owned()));
        });
        over
    }

    /// Its process dies, and another one takes it over.
    pub(crate) fn dies(self, host: &Host, mode: Mode, plan: &Plan) -> Self {
        let Self { bench, state, id, validators, interrupted, _directory } = self;
        drop(bench);
        let taken = state.runs().take_over(&id).expect("its journal").expect("it has not ended");
        let live = Live::taken_over(taken.journal, mode, plan, &mut host.sessions(Phase::Live));
        Self { bench: host.live(Phase::Live, live), state, id, validators, interrupted, _directory }
    }

    /// From now on the rollback step runs, as it does after the host's undo.
    pub(crate) fn begin_rollback(&self) {
        self.with_live(|live, _| live.journal().begin_rollback("it was asked for")).expect("marked");
        self.begin(Role::Rollback, ALL);
    }

    /// What another process sees of the database.
    pub(crate) fn second(&self) -> Connection {
        Connection::open(self.state.dir().join("countersign.db")).expect("a second connection")
    }

    /// Makes every statement of this sort fail, as a full disk would.
    pub(crate) fn break_journal(&self, sort: &str) {
        let sql = format!("CREATE TRIGGER broken BEFORE {sort} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
        self.second().execute_batch(&sql).expect("a trigger");
    }

    /// How many changes are durable.
    pub(crate) fn journaled(&self) -> usize {
        self.state.runs().changes(&self.id).expect("changes").len()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.with_live(|live, _| live.failure().map(str::to_owned))
    }

    /// The host's undo of the fix, by subject.
    pub(crate) fn undo(&self) -> Vec<(String, Undone)> {
        self.undo_of(Role::Fix)
    }

    pub(crate) fn undo_of(&self, role: Role) -> Vec<(String, Undone)> {
        let undone = self.with_live(|live, sessions| live.undo(sessions, role));
        undone.into_iter().map(|Undo { subject, result, .. }| (subject, result)).collect()
    }

    pub(crate) fn unrestored(&self) -> Vec<(String, String)> {
        told(self.with_live(|live, sessions| live.unrestored(sessions)))
    }

    pub(crate) fn lost(&self) -> Vec<(String, String)> {
        told(self.with_live(|live, sessions| live.lost(sessions)))
    }

    /// What was not answered, and why.
    pub(crate) fn unanswered(&self) -> Vec<(String, &'static str)> {
        let unanswered = self.with_live(|live, sessions| live.unanswered(sessions));
        unanswered.into_iter().map(|Unanswered { change, why }| (change.summary, why)).collect()
    }

    pub(crate) fn complete(&self) -> Result<(), String> {
        self.with_live(|live, _| live.complete())
    }

    pub(crate) fn changed(&self) -> bool {
        self.with_live(|live, _| live.changed())
    }

    pub(crate) fn validated(&self) -> Vec<Vec<String>> {
        self.validators.lock().expect("validators").subjects.clone()
    }
}

fn told(left: Vec<NotAsBefore>) -> Vec<(String, String)> {
    left.into_iter().map(|NotAsBefore { change, why, .. }| (change.subject, why)).collect()
}

impl Deref for Run {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl DerefMut for Run {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
