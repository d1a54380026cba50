//! What it takes to decide that a run was approved, against its hashes and signatures alone.

use countersign_capability::Registry;
use countersign_files::Files;
use countersign_model::documents::{DOCUMENT_VERSION, ProposalDocument, ProposedTarget, namespace};
use countersign_model::{Digest, Grant, Mode, Role, RollbackBy, Success};
use countersign_trust::{
    ApprovalDraft, Case, Policy, Proposal, Request, Reversal, Risk, SignedApproval, SigningKey, authorize, draft, sign,
};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

use crate::harness::{Row, each};

const ROUNDS: usize = 40;
const DECISIONS: u32 = 50;
const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

pub fn measure() -> Vec<Row> {
    let world = World::new();
    [(1, "one person"), (3, "three people")]
        .map(|(people, named)| {
            let stage = world.approved_by(people);
            let bytes = stage.approval.manifest.len();
            let row = Row::of(
                &format!("an approval by {named} verified"),
                "its SHA-256, and for each signature SHA-512 and ed25519",
                ROUNDS,
                || each(DECISIONS, || (0..DECISIONS).for_each(|_| stage.decide(&world))),
                || each(DECISIONS, || (0..DECISIONS).for_each(|_| stage.floor())),
            );
            row.goal(1.2).note(format!("of {bytes} bytes, by the whole decision whether a run may begin"))
        })
        .into()
}

struct World {
    people: Vec<SigningKey>,
    agent: SigningKey,
    policy: Policy,
    registry: Registry,
}

/// An approval with what is verified of it.
struct Stage {
    proposal: Proposal,
    approval: SignedApproval,
    /// Key, signature and what was signed before and after the digest, for each.
    bare: Vec<([u8; 32], [u8; 64], Vec<u8>)>,
}

fn grant(text: String) -> Grant {
    text.parse().expect("a grant")
}

impl World {
    fn new() -> Self {
        let key = |name: &str| SigningKey::generate(name).expect("a key");
        let (people, agent, root) = ([0, 1, 2].map(|_| key("person")), key("agent"), key("root"));
        let mut policy = format!(
            "version = 2\nserial = 7\nissued = \"2027-01-01T00:00:00Z\"\nexpires = \"2028-01-01T00:00:00Z\"\n\
             [roots]\nthreshold = 1\nkeys = [\"{}\"]\n\
             [approval]\nmax-validity = \"2h\"\nmax-uses = 2\nscoped = false\n\
             [[quorums]]\nname = \"every run\"\npeople = 1\n\
             [[rules]]\nname = \"fixes\"\nwho = [\"*\"]\ntargets = [\"web-*\"]\nmay = [\"investigate\", \"propose\"]\n\
             grants = [\"files.read /etc/**\", \"files.write /etc/** max-calls=2\"]\n\
             [[agents]]\nname = \"fixer\"\nowner = \"person-0\"\nkeys = [\"{}\"]\n",
            root.public_key().to_openssh(),
            agent.public_key().to_openssh()
        );
        // Whoever answers for the agent does not approve what it proposes.
        for (at, person) in [&root].into_iter().chain(&people).enumerate() {
            let line = if at == 0 { key("owner").public_key().to_openssh() } else { person.public_key().to_openssh() };
            policy.push_str(&format!("[[people]]\nname = \"person-{at}\"\nkeys = [\"{line}\"]\nmay = [\"approve\"]\n"));
        }
        let policy = Policy::parse(policy.as_bytes()).expect("a policy");
        Self { people: people.into(), agent, policy, registry: Registry::default().with::<Files>() }
    }

