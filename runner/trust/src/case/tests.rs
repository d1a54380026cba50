use countersign_model::documents::namespace;
use countersign_model::{Mode, Role};

use crate::authenticator::Authenticator;
use crate::fixture::*;
use crate::{Activity, Policy, Refusal, Risk, Unmet, may};

const APPROVAL: &str = namespace::APPROVAL;

#[test]
fn a_proposal_needs_one_rule_that_takes_in_all_of_it() {
    refuses!(Refusal::NoRule { who, target, why, .. } if who == "agent `fixer`" && target == "web-1" && why.contains("other targets"),
        |w| w.replace("\"web-*\"", "\"web-2\""));
    // On each of its targets, whichever is run; and before anybody's word is asked for.
    refuses!(Refusal::NoRule { target, .. } if target == "web-2", |w| w.replace("\"web-*\"", "\"web-1\""));
    let mut one = World::new();
    let proposal = one.proposal().expect("a proposal");
    one.replace("\"web-*\"", "\"web-1\"");
    let policy = one.read_policy();
    let stands = one.case(&proposal, &policy).stands();
    assert!(matches!(&stands, Err(Refusal::NoRule { target, .. }) if target == "web-2"), "{stands:?}");
    refuses!(Refusal::NoRule { why, .. } if why.contains("no rule names them"), |w| w.replace("who = [\"*\"]", "who = [\"other\"]"));
    refuses!(Refusal::NoRule { why, .. } if why.contains("does not let them propose"), |w| {
        w.replace("may = [\"investigate\", \"propose\"]", "may = [\"investigate\"]");
    });
    refuses!(Refusal::NoRule { why, .. } if why.contains("`files.read /var/log/app` for the check step is inside none"), |w| {
        w.replace(", \"files.read /var/log/**\"", "");
    });
    refuses!(Refusal::NoRule { why, .. } if why.contains("`files.write /etc/** max-calls=2`"), |w| w.replace("max-calls=2", "max-calls=1"));
    refuses!(Refusal::NoRule { why, .. } if why.contains("limits add up"), |w| {
        let twice = ["files.write /etc/a max-calls=2", "files.write /etc/b max-calls=1"];
        w.document.grants.insert(Role::Fix, twice.map(grant).into());
    });
    refuses!(Refusal::NoRule { why, .. } if why.contains("cannot be compared"), |w| {
        w.document.grants.insert(Role::Fix, vec![grant("files.read /etc/?")]);
    });
    // Two that only do so together do not.
    refuses!(Refusal::NoRule { .. }, |w| {
        w.replace(", \"files.read /var/log/**\"", "");
        w.add("[[rules]]\nname = \"logs\"\nwho = [\"*\"]\ntargets = [\"*\"]\nmay = [\"propose\"]\ngrants = [\"files.read /var/log/**\"]\n");
    });
    let mut world = World::new();
    world.replace(
        "grants = [\"files.read /etc/**\", \"files.write /etc/** max-calls=2\", \"files.read /var/log/**\"]",
        "within-ceilings = true",
    );
    assert!(world.authorize().is_ok());
}

/// A rule binds reading by hand as it binds a bundle.
#[test]
fn rules_bind_investigation_too() {
    let mut world = World::new();
    world.replace("may = [\"investigate\", \"propose\"]", "may = [\"propose\"]");
    let asks = |world: &World, seed, target, text| {
        let policy = world.read_policy();
        let (who, asked) = (policy.principal(key(seed).fingerprint()), grants(&[(Role::Investigation, &[text])]));
        may(&policy, Activity::Investigate, &who, target, &asked, &contains).map(drop)
    };
    assert!(matches!(
        asks(&world, AGENT, "web-1", "files.read /etc/app"),
        Err(Refusal::NoRule { activity: Activity::Investigate, .. })
    ));
    let world = World::new();
    assert_eq!(asks(&world, AGENT, "web-1", "files.read /etc/app"), Ok(()));
    for (seed, target, text) in [
        (AGENT, "web-1", "files.read /root/x"),
        (AGENT, "db-1", "files.read /etc/app"),
        (STRANGER, "web-1", "files.read /etc/app"),
    ] {
        let refused = asks(&world, seed, target, text).expect_err("refused");
        assert!(matches!(refused, Refusal::NoRule { .. }), "{refused:?}");
    }
}

