use countersign_model::documents::{ApprovalManifest, Confirmation, Derived, namespace};
use countersign_model::{Digest, Role};

use crate::fixture::{ALICE, BOB, BOBS_OTHER, CAROL, HOUR, NOW, World, digest, grants};
use crate::{Authorized, Proposal, Refusal, SignedApproval, still_approved};

const APPROVAL: &str = namespace::APPROVAL;

/// What Alice signed as it is drafted, and what Bob signed with his own terms.
fn two(world: &mut World, bobs: fn(&mut ApprovalManifest)) -> (Proposal, Vec<SignedApproval>) {
    let proposal = world.proposal().expect("a proposal");
    let mut one = |seed, terms| {
        world.signers = vec![(seed, APPROVAL)];
        world.terms = terms;
        world.approval(&proposal)
    };
    let approvals = vec![one(ALICE, |_| ()), one(BOB, bobs)];
    (proposal, approvals)
}

fn of_two() -> World {
    let mut world = World::new();
    world.replace("people = 1", "people = 2");
    world
}

fn decided(bobs: fn(&mut ApprovalManifest)) -> Result<Authorized, Refusal> {
    let mut world = of_two();
    let (proposal, approvals) = two(&mut world, bobs);
    world.authorize_with(&proposal, &approvals)
}

#[test]
fn of_each_term_the_stricter_one_counts() {
    let authorized = decided(|m| {
        let terms = &mut m.predicate;
        terms.grants = grants(&[
            (Role::Fix, &["files.read /etc/app", "files.write /etc/** max-calls=1"]),
            (Role::Check, &["files.read /var/log/app"]),
        ]);
        (terms.not_before, terms.expires) = (NOW - HOUR, NOW + HOUR / 2);
        terms.finish_by = Some(NOW + HOUR);
        terms.confirmation = Some(Confirmation { within_ms: 60_000, silence_keeps: true });
        terms.targets.truncate(1);
        terms.reason = "shorter".to_owned();
    })
    .expect("two people");
    assert_eq!(authorized.approvers(), ["alice", "bob"]);
    let terms = &authorized.manifest().predicate;
    let fix: Vec<_> = authorized.grants(Role::Fix).iter().map(ToString::to_string).collect();
    assert_eq!(fix, ["files.read /etc/app", "files.write /etc/** max-calls=1"]);
    assert_eq!(authorized.grants(Role::Check).len(), 1);
    assert_eq!((terms.not_before, terms.expires, terms.finish_by), (NOW, NOW + HOUR / 2, Some(NOW + HOUR)));
    assert_eq!(terms.confirmation, Some(Confirmation { within_ms: 60_000, silence_keeps: true }));
    assert_eq!((terms.targets.len(), terms.uses), (1, 1));

    // A use of each is spent, and whoever has both can make it again.
    let derived = authorized.derived().expect("nobody signed it");
    assert_eq!(Digest::of(&derived.bytes), authorized.manifest_digest());
    let sources: Vec<_> = derived.sources.iter().map(|(digest, uses)| (*digest, *uses)).collect();
    assert_eq!(terms.derived, Some(Derived::Approvals(sources.iter().map(|(digest, _)| *digest).collect())));
    assert!(sources.iter().all(|(_, uses)| *uses == 1));
}

#[test]
fn silence_keeps_only_what_everybody_has_it_keep() {
    let mut world = of_two();
    let proposal = world.proposal().expect("a proposal");
    let mut one = |seed, terms: fn(&mut ApprovalManifest)| {
        world.signers = vec![(seed, APPROVAL)];
        world.terms = terms;
        world.approval(&proposal)
    };
    let asks = |within_ms, silence_keeps| Some(Confirmation { within_ms, silence_keeps });
    let approvals = [
        one(ALICE, |m| m.predicate.confirmation = Some(Confirmation { within_ms: 60_000, silence_keeps: true })),
        one(BOB, |m| m.predicate.confirmation = Some(Confirmation { within_ms: 90_000, silence_keeps: false })),
    ];
    let authorized = world.authorize_with(&proposal, &approvals).expect("two people");
    assert_eq!(authorized.manifest().predicate.confirmation, asks(60_000, false));
}

