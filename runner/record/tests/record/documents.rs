//! Evidence, rehearsals, proposals, approvals and denials.

use std::fs;

use countersign_model::{Digest, Outcome};
use countersign_record::{MAX_SIGNATURES, NewEvidence, PendingBounds, RecordError, proposal_name};

use crate::support::{approve, fixture, new_proposal};

fn evidence<'a>(id: &'a str, record: &'a [u8], at: u64) -> NewEvidence<'a> {
    NewEvidence { id, target: "web-1", principal: "agent", at, record, signature: "signed" }
}

#[test]
fn evidence_is_kept_as_it_was_signed() {
    let run = fixture();
    let store = run.state.evidence();
    let record = b"{ \"id\" :\"ev-1\"}\n";
    let digest = store.add(evidence("ev-1", record, 5)).expect("added");
    assert_eq!(digest, Digest::of(record));
    assert_eq!(store.add(evidence("ev-1", record, 5)).expect("the same again"), digest);
    let error = store.add(evidence("ev-1", b"{}", 5)).expect_err("another");
    assert_eq!(error.to_string(), "there is another evidence `ev-1` already; nothing was recorded");
    let found = store.get("ev-1").expect("found");
    assert_eq!((found.record.as_slice(), found.signature.as_str(), found.digest), (&record[..], "signed", digest));
    assert!(matches!(store.get("ev-2"), Err(RecordError::NotFound { .. })));

    store.add(evidence("ev-2", b"{\"id\":2}", 6)).expect("added");
    let ids = |limit| -> Vec<String> {
        store.of_target("web-1", limit).expect("listed").into_iter().map(|record| record.id).collect()
    };
    assert_eq!((ids(10), ids(1)), (vec!["ev-2".to_owned(), "ev-1".to_owned()], vec!["ev-2".to_owned()]));
    assert_eq!(store.of_target("web-2", 10).expect("listed"), []);
}

#[test]
fn a_proposal_stands_on_recorded_evidence() {
    let run = fixture();
    let ids = ["ev-1".to_owned(), "ev-2".to_owned(), "ev-1".to_owned()];
    run.state.evidence().add(evidence("ev-1", b"1", 1)).expect("added");
    let error = run.state.proposals().add(new_proposal(b"{}", &ids)).expect_err("ev-2 is not recorded").to_string();
    assert_eq!(error, "there is no evidence `ev-2`");
    assert!(run.state.proposals().get(&Digest::of(b"{}")).is_err(), "all or nothing");
    run.state.evidence().add(evidence("ev-2", b"2", 2)).expect("added");
    let digest = run.state.proposals().add(new_proposal(b"{}", &ids)).expect("added");
    let behind = run.state.evidence().of_proposal(&digest, 10).expect("listed");
    assert_eq!(behind.into_iter().map(|record| record.id).collect::<Vec<_>>(), ["ev-1", "ev-2"]);
}

#[test]
fn rehearsals_and_proposals_are_kept_once() {
    let run = fixture();
    let digest = run.state.rehearsals().add(b"{ }", "first").expect("added");
    assert_eq!(run.state.rehearsals().add(b"{ }", "second").expect("again"), digest);
    let kept = run.state.rehearsals().get(&digest).expect("found");
    assert_eq!((kept.document.as_slice(), kept.signature.as_str()), (&b"{ }"[..], "first"));
    assert!(run.state.rehearsals().get(&run.proposal).is_err());

    let again = run.state.proposals().add(new_proposal(b"{\"proposal\":1}", &[])).expect("again");
    assert_eq!(again, run.proposal);
    assert_eq!(run.state.proposals().list(10).expect("listed").len(), 1);
    let found = run.state.proposals().get(&again).expect("found");
    assert_eq!(
        (found.document.as_slice(), found.bundle, found.digest),
        (&b"{\"proposal\":1}"[..], Digest::of(b"bundle"), again)
    );
}

