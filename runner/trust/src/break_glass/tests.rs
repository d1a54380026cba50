use countersign_model::documents::{ApprovalManifest, Confirmation, namespace};
use countersign_model::{Mode, Role, strict};

use super::*;
use crate::fixture::*;
use crate::{MAX_MANIFEST, Policy, Request, SignedApproval, explain, still_approved};

const APPROVAL: &str = namespace::APPROVAL;
/// Dave's, who may only operate otherwise.
const DAVES_GLASS: u8 = 20;
/// Alice's.
const ALICES_GLASS: u8 = 21;

fn table(more: &str) -> String {
    format!(
        "[[break-glass]]\nname = \"nobody else\"\ntargets = [\"web-*\"]\ngrants = [\"files.read /**\", \"files.write /etc/**\"]\n\
         max-validity = \"1h\"\nkeys = [{{ person = \"dave\", key = \"{}\" }}, {{ person = \"alice\", key = \"{}\" }}]\n{more}",
        line(DAVES_GLASS),
        line(ALICES_GLASS)
    )
}

/// A world in which two must approve, and Dave breaks the glass.
fn broken(world: &mut World) {
    broken_with(world, "");
}

fn broken_with(world: &mut World, more: &str) {
    world.replace("people = 1", "people = 2");
    world.add(&table(more));
    world.terms = |m| m.predicate.break_glass = Some("nobody else".to_owned());
    world.signers = vec![(DAVES_GLASS, APPROVAL)];
}

#[test]
fn stands_in_for_quorums_and_approvers_and_nothing_else() {
    let mut world = World::new();
    world.replace("may = [\"investigate\", \"propose\"]", "may = [\"propose\"]\napprovers = [\"nobody-near\"]");
    world.replace("name = \"bob\"", "name = \"bob\"\ngroups = [\"nobody-near\"]");
    broken(&mut world);
    let authorized = world.authorize().expect("authorized");
    assert_eq!(authorized.approvers(), ["dave"]);
    assert_eq!(authorized.manifest().predicate.break_glass.as_deref(), Some("nobody else"));

    refuses!(Refusal::NoRule { .. }, |w| {
        broken(w);
        w.replace("who = [\"*\"]", "who = [\"other\"]");
    });
    refuses!(Refusal::Revoked { .. }, |w| {
        broken(w);
        w.add("[[revocations]]\nreason = \"out\"\nprincipal = \"fixer\"\n");
    });
    refuses!(Refusal::Denied { .. }, |w| {
        broken(w);
        w.denials = vec![(BOB, None, namespace::DENIAL)];
    });
    refuses!(Refusal::AboveCeiling { .. }, |w| {
        broken(w);
        w.add("[[ceilings]]\nname = \"low\"\ntargets = [\"*\"]\ngrants = [\"files.read /**\"]\n");
    });
    refuses!(Refusal::UsedUp { .. }, |w| {
        broken(w);
        w.request.spent = 1;
    });
    refuses!(Refusal::Expired { .. }, |w| {
        broken(w);
        w.request.now = NOW + HOUR;
    });
    refuses!(Refusal::PlanChanged { .. }, |w| {
        broken(w);
        w.request.plan = digest("another plan");
    });
    refuses!(Refusal::PolicyExpired { .. }, |w| {
        broken(w);
        w.request.now = NOW + 366 * 24 * HOUR;
    });
}

