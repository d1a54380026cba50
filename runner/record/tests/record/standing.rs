//! Standing approvals, and how often they were used.

use countersign_model::{Digest, Outcome, Plan};
use countersign_record::{BeginError, HistoryOf, Journal, NewStanding, RunStart, StandingHistory, Unattended};

use crate::support::{Fixture, TARGET, approve, fixture};

const HOUR: u64 = 3_600_000;

fn keep(run: &Fixture) -> Digest {
    let bundle = Digest::of(b"bundle");
    let new =
        NewStanding { example: &run.proposal, bundle: &bundle, agent: "agent", document: b"{}", signature: "one" };
    run.state.standing().add(new, &[]).expect("kept")
}

fn begin(run: &Fixture, proposal: &(Digest, Digest), standing: &Digest, at: u64) -> Result<Journal, BeginError> {
    let targets = [TARGET.to_owned()];
    run.state.runs().begin(RunStart {
        proposal: &proposal.0,
        manifest: &proposal.1,
        target: TARGET,
        max_uses: 1,
        sources: &[],
        standing: Some(Unattended { standing, since: 1_000, targets: &targets, per_hour: 2, per_day: 3 }),
        approvers: &["alice".to_owned()],
        independent: true,
        at,
        plan: &Plan::default(),
        guards: &[],
        actor: "alice".into(),
    })
}

fn proposal(run: &Fixture, number: u64) -> (Digest, Digest) {
    approve(&run.state, format!("{{\"proposal\":{number},\"again\":1}}").as_bytes())
}

fn ended(mut journal: Journal, outcome: Outcome, at: u64) {
    journal.finish(outcome, "it ended", &serde_json::json!({}), at).expect("finished");
}

fn history(run: &Fixture, standing: &Digest, now: u64) -> StandingHistory {
    let of = HistoryOf {
        standing,
        bundle: &Digest::of(b"bundle"),
        agent: "agent",
        target: TARGET,
        targets: &[TARGET],
        since: 1_000,
        now,
    };
    run.state.standing().history(of).expect("counted")
}

/// What was decided before is decided again where the run begins: two that were both the last could begin otherwise.
#[test]
fn its_budget_is_counted_where_a_run_begins() {
    let run = fixture();
    let standing = keep(&run);
    let refused = |number, at| match begin(&run, &proposal(&run, number), &standing, at) {
        Err(BeginError::NotUnattended { why }) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it began"),
    };
    for (number, at) in [(1, HOUR), (2, HOUR + 1)] {
        ended(begin(&run, &proposal(&run, number), &standing, at).expect("it begins"), Outcome::Committed, at + 1);
    }
    assert_eq!(refused(3, HOUR + 2), "it ran 2 times within the last hour");
    assert_eq!(
        history(&run, &standing, HOUR + 2),
        StandingHistory { committed: 2, failed: None, last_hour: 2, last_day: 2 }
    );
    ended(begin(&run, &proposal(&run, 4), &standing, 3 * HOUR).expect("it begins"), Outcome::Committed, 3 * HOUR);
    assert_eq!(refused(5, 5 * HOUR), "it ran 3 times within the last day");
    let failing = begin(&run, &proposal(&run, 6), &standing, 26 * HOUR).expect("it begins");
    let name = failing.run().to_owned();
    ended(failing, Outcome::RolledBack, 26 * HOUR);
    assert_eq!(refused(7, 60 * HOUR), format!("it ended with the run {name}"));
    assert_eq!(history(&run, &standing, 60 * HOUR).failed, Some(name));
    run.state.approvals().add_denial(&run.proposal, b"no", "signed", &[]).expect("denied");
    assert_eq!(refused(9, 60 * HOUR), "its example was denied");
    let other = Digest::of(b"another");
    match begin(&run, &proposal(&run, 8), &other, 60 * HOUR) {
        Err(BeginError::NotUnattended { why }) => assert_eq!(why, "it is not kept"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn what_is_kept_is_found_with_its_signatures() {
    let run = fixture();
    let standing = keep(&run);
    let bundle = Digest::of(b"bundle");
    for signature in ["two", "two", "three"] {
        let new = NewStanding { example: &run.proposal, bundle: &bundle, agent: "agent", document: b"{}", signature };
        assert_eq!(run.state.standing().add(new, &[]).expect("kept"), standing);
    }
    let found = run.state.standing().of(&bundle, "agent").expect("read").pop().expect("one");
    assert_eq!((found.digest, found.example, found.signatures.len()), (standing, run.proposal, 3));
    assert_eq!(run.state.standing().get(&standing).expect("read").as_ref(), Some(&found));
    assert_eq!(run.state.standing().list().expect("read"), [found]);
    assert!(run.state.standing().of(&bundle, "other").expect("read").is_empty());
    assert!(run.state.standing().of(&Digest::of(b"other"), "agent").expect("read").is_empty());
    let many = |number: usize| {
        let (signature, document) = (number.to_string(), &b"{}"[..]);
        let new =
            NewStanding { example: &run.proposal, bundle: &bundle, agent: "agent", document, signature: &signature };
        run.state.standing().add(new, &[])
    };
    assert!((0..61).all(|number| many(number).is_ok()));
    assert!(many(61).is_err(), "64 and no more");
}