#[test]
fn a_rule_says_whose_word_counts() {
    let sre = |w: &mut World| {
        w.replace("who = [\"*\"]", "who = [\"*\"]\napprovers = [\"sre\"]");
        w.replace("name = \"bob\"", "name = \"bob\"\ngroups = [\"sre\"]");
    };
    refuses!(Refusal::MayNotApproveThis { who, rules, .. } if who == "person `alice`" && *rules == ["fixes"], sre);
    let mut world = World::new();
    sre(&mut world);
    world.signers = vec![(ALICE, APPROVAL), (BOB, APPROVAL)];
    assert_eq!(world.authorize().expect("bob").approvers(), ["bob"]);
    let (proposal, policy) = (world.proposal().expect("one"), world.read_policy());
    assert_eq!(world.case(&proposal, &policy).approvers(), ["bob"]);
    // Another rule that takes it in opens it to others.
    world.add("[[rules]]\nname = \"all\"\nwho = [\"fixer\"]\ntargets = [\"*\"]\nmay = [\"propose\"]\nwithin-ceilings = true\n");
    world.signers = vec![(ALICE, APPROVAL)];
    assert_eq!(world.authorize().expect("alice").approvers(), ["alice"]);
}

#[test]
fn no_approval_exceeds_a_ceiling() {
    let ceiling = |w: &mut World, targets: &str, grants: &str| {
        w.add(&format!("[[ceilings]]\nname = \"top\"\ntargets = [\"{targets}\"]\ngrants = [{grants}]\n"));
    };
    let most = "\"files.read /**\", \"files.write /etc/** max-calls=2\"";
    refuses!(Refusal::AboveCeiling { ceiling, grant, .. } if ceiling == "top" && grant == "files.write /etc/** max-calls=2", |w| {
        ceiling(w, "*", "\"files.read /**\", \"files.write /etc/** max-calls=1\"");
    });
    refuses!(Refusal::AboveCeiling { .. }, |w| ceiling(w, "web-*", ""));
    // Each that reaches a target is one, and of each target.
    refuses!(Refusal::AboveCeiling { target, .. } if target == "web-2", |w| {
        ceiling(w, "*", most);
        w.add("[[ceilings]]\nname = \"second\"\ntargets = [\"web-2\"]\ngrants = [\"files.read /**\"]\n");
    });
    let mut world = World::new();
    ceiling(&mut world, "*", most);
    assert!(world.authorize().is_ok());
    let mut world = World::new();
    ceiling(&mut world, "db-*", "");
    assert!(world.authorize().is_ok());
}