#[test]
fn only_its_own_keys_break_it_and_they_do_nothing_else() {
    for signers in [[(ALICE, APPROVAL), (BOB, APPROVAL)], [(CAROL, APPROVAL), (DAVE, APPROVAL)]] {
        refuses!(Refusal::BreakGlass(BreakGlassRefusal::OtherKey { .. }), |w| {
            broken(w);
            w.signers = signers.to_vec();
        });
    }
    // Without the term it is an approval like any other, and such a key's word on it is none.
    for signers in
        [vec![(DAVES_GLASS, APPROVAL), (ALICES_GLASS, APPROVAL)], vec![(ALICES_GLASS, APPROVAL), (BOB, APPROVAL)]]
    {
        refuses!(Refusal::MayNotApprove { .. }, |w| {
            broken(w);
            w.terms = |_| ();
            w.signers = signers;
        });
    }
    refuses!(Refusal::MayNotApprove { .. }, |w| {
        w.add(&table(""));
        w.signers = vec![(ALICES_GLASS, APPROVAL)];
    });
    refuses!(Refusal::Signature { .. }, |w| {
        broken(w);
        w.signers = vec![(DAVES_GLASS, namespace::DENIAL)];
    });
    refuses!(Refusal::BreakGlass(BreakGlassRefusal::Unknown(name)) if name == "another", |w| {
        broken(w);
        w.terms = |m| m.predicate.break_glass = Some("another".to_owned());
    });
    // Two tables have no key in common, and the one of the other breaks nothing here.
    refuses!(Refusal::BreakGlass(BreakGlassRefusal::OtherKey { .. }), |w| {
        broken(w);
        let other = table("").replace("nobody else", "another");
        let other = other.replace(&line(DAVES_GLASS), &line(22)).replace(&line(ALICES_GLASS), &line(23));
        w.add(&other);
        w.signers = vec![(22, APPROVAL)];
    });
    refuses!(Refusal::Revoked { .. }, |w| {
        broken(w);
        let key = key(DAVES_GLASS).fingerprint().to_owned();
        w.add(&format!("[[revocations]]\nreason = \"lost\"\nkey = \"{key}\"\n"));
    });
    refuses!(Refusal::Revoked { .. }, |w| {
        broken(w);
        w.add("[[revocations]]\nreason = \"left\"\nprincipal = \"dave\"\n");
    });
    let policy = Policy::parse((policy_text() + &table("")).as_bytes()).expect("a policy");
    let glass = policy.principal(key(ALICES_GLASS).fingerprint());
    assert_eq!((glass.name(), glass.person()), ("alice", Some("alice")));
    for right in [crate::Right::Approve, crate::Right::Propose, crate::Right::Operate] {
        assert!(!glass.may(right));
    }
    let nothing = countersign_model::documents::RoleGrants::new();
    let read = crate::may(&policy, crate::Activity::Investigate, &glass, "web-1", &nothing, &contains);
    assert!(matches!(read, Err(Refusal::NoRule { .. })));
}

#[test]
fn whose_proposal_it_is_never_breaks_it() {
    refuses!(Refusal::OwnProposal { .. }, |w| {
        broken(w);
        w.replace("owner = \"carol\"", "owner = \"dave\"");
    });
    refuses!(Refusal::OwnProposal { .. }, |w| {
        broken(w);
        w.replace("owner = \"carol\"", "owner = \"carol\"\nenrolled-by = \"dave\"");
    });
    refuses!(Refusal::OwnProposal { .. }, |w| {
        broken(w);
        w.replace("may = [\"operate\"]", "may = [\"operate\", \"propose\"]");
        w.proposer = DAVE;
    });
    refuses!(Refusal::OwnProposal { why, .. } if why.contains("to be undone"), |w| {
        broken(w);
        w.document.targets.truncate(1);
        let undoes = countersign_model::documents::Undoes { proposer: key(DAVE).fingerprint().to_owned(), ..undone() };
        w.document.undoes = Some(undoes);
    });
}

#[test]
fn it_stays_within_its_own_bounds() {
    let outside = |world: fn(&mut World)| match refusal(world) {
        Refusal::BreakGlass(BreakGlassRefusal::Outside { why, .. }) => why,
        refusal => panic!("{refusal:?}"),
    };
    let why = outside(|w| {
        broken(w);
        w.replace("\"files.write /etc/**\"]\nmax-validity = \"1h\"", "\"files.write /etc/a\"]\nmax-validity = \"1h\"");
    });
    assert!(why.contains("files.write /etc/**"), "{why}");
    let why = outside(|w| {
        broken(w);
        w.replace("max-validity = \"1h\"", "max-validity = \"30m\"");
    });
    assert_eq!(why, "it is good for 30m at most, and this is for 1h");
    let why = outside(|w| {
        broken(w);
        w.replace("name = \"nobody else\"\ntargets = [\"web-*\"]", "name = \"nobody else\"\ntargets = [\"web-1\"]");
    });
    assert_eq!(why, "it is for other targets than `web-2`");
    let why = outside(|w| {
        broken(w);
        w.terms = |m| {
            m.predicate.break_glass = Some("nobody else".to_owned());
            m.predicate.uses = 2;
        };
    });
    assert_eq!(why, "it is good for 1 run, and this is for 2");
    let why = outside(|w| {
        broken(w);
        w.replace("scoped = false", "scoped = true");
        w.document.mode = Mode::Scoped;
    });
    assert_eq!(why, "only mode `exact` is approved by it");
    // A narrowed one fits.
    let mut world = World::new();
    broken(&mut world);
    world.replace("\"files.write /etc/**\"]\nmax-validity = \"1h\"", "\"files.write /etc/a\"]\nmax-validity = \"1h\"");
    world.terms = |m| {
        m.predicate.break_glass = Some("nobody else".to_owned());
        m.predicate.grants.insert(Role::Fix, vec![grant("files.write /etc/a max-calls=2")]);
        m.predicate.confirmation = Some(Confirmation { within_ms: 60_000, silence_keeps: false });
    };
    assert!(world.authorize().is_ok());
}

