//! Proposals that take the place of others, and runs that undo others.

use countersign_model::{Digest, Outcome, Plan};
use countersign_record::{
    BeginError, Lineage, NewProposal, PendingBounds, PlannedSubject, RecordError, Refusal, RunActor, RunStart,
    SignedRunOrder, State, proposal_name,
};
use serde_json::json;

use crate::support::{TARGET, begin, fixture, new_proposal};

fn revise(state: &State, document: &[u8], old: &Digest) -> Result<Digest, RecordError> {
    state.proposals().add_after(new_proposal(document, &[]), Lineage { revises: Some(old), undoes: None }, &[])
}

fn undo(state: &State, document: &[u8], run: &str) -> Result<Digest, RecordError> {
    state.proposals().add_after(new_proposal(document, &[]), Lineage { revises: None, undoes: Some(run) }, &[])
}

fn approved(state: &State, proposal: &Digest) -> Digest {
    state.approvals().add_manifest(proposal, proposal.to_string().as_bytes()).expect("a manifest")
}

#[test]
fn a_proposal_is_superseded_once_and_can_no_longer_begin() {
    let run = fixture();
    let old = run.proposal;
    assert_eq!(run.state.proposals().revision(&old).expect("read"), None);
    let new = revise(&run.state, b"{\"proposal\":2}", &old).expect("added");
    assert_eq!(run.state.proposals().revision(&old).expect("read"), Some(new));
    assert_eq!(revise(&run.state, b"{\"proposal\":2}", &old).expect("the same again"), new);
    let error = revise(&run.state, b"{\"proposal\":3}", &old).expect_err("once").to_string();
    assert_eq!(error, format!("the proposal `{}` was superseded by `{}`", proposal_name(&old), proposal_name(&new)));
    assert!(run.state.proposals().get(&Digest::of(b"{\"proposal\":3}")).is_err(), "all or nothing");

    match run.begin(1) {
        Err(BeginError::Superseded { by }) => assert_eq!(by, proposal_name(&new)),
        other => panic!("{other:?}"),
    }
    let pending: Vec<_> = run
        .state
        .proposals()
        .pending(PendingBounds { now: 2_000, longest: 0, uses: 1 }, 10)
        .expect("listed")
        .0
        .into_iter()
        .map(|proposal| proposal.digest)
        .collect();
    assert_eq!(pending, [new]);
    let manifest = approved(&run.state, &new);
    begin(&run.state, TARGET, &new, &manifest, 1).expect("the one that stands begins");
    assert!(revise(&run.state, b"{\"proposal\":4}", &Digest::of(b"none")).is_err(), "there is no such proposal");
}

/// A proposal of its own bundle and fix, that changes these subjects of `web-1`.
fn proposed(state: &State, number: u8, bundle: u8, fix: u8, target: &str, subjects: &[&str]) -> Digest {
    let planned = |subject: &&str| PlannedSubject {
        target: target.to_owned(),
        capability: "files".to_owned(),
        subject: (*subject).to_owned(),
    };
    let (bundle, fix) = (Digest::of(&[b'b', bundle]), Digest::of(&[b'f', fix]));
    let document = format!("{{\"like\":{number}}}");
    let new = NewProposal {
        bundle: &bundle,
        fix: Some(&fix),
        subjects: &subjects.iter().map(planned).collect::<Vec<_>>(),
        ..new_proposal(document.as_bytes(), &[])
    };
    state.proposals().add(new).expect("added")
}

#[test]
fn a_proposal_is_like_denied_ones_of_its_bundle_its_fix_or_its_subjects() {
    let run = fixture();
    let state = &run.state;
    let deny = |proposal: &Digest| {
        let document = proposal.to_string();
        state.approvals().add_denial(proposal, document.as_bytes(), "signed", &[]).expect("denied");
    };
    let like = |proposal: &Digest, most: usize| state.proposals().denied_like(proposal, most).expect("read");
    let bundle = proposed(state, 1, 1, 1, "web-1", &["/etc/a"]);
    let fix = proposed(state, 2, 2, 3, "web-2", &["/etc/a"]);
    let subject = proposed(state, 3, 4, 4, "web-1", &["/etc/a", "/etc/b", "/etc/c"]);
    let other = proposed(state, 4, 5, 5, "web-2", &["/etc/b", "/etc/c"]);
    let new = proposed(state, 5, 1, 3, "web-1", &["/etc/b", "/etc/c"]);
    assert_eq!(like(&new, 9), []);
    [&subject, &other, &fix, &bundle, &new].into_iter().for_each(deny);
    let found = like(&new, 9);
    let names: Vec<_> = found.iter().map(|like| like.proposal).collect();
    // The latest denial first; neither itself nor what changes the like on another target.
    assert_eq!(names, [bundle, fix, subject]);
    assert_eq!((found[0].bundle, found[0].fix, found[0].subjects.len()), (true, false, 0));
    assert_eq!((found[1].bundle, found[1].fix, found[1].subjects.len()), (false, true, 0));
    assert_eq!((found[2].bundle, found[2].fix), (false, false));
    let subjects: Vec<_> = found[2].subjects.iter().map(|planned| planned.subject.as_str()).collect();
    assert_eq!(subjects, ["/etc/b", "/etc/c"]);
    assert_eq!(like(&new, 1).len(), 1);
}