/// All quorums that hold must be met, so that the strictest decides.
#[test]
fn quorums_go_by_what_is_at_stake() {
    let quorum =
        |world: &mut World, more: &str| world.add(&format!("[[quorums]]\nname = \"two\"\npeople = 2\n{more}\n"));
    let needed = |more: &str, change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        quorum(&mut world, more);
        world.replace("scoped = false", "scoped = true");
        change(&mut world);
        match world.authorize() {
            Ok(_) => 1,
            Err(Refusal::QuorumNotReached { quorum, wants, .. }) if quorum == "two" && wants == "2 people" => 2,
            Err(other) => panic!("{other:?}"),
        }
    };
    let risk = |irreversible, subjects| move |w: &mut World| w.risk = Risk { irreversible, subjects };
    let nothing: &dyn Fn(&mut World) = &|_| ();
    assert_eq!(needed("", nothing), 2);
    assert_eq!((needed("irreversible = true", nothing), needed("irreversible = true", &risk(true, 1))), (1, 2));
    assert_eq!((needed("subjects-over = 3", &risk(false, 3)), needed("subjects-over = 3", &risk(false, 4))), (1, 2));
    assert_eq!((needed("targets-over = 2", nothing), needed("targets-over = 1", nothing)), (1, 2));
    assert_eq!((needed("targets = [\"db-*\"]", nothing), needed("targets = [\"*-2\"]", nothing)), (1, 2));
    assert_eq!(
        (needed("scoped = true", nothing), needed("scoped = true", &|w: &mut World| w.document.mode = Mode::Scoped)),
        (1, 2)
    );
    // All conditions of one.
    let both = "irreversible = true\nsubjects-over = 3";
    assert_eq!((needed(both, &risk(true, 3)), needed(both, &risk(false, 4)), needed(both, &risk(true, 4))), (1, 1, 2));

    // Two that hold: two people, and one of them of a group.
    let mut world = World::new();
    quorum(&mut world, "");
    world.add("[[quorums]]\nname = \"a dba\"\npeople = 1\ngroups = [\"dba\"]\n");
    world.replace("name = \"bob\"", "name = \"bob\"\ngroups = [\"dba\"]");
    world.replace("owner = \"carol\"\n", "");
    world.signers = vec![(ALICE, APPROVAL), (CAROL, APPROVAL)];
    let refused = world.authorize().expect_err("no dba");
    assert_eq!(refused.to_string(), "1 person of `dba` must approve by the quorum `a dba`, and 0 did: nobody");
    assert!(refused.awaits_approval());
    world.signers = vec![(BOB, APPROVAL)];
    assert!(matches!(world.authorize(), Err(Refusal::QuorumNotReached { quorum, .. }) if quorum == "two"));
    world.signers.push((ALICE, APPROVAL));
    assert_eq!(world.authorize().expect("both").approvers(), ["alice", "bob"]);
}

