use countersign_model::Digest;
use countersign_model::documents::{DOCUMENT_VERSION, ResolutionDocument, Way, namespace};

use super::*;
use crate::authenticator::{Authenticator, ORIGIN};
use crate::demands::Unmet;
use crate::fixture::{ALICE, CAROL, NOW, RUNNER, World, key, policy_text};
use crate::{KeyKind, SignatureError, SignedDenial};

/// The fixture's policy, where Alice has these keys instead of her own, and Carol proposes.
fn policy(keys: &[&Authenticator], rest: &str) -> String {
    let lines: Vec<String> = keys.iter().map(|key| key.line()).collect();
    let text = policy_text().replace(&key(ALICE).public_key().to_openssh(), &lines.join("\", \""));
    text.replacen("[approval]", &format!("{rest}\n[approval]"), 1)
}

fn read(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).expect(text)
}

fn listing(origin: &str) -> String {
    format!("[keys]\norigins = [\"{origin}\"]")
}

fn by(authenticator: &Authenticator, policy: &Policy) -> Result<String, Refusal> {
    let signature = authenticator.sign(namespace::APPROVAL, b"{}");
    signed_by(policy, namespace::APPROVAL, b"{}", signature.as_bytes()).map(|(_, who)| who.name().to_owned())
}

fn unmet(found: Result<String, Refusal>) -> Unmet {
    match found {
        Err(Refusal::Unmet { on: Signed::Approval, unmet }) => unmet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn people_sign_with_hardware() {
    let keys = [Authenticator::ed25519(11), Authenticator::ecdsa(12), Authenticator::passkey(13)];
    let policy = read(&policy(&keys.each_ref(), &listing(ORIGIN)));
    for key in &keys {
        assert_eq!(by(key, &policy).as_deref(), Ok("alice"));
        assert_eq!(unmet(by(&key.clone().untouched(), &policy)), Unmet::Touch);
        // The same secret for another application is another key, which nobody listed.
        let other = key.clone().for_application("ssh:other");
        assert!(by(&other, &policy).is_ok_and(|name| name.starts_with("SHA256:")));
    }
    let [.., passkey] = &keys;
    let other = unmet(by(&passkey.clone().at("https://evil.example"), &policy));
    assert_eq!(other, Unmet::Origin { found: "https://evil.example".to_owned(), allowed: vec![ORIGIN.to_owned()] });
}

#[test]
fn no_browser_signs_where_no_origin_is_listed() {
    let passkey = Authenticator::passkey(13);
    for rest in ["", "[keys]", "[keys]\norigins = []"] {
        let found = unmet(by(&passkey, &read(&policy(&[&passkey], rest))));
        assert_eq!(found, Unmet::Origin { found: ORIGIN.to_owned(), allowed: Vec::new() });
    }
}

#[test]
fn an_approval_by_hardware_authorizes_a_run() {
    let alice = Authenticator::ed25519(11);
    let world = World { policy: policy(&[&alice], ""), ..World::new() };
    let proposal = world.proposal().expect("a proposal");
    let mut approval = world.approval(&proposal);
    let sign = |by: &Authenticator| vec![by.sign(namespace::APPROVAL, &approval.manifest).into_bytes()];
    let (touched, untouched) = (sign(&alice), sign(&alice.clone().untouched()));
    approval.signatures = untouched;
    let refused = world.authorize_with(&proposal, std::slice::from_ref(&approval)).expect_err("untouched");
    assert!(matches!(refused, Refusal::Unmet { unmet: Unmet::Touch, .. }), "{refused:?}");
    assert!(refused.awaits_approval());
    approval.signatures = touched;
    assert!(world.authorize_with(&proposal, std::slice::from_ref(&approval)).is_ok());
}

/// Whatever people sign, the demands hold for it.
#[test]
fn nothing_is_signed_without_a_touch() {
    let (alice, carol) = (Authenticator::ed25519(11), Authenticator::ecdsa(14));
    let text = policy(&[&alice], "").replace(&key(CAROL).public_key().to_openssh(), &carol.line());
    let world = World { policy: text.clone(), ..World::new() };
    let (policy, proposal) = (read(&text), world.proposal().expect("a proposal"));
    let touch = |found: Option<Refusal>| match found {
        Some(Refusal::Unmet { on, unmet: Unmet::Touch }) => on,
        other => panic!("{other:?}"),
    };
    let sign = |namespace, bytes: &[u8]| alice.clone().untouched().sign(namespace, bytes).into_bytes();

    let (_, bytes) = crate::draft_denial(proposal.digest(), "no", NOW).expect("a denial");
    let denial = sign(namespace::DENIAL, &bytes);
    let found = crate::verify_denial(&bytes, &denial, proposal.digest(), &policy).err();
    assert_eq!(touch(found), Signed::Denial);

    let runner = key(RUNNER);
    let bytes = crate::draft_pause(runner.fingerprint(), true, "the sale", NOW).expect("a pause");
    let found = crate::verify_pause(&bytes, &sign(namespace::PAUSE, &bytes), runner.fingerprint(), &policy).err();
    assert_eq!(touch(found), Signed::Pause);

    let waiting = crate::WaitingRun {
        run: "r-0123456789ab",
        case: world.case(&proposal, &policy),
        approval: Digest::of(b"approval"),
        target: "web-1",
        runner: runner.fingerprint(),
    };
    let (_, bytes) = crate::draft_confirmation(&waiting, true, None, NOW).expect("a confirmation");
    let found = crate::verify_confirmation(&bytes, &sign(namespace::CONFIRMATION, &bytes), &waiting).err();
    assert_eq!(touch(found), Signed::Confirmation);

    let document = ResolutionDocument {
        version: DOCUMENT_VERSION,
        run: "r-0123456789ab".to_owned(),
        proposal: proposal.digest(),
        target: "web-1".to_owned(),
        runner: runner.fingerprint().to_owned(),
        subject: "/etc/app.conf".to_owned(),
        way: Way::Accept,
        found: None,
        reason: "seen".to_owned(),
        at: NOW,
    };
    let bytes = crate::draft_resolution(&document).expect("a resolution");
    let found = crate::verify_resolution(&bytes, &sign(namespace::RESOLUTION, &bytes), &[], &policy).err();
    assert_eq!(touch(found), Signed::Resolution);

    let bytes = serde_json::to_vec(&world.document).expect("JSON");
    let signature = carol.clone().untouched().sign(namespace::PROPOSAL, &bytes).into_bytes();
    assert_eq!(touch(crate::Proposal::verify(&bytes, &signature, &policy).err()), Signed::Proposal);
}

/// A denial is final: what is demanded later of signatures does not undo one that was kept.
#[test]
fn a_kept_denial_outlives_the_origin_it_was_signed_at() {
    let passkey = Authenticator::passkey(13);
    let world = World { policy: policy(&[&passkey], &listing(ORIGIN)), ..World::new() };
    let proposal = world.proposal().expect("a proposal");
    let (_, document) = crate::draft_denial(proposal.digest(), "no", NOW).expect("a denial");
    let signature = passkey.sign(namespace::DENIAL, &document).into_bytes();
    crate::verify_denial(&document, &signature, proposal.digest(), &world.read_policy()).expect("it counts");
    let later = read(&policy(&[&passkey], ""));
    assert!(crate::verify_denial(&document, &signature, proposal.digest(), &later).is_err());
    let denied = crate::denied(&[SignedDenial { document, signature }], proposal.digest(), &later).expect("readable");
    assert_eq!(denied.expect("denied").by.name(), "alice");
}

#[test]
fn runners_sign_with_no_hardware() {
    let hardware = Authenticator::ed25519(11);
    let signature = hardware.sign(namespace::EVIDENCE, b"{}");
    let fingerprint =
        crate::verify(namespace::EVIDENCE, b"{}", signature.as_bytes()).expect("valid").fingerprint().to_owned();
    let refused = crate::verify_runner(b"{}", signature.as_bytes(), namespace::EVIDENCE, &fingerprint);
    let kind = KeyKind::SkEd25519.name().to_owned();
    assert_eq!(refused, Err(Refusal::Signature { on: Signed::Evidence, error: SignatureError::NotARunners(kind) }));
}
