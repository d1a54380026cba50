use countersign_model::documents::{ProposalDocument, namespace};
use countersign_model::{Mode, Role, RollbackBy};

use super::*;
use crate::SignatureError;
use crate::fixture::*;

fn verify(text: &str, signer: u8) -> Result<Proposal, Refusal> {
    let policy = Policy::parse(policy_text().as_bytes()).expect("a policy");
    Proposal::verify(text.as_bytes(), &signed(signer, namespace::PROPOSAL, text.as_bytes()), &policy)
}

fn by(seed: u8, change: impl FnOnce(&mut ProposalDocument)) -> String {
    let mut document = document();
    document.proposer = key(seed).fingerprint().to_owned();
    change(&mut document);
    serde_json::to_string(&document).expect("JSON")
}

#[test]
fn takes_a_valid_one() {
    let text = by(AGENT, |_| ());
    let proposal = verify(&text, AGENT).expect("valid");
    assert_eq!(proposal.digest(), Digest::of(text.as_bytes()));
    assert_eq!(proposal.document().hypothesis, "a bad value");
    assert_eq!(proposal.proposer().name(), "fixer");
    assert_eq!(proposal.proposer().person(), Some("carol"));
    assert_eq!(verify(&by(CAROL, |_| ()), CAROL).expect("valid").proposer().person(), Some("carol"));
}

#[test]
fn the_signer_must_be_the_proposer_and_may_propose() {
    assert!(matches!(verify(&by(AGENT, |_| ()), CAROL), Err(Refusal::OtherProposer { named, signer })
        if named == key(AGENT).fingerprint() && signer == key(CAROL).fingerprint()));
    for seed in [ALICE, DAVE, STRANGER] {
        assert!(matches!(verify(&by(seed, |_| ()), seed), Err(Refusal::MayNotPropose { .. })));
    }
    let policy = policy_text().replace(r#"who = ["*"]"#, r#"who = ["*", "unlisted"]"#);
    let policy = Policy::parse(policy.as_bytes()).expect("a policy");
    let text = by(STRANGER, |_| ());
    let signature = signed(STRANGER, namespace::PROPOSAL, text.as_bytes());
    let proposal = Proposal::verify(text.as_bytes(), &signature, &policy).expect("allowed");
    assert_eq!(proposal.proposer().name(), key(STRANGER).fingerprint());
    assert_eq!(proposal.proposer().person(), None);
}

#[test]
fn the_signature_must_be_on_these_bytes_as_a_proposal() {
    let policy = Policy::parse(policy_text().as_bytes()).expect("a policy");
    let text = by(AGENT, |_| ());
    let approval = signed(AGENT, namespace::APPROVAL, text.as_bytes());
    assert!(matches!(
        Proposal::verify(text.as_bytes(), &approval, &policy),
        Err(Refusal::Signature { on: Signed::Proposal, error: SignatureError::WrongNamespace { .. } })
    ));
    let signature = signed(AGENT, namespace::PROPOSAL, text.as_bytes());
    let other = text.replace("a bad value", "a bad thing");
    assert!(matches!(
        Proposal::verify(other.as_bytes(), &signature, &policy),
        Err(Refusal::Signature { on: Signed::Proposal, error: SignatureError::WrongSignature { .. } })
    ));
    assert!(matches!(
        Proposal::verify(text.as_bytes(), b"", &policy),
        Err(Refusal::Signature { error: SignatureError::NotASignature(_), .. })
    ));
}

#[test]
fn it_is_strict_json() {
    let text = by(AGENT, |_| ());
    for (bad, why) in [
        (text.replace(r#""seed":7"#, r#""seed":7,"seed":7"#), "stands twice"),
        (text.replace(r#""workers":4"#, r#""workers":4,"workers":5"#), "stands twice"),
        (text.replace(r#""seed":7"#, r#""seed":7,"more":"\u001b[31m"#), "cannot be read"),
        (text.replace(r#""seed":7"#, r#""seed":7,"\u001b":1"#), "unknown field"),
        (text.replace(r#""seed":7"#, r#""seed":7.0"#), "not a whole number"),
        (text.replace(r#""seed":7,"#, ""), "missing field"),
        (format!("{text} {{}}"), "trailing"),
        (" ".repeat(MAX_PROPOSAL + 1), "more than"),
        (String::new(), "EOF"),
    ] {
        assert_ne!(bad, text);
        let refusal = verify(&bad, AGENT).expect_err(why);
        assert!(matches!(refusal, Refusal::Unreadable { on: Signed::Proposal, .. }), "{refusal:?}");
        let message = refusal.to_string();
        assert!(message.contains(why) && !message.contains('\u{1b}'), "{message}");
    }
    // Its size is looked at before its signature.
    let policy = Policy::parse(policy_text().as_bytes()).expect("a policy");
    let large = Proposal::verify(&vec![b' '; MAX_PROPOSAL + 1], b"", &policy);
    assert!(matches!(large, Err(Refusal::Unreadable { .. })));
    assert!(matches!(
        verify(&by(AGENT, |document| document.version = 2), AGENT),
        Err(Refusal::Version { on: Signed::Proposal, found: 2, expected: 1 })
    ));
}

#[test]
fn it_must_make_sense() {
    type Change = fn(&mut ProposalDocument);
    let cases: [(&str, Change); 14] = [
        ("has 0 targets", |d| d.targets.clear()),
        ("has 257 targets", |d| d.targets = vec![d.targets[0].clone(); 257]),
        ("`web-1` stands twice", |d| d.targets[1].name = "web-1".to_owned()),
        ("no fix step", |d| d.steps.retain(|role, _| *role != Role::Fix)),
        ("no check step", |d| d.steps.retain(|role, _| *role != Role::Check)),
        ("rollback is a step", |d| d.steps.retain(|role, _| *role != Role::Rollback)),
        ("a investigation step, and has none", |d| drop(d.grants.insert(Role::Investigation, Vec::new()))),
        ("257 grants", |d| drop(d.grants.insert(Role::Fix, vec![grant("files.read /x"); 257]))),
        ("may only read", |d| drop(d.grants.insert(Role::Check, vec![grant("files.write /x")]))),
        ("within an hour", |d| d.success.within_ms = 3_600_001),
        ("every 50 ms", |d| d.success.every_ms = 49),
        ("expires before", |d| d.expires = d.created),
        ("one target and exact", |d| d.undoes = Some(undone())),
        ("one target and exact", |d| {
            d.undoes = Some(undone());
            d.targets.truncate(1);
            d.mode = Mode::Scoped;
        }),
    ];
    for (why, change) in cases {
        let refusal = verify(&by(AGENT, change), AGENT).expect_err(why);
        assert!(matches!(refusal, Refusal::Senseless { on: Signed::Proposal, .. }), "{refusal:?}");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
    let undo = by(AGENT, |document| {
        document.rollback = RollbackBy::Undo;
        document.steps.remove(&Role::Rollback);
    });
    assert!(verify(&undo, AGENT).is_ok());
    let undone = by(AGENT, |document| {
        document.undoes = Some(undone());
        document.targets.truncate(1);
    });
    assert!(verify(&undone, AGENT).is_ok());
}