/// The more is at stake, the more a signature must show of how it was made.
#[test]
fn quorums_demand_a_touch_or_a_pin() {
    let alice = Authenticator::ed25519(11);
    let found = |signed: &Authenticator, more: &str, irreversible| {
        let mut world = World::new();
        world.policy = world.policy.replace(&line(ALICE), &alice.line());
        world.add(&format!("[[quorums]]\nname = \"for good\"\npeople = 1\nirreversible = true\n{more}\n"));
        world.risk.irreversible = irreversible;
        let proposal = world.proposal().expect("a proposal");
        let mut approval = world.approval(&proposal);
        approval.signatures = vec![signed.sign(APPROVAL, &approval.manifest).into_bytes()];
        match world.authorize_with(&proposal, &[approval]) {
            Ok(_) => None,
            Err(Refusal::Unmet { unmet, .. }) => Some(unmet),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!((found(&alice, "touch = true", true), found(&alice, "pin = true", false)), (None, None));
    assert_eq!(found(&alice, "pin = true", true), Some(Unmet::Pin));
    assert_eq!(found(&alice.clone().untouched(), "touch = true", true), Some(Unmet::Touch));
    // A key in a file is no hardware, whoever reached it.
    let bob = |more: &str| {
        let mut world = World::new();
        world.add(&format!("[[quorums]]\nname = \"touched\"\npeople = 1\n{more} = true\n"));
        world.authorize().expect_err("no hardware")
    };
    for (more, pin) in [("touch", false), ("pin", true)] {
        assert!(matches!(bob(more), Refusal::Unmet { unmet: Unmet::Hardware { pin: found }, .. } if found == pin));
    }
}

#[test]
fn no_run_begins_in_a_freeze() {
    let freeze = |w: &mut World, target: &str| {
        w.add(&format!(
            "[[freezes]]\nname = \"sale\"\ntargets = [\"{target}\"]\nfrom = \"2027-01-15T08:00:00Z\"\nuntil = \"2027-01-15T08:30:00Z\"\nreason = \"the\\u001B sale\"\n"
        ));
    };
    let refused = refusal(|w| freeze(w, "web-*"));
    assert_eq!(
        refused.to_string(),
        "no run begins on `web-1` until 2027-01-15T08:30:00Z, by the freeze `sale`: the\\u{1b} sale"
    );
    assert!(!refused.awaits_approval());
    let mut world = World::new();
    freeze(&mut world, "web-2");
    assert!(world.authorize().is_ok());
    let mut world = World::new();
    freeze(&mut world, "*");
    world.request.now = NOW + HOUR / 2;
    assert!(world.authorize().is_ok());
    world.request.now -= 1;
    assert!(matches!(world.authorize(), Err(Refusal::Frozen { .. })));
}

#[test]
fn what_is_revoked_counts_no_more() {
    let revoke = |w: &mut World, what: &str| w.add(&format!("[[revocations]]\n{what}\nreason = \"lost\"\n"));
    for whose in [format!("key = \"{}\"", key(ALICE).fingerprint()), "principal = \"alice\"".to_owned()] {
        refuses!(Refusal::Revoked { what, reason } if what == "person `alice`" && reason == "lost", |w| {
            revoke(w, &whose);
        });
    }
    // One key of somebody who has another.
    let mut world = World::new();
    revoke(&mut world, &format!("key = \"{}\"", key(BOB).fingerprint()));
    world.signers = vec![(BOB, APPROVAL)];
    assert!(matches!(world.authorize(), Err(Refusal::Revoked { .. })));
    world.signers = vec![(BOBS_OTHER, APPROVAL)];
    assert!(world.authorize().is_ok());
    // The proposer, the bundle, the proposal, the approval.
    let proposal = World::new().proposal().expect("one");
    let approval = countersign_model::Digest::of(&World::new().approval(&proposal).manifest);
    let mut world = World::new();
    revoke(&mut world, "principal = \"fixer\"");
    let policy = world.read_policy();
    assert!(matches!(crate::may_propose(&policy, key(AGENT).fingerprint()), Err(Refusal::Revoked { .. })));
    let refused = world.authorize_with(&proposal, &[World::new().approval(&proposal)]).expect_err("revoked");
    assert!(matches!(refused, Refusal::Revoked { what, .. } if what == "agent `fixer`"));
    for (what, digest) in [("bundle", digest("bundle")), ("proposal", proposal.digest()), ("approval", approval)] {
        let mut world = World::new();
        let given = world.approval(&proposal);
        let before = world.read_policy().digest();
        revoke(&mut world, &format!("{what} = \"{digest}\""));
        world.earlier = vec![before];
        let refused = world.authorize_with(&proposal, &[given]).expect_err("revoked");
        assert!(
            matches!(&refused, Refusal::Revoked { what: said, .. } if said.starts_with(&format!("the {what} "))),
            "{refused:?}"
        );
        assert!(!refused.awaits_approval());
    }
    // A denial by a revoked key is not taken, and one that was kept is final.
    let mut world = World::new();
    revoke(&mut world, "principal = \"bob\"");
    world.denials = vec![(BOB, None, namespace::DENIAL)];
    assert!(matches!(world.authorize(), Err(Refusal::Denied { .. })));
    let policy = world.read_policy();
    let (_, bytes) = crate::draft_denial(proposal.digest(), "no", NOW).expect("a denial");
    let new = crate::verify_denial(&bytes, &signed(BOB, namespace::DENIAL, &bytes), proposal.digest(), &policy);
    assert!(matches!(new, Err(Refusal::Revoked { .. })));
    assert_eq!(policy.approvers().collect::<Vec<_>>(), ["alice", "carol"]);
}

/// A run that is under way goes no further by what was revoked meanwhile; its window and its uses are behind it.
#[test]
fn what_is_revoked_lets_no_run_go_on() {
    let proposal = World::new().proposal().expect("one");
    let approval = World::new().approval(&proposal);
    let goes_on = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        let policy = world.read_policy();
        crate::still_approved(
            &approval.manifest,
            std::slice::from_ref(&approval),
            None,
            &world.case(&proposal, &policy),
        )
    };
    assert_eq!(goes_on(&|_| ()), Ok(()));
    let digests = [
        ("proposal", proposal.digest()),
        ("bundle", digest("bundle")),
        ("approval", countersign_model::Digest::of(&approval.manifest)),
    ];
    for (what, digest) in digests {
        let revoked = goes_on(&|w| w.add(&format!("[[revocations]]\n{what} = \"{digest}\"\nreason = \"lost\"\n")));
        assert!(matches!(revoked, Err(Refusal::Revoked { .. })), "{what}");
    }
    for who in ["alice", "fixer"] {
        let revoked = goes_on(&|w| w.add(&format!("[[revocations]]\nprincipal = \"{who}\"\nreason = \"lost\"\n")));
        assert!(matches!(revoked, Err(Refusal::Revoked { .. })), "{who}");
    }
    assert!(goes_on(&|w| w.replace("people = 1", "people = 2")).is_err());
}

#[test]
fn an_expired_policy_decides_nothing() {
    refuses!(Refusal::PolicyExpired { at, now } if *at == NOW && *now == NOW, |w| w.replace("2028-01-01T00:00:00Z", "2027-01-15T08:00:00Z"));
    let mut world = World::new();
    world.replace("2028-01-01T00:00:00Z", "2027-01-15T08:00:01Z");
    assert!(world.authorize().is_ok());
}

/// Whoever put a key into the policy could have made it.
#[test]
fn who_enrolled_the_proposers_key_never_counts() {
    let enrolled = |w: &mut World| w.replace("owner = \"carol\"", "owner = \"carol\"\nenrolled-by = \"alice\"");
    refuses!(Refusal::OwnProposal { approver, why } if approver == "person `alice`" && why.contains("enrolled the key of agent `fixer`"), enrolled);
    let mut world = World::new();
    enrolled(&mut world);
    let (proposal, policy) = (world.proposal().expect("one"), world.read_policy());
    assert_eq!(world.case(&proposal, &policy).approvers(), ["bob"]);
    let fixer = policy.principal(key(AGENT).fingerprint());
    let alice = policy.principal(key(ALICE).fingerprint());
    assert!(matches!(crate::may_resolve(&alice, &[fixer]), Err(Refusal::MayNotResolve { .. })));
}

/// What was approved before is judged by the policy in force: it stays where that allows it, and no further.
#[test]
fn a_change_of_policy_voids_what_it_no_longer_allows() {
    let before = World::new();
    let proposal = before.proposal().expect("one");
    let approval = before.approval(&proposal);
    let under = |change: &dyn Fn(&mut World), known: bool| {
        let mut world = World::new();
        world.replace("serial = 7", "serial = 8");
        change(&mut world);
        world.earlier = if known { vec![before.read_policy().digest()] } else { Vec::new() };
        world.authorize_with(&proposal, std::slice::from_ref(&approval)).map(drop)
    };
    assert_eq!(under(&|_| (), true), Ok(()));
    assert!(matches!(under(&|_| (), false), Err(Refusal::OtherPolicy { .. })));
    assert!(matches!(under(&|w| w.replace("people = 1", "people = 2"), true), Err(Refusal::QuorumNotReached { .. })));
    assert!(matches!(under(&|w| w.replace("\"2h\"", "\"30m\""), true), Err(Refusal::ValidTooLong { .. })));
    assert!(matches!(
        under(&|w| w.replace("files.write /etc/**", "files.write /etc/app"), true),
        Err(Refusal::NoRule { .. })
    ));
    let operates = |w: &mut World| w.policy = w.policy.replacen("may = [\"approve\"]", "may = [\"operate\"]", 1);
    assert!(matches!(under(&operates, true), Err(Refusal::MayNotApprove { .. })));
    assert!(Policy::parse(before.policy.as_bytes()).is_ok());
}
