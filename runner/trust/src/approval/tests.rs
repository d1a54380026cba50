use countersign_model::Role;

use super::*;
use crate::fixture::*;

#[test]
fn writes_compact_json_with_the_proposals_terms() {
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let (manifest, bytes) = draft(&proposal, world.draft()).expect("a draft");
    assert_eq!(bytes, serde_json::to_vec(&manifest).expect("JSON"));
    let text = String::from_utf8(bytes).expect("text");
    assert!(
        text.starts_with(r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fix","digest":{"sha256":""#)
    );
    assert!(
        text.contains(r#""predicateType":"urn:countersign:approval:v1""#)
            && text.contains(r#""not-before":1800000000000"#)
    );
    assert_eq!(manifest.subject.len(), 3);
    assert_eq!(manifest.predicate.proposal, proposal.digest());
    assert_eq!(manifest.predicate.targets, proposal.document().targets);
}

#[test]
fn narrowed_grants_are_authorized() {
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    let narrowing = grant("files.write /etc/app.conf max-calls=1");
    let grants =
        crate::narrow(&proposal.document().grants, std::slice::from_ref(&narrowing), &contains).expect("narrower");
    let (_, manifest) = draft(&proposal, ApprovalDraft { grants, ..world.draft() }).expect("a draft");
    let signatures = vec![signed(ALICE, "approval@countersign", &manifest)];
    let authorized =
        world.authorize_with(&proposal, &[crate::SignedApproval { manifest, signatures }]).expect("authorized");
    assert_eq!(authorized.grants(Role::Fix), [grant("files.read /etc/**"), narrowing]);
}

#[test]
fn refuses_what_no_run_would_take() {
    let world = World::new();
    let proposal = world.proposal().expect("a proposal");
    type Change = fn(&mut ApprovalDraft);
    let cases: [(DraftError, Change); 9] = [
        (DraftError::NoReason, |d| d.reason = " \n".to_owned()),
        (DraftError::Reason, |d| d.reason = "x".repeat(MAX_REASON + 1)),
        (DraftError::RollbackOwner, |d| d.rollback_owner.clear()),
        (DraftError::RollbackOwner, |d| d.rollback_owner = "x".repeat(MAX_ROLLBACK_OWNER + 1)),
        (DraftError::Window, |d| d.expires = d.not_before),
        (DraftError::ProposalExpired, |d| (d.not_before, d.expires) = (NOW + HOUR, NOW + 2 * HOUR)),
        (DraftError::Uses, |d| d.uses = 0),
        (DraftError::Confirmation, |d| d.confirmation = Some(Confirmation { within_ms: 0, silence_keeps: false })),
        (DraftError::TooLarge(0), |d| {
            let reference = EvidenceReference { id: "x".repeat(MAX_MANIFEST), digest: digest("") };
            d.evidence.push(reference);
        }),
    ];
    for (expected, change) in cases {
        let mut changed = world.draft();
        change(&mut changed);
        let error = draft(&proposal, changed).expect_err("refused");
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{error}");
    }
    assert!(matches!(crate::draft_denial(proposal.digest(), "", 0), Err(DraftError::NoReason)));
}
