//! A trust policy that was accepted is never followed by a lower one.

use countersign_record::{AcceptedPolicy, RecordError};

use crate::support::fixture;

fn policy(serial: u64, text: &str) -> AcceptedPolicy {
    AcceptedPolicy { serial, document: text.as_bytes().to_vec(), signatures: vec!["signed".to_owned()], at: 1 }
}

#[test]
fn serials_only_rise() {
    let fixture = fixture();
    let policies = fixture.state.policies();
    assert_eq!((policies.newest().expect("none"), policies.accepted().expect("none")), (None, Vec::new()));
    let (third, fifth) = (policy(3, "three"), policy(5, "five"));
    policies.add(&third).expect("the first");
    policies.add(&fifth).expect("a higher one");
    // Two processes may accept the same at once.
    policies.add(&fifth).expect("the same again");
    for lower in [policy(4, "four"), third.clone(), policy(5, "another"), policy(1, "one")] {
        let refused = policies.add(&lower).expect_err("lower");
        assert!(matches!(refused, RecordError::LowerPolicy { accepted: 5, .. }), "{refused}");
        assert!(refused.hint().is_some());
    }
    // Another process sees the same, oldest first.
    let second = countersign_record::State::open(fixture.path()).expect("opened again");
    assert_eq!(second.policies().accepted().expect("both"), [third, fifth]);
    assert_eq!(second.policies().newest().expect("one"), Some(5));
}
