use super::*;
use crate::fixture::*;
use crate::{Policy, Proposal};

const RUN: &str = "r-0123456789ab";

/// What is confirmed in these tests, with the signed bytes of its proposal.
fn run<'a>(world: &World, proposal: &'a Proposal, policy: &'a Policy) -> WaitingRun<'a> {
    let case = world.case(proposal, policy);
    WaitingRun { run: RUN, case, approval: digest("approval"), target: "web-1", runner: "SHA256:runner" }
}

fn verified(seed: u8, space: &str, change: impl Fn(&mut ConfirmationDocument)) -> Result<String, Refusal> {
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let policy = world.read_policy();
    let run = run(&world, &proposal, &policy);
    let (mut document, _) = draft_confirmation(&run, true, Some("it holds"), NOW).expect("a confirmation");
    change(&mut document);
    let bytes = serde_json::to_vec(&document).expect("JSON");
    verify_confirmation(&bytes, &signed(seed, space, &bytes), &run).map(|(_, signer)| signer.name().to_owned())
}

#[test]
fn counts_for_who_may_approve_and_for_nobody_else() {
    let of = |seed| verified(seed, namespace::CONFIRMATION, |_| ());
    assert_eq!(of(ALICE).as_deref(), Ok("alice"));
    assert_eq!(of(BOBS_OTHER).as_deref(), Ok("bob"));
    // The proposer, its owner, one who may only operate, and a key that nobody knows.
    assert!(matches!(of(AGENT), Err(Refusal::OwnRun { .. })));
    assert!(matches!(of(CAROL), Err(Refusal::OwnRun { .. })));
    assert!(matches!(of(DAVE), Err(Refusal::MayNotConfirm { .. })));
    assert!(matches!(of(RUNNER), Err(Refusal::MayNotConfirm { .. })));
    for (seed, words) in [(CAROL, "they own the proposer"), (AGENT, "the same key"), (DAVE, "may not confirm")] {
        let refusal = of(seed).expect_err("refused");
        assert!(refusal.to_string().contains(words), "{refusal}");
        assert!(!refusal.hint("again").is_empty());
    }
}

/// Whoever proposed the run that is undone has no say in its undoing.
#[test]
fn the_undone_runs_proposer_has_no_say() {
    let mut world = World::new();
    world.document.undoes = Some(undone());
    world.document.targets.truncate(1);
    let proposal = world.proposal().expect("a proposal");
    let policy = world.read_policy();
    let run = run(&world, &proposal, &policy);
    let (_, bytes) = draft_confirmation(&run, true, None, NOW).expect("a confirmation");
    let by = |seed| verify_confirmation(&bytes, &signed(seed, namespace::CONFIRMATION, &bytes), &run);
    assert!(by(ALICE).is_ok());
    assert!(matches!(by(BOB), Err(Refusal::OwnRun { .. })));
}

#[test]
fn is_of_this_very_run() {
    type Change = fn(&mut ConfirmationDocument);
    let of = |change: Change| verified(ALICE, namespace::CONFIRMATION, change).expect_err("refused");
    let others: [(&str, Change); 5] = [
        ("run", |d| d.run = "r-ba9876543210".to_owned()),
        ("proposal", |d| d.proposal = digest("another")),
        ("approval", |d| d.approval = digest("another")),
        ("target", |d| d.target = "web-2".to_owned()),
        ("runner", |d| d.runner = "SHA256:another".to_owned()),
    ];
    for (differs, change) in others {
        assert!(matches!(of(change), Refusal::OtherRun { what, .. } if what == differs), "{differs}");
    }
    assert!(matches!(of(|d| d.version = 2), Refusal::Version { .. }));
    assert!(matches!(of(|d| d.reason = Some("x".repeat(MAX_REASON + 1))), Refusal::Senseless { .. }));
}

#[test]
fn is_over_exact_bytes_in_its_own_namespace() {
    assert!(matches!(verified(ALICE, namespace::APPROVAL, |_| ()), Err(Refusal::Signature { .. })));
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let policy = world.read_policy();
    let run = run(&world, &proposal, &policy);
    let (_, bytes) = draft_confirmation(&run, false, None, NOW).expect("a confirmation");
    let signature = signed(ALICE, namespace::CONFIRMATION, &bytes);
    let kept = String::from_utf8(bytes).expect("text").replace("\"keeps\":false", "\"keeps\":true");
    let altered = verify_confirmation(kept.as_bytes(), &signature, &run);
    assert!(matches!(altered, Err(Refusal::Signature { .. })));
    let more = kept.replace('}', ",\"more\":1}");
    let signature = signed(ALICE, namespace::CONFIRMATION, more.as_bytes());
    let unread = verify_confirmation(more.as_bytes(), &signature, &run);
    assert!(matches!(unread, Err(Refusal::Unreadable { .. })));
    assert!(matches!(draft_confirmation(&run, true, Some(" "), NOW), Err(DraftError::NoReason)));
}
