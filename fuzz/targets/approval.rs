//! What is signed: approval manifests, denials, standings and rehearsals as strict JSON; and proposals behind a signature of the
//! fuzzer's own, so that what comes after the signature is reached.
#![no_main]

use std::sync::LazyLock;

use countersign_model::documents::{
    ApprovalManifest, DenialDocument, ProposalDocument, RehearsalDocument, StandingDocument, namespace,
};
use countersign_model::strict;
use countersign_trust::{MAX_MANIFEST, Policy, Proposal, SigningKey, StarterPolicy, sign};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

static STAGE: LazyLock<(SigningKey, Policy)> = LazyLock::new(|| {
    let (approver, agent) =
        (SigningKey::generate("alice").expect("a key"), SigningKey::generate("agent").expect("a key"));
    let starter = StarterPolicy {
        approvers: &[approver.public_key().clone()],
        proposers: &[agent.public_key().clone()],
        unlisted: false,
        now: 1_800_000_000_000,
    };
    let policy = Policy::parse(starter.render().expect("a policy").as_bytes()).expect("it parses");
    (agent, policy)
});

fuzz_target!(|bytes: &[u8]| {
    let strict = [
        again::<ApprovalManifest>(bytes),
        again::<DenialDocument>(bytes),
        again::<ProposalDocument>(bytes),
        again::<RehearsalDocument>(bytes),
        again::<StandingDocument>(bytes),
    ];
    let (agent, policy) = &*STAGE;
    let signature = sign(agent, namespace::PROPOSAL, bytes).expect("a signature");
    if let Ok(proposal) = Proposal::verify(bytes, signature.as_bytes(), policy) {
        assert!(strict.contains(&true));
        assert_eq!(proposal.digest(), countersign_model::Digest::of(bytes));
    }
});

/// Whether the bytes are such a document; what is read, written and read again is the same.
fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(document) = strict::from_slice::<T>(bytes, MAX_MANIFEST) else { return false };
    let written = serde_json::to_vec(&document).expect("it is written");
    let read: T = strict::from_slice(&written, usize::MAX).expect("it is read again");
    assert_eq!(serde_json::to_vec(&read).expect("it is written"), written);
    true
}
