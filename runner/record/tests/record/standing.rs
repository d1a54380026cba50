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
        StandingHistory { committed: 2, failed: None, denied: None, last_hour: 2, last_day: 2 }
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

/// Why a run by the standing approval would not begin.
fn why(run: &Fixture, number: u64, standing: &Digest, at: u64) -> Option<String> {
    match begin(run, &proposal(run, number), standing, at) {
        Err(BeginError::NotUnattended { why }) => Some(why),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

/// What people deny does not come back with nobody asked: not the same again, and not by a clock that was set back.
#[test]
fn a_denial_of_its_bundle_ends_it() {
    let run = fixture();
    let (before, _) = proposal(&run, 1);
    run.state.approvals().add_denial(&before, b"no", "signed", &[]).expect("denied");
    let standing = keep(&run);
    assert_eq!(history(&run, &standing, HOUR).denied, None, "people signed it after that");
    let (after, _) = proposal(&run, 2);
    run.state.approvals().add_denial(&after, b"no again", "signed", &[]).expect("denied");
    assert_eq!(history(&run, &standing, HOUR).denied, Some(after));
    let said = why(&run, 3, &standing, HOUR).expect("refused");
    assert!(said.starts_with("it ended with the denial of p-"), "{said}");
}

/// A run on another target whose process died counts before anybody has recovered it, and a failed one whatever the clock says.
#[test]
fn a_run_that_died_or_ended_before_it_began_ends_it() {
    const TARGETS: [&str; 2] = [TARGET, "web-2"];
    let run = fixture();
    let standing = keep(&run);
    let start = |target, number, at| {
        let (proposal, manifest) = proposal(&run, number);
        let targets = TARGETS.map(str::to_owned);
        run.state.runs().begin(RunStart {
            proposal: &proposal,
            manifest: &manifest,
            target,
            max_uses: 1,
            sources: &[],
            standing: Some(Unattended {
                standing: &standing,
                since: 1_000,
                targets: &targets,
                per_hour: 5,
                per_day: 5,
            }),
            approvers: &["alice".to_owned()],
            independent: true,
            at,
            plan: &Plan::default(),
            guards: &[],
            actor: "alice".into(),
        })
    };
    let failed = |number| match start(TARGET, number, HOUR) {
        Err(BeginError::NotUnattended { why }) => why,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let told = |since| {
        let of = HistoryOf {
            standing: &standing,
            bundle: &Digest::of(b"bundle"),
            agent: "agent",
            target: TARGET,
            targets: &TARGETS,
            since,
            now: HOUR,
        };
        run.state.standing().history(of).expect("counted").failed
    };
    let elsewhere = start("web-2", 1, HOUR).expect("it begins");
    let name = elsewhere.run().to_owned();
    assert_eq!(told(1_000), None, "it is under way");
    drop(elsewhere);
    assert_eq!(failed(2), format!("its run {name} died without an outcome"));
    assert_eq!(told(1_000), Some(name.clone()));
    assert_eq!(told(HOUR + 1), None, "people signed another since");
    let mut taken = run.state.runs().take_over(&name).expect("taken over").expect("it is unfinished").journal;
    assert_eq!(told(1_000), None, "somebody is at work on it");
    taken.begin_rollback("it died").expect("a mark");
    assert_eq!((told(1_000), failed(3)), (Some(name.clone()), format!("it ended with the run {name}")));
    // By a clock that went back to before it was signed.
    ended(taken, Outcome::RolledBack, 500);
    assert_eq!((told(1_000), failed(4)), (Some(name.clone()), format!("it ended with the run {name}")));
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
