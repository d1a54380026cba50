use countersign_model::documents::{ArgumentRange, Budget, StandingApproval, namespace};
use countersign_model::{Digest, Role};
use serde_json::{Value, json};

use super::*;
use crate::fixture::{AGENT, ALICE, BOB, CAROL, DAVE, HOUR, NOW, STRANGER, World, digest, grants, signed};
use crate::{Authorized, History, Proposal, Reversal, SignedDenial, Standing, still_approved};

const STANDING: &str = namespace::STANDING_APPROVAL;

fn ramp() -> World {
    let mut world = World::new();
    world.replace(r#"may = ["investigate", "propose"]"#, r#"may = ["investigate", "propose", "unattended"]"#);
    world.add("[unattended]\ncommitted = 2\nmax-validity = \"30d\"\nper-hour = 3\nper-day = 9\nsubjects = 4\n");
    world.risk.subjects = 2;
    world
}

fn drafted() -> StandingDraft {
    StandingDraft {
        reason: "it did well".to_owned(),
        arguments: BTreeMap::new(),
        grants: World::new().document.grants,
        budget: Budget { per_hour: 2, per_day: 5, subjects: 2 },
        not_before: NOW,
        expires: NOW + 24 * HOUR,
        rollback_owner: "dave".to_owned(),
    }
}

/// What Alice signed, after one change of what it says.
fn by_alice(world: &World, change: impl FnOnce(&mut StandingApproval)) -> SignedStanding {
    let (proposal, policy) = (world.proposal().expect("a proposal"), world.read_policy());
    let (mut approval, _) = draft_standing(&world.case(&proposal, &policy), drafted()).expect("a draft");
    change(&mut approval);
    let document = serde_json::to_vec(&approval).expect("JSON");
    SignedStanding { signatures: vec![signed(ALICE, STANDING, &document)], document }
}

fn history() -> History {
    History { committed: 2, failed: None, denied: None, last_hour: 1, last_day: 4 }
}

/// What becomes of a proposal that nobody approved.
fn decided(
    world: &World,
    signed: &SignedStanding,
    history: History,
    denials: &[SignedDenial],
) -> Result<Authorized, Refusal> {
    let (example, policy) = (World::new().proposal().expect("a proposal"), world.read_policy());
    let standing = Standing { signed, example: world.case(&example, &policy), denials, history };
    world.authorize_standing(&world.proposal().expect("a proposal"), &[], &[standing])
}

#[track_caller]
fn refused(result: Result<Authorized, Refusal>, words: &str) {
    let refusal = result.expect_err("refused");
    assert!(matches!(refusal, Refusal::NotUnattended { .. }) && refusal.awaits_approval(), "{refusal:?}");
    assert!(refusal.to_string().contains(words), "{refusal}");
}

#[test]
fn what_is_like_its_example_runs_and_names_what_it_is_by() {
    let world = ramp();
    let signed = by_alice(&world, |_| ());
    let authorized = decided(&world, &signed, history(), &[]).expect("it runs");
    assert_eq!((authorized.approvers(), authorized.proposer().name()), (&["alice".to_owned()][..], "fixer"));
    let derived = authorized.derived().expect("nobody signed the manifest");
    let used = derived.standing.as_ref().expect("by a standing approval");
    assert_eq!((used.standing, used.per_hour, used.per_day), (Digest::of(&signed.document), 2, 5));
    assert_eq!(used.targets, ["web-1", "web-2"]);
    assert_eq!(authorized.manifest().predicate.targets.len(), 1);
    // Where people approved it, it is by what they approved.
    let (proposal, policy) = (world.proposal().expect("a proposal"), world.read_policy());
    let standing =
        Standing { signed: &signed, example: world.case(&proposal, &policy), denials: &[], history: history() };
    let by_people = world.authorize_standing(&proposal, &[world.approval(&proposal)], &[standing]).expect("approved");
    assert!(by_people.derived().is_none());
}

#[test]
fn what_the_proposal_or_its_past_is_decides() {
    type Change = fn(&mut World);
    let changes: [(Change, &str); 9] = [
        (|w| w.risk.irreversible = true, "cannot be undone"),
        (|w| w.request.reversal = Reversal { restores: false, rehearsed: true }, "did not restore"),
        (|w| w.request.reversal = Reversal { restores: true, rehearsed: false }, "was not rehearsed"),
        (|w| w.risk.subjects = 3, "3 subjects, and 2 at most"),
        (|w| w.request.now = NOW + 24 * HOUR, "expired"),
        (
            |w| w.replace("[\"investigate\", \"propose\", \"unattended\"]", "[\"investigate\", \"propose\"]"),
            "does not let them run unattended",
        ),
        (|w| w.add("[[revocations]]\nprincipal = \"alice\"\nreason = \"left\"\n"), "revoked"),
        (|w| w.replace("people = 1", "people = 2"), "2 people must approve"),
        (
            |w| {
                w.document.arguments.insert("workers".to_owned(), json!(5));
                w.request.arguments = w.document.arguments.clone();
            },
            "the argument `workers` is not in the range",
        ),
    ];
    for (change, words) in changes {
        let mut world = ramp();
        let signed = by_alice(&world, |_| ());
        change(&mut world);
        // What was signed under the policy before it is judged by the one in force.
        world.earlier.push(ramp().read_policy().digest());
        refused(decided(&world, &signed, history(), &[]), words);
    }
    let world = ramp();
    let signed = by_alice(&world, |_| ());
    let past = |change: fn(&mut History)| {
        let mut past = history();
        change(&mut past);
        decided(&world, &signed, past, &[])
    };
    refused(past(|past| past.committed = 1), "1 runs of it were committed on the target, and 2 must be");
    refused(past(|past| past.failed = Some("r-000000000001".to_owned())), "it ended with the run r-000000000001");
    refused(past(|past| past.denied = Some(digest("denied"))), "it ended with the denial of `p-");
    refused(past(|past| past.last_hour = 2), "it ran 2 times within the last hour");
    refused(past(|past| past.last_day = 5), "it ran 5 times within the last day");

    // Nothing runs where the policy has no such section, nor in a freeze.
    let mut none = World::new();
    none.earlier.push(world.read_policy().digest());
    refused(decided(&none, &signed, history(), &[]), "lets nothing run unattended");
    let mut frozen = ramp();
    frozen.earlier.push(world.read_policy().digest());
    frozen.add("[[freezes]]\nname = \"sale\"\ntargets = [\"*\"]\nfrom = \"2027-01-01T00:00:00Z\"\nuntil = \"2027-06-01T00:00:00Z\"\nreason = \"no\"\n");
    refused(decided(&frozen, &signed, history(), &[]), "by the freeze `sale`");

    // Any one person who may deny ends it, by its example.
    let example = World::new().proposal().expect("a proposal").digest();
    let (_, document) = crate::draft_denial(example, "enough", NOW).expect("a denial");
    let denial = SignedDenial { signature: crate::fixture::signed(BOB, namespace::DENIAL, &document), document };
    refused(decided(&world, &signed, history(), &[denial]), "`bob` denied the proposal: enough");
}

#[test]
fn an_argument_may_be_what_was_signed() {
    let mut world = ramp();
    let ranged =
        |range: ArgumentRange| by_alice(&ramp(), |a| drop(a.predicate.arguments.insert("workers".to_owned(), range)));
    let with = |world: &mut World, value: Value| {
        world.document.arguments.insert("workers".to_owned(), value);
        world.request.arguments = world.document.arguments.clone();
    };
    with(&mut world, json!(6));
    let within = ranged(ArgumentRange::Within { from: 2, to: 6 });
    drop(decided(&world, &within, history(), &[]).expect("it is in it"));
    let listed = ranged(ArgumentRange::OneOf(vec![json!(4), json!(6)]));
    drop(decided(&world, &listed, history(), &[]).expect("it is listed"));
    for outside in [json!(7), json!("6"), json!(-1), Value::Null] {
        with(&mut world, outside);
        refused(decided(&world, &within, history(), &[]), "is not in the range");
        refused(decided(&world, &listed, history(), &[]), "is not in the range");
    }
    // The example's own must be in it, or it would be no example of it.
    refused(
        decided(&ramp(), &ranged(ArgumentRange::Within { from: 5, to: 6 }), history(), &[]),
        "of its example is not in its range",
    );
    refused(decided(&ramp(), &ranged(ArgumentRange::OneOf(Vec::new())), history(), &[]), "workers");
}

#[test]
fn what_makes_no_sense_is_none_whoever_signed_it() {
    type Bend = fn(&mut StandingApproval);
    let bends: [Bend; 17] = [
        |a| a.kind.push('x'),
        |a| a.predicate_type = "urn:countersign:approval:v1".to_owned(),
        |a| drop(a.subject.pop()),
        |a| a.predicate.example = digest("another"),
        |a| a.predicate.bundle = digest("another"),
        |a| a.predicate.agent = "other".to_owned(),
        |a| a.predicate.targets.clear(),
        |a| a.predicate.targets[0].configuration = digest("another"),
        |a| a.predicate.targets[0].runner = "SHA256:another".to_owned(),
        |a| a.predicate.targets[0].name = "db-1".to_owned(),
        |a| a.predicate.grants = grants(&[(Role::Fix, &["files.write /etc/** max-calls=2"])]),
        |a| drop(a.predicate.grants.insert(Role::Rollback, vec!["files.write /srv/a".parse().expect("a grant")])),
        |a| a.predicate.budget.per_hour = 4,
        |a| a.predicate.budget.subjects = 0,
        |a| a.predicate.expires = NOW + 31 * 24 * HOUR,
        |a| a.predicate.policy = digest("another"),
        |a| a.predicate.reason.clear(),
    ];
    for (at, bend) in bends.into_iter().enumerate() {
        let world = ramp();
        let result = decided(&world, &by_alice(&world, bend), history(), &[]);
        assert!(matches!(result, Err(Refusal::NotUnattended { .. })), "{at}: {result:?}");
    }
    let world = ramp();
    let good = by_alice(&world, |_| ());
    let text = String::from_utf8(good.document.clone()).expect("text");
    for (old, new) in [("\"agent\":", "\"agent\":\"fixer\",\"agent\":"), ("\"agent\":", "\"extra\":1,\"agent\":")] {
        let document = text.replacen(old, new, 1).into_bytes();
        let signatures = vec![signed(ALICE, STANDING, &document)];
        refused(decided(&world, &SignedStanding { document, signatures }, history(), &[]), "cannot be read");
    }
}

#[test]
fn whose_word_counts() {
    let world = ramp();
    let good = by_alice(&world, |_| ());
    let by = |seed: u8, namespace: &str| {
        let signatures = vec![signed(seed, namespace, &good.document)];
        decided(&world, &SignedStanding { signatures, ..good.clone() }, history(), &[])
    };
    drop(by(BOB, STANDING).expect("bob may"));
    // Who owns the agent, who may only operate, the agent itself and a stranger.
    for seed in [CAROL, DAVE, AGENT, STRANGER] {
        assert!(by(seed, STANDING).is_err(), "{seed}");
    }
    for other in [namespace::APPROVAL, namespace::DENIAL, namespace::PROPOSAL] {
        refused(by(ALICE, other), "not valid");
    }
    refused(
        decided(&world, &SignedStanding { signatures: Vec::new(), ..good.clone() }, history(), &[]),
        "must approve",
    );
    // A person's proposal is nobody's agent's.
    let mut person = ramp();
    person.proposer = CAROL;
    refused(decided(&person, &good, history(), &[]), "it is for proposals of the agent `fixer`");
}

/// Who may approve a proposal by one rule has no say in what another lets run unattended.
#[test]
fn the_rule_that_lets_it_run_says_who_signs() {
    let mut world = ramp();
    // Whoever approves proposals may be anybody; what runs unattended is for the people of `sre`.
    world.replace(r#"may = ["investigate", "propose", "unattended"]"#, r#"may = ["investigate", "propose"]"#);
    world.add(
        "[[rules]]\nname = \"at night\"\nwho = [\"fixer\"]\ntargets = [\"web-*\"]\nmay = [\"propose\", \"unattended\"]\n\
         grants = [\"files.read /etc/**\", \"files.write /etc/** max-calls=2\", \"files.read /var/log/**\"]\n\
         approvers = [\"sre\"]\n",
    );
    world.replace("name = \"bob\"", "name = \"bob\"\ngroups = [\"sre\"]");
    let good = by_alice(&world, |_| ());
    refused(decided(&world, &good, history(), &[]), "at night");
    let signatures = vec![signed(BOB, STANDING, &good.document)];
    drop(decided(&world, &SignedStanding { signatures, ..good }, history(), &[]).expect("bob is of `sre`"));
}

/// A run that is under way goes on only while what it began by stands, and by nothing that the runner did not make of it.
#[test]
fn a_run_goes_on_by_what_it_was_made_of() {
    let world = ramp();
    let signed = by_alice(&world, |_| ());
    let made = decided(&world, &signed, history(), &[]).expect("it runs").derived().expect("made").bytes.clone();
    let proposal: Proposal = world.proposal().expect("a proposal");
    let goes_on = |world: &World, manifest: &[u8], signed: Option<&SignedStanding>| {
        let policy = world.read_policy();
        let case = world.case(&proposal, &policy);
        let standing =
            signed.map(|signed| Standing { signed, example: case, denials: &[], history: History::default() });
        still_approved(manifest, &[], standing.as_ref(), &case)
    };
    assert_eq!(goes_on(&world, &made, Some(&signed)), Ok(()));
    assert!(matches!(goes_on(&world, &made, None), Err(Refusal::ApprovalLost { .. })));
    let bent = String::from_utf8(made.clone()).expect("text").replace("max-calls=2", "max-calls=9").into_bytes();
    assert!(matches!(goes_on(&world, &bent, Some(&signed)), Err(Refusal::ApprovalLost { .. })));
    let mut revoked = ramp();
    revoked.earlier.push(world.read_policy().digest());
    let standing = Digest::of(&signed.document);
    revoked.add(&format!("[[revocations]]\napproval = \"{standing}\"\nreason = \"lost\"\n"));
    assert!(matches!(goes_on(&revoked, &made, Some(&signed)), Err(Refusal::Revoked { .. })));
}
