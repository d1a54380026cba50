use countersign_model::documents::{Confirmation, Undoes, namespace};
use countersign_model::{Mode, Role, RollbackBy};
use serde_json::Value;

use crate::fixture::*;
use crate::{GrantMismatch, Policy, Proposal, Refusal, SignatureError, Signed, SignedApproval};

const APPROVAL: &str = namespace::APPROVAL;
const DENIAL: &str = namespace::DENIAL;

#[test]
fn allows_what_was_approved() {
    let world = World::new();
    let authorized = world.authorize().expect("authorized");
    assert_eq!(authorized.approvers(), ["alice"]);
    assert_eq!(authorized.proposer().name(), "fixer");
    assert!(authorized.independent());
    assert_eq!(authorized.target().name, "web-1");
    assert_eq!(authorized.grants(Role::Fix), world.document.grants[&Role::Fix]);
    assert!(authorized.grants(Role::Rollback).is_empty());
    assert_eq!(authorized.manifest().predicate.reason, "the diff is right");
    let proposal = world.proposal().expect("a proposal");
    assert_eq!(authorized.manifest_digest(), countersign_model::Digest::of(&world.approval(&proposal).manifest));
}

#[test]
fn what_the_runner_found_must_be_what_was_proposed() {
    refuses!(Refusal::BundleChanged { .. }, |w| w.request.bundle = digest("another bundle"));
    refuses!(Refusal::StepChanged { role: Role::Fix, found: Some(_), proposed: Some(_) }, |w| {
        w.request.steps.insert(Role::Fix, digest("another fix"));
    });
    refuses!(Refusal::StepChanged { role: Role::Rollback, found: None, .. }, |w| {
        w.request.steps.remove(&Role::Rollback);
    });
    refuses!(Refusal::StepChanged { role: Role::Investigation, proposed: None, .. }, |w| {
        w.request.steps.insert(Role::Investigation, digest("more"));
    });
    refuses!(Refusal::ArgumentsChanged, |w| {
        w.request.arguments.insert("workers".to_owned(), Value::from(5));
    });
    refuses!(Refusal::TargetNotProposed { target } if target == "web-3", |w| w.request.target = "web-3");
    // Another target of the same proposal has another plan and another configuration.
    refuses!(Refusal::ConfigurationChanged { .. }, |w| w.request.target = "web-2");
    refuses!(Refusal::ConfigurationChanged { .. }, |w| w.request.configuration = digest("changed"));
    let hint = refusal(|w| w.request.configuration = digest("changed")).hint("`countersign rollback r-1`");
    assert!(hint.contains("rehearse it again with `countersign rollback r-1`"), "{hint}");
    refuses!(Refusal::OtherRunner { .. }, |w| w.request.runner = key(STRANGER).fingerprint().to_owned());
    refuses!(Refusal::PlanChanged { .. }, |w| w.request.plan = digest("another plan"));
}

#[test]
fn every_term_of_the_manifest_must_be_the_proposals() {
    refuses!(Refusal::OtherStatement { field: "_type", .. }, |w| w.terms = |m| m.kind.push('0'));
    refuses!(Refusal::OtherStatement { field: "predicateType", .. }, |w| w.terms = |m| m.predicate_type.push('0'));
    refuses!(Refusal::OtherProposal { on: Signed::Approval, .. }, |w| {
        w.terms = |m| m.predicate.proposal = digest("another proposal");
    });
    refuses!(Refusal::OtherTerm { term: "bundle" }, |w| w.terms = |m| m.predicate.bundle = digest("another"));
    refuses!(Refusal::OtherTerm { term: "arguments" }, |w| {
        w.terms = |m| drop(m.predicate.arguments.insert("workers".to_owned(), Value::from(5)));
    });
    refuses!(Refusal::OtherTerm { term: "mode" }, |w| w.terms = |m| m.predicate.mode = Mode::Scoped);
    refuses!(Refusal::OtherTerm { term: "rollback" }, |w| w.terms = |m| m.predicate.rollback = RollbackBy::Undo);
    refuses!(Refusal::OtherTerm { term: "success" }, |w| w.terms = |m| m.predicate.success.hold_ms += 1);
    refuses!(Refusal::OtherTerm { term: "success" }, |w| w.terms = |m| m.predicate.success.may_pass_before = true);
    refuses!(Refusal::OtherTerm { term: "undone run" }, |w| w.terms = |m| m.predicate.undoes = Some(undone()));
    refuses!(Refusal::TargetNotApproved { .. }, |w| w.terms = |m| drop(m.predicate.targets.remove(0)));
    refuses!(Refusal::TargetNotProposed { .. }, |w| w.terms = |m| m.predicate.targets[1].name.push('0'));
    refuses!(Refusal::Senseless { .. }, |w| {
        w.terms = |m| {
            let again = m.predicate.targets[0].clone();
            m.predicate.targets.push(again);
        };
    });
    refuses!(Refusal::TargetDiffers { what: "plan", .. }, |w| w.terms = |m| m.predicate.targets[0].plan = digest(""));
    refuses!(Refusal::TargetDiffers { what: "configuration", .. }, |w| {
        w.terms = |m| m.predicate.targets[0].configuration = digest("");
    });
    refuses!(Refusal::TargetDiffers { what: "runner", .. }, |w| w.terms = |m| m.predicate.targets[0].runner.push('0'));
    refuses!(Refusal::TargetDiffers { what: "rehearsal", .. }, |w| {
        w.terms = |m| m.predicate.targets[0].rehearsal = digest("");
    });
    refuses!(Refusal::TooMany { what: "targets in one approval", .. }, |w| {
        w.terms = |m| m.predicate.targets = vec![m.predicate.targets[0].clone(); 257];
    });
}

