//! What it costs to find what there is to recover: every command does so first.

use std::time::Duration;

use countersign_model::{Digest, Plan};
use countersign_record::{NewProposal, RunStart, State};

use crate::harness::{Row, each};

const ROUNDS: usize = 40;
const LOOKS: u32 = 20;

/// A state of 100,000 runs that ended against one of ten, each with one run whose process died.
pub fn measure() -> Vec<Row> {
    let (many, few) = (Ended::new(100_000), Ended::new(10));
    vec![
        Row::of(
            "what to recover, found among 100,000 ended runs",
            "the same among ten",
            ROUNDS,
            || many.look(),
            || few.look(),
        )
        .goal(1.1),
        Row::of(
            "a dead run taken over, among 100,000 ended runs",
            "the same among ten",
            ROUNDS,
            || many.take_over(),
            || few.take_over(),
        )
        .goal(1.1),
    ]
}

/// A state directory with runs that ended.
struct Ended {
    state: State,
    dead: String,
    _place: tempfile::TempDir,
}

impl Ended {
    fn new(count: u32) -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let state = State::create(&place.path().join("state")).expect("a state directory");
        let new = NewProposal {
            document: b"{}",
            signature: "signed",
            bundle: &Digest::of(b"bundle"),
            proposer: "bench",
            created: 1,
            expires: 9,
            evidence: &[],
            fix: None,
            subjects: &[],
        };
        let proposal = state.proposals().add(new).expect("a proposal");
        let manifest = state.approvals().add_manifest(&proposal, b"{}").expect("a manifest");
        // By hand, since a commit each would take minutes.
        let database = rusqlite::Connection::open(state.dir().join("countersign.db")).expect("the database");
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO runs (id, proposal, manifest, bundle, target, approvers, independent, started, plan, guards,
                              outcome, reason, report, finished, settled, actor)
            SELECT printf('r-%012x', i), ?2, ?3, ?4, 'target-' || (i % 100), '[]', 1, i, '{}', '[]',
                   'committed', 'check and guards hold', '{}', i, 1, 'bench' FROM n";
        let bundle = Digest::of(b"bundle").to_string();
        database.execute(sql, (count, proposal.to_string(), manifest.to_string(), bundle)).expect("the runs are there");
        let start = RunStart {
            proposal: &proposal,
            manifest: &manifest,
            target: "dead",
            max_uses: 1,
            sources: &[],
            standing: None,
            approvers: &["bench".to_owned()],
            independent: true,
            at: 2,
            plan: &Plan::default(),
            guards: &[],
            actor: "bench".into(),
        };
        let dead = state.runs().begin(start).expect("a run").run().to_owned();
        Self { state, dead, _place: place }
    }

    fn look(&self) -> Duration {
        each(LOOKS, || {
            for _ in 0..LOOKS {
                assert_eq!(self.state.runs().abandoned().expect("told").len(), 1);
                assert_eq!(self.state.runs().unsettled().expect("told").len(), 0);
            }
        })
    }

    fn take_over(&self) -> Duration {
        each(LOOKS, || {
            (0..LOOKS).for_each(|_| drop(self.state.runs().take_over(&self.dead).expect("read").expect("it died")));
        })
    }
}
