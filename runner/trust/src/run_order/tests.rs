use super::*;
use crate::fixture::*;

const RUN: &str = "r-0123456789ab";

fn run(proposal: &Proposal) -> OrderedRun<'_> {
    OrderedRun { run: RUN, proposal, target: "web-1", runner: "SHA256:runner", confirm_within_ms: Some(60_000) }
}

/// Who ordered the run, in a world with one change, by a document with another.
fn verified(seed: u8, space: &str, world: &World, change: fn(&mut RunOrderDocument)) -> Result<String, Refusal> {
    let (proposal, policy) = (world.proposal().expect("a proposal"), world.read_policy());
    let run = run(&proposal);
    let bytes = draft_run_order(&run, NOW).expect("an order");
    let mut document: RunOrderDocument = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut document);
    let bytes = serde_json::to_vec(&document).expect("JSON");
    verify_run_order(&bytes, &signed(seed, space, &bytes), &run, &policy).map(|who| who.name().to_owned())
}

#[test]
fn a_person_who_may_operate_or_approve_starts_a_run_and_nobody_else() {
    let world = World::new();
    let by = |seed| verified(seed, namespace::RUN, &world, |_| ());
    // Who owns the agent that proposed it did not propose it.
    for (seed, name) in [(ALICE, "alice"), (BOBS_OTHER, "bob"), (DAVE, "dave"), (CAROL, "carol")] {
        assert_eq!(by(seed).as_deref(), Ok(name));
    }
    for seed in [AGENT, STRANGER, RUNNER] {
        let refusal = by(seed).expect_err("refused");
        assert!(matches!(&refusal, Refusal::MayNotRun { why, .. } if why.contains("only people")), "{refusal}");
        assert!(!refusal.awaits_approval() && refusal.hint("again").contains("did not propose it"));
    }
    let mut only_proposes = World::new();
    only_proposes.replace("may = [\"operate\"]", "may = [\"propose\"]");
    let refusal = verified(DAVE, namespace::RUN, &only_proposes, |_| ()).expect_err("refused");
    assert!(matches!(refusal, Refusal::MayNotRun { .. }), "{refusal}");
    let mut revoked = World::new();
    revoked.add("[[revocations]]\nreason = \"left\"\nprincipal = \"dave\"\n");
    let refusal = verified(DAVE, namespace::RUN, &revoked, |_| ()).expect_err("refused");
    assert!(matches!(refusal, Refusal::Revoked { .. }), "{refusal}");
}

#[test]
fn a_proposer_starts_no_run_of_its_own_by_whatever_key() {
    let mut world = World::new();
    world.proposer = CAROL;
    let refusal = verified(CAROL, namespace::RUN, &world, |_| ()).expect_err("refused");
    assert!(matches!(&refusal, Refusal::MayNotRun { why, .. } if why == "they proposed it"), "{refusal}");
    assert_eq!(verified(DAVE, namespace::RUN, &world, |_| ()).as_deref(), Ok("dave"));
    // Two keys of one person are one person.
    world.proposer = BOB;
    world.replace("name = \"bob\"", "name = \"bob\" # proposes too");
    world.policy = world.policy.replacen(
        "may = [\"approve\"]\n[[people]]\nname = \"carol\"",
        "may = [\"approve\", \"propose\"]\n[[people]]\nname = \"carol\"",
        1,
    );
    for seed in [BOB, BOBS_OTHER] {
        let refusal = verified(seed, namespace::RUN, &world, |_| ()).expect_err("refused");
        assert!(matches!(&refusal, Refusal::MayNotRun { why, .. } if why == "they proposed it"), "{refusal}");
    }
}

#[test]
fn it_is_of_this_very_run() {
    type Change = fn(&mut RunOrderDocument);
    let world = World::new();
    let others: [(&str, Change); 5] = [
        ("run", |document| document.run = "r-ba9876543210".to_owned()),
        ("proposal", |document| document.proposal = digest("another")),
        ("target", |document| document.target = "web-2".to_owned()),
        ("runner", |document| document.runner = "SHA256:another".to_owned()),
        ("time to confirm", |document| document.confirm_within_ms = None),
    ];
    for (expected, change) in others {
        let refusal = verified(ALICE, namespace::RUN, &world, change).expect_err("refused");
        assert!(matches!(&refusal, Refusal::OtherOrder { what, .. } if *what == expected), "{refusal}");
    }
    let later = verified(ALICE, namespace::RUN, &world, |document| document.version = 2).expect_err("refused");
    assert!(matches!(later, Refusal::Version { .. }), "{later}");
    for space in [namespace::CONFIRMATION, namespace::PAUSE, namespace::APPROVAL] {
        let refusal = verified(ALICE, space, &world, |_| ()).expect_err("refused");
        assert!(matches!(refusal, Refusal::Signature { on: Signed::Run, .. }), "{refusal}");
    }
}