#[test]
fn subjects_must_be_exactly_the_steps() {
    refuses!(Refusal::OtherSubjects { why } if why.contains("missing"), |w| w.terms = |m| drop(m.subject.pop()));
    refuses!(Refusal::OtherSubjects { why } if why.contains("twice"), |w| {
        w.terms = |m| m.subject.push(m.subject[0].clone());
    });
    refuses!(Refusal::OtherSubjects { why } if why.contains("not a step"), |w| {
        w.terms = |m| m.subject[0].name = "investigation".to_owned();
    });
    refuses!(Refusal::OtherSubjects { why } if why.contains("not a role"), |w| w.terms = |m| m.subject[0].name.push('x'));
    refuses!(Refusal::OtherSubjects { why } if why.contains("was approved"), |w| {
        w.terms = |m| m.subject[0].digest.sha256 = digest("another").hex();
    });
    refuses!(Refusal::OtherSubjects { why } if why.contains("was approved"), |w| {
        w.terms = |m| m.subject[0].digest.sha256 = m.subject[0].digest.sha256.to_uppercase();
    });
}

#[test]
fn grants_must_be_the_same_or_narrower() {
    for wider in ["files.write /** max-calls=2", "files.write /etc/**", "files.write /etc/** max-calls=3"] {
        let mut world = World::new();
        let proposal = world.proposal().expect("a proposal");
        world.document.grants.insert(Role::Fix, vec![grant(wider)]);
        let refusal = world.authorize_with(&proposal, &[world.approval(&proposal)]).expect_err(wider);
        assert!(
            matches!(&refusal, Refusal::Grants(GrantMismatch::NotRequested { role: Some(Role::Fix), grant }) if grant == wider),
            "{refusal:?}"
        );
    }
    // What one step may do, another may not.
    refuses!(Refusal::Grants(GrantMismatch::NotRequested { role: Some(Role::Rollback), .. }), |w| {
        w.terms = |m| drop(m.predicate.grants.insert(Role::Rollback, vec![grant("files.read /etc/**")]));
    });
    refuses!(Refusal::Grants(GrantMismatch::LimitsAddUp { .. }), |w| {
        w.terms = |m| {
            let both = ["files.write /etc/a max-calls=2", "files.write /etc/b max-calls=1"].map(grant);
            drop(m.predicate.grants.insert(Role::Fix, both.into()));
        };
    });
    refuses!(Refusal::Grants(GrantMismatch::Unreadable { .. }), |w| {
        w.terms = |m| drop(m.predicate.grants.insert(Role::Fix, vec![grant("files.read /etc/?")]));
    });
    refuses!(Refusal::Senseless { .. }, |w| {
        w.terms = |m| drop(m.predicate.grants.insert(Role::Check, vec![grant("files.read /var/log/app"); 257]));
    });

    let mut world = World::new();
    world.terms = |m| {
        let both = ["files.write /etc/a max-calls=1", "files.write /etc/b max-calls=1"].map(grant);
        drop(m.predicate.grants.insert(Role::Fix, both.into()));
    };
    assert_eq!(world.authorize().expect("narrower").grants(Role::Fix).len(), 2);
}