#[test]
fn as_many_people_as_it_says_sign_as_it_says() {
    refuses!(Refusal::BreakGlass(BreakGlassRefusal::TooFew { people, .. }) if people == &["dave"], |w| {
        broken_with(w, "people = 2\n");
    });
    // An approver's word adds nothing to it.
    refuses!(Refusal::BreakGlass(BreakGlassRefusal::OtherKey { .. }), |w| {
        broken_with(w, "people = 2\n");
        w.signers.push((BOB, APPROVAL));
    });
    let mut world = World::new();
    broken_with(&mut world, "people = 2\n");
    world.signers.push((ALICES_GLASS, APPROVAL));
    assert_eq!(world.authorize().expect("authorized").approvers(), ["alice", "dave"]);
    for demanded in ["touch = true\n", "pin = true\n"] {
        refuses!(Refusal::Unmet { .. }, |w| broken_with(w, demanded));
    }
}

#[test]
fn it_goes_through_freezes_only_where_it_says_so() {
    let freeze = "[[freezes]]\nname = \"sale\"\ntargets = [\"web-*\"]\nfrom = \"2027-01-01T00:00:00Z\"\n\
                  until = \"2028-01-01T00:00:00Z\"\nreason = \"the sale\"\n";
    refuses!(Refusal::Frozen { .. }, |w| broken_with(w, freeze));
    let mut world = World::new();
    broken_with(&mut world, &format!("through-freezes = true\n{freeze}"));
    assert!(world.authorize().is_ok());
    // It is the approval that goes through, and not the table that stands there.
    world.terms = |_| ();
    world.signers = vec![(ALICE, APPROVAL), (BOB, APPROVAL)];
    assert!(matches!(world.authorize(), Err(Refusal::Frozen { .. })));
}

/// What a later policy takes from it, a run that is under way does not keep.
#[test]
fn what_is_under_way_is_judged_by_the_policy_in_force() {
    let mut world = World::new();
    broken(&mut world);
    let proposal = world.proposal().expect("a proposal");
    let approval = world.approval(&proposal);
    let still = |change: &dyn Fn(&str) -> String| {
        let policy = Policy::parse(change(&world.policy).as_bytes()).expect("a policy");
        still_approved(&approval.manifest, std::slice::from_ref(&approval), None, &world.case(&proposal, &policy))
    };
    assert_eq!(still(&str::to_owned), Ok(()));
    let narrower = |policy: &str| policy.replace("\"files.read /**\", \"files.write /etc/**\"]", "\"files.read /**\"]");
    assert!(matches!(still(&narrower), Err(Refusal::BreakGlass(BreakGlassRefusal::Outside { .. }))));
    let gone = |policy: &str| policy.split_once("[[break-glass]]").expect("one").0.to_owned();
    assert!(matches!(still(&gone), Err(Refusal::BreakGlass(BreakGlassRefusal::Unknown(_)))));
    let moved = |policy: &str| policy.replace(&line(DAVES_GLASS), &line(22));
    assert!(matches!(still(&moved), Err(Refusal::BreakGlass(BreakGlassRefusal::OtherKey { .. }))));
}

#[test]
fn explain_tells_whether_it_is_broken() {
    let mut world = World::new();
    broken(&mut world);
    let proposal = world.proposal().expect("a proposal");
    let policy = world.read_policy();
    let approvals = [world.approval(&proposal)];
    let says = |approvals: &[SignedApproval]| {
        let facts = &world.request;
        let request = Request {
            case: world.case(&proposal, &policy),
            approvals,
            denials: &[],
            target: facts.target,
            configuration: facts.configuration,
            runner: &facts.runner,
            bundle: facts.bundle,
            steps: &facts.steps,
            arguments: &facts.arguments,
            plan: facts.plan,
            standing: &[],
            reversal: facts.reversal,
            uses_spent: &|_| 0,
            now: facts.now,
        };
        let found = explain(&request).into_iter();
        let asked = found.filter(|finding| ["break-glass", "quorum"].contains(&finding.asks));
        asked.map(|finding| (finding.asks, finding.lets, finding.says)).collect::<Vec<_>>()
    };
    let whole = says(&[]);
    assert_eq!((whole[0].1, whole[1].1), (Some(false), None), "{whole:?}");
    assert!(whole[1].2.contains("is whole; 1 person may break it"), "{whole:?}");
    let broken = says(&approvals);
    assert_eq!((broken[0].1, broken[1].1), (None, Some(true)), "{broken:?}");
    assert!(broken[0].2.contains("has nobody yet"), "{broken:?}");
}