#[test]
fn proposals_are_found_by_what_people_type() {
    let run = fixture();
    let proposals = run.state.proposals();
    let full = run.proposal.to_string();
    let hex = run.proposal.hex();
    for name in [&full, &hex, &proposal_name(&run.proposal), &hex[..6], &format!("p-{}", &hex[..6]), &full[..20]] {
        assert_eq!(proposals.find(name).expect(name), run.proposal);
    }
    for bad in ["", "p-", &hex[..5], &hex.to_uppercase(), "p-p-123456", &format!("{hex}0"), "%%%%%%", "r-123456"] {
        assert!(matches!(proposals.find(bad), Err(RecordError::BadName { .. })), "{bad}");
    }
    let other = if hex.starts_with('0') { "100000" } else { "000000" };
    assert!(matches!(proposals.find(other), Err(RecordError::NotFound { .. })));

    // Two that begin alike, as nobody can make them with SHA-256.
    let twin = format!("{}{}", &hex[..20], "0".repeat(44));
    let sql = "INSERT INTO proposals SELECT 'sha256:' || ?1, bundle, proposer, created, expires, document, signature, NULL, NULL, fix FROM proposals";
    run.second().execute(sql, [&twin]).expect("a twin");
    let error = proposals.find(&hex[..20]).expect_err("ambiguous").to_string();
    assert!(error.contains(&hex) && error.contains(&twin), "{error}");
    assert_eq!(proposals.find(&hex).expect("whole"), run.proposal);
}

#[test]
fn proposals_wait_until_somebody_acts() {
    let run = fixture();
    let bounds = |now| PendingBounds { now, longest: 500, uses: 1 };
    let pending = |now| run.state.proposals().pending(bounds(now), 10).expect("listed").0.len();
    assert_eq!((pending(8_999), pending(9_499), pending(9_500)), (1, 1, 0), "until no approval can be good any more");
    let (second, _) = approve(&run.state, b"second");
    assert_eq!(pending(0), 2);
    run.state.approvals().add_denial(&second, b"no", "signed", &[]).expect("denied");
    assert_eq!(pending(0), 1);
    let refusal = countersign_record::Refusal {
        proposal: &run.proposal,
        target: "web-1",
        reason: "drifted",
        at: 3_000,
        actor: None,
    };
    run.state.runs().refuse(refusal).expect("refused");
    assert_eq!(pending(0), 1, "a refusal changes nothing");
    let journal = run.begin(1).expect("begins");
    assert_eq!(pending(0), 1, "its approval may be good for another target");
    drop(journal);
    let standing = run.state.proposals().list(10).expect("listed");
    let counts = |digest| {
        let found = standing.iter().find(|summary| summary.digest == digest).expect("listed");
        (found.manifests, found.denials, found.runs)
    };
    assert_eq!((counts(run.proposal), counts(second)), ((1, 0, 1), (1, 1, 0)));
}

