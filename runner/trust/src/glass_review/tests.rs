use countersign_model::Digest;

use super::*;
use crate::fixture::*;

const GLASS: u8 = 20;

fn document() -> BreakGlassReviewDocument {
    BreakGlassReviewDocument {
        version: DOCUMENT_VERSION,
        approval: Digest::of(b"approval"),
        proposal: Digest::of(b"proposal"),
        runner: key(RUNNER).fingerprint().to_owned(),
        reason: "it did burn".to_owned(),
        at: NOW,
    }
}

fn policy() -> Policy {
    let table = format!(
        "[[break-glass]]\nname = \"nobody else\"\ntargets = [\"*\"]\ngrants = [\"files.read /**\"]\nmax-validity = \"1h\"\n\
         keys = [{{ person = \"bob\", key = \"{}\" }}]\n",
        line(GLASS)
    );
    Policy::parse((policy_text() + &table).as_bytes()).expect("a policy")
}

fn verified(signer: u8, namespace: &str, broken_by: &str, proposer: u8) -> Result<Principal, Refusal> {
    let policy = policy();
    let bytes = draft_glass_review(&document()).expect("drafted");
    let proposers = [policy.principal(key(proposer).fingerprint())];
    let signature = signed(signer, namespace, &bytes);
    verify_glass_review(&bytes, &signature, &document(), &[broken_by.to_owned()], &proposers, &policy)
        .map(|(_, who)| who)
}

const ITS: &str = namespace::BREAK_GLASS_REVIEW;

#[test]
fn somebody_else_who_may_approve_closes_it() {
    for signer in [ALICE, BOB, BOBS_OTHER] {
        assert!(verified(signer, ITS, "dave", AGENT).is_ok());
    }
    let why = |signer, broken_by, proposer| match verified(signer, ITS, broken_by, proposer) {
        Err(Refusal::MayNotCloseReview { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(BOB, "bob", AGENT), "they broke the glass");
    assert_eq!(why(BOBS_OTHER, "bob", AGENT), "they broke the glass");
    assert!(why(CAROL, "dave", AGENT).contains("they own the proposer"));
    assert_eq!(why(BOB, "dave", BOBS_OTHER), "they proposed it");
    // Neither an agent, nor who may not approve, nor a key that only breaks the glass, nor a stranger.
    for signer in [AGENT, DAVE, GLASS, STRANGER] {
        assert!(why(signer, "alice", AGENT).starts_with("only a person may"));
    }
    assert!(matches!(verified(ALICE, namespace::APPROVAL, "dave", AGENT), Err(Refusal::Signature { .. })));
}

#[test]
fn it_is_of_this_very_glass() {
    let policy = policy();
    let verify = |document: &BreakGlassReviewDocument| {
        let bytes = serde_json::to_vec(document).expect("JSON");
        verify_glass_review(&bytes, &signed(ALICE, ITS, &bytes), &super::tests::document(), &[], &[], &policy).map(drop)
    };
    assert_eq!(verify(&document()), Ok(()));
    assert!(matches!(verify(&BreakGlassReviewDocument { version: 9, ..document() }), Err(Refusal::Version { .. })));
    for other in [
        BreakGlassReviewDocument { approval: Digest::of(b"x"), ..document() },
        BreakGlassReviewDocument { proposal: Digest::of(b"x"), ..document() },
        BreakGlassReviewDocument { runner: "SHA256:x".to_owned(), ..document() },
    ] {
        assert!(matches!(verify(&other), Err(Refusal::Senseless { .. })));
    }
    assert_eq!(
        draft_glass_review(&BreakGlassReviewDocument { reason: " ".to_owned(), ..document() }),
        Err(DraftError::NoReason)
    );
}