/// One whose approval alone is enough is bound by the narrower one of somebody else all the same.
#[test]
fn a_stricter_one_binds_where_one_would_be_enough() {
    let mut world = World::new();
    let (proposal, approvals) = two(&mut world, |m| m.predicate.expires = NOW + 1);
    let authorized = world.authorize_with(&proposal, &approvals).expect("one is enough");
    assert_eq!(authorized.manifest().predicate.expires, NOW + 1);
    world.request.now = NOW + 1;
    let alone = world.authorize_with(&proposal, &approvals).expect("the other one is over");
    assert!(alone.derived().is_none());
    assert_eq!((alone.approvers(), alone.manifest().predicate.expires), (&["alice".to_owned()][..], NOW + HOUR));
}

#[test]
fn what_does_not_go_together_starts_nothing() {
    let owner = decided(|m| m.predicate.rollback_owner = "somebody else".to_owned()).expect_err("two owners");
    assert!(matches!(owner, Refusal::SignedApart { why } if why.contains("rollback owner")));
    // Each keeps the limit of what was asked for, and two inside one grant would not.
    let limits = decided(|m| {
        m.predicate.grants =
            grants(&[(Role::Fix, &["files.write /etc/a max-calls=1", "files.write /etc/b max-calls=1"])]);
    })
    .expect("inside it, together");
    assert_eq!(limits.grants(Role::Fix).len(), 2);
    // One whose terms are not the proposal's is none, and takes nothing from the other.
    let other = decided(|m| m.predicate.arguments.clear()).expect_err("one is left");
    assert!(matches!(other, Refusal::OtherTerm { term: "arguments" } | Refusal::QuorumNotReached { .. }), "{other}");
}

#[test]
fn people_are_counted_over_all_of_them() {
    let mut world = of_two();
    let proposal = world.proposal().expect("a proposal");
    let mut one = |seed, terms: fn(&mut ApprovalManifest)| {
        world.signers = vec![(seed, APPROVAL)];
        world.terms = terms;
        world.approval(&proposal)
    };
    let (bobs, other) = (one(BOB, |_| ()), one(BOBS_OTHER, |m| m.predicate.reason.push('!')));
    let carols = one(CAROL, |m| m.predicate.reason.push('?'));
    let refusal = world.authorize_with(&proposal, &[bobs.clone(), other]).expect_err("one person");
    assert!(matches!(refusal, Refusal::QuorumNotReached { approvers, .. } if approvers == ["bob"]));
    // The proposer's owner counts on none.
    world.authorize_with(&proposal, &[bobs, carols]).expect_err("one who counts");
}

/// Nobody can have signed what the runner made, nor make it of other approvals than were given.
#[test]
fn what_the_runner_made_is_made_again_and_never_signed() {
    let mut world = of_two();
    let (proposal, approvals) = two(&mut world, |m| m.predicate.expires = NOW + 1);
    let authorized = world.authorize_with(&proposal, &approvals).expect("two people");
    let made = authorized.derived().expect("nobody signed it").bytes.clone();
    let policy = world.read_policy();
    let goes_on = |manifest: &[u8], approvals: &[SignedApproval]| {
        still_approved(manifest, approvals, None, &world.case(&proposal, &policy))
    };
    assert_eq!(goes_on(&made, &approvals), Ok(()));
    assert!(matches!(goes_on(&made, &approvals[..1]), Err(Refusal::ApprovalLost { .. })));
    let mut bent = made.clone();
    let at = bent.windows(7).position(|bytes| bytes == b"reason\"").expect("it gives one") + 10;
    bent[at] = b'x';
    assert!(matches!(goes_on(&bent, &approvals), Err(Refusal::ApprovalLost { .. })));

    let mut signed = World::new();
    signed.terms = |m| m.predicate.derived = Some(Derived::Approvals(vec![digest("one")]));
    assert!(matches!(signed.authorize(), Err(Refusal::Senseless { why, .. }) if why.contains("stands by itself")));
}