/// Whoever looks at the oldest only is told how many there are besides, and what is done takes nobody's place.
#[test]
fn proposals_that_are_left_off_are_counted_and_what_is_done_is_left_out() {
    let run = fixture();
    let bounds = PendingBounds { now: 0, longest: 500, uses: 1 };
    let (both, approved_for_both) = approve(&run.state, br#"{"targets":[{},{}]}"#);
    let (one, approved_for_one) = approve(&run.state, br#"{"targets":[{}]}"#);
    let listed = |limit| {
        let (found, left_off) = run.state.proposals().pending(bounds, limit).expect("listed");
        (found.into_iter().map(|summary| summary.digest).collect::<Vec<_>>(), left_off)
    };
    let (found, left_off) = listed(2);
    assert_eq!((found.len(), left_off), (2, 1));
    assert_eq!(listed(3).1, 0);
    let ran = |proposal, manifest, target| {
        let mut journal = crate::support::begin(&run.state, target, proposal, manifest, 1).expect("begins");
        journal.finish(Outcome::Committed, "ok", &serde_json::json!({}), 3_000).expect("finished");
    };
    ran(&both, &approved_for_both, "web-1");
    ran(&one, &approved_for_one, "web-1");
    let (found, left_off) = listed(3);
    assert_eq!((found.contains(&both), found.contains(&one), found.len(), left_off), (true, false, 2, 0));
    ran(&both, &approved_for_both, "web-2");
    assert_eq!(listed(3), (vec![run.proposal], 0));
    // Another approval is good for another run.
    run.state.approvals().add_manifest(&one, b"again").expect("approved");
    assert!(listed(3).0.contains(&one));
}

#[test]
fn approvals_are_read_as_they_are_on_disk() {
    let run = fixture();
    let approvals = run.state.approvals();
    let first = approvals.add_signature(&run.manifest, "alice's").expect("signed");
    let folder = run.path().join("approvals");
    assert_eq!(first, folder.join(format!("{}.1.sig", run.manifest.hex())));
    assert_eq!(approvals.add_signature(&run.manifest, "alice's").expect("the same again"), first);
    let second = approvals.add_signature(&run.manifest, "bob's").expect("signed");
    assert_eq!(second, folder.join(format!("{}.2.sig", run.manifest.hex())));
    // What `ssh-keygen -Y sign` makes.
    fs::write(folder.join(format!("{}.json.sig", run.manifest.hex())), "carol's").expect("signed by hand");

    let found = approvals.of(&run.proposal).expect("read").pop().expect("one");
    assert_eq!(found.signatures, ["alice's", "bob's", "carol's"]);
    assert_eq!((found.digest, Digest::of(&found.manifest)), (run.manifest, run.manifest));
    assert_eq!(found.path, folder.join(format!("{}.json", run.manifest.hex())));

    // A file that was changed is given as it is: the caller sees that its digest is another.
    fs::write(&found.path, "changed").expect("changed");
    let changed = approvals.of(&run.proposal).expect("read").pop().expect("one");
    assert_eq!((changed.digest, changed.manifest.as_slice()), (run.manifest, &b"changed"[..]));
    fs::remove_file(&first).expect("removed");
    assert_eq!(approvals.of(&run.proposal).expect("read")[0].signatures, ["bob's", "carol's"]);
    fs::remove_file(&found.path).expect("removed");
    let error = approvals.of(&run.proposal).expect_err("missing").to_string();
    assert!(error.starts_with("there is no approval manifest"), "{error}");
}

#[test]
fn approvals_follow_no_links() {
    let run = fixture();
    let secret = run.dir.path().join("secret");
    fs::write(&secret, "secret").expect("a file");
    let path = run.path().join("approvals").join(format!("{}.json", run.manifest.hex()));
    fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink(&secret, &path).expect("a link");
    assert!(run.state.approvals().of(&run.proposal).is_err());
}

#[test]
fn approvals_have_bounds_and_belong_together() {
    let run = fixture();
    let approvals = run.state.approvals();
    let unknown = Digest::of(b"unknown");
    assert!(matches!(approvals.add_manifest(&unknown, b"m"), Err(RecordError::NotFound { .. })));
    assert!(matches!(approvals.add_signature(&unknown, "s"), Err(RecordError::NotFound { .. })));
    assert!(matches!(approvals.add_denial(&unknown, b"d", "s", &[]), Err(RecordError::NotFound { .. })));
    assert!(!run.path().join("approvals").join(format!("{}.json", Digest::of(b"m").hex())).exists());

    let manifest = approvals.add_manifest(&run.proposal, b"m").expect("a second manifest");
    assert_eq!(approvals.add_manifest(&run.proposal, b"m").expect("again"), manifest);
    let (other, _) = approve(&run.state, b"other");
    assert!(matches!(approvals.add_manifest(&other, b"m"), Err(RecordError::Duplicate { .. })));
    assert_eq!(approvals.of(&run.proposal).expect("read").len(), 2);

    for n in 0..MAX_SIGNATURES {
        approvals.add_signature(&manifest, &format!("signature {n}")).expect("room");
    }
    let error = approvals.add_signature(&manifest, "one more").expect_err("no room").to_string();
    assert!(error.contains("65 are more than the 64 that are kept"), "{error}");

    let digest = approvals.add_denial(&run.proposal, b"no", "signed", &[]).expect("denied");
    approvals.add_denial(&run.proposal, b"no", "signed", &[]).expect("again");
    let denials = approvals.denials_of(&run.proposal).expect("read");
    assert_eq!(denials.len(), 1);
    assert_eq!(
        (denials[0].digest, denials[0].document.as_slice(), denials[0].signature.as_str()),
        (digest, &b"no"[..], "signed")
    );
}

#[test]
fn a_manifest_whose_index_was_lost_in_a_crash_is_found_again() {
    let run = fixture();
    // The file is written before the index; this is a crash between them.
    let sql = "DELETE FROM manifests";
    run.second().execute(sql, []).expect("a crash");
    assert_eq!(run.state.approvals().of(&run.proposal).expect("read"), []);
    let manifest = format!("{{\"approves\":\"{}\"}}", run.proposal);
    run.state.approvals().add_manifest(&run.proposal, manifest.as_bytes()).expect("again");
    assert_eq!(run.state.approvals().of(&run.proposal).expect("read").len(), 1);
}
