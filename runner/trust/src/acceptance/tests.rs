use super::*;
use crate::fixture::*;

/// A version of the policy whose roots are these, signed by those.
fn version(serial: u64, threshold: usize, roots: &[u8], signers: &[u8]) -> SignedPolicy {
    let keys: Vec<_> = roots.iter().map(|seed| format!("\"{}\"", line(*seed))).collect();
    let text = policy_text()
        .replace("serial = 7", &format!("serial = {serial}"))
        .replace("threshold = 1", &format!("threshold = {threshold}"))
        .replace(&format!("keys = [\"{}\"]", line(ROOT)), &format!("keys = [{}]", keys.join(", ")));
    signed_policy(text, signers)
}

fn signed_policy(text: String, signers: &[u8]) -> SignedPolicy {
    let document = text.into_bytes();
    let signatures = signers.iter().map(|seed| signed(*seed, namespace::TRUST_POLICY, &document)).collect();
    SignedPolicy { document, signatures }
}

fn pins(threshold: usize, roots: &[u8]) -> PolicyPins {
    let roots = roots.iter().map(|seed| key(*seed).public_key().clone()).collect();
    PolicyPins { roots, threshold, least_serial: 1, unsigned: None }
}

fn serial(policy: Result<Policy, PolicyRefusal>) -> Result<u64, PolicyRefusal> {
    policy.map(|policy| policy.serial())
}

#[test]
fn the_first_is_signed_by_the_pinned_roots_or_pinned_itself() {
    let pins = pins(2, &[ALICE, BOB, CAROL]);
    let roots = [ALICE, BOB, CAROL];
    let first = |signers: &[u8]| version(1, 2, &roots, signers);
    assert_eq!(serial(succeed(&first(&[ALICE, CAROL]), &[], &pins, NOW)), Ok(1));
    for too_few in [&[][..], &[ALICE], &[ALICE, ALICE], &[ALICE, BOBS_OTHER], &[ALICE, STRANGER], &[STRANGER, RUNNER]] {
        let refused = succeed(&first(too_few), &[], &pins, NOW).expect_err("too few");
        assert!(matches!(refused, PolicyRefusal::TooFew { whose: Roots::Pinned, needed: 2, .. }), "{refused:?}");
        // Nor is it in force where it was slipped into what was accepted.
        assert!(matches!(in_force(&[first(too_few)], &pins), Err(PolicyRefusal::NotPinned)));
    }
    // Pinned by its digest, nobody needs to have signed it; nothing else is.
    let unsigned = first(&[]);
    let by_digest = PolicyPins { unsigned: Some(Digest::of(&unsigned.document)), ..pins.clone() };
    assert_eq!(serial(succeed(&unsigned, &[], &by_digest, NOW)), Ok(1));
    assert_eq!(serial(in_force(&[unsigned], &by_digest)), Ok(1));
    assert!(succeed(&version(2, 2, &roots, &[]), &[], &by_digest, NOW).is_err());
    assert!(matches!(in_force(&[], &pins), Err(PolicyRefusal::NotPinned)));
}

/// The rule of TUF: the old roots let it, and the new ones are there.
#[test]
fn the_next_is_signed_by_the_roots_of_both() {
    let pins = pins(1, &[ALICE]);
    let first = version(1, 1, &[ALICE], &[ALICE]);
    let next = |signers: &[u8]| version(2, 2, &[BOB, CAROL], signers);
    let accepted = [first.clone()];
    let whose = |signers| match succeed(&next(signers), &accepted, &pins, NOW) {
        Err(PolicyRefusal::TooFew { whose, .. }) => Some(whose),
        _ => None,
    };
    assert_eq!(whose(&[BOB, CAROL]), Some(Roots::InForce));
    assert_eq!(whose(&[ALICE, BOB]), Some(Roots::Own));
    assert_eq!(whose(&[ALICE, BOB, BOB]), Some(Roots::Own));
    let second = next(&[ALICE, BOB, CAROL]);
    assert_eq!(serial(succeed(&second, &accepted, &pins, NOW)), Ok(2));

    // From there on the new ones decide, and the old one, though the configuration pins it, does not.
    let accepted = [first, second.clone()];
    let back = version(3, 1, &[ALICE], &[ALICE]);
    assert!(matches!(
        succeed(&back, &accepted, &pins, NOW),
        Err(PolicyRefusal::TooFew { whose: Roots::InForce, needed: 2, .. })
    ));
    let third = version(3, 2, &[BOB, CAROL], &[BOB, CAROL]);
    assert_eq!(serial(succeed(&third, &accepted, &pins, NOW)), Ok(3));
    let [first, second] = accepted;
    let chain = [first.clone(), second.clone(), third.clone()];
    let policy = in_force(&chain, &pins).expect("in force");
    let earlier = |signed: &SignedPolicy| policy.knows(&Digest::of(&signed.document));
    assert!(policy.serial() == 3 && earlier(&first) && earlier(&second) && earlier(&third));
    // One that is missing, or was changed, is not skipped.
    assert!(matches!(in_force(&[first.clone(), third.clone()], &pins), Err(PolicyRefusal::Broken { serial: 3, .. })));
    let unsigned = SignedPolicy { signatures: Vec::new(), ..third.clone() };
    assert!(matches!(
        in_force(&[first.clone(), second.clone(), unsigned], &pins),
        Err(PolicyRefusal::Broken { serial: 3, .. })
    ));
    assert!(matches!(in_force(&[first, third, second], &pins), Err(PolicyRefusal::Broken { .. })));
}

