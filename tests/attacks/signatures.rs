//! Signatures that were made for something else, or as nobody makes them.

use countersign_model::documents::namespace;
use sha2::{Digest, Sha512};

use crate::edwards::{Secret, armored, doubled, line, malleated, small, to_sign};
use crate::signed::{APPROVAL, Unsigned, alice_has};
use crate::support::place::Place;

/// What else is signed here, so that no such signature passes for an approval.
const OTHERS: &[&str] = &[
    namespace::DENIAL,
    namespace::PROPOSAL,
    namespace::REHEARSAL,
    namespace::EVIDENCE,
    namespace::CONFIRMATION,
    namespace::RESOLUTION,
    namespace::STANDING,
    namespace::TRUST_POLICY,
    namespace::PAUSE,
];

#[test]
fn in_another_namespace() {
    let place = Place::new();
    let unsigned = Unsigned::of(&place);
    let before = place.standing();
    let others =
        OTHERS.iter().copied().chain(["git", "file", "approval", "approval@countersign ", "Approval@countersign"]);
    let others: Vec<_> = others.map(|namespace| (namespace, unsigned.sign("alice", namespace))).collect();
    for (namespace, signature) in &others {
        unsigned
            .hand_in(signature)
            .expect(3)
            .says(&format!("it is in the namespace `{namespace}`, expected `{APPROVAL}`"));
    }
    place.run(&unsigned.proposal).expect(3).says("nobody has");
    let taken = unsigned.hand_in(&unsigned.sign("alice", APPROVAL)).expect(0).json();
    for (namespace, signature) in &others {
        unsigned.slip_in(&taken, signature).expect(3).says(&format!("it is in the namespace `{namespace}`"));
    }
    assert_eq!(place.standing(), before, "nothing changed");
    place.run(&unsigned.proposal).expect(0);
}

/// An SSH signature is one of what `PROTOCOL.sshsig` says, by pure Ed25519, and of nothing shorter or digested before.
#[test]
fn of_other_bytes_or_by_another_variant() {
    let place = Place::new();
    let secret = Secret::new(7);
    alice_has(&place.state, &[line(&secret.public)], "");
    let unsigned = Unsigned::of(&place);
    let (manifest, before) = (unsigned.bytes(), place.standing());
    let due = to_sign(APPROVAL, &manifest);
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut table = vec![
        ("the manifest itself", secret.sign(&manifest)),
        ("its digest", secret.sign(&Sha512::digest(&manifest))),
        ("the digest of what is due", secret.sign(&Sha512::digest(&due))),
        ("Ed25519ph of the manifest", secret.sign_prehashed(&manifest)),
        ("Ed25519ph of what is due", secret.sign_prehashed(&due)),
        ("the group's order added", malleated(secret.sign(&due))),
        ("a point of order 8 added", secret.sign_with_torsion(&due)),
        ("no point at all", secret.sign_with_point(identity, &due)),
        ("nothing", [0; 64]),
    ];
    table.extend(doubled().into_iter().map(|point| ("an encoding that is none", secret.sign_with_point(point, &due))));
    for (what, signature) in &table {
        let ran = unsigned.hand_in(&armored(&secret.public, APPROVAL, signature)).expect(3);
        let says = ran.stderr.contains("did not sign these bytes") || ran.stderr.contains("its content is damaged");
        assert!(says, "{what}: {}", ran.stderr);
    }
    place.run(&unsigned.proposal).expect(3).says("nobody has");
    // What is refused is what was changed: made by the same hand as it is due, it is taken.
    let good = armored(&secret.public, APPROVAL, &secret.sign(&due));
    let taken = unsigned.hand_in(&good).expect(0).json();
    for (what, signature) in &table {
        let ran = unsigned.slip_in(&taken, &armored(&secret.public, APPROVAL, signature));
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
    }
    assert_eq!(place.standing(), before, "nothing changed");
    place.run(&unsigned.proposal).expect(0);
}

/// For a key of small order, signatures can be had without a secret.
#[test]
fn by_keys_that_anybody_has() {
    let place = Place::new();
    let unsigned = Unsigned::of(&place);
    let due = to_sign(APPROVAL, &unsigned.bytes());
    let mut nothing = [0; 64];
    nothing[0] = 1;
    for key in small() {
        let signature = armored(&key, APPROVAL, &nothing);
        unsigned.hand_in(&signature).expect(3).says("its key is weak: signatures by it prove nothing");
    }
    let torsion = Secret::new(7).public_with_torsion();
    let signature = armored(&torsion, APPROVAL, &Secret::new(7).sign(&due));
    unsigned.hand_in(&signature).expect(3).says("its key is weak");
    place.run(&unsigned.proposal).expect(3).says("nobody has");
}