#[test]
fn the_policy_bounds_what_can_be_approved() {
    refuses!(Refusal::OtherPolicy { .. }, |w| w.terms = |m| m.predicate.policy = digest("another policy"));
    refuses!(Refusal::NotYetValid { from, .. } if *from == NOW, |w| w.request.now = NOW - 1);
    refuses!(Refusal::Expired { at, .. } if *at == NOW + HOUR, |w| w.request.now = NOW + HOUR);
    refuses!(Refusal::ValidTooLong { limit_ms, .. } if *limit_ms == 2 * HOUR, |w| {
        w.terms = |m| m.predicate.expires = NOW + 2 * HOUR + 1;
    });
    refuses!(Refusal::Senseless { .. }, |w| w.terms = |m| m.predicate.expires = m.predicate.not_before);
    refuses!(Refusal::Senseless { .. }, |w| w.terms = |m| m.predicate.expires = 0);
    refuses!(Refusal::ProposalExpired { .. }, |w| {
        w.terms = |m| {
            m.predicate.not_before = NOW + HOUR;
            m.predicate.expires = NOW + 2 * HOUR;
        };
        w.request.now = NOW + HOUR;
    });
    refuses!(Refusal::UsesNotAllowed { uses: 0, .. }, |w| w.terms = |m| m.predicate.uses = 0);
    refuses!(Refusal::UsesNotAllowed { uses: 3, limit: 2 }, |w| w.terms = |m| m.predicate.uses = 3);
    refuses!(Refusal::UsedUp { uses: 1, spent: 1 }, |w| w.request.spent = 1);
    refuses!(Refusal::ScopedNotAllowed, |w| w.document.mode = Mode::Scoped);
    refuses!(Refusal::Senseless { .. }, |w| {
        w.terms = |m| m.predicate.confirmation = Some(Confirmation { within_ms: 999, silence_keeps: false });
    });
    refuses!(Refusal::Senseless { .. }, |w| {
        w.terms = |m| {
            m.predicate.confirmation = Some(Confirmation { within_ms: 7 * 24 * HOUR + 1, silence_keeps: true });
        };
    });
    refuses!(Refusal::Senseless { .. }, |w| w.terms = |m| m.predicate.reason.clear());
    refuses!(Refusal::Senseless { .. }, |w| w.terms = |m| m.predicate.rollback_owner = " ".to_owned());

    let mut world = World::new();
    world.terms = |m| m.predicate.uses = 2;
    world.request.spent = 1;
    world.request.now = NOW + HOUR - 1;
    assert!(world.authorize().is_ok());
    world.document.mode = Mode::Scoped;
    world.policy = world.policy.replace("scoped = false", "scoped = true");
    assert!(world.authorize().is_ok());
}

#[test]
fn uses_are_counted_by_the_manifests_digest() {
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let policy = world.read_policy();
    let approvals = [world.approval(&proposal)];
    let digest = countersign_model::Digest::of(&approvals[0].manifest);
    let facts = &world.request;
    let request = crate::Request {
        case: world.case(&proposal, &policy),
        approvals: &approvals,
        denials: &[],
        target: facts.target,
        configuration: facts.configuration,
        runner: &facts.runner,
        bundle: facts.bundle,
        steps: &facts.steps,
        arguments: &facts.arguments,
        plan: facts.plan,
        standing: &[],
        reversal: crate::Reversal { restores: true, rehearsed: true },
        uses_spent: &|asked| u32::from(*asked == digest),
        now: facts.now,
    };
    assert!(matches!(crate::authorize(&request), Err(Refusal::UsedUp { uses: 1, spent: 1 })));
}