/// Keys that are lost are replaced by the operator's configuration, and by nothing else.
#[test]
fn other_pins_begin_anew() {
    let first = version(1, 1, &[ALICE], &[ALICE]);
    let second = version(2, 1, &[BOB], &[BOB]);
    let accepted = [first.clone()];
    assert!(succeed(&second, &accepted, &pins(1, &[ALICE]), NOW).is_err());
    let bob = pins(1, &[BOB]);
    assert!(matches!(in_force(&accepted, &bob), Err(PolicyRefusal::NotPinned)));
    assert_eq!(serial(succeed(&second, &accepted, &bob, NOW)), Ok(2));
    let policy = in_force(&[first.clone(), second.clone()], &bob).expect("in force");
    assert!(policy.serial() == 2 && policy.earlier().is_empty(), "what was approved under another's is void");
    // It cannot be lower even so.
    let lower = version(1, 1, &[BOB], &[BOB]);
    assert!(matches!(
        succeed(&lower, &[first, second], &bob, NOW),
        Err(PolicyRefusal::LowerSerial { found: 1, accepted: 2 })
    ));
}

#[test]
fn a_serial_only_rises() {
    let pins = pins(1, &[ALICE]);
    let of = |serial| version(serial, 1, &[ALICE], &[ALICE]);
    let accepted = [of(3), of(5)];
    assert!(matches!(
        succeed(&of(4), &accepted, &pins, NOW),
        Err(PolicyRefusal::LowerSerial { found: 4, accepted: 5 })
    ));
    let twin = version(5, 1, &[ALICE, BOB], &[ALICE]);
    assert!(matches!(succeed(&twin, &accepted, &pins, NOW), Err(PolicyRefusal::SameSerial { serial: 5, .. })));
    // However it is pinned.
    let by_digest = PolicyPins { unsigned: Some(Digest::of(&of(4).document)), ..pins.clone() };
    assert!(matches!(succeed(&of(4), &accepted, &by_digest, NOW), Err(PolicyRefusal::LowerSerial { .. })));
    assert_eq!(serial(succeed(&of(6), &accepted, &pins, NOW)), Ok(6));
    // The configuration's least is above both.
    let least = PolicyPins { least_serial: 6, ..pins };
    assert!(matches!(in_force(&accepted, &least), Err(PolicyRefusal::BelowLeast { found: 5, least: 6 })));
    assert!(matches!(succeed(&of(5), &[], &least, NOW), Err(PolicyRefusal::BelowLeast { found: 5, least: 6 })));
}

#[test]
fn what_is_over_or_not_yet_made_is_not_accepted() {
    let pins = pins(1, &[ALICE]);
    let policy = version(1, 1, &[ALICE], &[ALICE]);
    let (issued, expires) = (Policy::parse(&policy.document).expect("one").issued(), 1_830_297_600_000);
    assert!(matches!(succeed(&policy, &[], &pins, expires), Err(PolicyRefusal::Expired { .. })));
    assert_eq!(serial(succeed(&policy, &[], &pins, expires - 1)), Ok(1));
    assert!(matches!(succeed(&policy, &[], &pins, issued - 60_001), Err(PolicyRefusal::Ahead { .. })));
    assert_eq!(serial(succeed(&policy, &[], &pins, issued - 60_000)), Ok(1));
    // What is in force goes on being told, so that it can be renewed: the decider refuses by it.
    assert_eq!(serial(in_force(&[policy], &pins)), Ok(1));
}

#[test]
fn only_signatures_on_it_in_its_own_namespace_count() {
    let pins = pins(1, &[ALICE]);
    let good = version(1, 1, &[ALICE], &[ALICE]);
    for other in [namespace::APPROVAL, namespace::PROPOSAL, "trust-policy"] {
        let signatures = vec![signed(ALICE, other, &good.document)];
        let refused = succeed(&SignedPolicy { signatures, ..good.clone() }, &[], &pins, NOW);
        assert!(matches!(refused, Err(PolicyRefusal::TooFew { .. })), "{other}");
    }
    let mut document = good.document.clone();
    document.push(b'\n');
    assert!(succeed(&SignedPolicy { document, ..good.clone() }, &[], &pins, NOW).is_err());
    // One that is damaged takes nothing from one that is not; more than are looked at are not looked at.
    let mut more = good.clone();
    more.signatures.insert(0, b"no signature".to_vec());
    assert_eq!(serial(succeed(&more, &[], &pins, NOW)), Ok(1));
    more.signatures = vec![good.signatures[0].clone(); MAX_SIGNATURES + 1];
    assert!(matches!(succeed(&more, &[], &pins, NOW), Err(PolicyRefusal::TooManySignatures(_))));
}

#[test]
fn messages_say_what_to_do() {
    let refused = succeed(&version(1, 1, &[ALICE], &[]), &[], &pins(1, &[ALICE]), NOW).expect_err("unsigned");
    assert_eq!(refused.to_string(), "1 of the roots that the configuration pins must sign it, and 0 have");
    assert!(refused.hint().contains("countersign trust sign"));
}