    fn proposal(&self) -> Proposal {
        let of = |text: &str| Digest::of(text.as_bytes());
        let target = ProposedTarget {
            name: "web-1".to_owned(),
            configuration: of("configuration"),
            runner: "runner".to_owned(),
            plan: of("plan"),
            rehearsal: of("rehearsal"),
        };
        let (read, write) = ("files.read /etc/app/app.conf", "files.write /etc/app/app.conf max-calls=2");
        let document = ProposalDocument {
            version: DOCUMENT_VERSION,
            bundle: of("bundle"),
            steps: [Role::Fix, Role::Rollback, Role::Check].map(|role| (role, of(role.name()))).into(),
            arguments: Map::from_iter([("config".to_owned(), Value::from("/etc/app/app.conf"))]),
            targets: vec![target],
            grants: [
                (Role::Fix, vec![grant(read.to_owned()), grant(write.to_owned())]),
                (Role::Check, vec![grant(read.to_owned())]),
            ]
            .into(),
            mode: Mode::Exact,
            rollback: RollbackBy::Step,
            success: Success::default(),
            undoes: None,
            revises: None,
            evidence: Vec::new(),
            hypothesis: "the pool has no worker".to_owned(),
            proposer: self.agent.fingerprint().to_owned(),
            now: NOW,
            seed: 7,
            created: NOW - HOUR,
            expires: NOW + HOUR,
        };
        let bytes = serde_json::to_vec(&document).expect("JSON");
        let signature = sign(&self.agent, namespace::PROPOSAL, &bytes).expect("signed");
        Proposal::verify(&bytes, signature.as_bytes(), &self.policy).expect("a proposal")
    }

    fn approved_by(&self, people: usize) -> Stage {
        let proposal = self.proposal();
        let terms = ApprovalDraft {
            reason: "the diff is right".to_owned(),
            grants: proposal.document().grants.clone(),
            not_before: NOW,
            expires: NOW + HOUR,
            finish_by: None,
            break_glass: None,
            uses: 1,
            confirmation: None,
            rollback_owner: "person-1".to_owned(),
            evidence: Vec::new(),
            policy: self.policy.digest(),
        };
        let (_, manifest) = draft(&proposal, terms).expect("a manifest");
        let signing = self.people.iter().take(people);
        let signatures = signing.map(|key| sign(key, namespace::APPROVAL, &manifest).expect("signed").into_bytes());
        let signatures = signatures.collect();
        let bare = (0..people).map(|at| bare(at, &manifest)).collect();
        Stage { proposal, approval: SignedApproval { manifest, signatures }, bare }
    }
}

/// A signature by a key of its own, over as many bytes as an SSH signature is.
fn bare(at: usize, manifest: &[u8]) -> ([u8; 32], [u8; 64], Vec<u8>) {
    let key = ed25519_dalek::SigningKey::from_bytes(&[at as u8 + 1; 32]);
    let signed = signed(manifest);
    (key.verifying_key().to_bytes(), key.sign(&signed).to_bytes(), signed)
}

/// What is signed by SSH: some names, and the digest.
fn signed(manifest: &[u8]) -> Vec<u8> {
    [&b"SSHSIG\0\0\0\x14approval@countersign\0\0\0\0\0\0\0\x06sha512\0\0\0\x40"[..], &Sha512::digest(manifest)].concat()
}

impl Stage {
    fn decide(&self, world: &World) {
        let contains = |wide: &Grant, narrow: &Grant| {
            world.registry.get("files").and_then(|files| files.contains(wide, narrow)).map_err(|fault| fault.what)
        };
        let document = self.proposal.document();
        let target = &document.targets[0];
        let case = Case {
            proposal: &self.proposal,
            policy: &world.policy,
            risk: Risk { irreversible: false, subjects: 1 },
            contains: &contains,
        };
        let authorized = authorize(&Request {
            case,
            approvals: std::slice::from_ref(&self.approval),
            denials: &[],
            target: &target.name,
            configuration: target.configuration,
            runner: &target.runner,
            bundle: document.bundle,
            steps: &document.steps,
            arguments: &document.arguments,
            plan: target.plan,
            standing: &[],
            reversal: Reversal { restores: true, rehearsed: true },
            uses_spent: &|_| 0,
            now: NOW,
        });
        assert_eq!(authorized.expect("approved").approvers().len(), self.bare.len());
    }

    /// The hashes and the signatures, and nothing besides.
    fn floor(&self) {
        std::hint::black_box(Sha256::digest(&self.approval.manifest));
        for (key, signature, signed_then) in &self.bare {
            let signed = signed(&self.approval.manifest);
            assert_eq!(signed.len(), signed_then.len());
            let key = VerifyingKey::from_bytes(key).expect("a key");
            key.verify_strict(&signed, &Signature::from_bytes(signature)).expect("it is its signature");
        }
    }
}
