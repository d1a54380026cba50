use super::*;
use crate::fixture::*;
use crate::{PrincipalKind, Right};

fn public(seed: u8, comment: &str) -> PublicKey {
    PublicKey::from_openssh(&format!("{} {comment}", key(seed).public_key().to_openssh())).expect("a key")
}

#[test]
fn names_come_from_comments_and_are_unique() {
    let approvers = [public(1, "alice@host"), public(2, "ALICE@host"), public(3, "\"= x"), public(4, "")];
    let proposers =
        [public(5, "alice@host"), public(1, ""), public(6, "ü ü"), public(6, "again"), public(7, "../x\u{202e}y")];
    let text = StarterPolicy { approvers: &approvers, proposers: &proposers, unlisted: true, now: NOW }
        .render()
        .expect("a policy");
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    let name = |seed| policy.principal(key(seed).fingerprint()).name().to_owned();
    assert_eq!([1, 2, 3, 4].map(name), ["alice@host", "ALICE@host-2", "x", "approver"]);
    assert_eq!([5, 6, 7].map(name), ["alice@host-3", "agent", "x-y"]);
    assert!(policy.unlisted_may_propose());
    let both = policy.principal(key(1).fingerprint());
    assert!(both.kind() == PrincipalKind::Person && both.may(Right::Propose) && both.may(Right::Approve));
    assert!(!policy.principal(key(2).fingerprint()).may(Right::Propose));
    assert_eq!(policy.principal(key(5).fingerprint()).kind(), PrincipalKind::Agent);
}

#[test]
fn needs_somebody_who_may_approve() {
    let proposers = [public(5, "agent")];
    let error = StarterPolicy { approvers: &[], proposers: &proposers, unlisted: false, now: NOW }
        .render()
        .expect_err("nobody");
    assert!(matches!(error, PolicyError::Roots(_)), "{error}");
}

#[test]
fn long_comments_are_cut() {
    let keys: Vec<PublicKey> = (1..=20).map(|seed| public(seed, &"n".repeat(200))).collect();
    let text =
        StarterPolicy { approvers: &keys, proposers: &[], unlisted: false, now: NOW }.render().expect("a policy");
    assert_eq!(Policy::parse(text.as_bytes()).expect("a policy").approvers().count(), 20);
}