#[test]
fn a_policy_with_a_glass_makes_sense() {
    let with = |change: &dyn Fn(&str) -> String| {
        let text = policy_text() + &change(&table(""));
        Policy::parse(text.as_bytes()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with(&str::to_owned), Ok(()));
    let replaced = |from: &'static str, to: &str| {
        let to = to.to_owned();
        move |table: &str| {
            assert!(table.contains(from), "{from}");
            table.replace(from, &to)
        }
    };
    let daves = line(DAVES_GLASS);
    for (change, why) in [
        (
            &replaced("person = \"dave\"", "person = \"nobody\"") as &dyn Fn(&str) -> String,
            "is not a person in this policy",
        ),
        (&replaced("person = \"dave\"", "person = \"fixer\""), "is not a person in this policy"),
        (&|table: &str| table.replace(&daves, &line(DAVE)), "is listed already, for `dave`"),
        (&|table: &str| table.replace(&daves, &line(AGENT)), "is listed already, for `fixer`"),
        (&|table: &str| table.replace(&daves, &line(ALICES_GLASS)), "is listed already, for `dave`"),
        (
            &|table: &str| table.replace(&daves, &line(ROOT)),
            "is the break-glass key of `dave`, which does nothing else",
        ),
        (&|table: &str| format!("{table}{}", table.replace("nobody else", "again")), "is listed already, for `dave`"),
        (&|table: &str| table.replace(&daves, "ssh-rsa AAAA"), "a key of `dave` is not taken"),
        (&replaced("max-validity = \"1h\"", "max-validity = \"3h\""), "`max-validity` is 3h, expected at most 2h"),
        (
            &replaced("max-validity = \"1h\"", "max-validity = \"soon\""),
            "`max-validity`: `soon` is not a length of time",
        ),
        (&replaced("targets = [\"web-*\"]", "targets = []"), "each need one entry at least"),
        (
            &replaced("max-validity = \"1h\"", "max-validity = \"1h\"\npeople = 3"),
            "it needs 3 people, and 2 have a key",
        ),
        (&replaced("max-validity = \"1h\"", "max-validity = \"1h\"\npeople = 0"), "it needs 0 people"),
        (&replaced("max-validity = \"1h\"", "max-validity = \"1h\"\nmore = 1"), "unknown field"),
    ] {
        let error = with(change).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
    // However long approvals may be good, this one is for a day at most.
    let long = policy_text().replace("max-validity = \"2h\"", "max-validity = \"30d\"");
    let error = Policy::parse((long + &table("").replace("\"1h\"", "\"25h\"")).as_bytes()).expect_err("too long");
    assert!(error.to_string().contains("`max-validity` is 25h, expected at most 1d"), "{error}");
}

#[test]
fn a_glass_is_told_in_words() {
    let says = |text: String| {
        let policy = Policy::parse(text.as_bytes()).expect("a policy");
        policy.entries().into_iter().find(|entry| entry.section == "break-glass").map(|entry| entry.says)
    };
    let said = says(policy_text() + &table("people = 2\ntouch = true\nthrough-freezes = true\n")).expect("it is told");
    for words in [
        "2 people with a touch in place of every quorum, on `web-*` at most: `files.read /**`",
        "for 1h at most; in a freeze too",
        "of `dave`",
    ] {
        assert!(said.contains(words), "{said}");
    }
    // Whose keys they are is told there, and not under the people.
    let policy = Policy::parse((policy_text() + &table("")).as_bytes()).expect("a policy");
    let people = policy.entries().into_iter().filter(|entry| entry.section == "person");
    assert!(people.into_iter().all(|entry| !entry.says.contains(key(DAVES_GLASS).fingerprint())));
    assert_eq!(policy.grants().filter(|(stands, _)| stands == "break-glass `nobody else`").count(), 2);
    assert_eq!(says(policy_text()), None);
}

/// Manifests without the term are the same bytes as ever, and what names one cannot hide it.
#[test]
fn the_term_is_read_as_the_whole_manifest_is() {
    let world = World::new();
    let manifest = world.approval(&world.proposal().expect("a proposal")).manifest;
    let text = String::from_utf8(manifest).expect("text");
    assert!(!text.contains("break-glass") && named_in(text.as_bytes()).is_none());
    for term in ["\"break-glass\":\"x\"", "\"\\u0062reak-glass\":\"x\"", "\"break\\u002dglass\" : \"\\u0078\""] {
        let with = text.replace("\"reason\":", &format!("{term},\"reason\":"));
        let read: ApprovalManifest = strict::from_slice(with.as_bytes(), MAX_MANIFEST).expect(term);
        assert_eq!(read.predicate.break_glass, named_in(with.as_bytes()), "{term}");
        assert_eq!(read.predicate.break_glass.as_deref(), Some("x"), "{term}");
    }
}