#[test]
fn what_was_signed_for_a_run_begins_one() {
    let run = fixture();
    let plan = Plan::default();
    let signed = SignedRunOrder { run: "r-0123456789ab", key: "SHA256:key", document: b"{}", signature: "signed" };
    let start = RunStart {
        proposal: &run.proposal,
        manifest: &run.manifest,
        target: TARGET,
        max_uses: 9,
        sources: &[],
        standing: None,
        approvers: &[],
        independent: true,
        at: 2_000,
        plan: &plan,
        guards: &[],
        actor: RunActor { name: "alice", order: Some(signed) },
    };
    let mut journal = run.state.runs().begin(start).expect("begun");
    assert_eq!(journal.run(), "r-0123456789ab");
    journal.finish(Outcome::Committed, "it holds", &json!({}), 3_000).expect("finished");
    drop(journal);
    assert_eq!(run.state.runs().get("r-0123456789ab").expect("a run").actor.as_deref(), Some("alice"));
    match run.state.runs().begin(start) {
        Err(BeginError::Begun { run }) => assert_eq!(run, "r-0123456789ab"),
        other => panic!("{other:?}"),
    }
    assert_eq!(run.state.runs().uses(&run.manifest, TARGET).expect("counted"), 1);
    let sql = "SELECT document, signature FROM run_orders";
    let kept: (Vec<u8>, String) =
        run.second().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("it is kept, once");
    assert_eq!(kept, (b"{}".to_vec(), "signed".to_owned()));
}

#[test]
fn a_run_is_undone_once() {
    let run = fixture();
    let mut journal = run.begin(1).expect("begun");
    let first = journal.run().to_owned();
    journal.finish(Outcome::Committed, "it holds", &json!({}), 3_000).expect("finished");
    drop(journal);
    assert!(undo(&run.state, b"{\"undo\":0}", "r-000000000000").is_err(), "there is no such run");

    let proposals =
        [b"{\"undo\":1}", b"{\"undo\":2}"].map(|document| undo(&run.state, document, &first).expect("added"));
    let manifests = proposals.map(|proposal| approved(&run.state, &proposal));
    // One that was rolled back undid nothing.
    let mut journal = begin(&run.state, TARGET, &proposals[0], &manifests[0], 9).expect("begun");
    journal.finish(Outcome::RolledBack, "a guard is worse", &json!({}), 4_000).expect("finished");
    drop(journal);
    assert_eq!(run.state.runs().get(&first).expect("the run").undone_by, None);

    let mut journal = begin(&run.state, TARGET, &proposals[0], &manifests[0], 9).expect("begun");
    let second = journal.run().to_owned();
    journal.finish(Outcome::Committed, "as before", &json!({}), 5_000).expect("finished");
    drop(journal);
    let found = run.state.runs().get(&first).expect("the run");
    assert_eq!((found.undoes, found.undone_by.as_deref()), (None, Some(second.as_str())));
    assert_eq!(run.state.runs().get(&second).expect("the run").undoes.as_deref(), Some(first.as_str()));

    let refused = Refusal { proposal: &proposals[1], target: TARGET, reason: "it was undone", at: 6_000, actor: None };
    let refused = run.state.runs().refuse(refused).expect("recorded");
    let refused = run.state.runs().get(&refused).expect("the run");
    assert_eq!(refused.undoes.as_deref(), Some(first.as_str()), "what it was to undo, too");

    for (proposal, manifest) in proposals.iter().zip(&manifests) {
        match begin(&run.state, TARGET, proposal, manifest, 9) {
            Err(BeginError::Undone { run, by }) => assert_eq!((run, by), (first.clone(), second.clone())),
            other => panic!("{other:?}"),
        }
    }
}