#[test]
fn a_manifest_is_strict_json() {
    fn edited(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    }
    refuses!(Refusal::Unreadable { on: Signed::Approval, why } if why.contains("stands twice"), |w| {
        w.bytes = |bytes| edited(bytes, r#""uses":1"#, r#""uses":1,"uses":1"#);
    });
    refuses!(Refusal::Unreadable { on: Signed::Approval, why } if why.contains("unknown field"), |w| {
        w.bytes = |bytes| edited(bytes, r#""uses":1"#, r#""uses":1,"extra":1"#);
    });
    refuses!(Refusal::Unreadable { on: Signed::Approval, .. }, |w| w.bytes = |bytes| edited(bytes, ":1,", ":1.0,"));
    refuses!(Refusal::Unreadable { on: Signed::Approval, .. }, |w| {
        w.signed_bytes = |_| vec![b' '; crate::MAX_MANIFEST + 1];
    });
    // Signed bytes are taken as they are, however they are laid out.
    let mut world = World::new();
    world.bytes = |bytes| edited(bytes, r#""uses":1"#, "\"uses\" :\n1");
    assert!(world.authorize().is_ok());
}

#[test]
fn a_signature_must_be_valid_and_by_somebody_who_may_approve() {
    let wrong = |error: &Refusal| match error {
        Refusal::Signature { on: Signed::Approval, error } => Some(error.to_string()),
        _ => None,
    };
    let namespaces = refusal(|w| w.signers = vec![(ALICE, namespace::PROPOSAL)]);
    assert!(matches!(&namespaces, Refusal::Signature { error: SignatureError::WrongNamespace { expected, found }, .. }
        if expected == APPROVAL && found == namespace::PROPOSAL));
    let text = wrong(&namespaces).expect("a signature's");
    assert!(text.contains(APPROVAL) && text.contains(namespace::PROPOSAL), "{text}");

    let bytes = refusal(|w| {
        w.signed_bytes = |mut bytes| {
            bytes.push(b' ');
            bytes
        };
    });
    assert!(wrong(&bytes).expect("a signature's").contains(key(ALICE).fingerprint()));

    refuses!(Refusal::UnknownApprover { fingerprint } if fingerprint == key(STRANGER).fingerprint(), |w| {
        w.signers = vec![(STRANGER, APPROVAL)];
    });
    refuses!(Refusal::MayNotApprove { who } if who == "person `dave`", |w| w.signers = vec![(DAVE, APPROVAL)]);
    refuses!(Refusal::MayNotApprove { who } if who == "agent `fixer`", |w| {
        w.proposer = CAROL;
        w.signers = vec![(AGENT, APPROVAL)];
    });
    refuses!(Refusal::QuorumNotReached { quorum, .. } if quorum == "every run", |w| w.signers.clear());
    refuses!(Refusal::TooMany { .. }, |w| w.signers = vec![(ALICE, APPROVAL); 65]);

    // One that does not count takes nothing away from one that does.
    let mut world = World::new();
    world.signers = vec![(STRANGER, APPROVAL), (ALICE, APPROVAL), (ALICE, DENIAL)];
    assert_eq!(world.authorize().expect("alice").approvers(), ["alice"]);
}

#[test]
fn people_are_counted_and_not_keys() {
    let two = |w: &mut World| w.replace("people = 1", "people = 2");
    refuses!(Refusal::QuorumNotReached { wants, approvers, .. } if wants == "2 people" && *approvers == ["bob"], |w| {
        two(w);
        w.signers = vec![(BOB, APPROVAL), (BOBS_OTHER, APPROVAL)];
    });
    refuses!(Refusal::QuorumNotReached { approvers, .. } if *approvers == ["alice"], |w| {
        two(w);
        w.signers = vec![(ALICE, APPROVAL), (ALICE, APPROVAL)];
    });
    let mut world = World::new();
    two(&mut world);
    world.signers = vec![(BOBS_OTHER, APPROVAL), (ALICE, APPROVAL)];
    assert_eq!(world.authorize().expect("two people").approvers(), ["alice", "bob"]);
}

#[test]
fn the_proposer_never_counts() {
    // By key.
    refuses!(Refusal::OwnProposal { why, .. } if why.contains("same key"), |w| {
        w.proposer = CAROL;
        w.signers = vec![(CAROL, APPROVAL)];
    });
    // By person, with another key.
    refuses!(Refusal::OwnProposal { why, .. } if why.contains("they proposed it"), |w| {
        w.policy = w.policy.replacen(r#"may = ["approve"]"#, r#"may = ["approve", "propose"]"#, 2);
        w.proposer = BOB;
        w.signers = vec![(BOBS_OTHER, APPROVAL)];
    });
    // As the agent's owner.
    refuses!(Refusal::OwnProposal { approver, why } if approver == "person `carol`" && why.contains("`fixer`"), |w| {
        w.signers = vec![(CAROL, APPROVAL)];
    });
    // As an unlisted key.
    refuses!(Refusal::OwnProposal { .. }, |w| {
        w.replace(r#"who = ["*"]"#, r#"who = ["*", "unlisted"]"#);
        w.proposer = STRANGER;
        w.signers = vec![(STRANGER, APPROVAL)];
    });
    // And not as one of two.
    refuses!(Refusal::OwnProposal { .. }, |w| {
        w.replace("people = 1", "people = 2");
        w.signers = vec![(ALICE, APPROVAL), (CAROL, APPROVAL)];
    });
}

#[test]
fn who_proposed_a_run_never_approves_its_undoing() {
    let undoing = || {
        let mut world = World::new();
        world.document.undoes = Some(undone());
        world.document.targets.truncate(1);
        world
    };
    // Whichever of Bob's keys it is.
    for key in [BOB, BOBS_OTHER] {
        let mut world = undoing();
        world.signers = vec![(key, APPROVAL)];
        let refusal = world.authorize().expect_err("refused");
        assert!(matches!(&refusal, Refusal::OwnProposal { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("proposed the run `r-0123456789ab`"), "{refusal}");
        // It takes nothing away from another's.
        world.signers.push((ALICE, APPROVAL));
        assert_eq!(world.authorize().expect("authorized").approvers(), ["alice"]);
    }
    // The owner of the agent that proposed the run neither.
    let mut world = undoing();
    world.document.undoes = Some(Undoes { proposer: key(AGENT).fingerprint().to_owned(), ..undone() });
    world.proposer = STRANGER;
    world.replace(r#"who = ["*"]"#, r#"who = ["*", "unlisted"]"#);
    world.signers = vec![(CAROL, APPROVAL)];
    assert!(matches!(world.authorize(), Err(Refusal::OwnProposal { .. })));
}

#[test]
fn an_unlisted_proposer_is_not_independent() {
    refuses!(Refusal::MayNotPropose { who } if who.contains("unlisted"), |w| w.proposer = STRANGER);
    let mut world = World::new();
    world.proposer = STRANGER;
    world.replace(r#"who = ["*"]"#, r#"who = ["*", "unlisted"]"#);
    assert!(!world.authorize().expect("allowed").independent());
}

#[test]
fn the_proposer_must_still_be_allowed_when_it_runs() {
    let mut world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let agents = world.policy.find("[[agents]]").expect("agents");
    world.policy.truncate(agents);
    let refusal = world.authorize_with(&proposal, &[world.approval(&proposal)]).expect_err("no longer listed");
    assert!(matches!(refusal, Refusal::MayNotPropose { .. }), "{refusal:?}");
}

#[test]
fn one_denial_ends_a_proposal() {
    refuses!(Refusal::Denied { by, reason } if by == "bob" && reason == "not\\u{1b} now", |w| {
        w.denials = vec![(BOB, None, DENIAL)];
    });
    // Its approver's own, and the owner's, too.
    refuses!(Refusal::Denied { .. }, |w| w.denials = vec![(ALICE, None, DENIAL)]);
    refuses!(Refusal::Denied { .. }, |w| w.denials = vec![(STRANGER, None, DENIAL), (CAROL, None, DENIAL)]);
    refuses!(Refusal::TooMany { what: "denials", .. }, |w| w.denials = vec![(STRANGER, None, DENIAL); 65]);
}

#[test]
fn a_denial_is_final_whatever_becomes_of_its_signer() {
    // Each was verified when it was kept: that its signer has no say any more takes nothing back.
    for (by, name) in [(AGENT, "fixer"), (DAVE, "dave"), (STRANGER, key(STRANGER).fingerprint())] {
        refuses!(Refusal::Denied { by, .. } if by == name, |w| w.denials = vec![(by, None, DENIAL)]);
    }
    // What cannot be verified again could be by anybody.
    for damaged in [(BOB, None, APPROVAL), (BOB, Some(digest("another proposal")), DENIAL)] {
        refuses!(Refusal::DamagedDenial { .. }, |w| w.denials = vec![damaged]);
        assert!(!refusal(|w| w.denials = vec![damaged]).awaits_approval());
        // And it hides no other.
        refuses!(Refusal::Denied { .. }, |w| w.denials = vec![damaged, (BOB, None, DENIAL)]);
    }
    let world = World::new();
    let digest = world.proposal().expect("a proposal").digest();
    assert_eq!(crate::denied(&[], digest, &world.read_policy()), Ok(None));
}

#[test]
fn a_denial_that_cannot_be_read_counts_if_its_signer_has_a_say() {
    let world = World::new();
    let policy = world.read_policy();
    let proposal = world.proposal().expect("a proposal").digest();
    let verify = |document: &str, seed| {
        let bytes = document.as_bytes();
        crate::verify_denial(bytes, &signed(seed, DENIAL, bytes), proposal, &policy)
            .map(|(_, who)| who.name().to_owned())
    };
    let good = format!(r#"{{"version":1,"proposal":"{proposal}","reason":"no","at":1}}"#);
    assert_eq!(verify(&good, BOB), Ok("bob".to_owned()));
    assert!(matches!(verify(&good, STRANGER), Err(Refusal::MayNotDeny { .. })));
    for bad in [good.replace(":1,", ":2,"), good.replace("\"at\"", "\"by\""), good.replace(":1}", ":1,\"at\":1}")] {
        let refusal = verify(&bad, BOB).expect_err(&bad);
        assert!(matches!(refusal, Refusal::Unreadable { .. } | Refusal::Version { .. }), "{refusal:?}");
        assert!(matches!(verify(&bad, STRANGER), Err(Refusal::MayNotDeny { .. })));

        let denials =
            [crate::SignedDenial { signature: signed(BOB, DENIAL, bad.as_bytes()), document: bad.into_bytes() }];
        let proposal = world.proposal().expect("a proposal");
        let facts = &world.request;
        let refused = crate::authorize(&crate::Request {
            case: world.case(&proposal, &policy),
            approvals: &[world.approval(&proposal)],
            denials: &denials,
            target: facts.target,
            configuration: facts.configuration,
            runner: &facts.runner,
            bundle: facts.bundle,
            steps: &facts.steps,
            arguments: &facts.arguments,
            plan: facts.plan,
            standing: &[],
            reversal: crate::Reversal { restores: true, rehearsed: true },
            uses_spent: &|_| 0,
            now: facts.now,
        });
        assert_eq!(refused.expect_err("denied"), Refusal::DamagedDenial { why: refusal.to_string() });
    }
}

#[test]
fn those_that_are_valid_count_and_else_the_last_reason() {
    let mut world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let refused = |approvals: &[SignedApproval]| world.authorize_with(&proposal, approvals).expect_err("refused");
    assert!(matches!(refused(&[]), Refusal::NotApproved { needed: 1 }));
    assert!(matches!(refused(&vec![world.approval(&proposal); 65]), Refusal::TooMany { what: "approvals", .. }));

    let good = world.approval(&proposal);
    world.terms = |m| m.predicate.expires = NOW + HOUR + 1;
    let also_good = world.approval(&proposal);
    world.terms = |m| m.predicate.uses = 0;
    let no_uses = world.approval(&proposal);
    world.terms = |m| m.predicate.reason.clear();
    let no_reason = world.approval(&proposal);
    let authorize = |approvals: &[&SignedApproval]| {
        let approvals: Vec<SignedApproval> = approvals.iter().copied().cloned().collect();
        world.authorize_with(&proposal, &approvals).map(|authorized| authorized.manifest().predicate.expires)
    };
    assert_eq!(authorize(&[&no_uses, &good, &also_good]), Ok(NOW + HOUR));
    assert_eq!(authorize(&[&no_reason, &also_good, &good]), Ok(NOW + HOUR));
    assert_eq!(authorize(&[&no_reason, &also_good]), Ok(NOW + HOUR + 1));
    assert!(matches!(authorize(&[&no_reason, &no_uses]), Err(Refusal::UsesNotAllowed { .. })));
    assert!(matches!(authorize(&[&no_uses, &no_reason]), Err(Refusal::Senseless { .. })));
}

/// A proposal that was verified with one policy is judged by the one that is given.
#[test]
fn approvers_are_those_of_the_policy_in_force() {
    let mut world = World::new();
    let proposal: Proposal = world.proposal().expect("a proposal");
    world.policy = world.policy.replacen(r#"may = ["approve"]"#, r#"may = ["operate"]"#, 1);
    assert!(Policy::parse(world.policy.as_bytes()).is_ok());
    let refusal = world.authorize_with(&proposal, &[world.approval(&proposal)]).expect_err("alice may not");
    assert!(matches!(refusal, Refusal::MayNotApprove { .. }), "{refusal:?}");
}
