//! A small world for tests: people, an agent, a policy, a proposal and an approval that are all
//! valid, so that each test can change exactly one thing.

use std::collections::BTreeMap;

use countersign_model::documents::{
    ApprovalManifest, DOCUMENT_VERSION, ProposalDocument, ProposedTarget, RoleGrants, Undoes, namespace,
};
use countersign_model::{Digest, Grant, Mode, Role, RollbackBy, Success};
use serde_json::{Map, Value};

use crate::{
    ApprovalDraft, Authorized, Case, Policy, Proposal, Refusal, Request, Reversal, Risk, SignedApproval, SignedDenial,
    SigningKey, Standing, authorize, draft, sign,
};

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000;

/// May approve.
pub(crate) const ALICE: u8 = 1;
/// May approve, with two keys.
pub(crate) const BOB: u8 = 2;
pub(crate) const BOBS_OTHER: u8 = 3;
/// May approve, propose and operate, and owns the agent.
pub(crate) const CAROL: u8 = 4;
/// May only operate.
pub(crate) const DAVE: u8 = 5;
/// The agent, which Carol owns.
pub(crate) const AGENT: u8 = 6;
/// Nobody knows whose.
pub(crate) const STRANGER: u8 = 7;
pub(crate) const RUNNER: u8 = 8;
/// Signs trust policies, and nothing else.
pub(crate) const ROOT: u8 = 9;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(seed)
}

pub(crate) fn line(seed: u8) -> String {
    key(seed).public_key().to_openssh()
}

pub(crate) fn signed(seed: u8, namespace: &str, bytes: &[u8]) -> Vec<u8> {
    sign(&key(seed), namespace, bytes).expect("a signature").into_bytes()
}

pub(crate) fn policy_text() -> String {
    format!(
        r#"version = 2
serial = 7
issued = "2027-01-01T00:00:00Z"
expires = "2028-01-01T00:00:00Z"
[roots]
threshold = 1
keys = ["{}"]
[approval]
max-validity = "2h"
max-uses = 2
scoped = false
[[quorums]]
name = "every run"
people = 1
[[rules]]
name = "fixes"
who = ["*"]
targets = ["web-*"]
may = ["investigate", "propose"]
grants = ["files.read /etc/**", "files.write /etc/** max-calls=2", "files.read /var/log/**"]
[[people]]
name = "alice"
keys = ["{}"]
may = ["approve"]
[[people]]
name = "bob"
keys = ["{}", "{}"]
may = ["approve"]
[[people]]
name = "carol"
keys = ["{}"]
may = ["approve", "propose", "operate"]
[[people]]
name = "dave"
keys = ["{}"]
may = ["operate"]
[[agents]]
name = "fixer"
owner = "carol"
keys = ["{}"]
"#,
        line(ROOT),
        line(ALICE),
        line(BOB),
        line(BOBS_OTHER),
        line(CAROL),
        line(DAVE),
        line(AGENT)
    )
}

pub(crate) fn grant(text: &str) -> Grant {
    text.parse().expect(text)
}

pub(crate) fn grants(of: &[(Role, &[&str])]) -> RoleGrants {
    of.iter().map(|(role, texts)| (*role, texts.iter().map(|text| grant(text)).collect())).collect()
}

/// A stand-in for a capability's scopes: a path, or `prefix/**`; `?` makes no sense.
pub(crate) fn contains(wide: &Grant, narrow: &Grant) -> Result<bool, String> {
    let (wide, narrow) = (wide.scope.only_word("a path")?, narrow.scope.only_word("a path")?);
    if narrow.contains('?') {
        return Err("`?` is not known".to_owned());
    }
    Ok(wide.strip_suffix("**").map_or(wide == narrow, |prefix| narrow.starts_with(prefix)))
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A run that Bob's other key proposed.
pub(crate) fn undone() -> Undoes {
    Undoes {
        run: "r-0123456789ab".to_owned(),
        record: digest("the run"),
        proposer: key(BOBS_OTHER).fingerprint().to_owned(),
    }
}

pub(crate) fn document() -> ProposalDocument {
    let target = |name: &str| ProposedTarget {
        name: name.to_owned(),
        configuration: digest(&format!("configuration of {name}")),
        runner: key(RUNNER).fingerprint().to_owned(),
        plan: digest(&format!("plan for {name}")),
        rehearsal: digest("rehearsal"),
    };
    ProposalDocument {
        version: DOCUMENT_VERSION,
        bundle: digest("bundle"),
        steps: [Role::Fix, Role::Rollback, Role::Check].map(|role| (role, digest(role.name()))).into(),
        arguments: Map::from_iter([("workers".to_owned(), Value::from(4))]),
        targets: vec![target("web-1"), target("web-2")],
        grants: grants(&[
            (Role::Fix, &["files.read /etc/**", "files.write /etc/** max-calls=2"]),
            (Role::Check, &["files.read /var/log/app"]),
        ]),
        mode: Mode::Exact,
        rollback: RollbackBy::Step,
        success: Success::default(),
        undoes: None,
        revises: None,
        evidence: Vec::new(),
        hypothesis: "a bad value".to_owned(),
        proposer: String::new(),
        now: NOW,
        seed: 7,
        created: NOW - HOUR,
        expires: NOW + HOUR,
    }
}

/// A request with everything that went into it. [`World::authorize`] puts it together.
pub(crate) struct World {
    pub(crate) policy: String,
    /// Digests of the policies before it.
    pub(crate) earlier: Vec<Digest>,
    pub(crate) risk: Risk,
    pub(crate) proposer: u8,
    pub(crate) document: ProposalDocument,
    /// Changes the manifest before it is written.
    pub(crate) terms: fn(&mut ApprovalManifest),
    /// Changes its bytes before they are signed.
    pub(crate) bytes: fn(Vec<u8>) -> Vec<u8>,
    /// Changes its bytes after they were signed.
    pub(crate) signed_bytes: fn(Vec<u8>) -> Vec<u8>,
    /// Who signs the approval, in which namespace.
    pub(crate) signers: Vec<(u8, &'static str)>,
    /// Who denies which proposal (`None`: this one), in which namespace.
    pub(crate) denials: Vec<(u8, Option<Digest>, &'static str)>,
    pub(crate) request: Facts,
}

/// What the runner found for itself.
pub(crate) struct Facts {
    pub(crate) target: &'static str,
    pub(crate) configuration: Digest,
    pub(crate) runner: String,
    pub(crate) bundle: Digest,
    pub(crate) steps: BTreeMap<Role, Digest>,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) plan: Digest,
    pub(crate) spent: u32,
    pub(crate) reversal: Reversal,
    pub(crate) now: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let document = document();
        let request = Facts {
            target: "web-1",
            configuration: digest("configuration of web-1"),
            runner: key(RUNNER).fingerprint().to_owned(),
            bundle: document.bundle,
            steps: document.steps.clone(),
            arguments: document.arguments.clone(),
            plan: digest("plan for web-1"),
            spent: 0,
            reversal: Reversal { restores: true, rehearsed: true },
            now: NOW,
        };
        Self {
            policy: policy_text(),
            earlier: Vec::new(),
            risk: Risk { irreversible: false, subjects: 1 },
            proposer: AGENT,
            document,
            terms: |_| (),
            bytes: |bytes| bytes,
            signed_bytes: |bytes| bytes,
            signers: vec![(ALICE, namespace::APPROVAL)],
            denials: Vec::new(),
            request,
        }
    }

    pub(crate) fn read_policy(&self) -> Policy {
        let policy = Policy::parse(self.policy.as_bytes()).expect("a policy");
        policy.following(self.earlier.iter().copied().collect())
    }

    pub(crate) fn case<'a>(&self, proposal: &'a Proposal, policy: &'a Policy) -> Case<'a> {
        Case { proposal, policy, risk: self.risk, contains: &contains }
    }

    /// Changes the policy, which must say what is replaced.
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        assert!(self.policy.contains(from), "{from}");
        self.policy = self.policy.replace(from, to);
    }

    /// Adds to the policy.
    pub(crate) fn add(&mut self, entries: &str) {
        self.policy.push_str(entries);
    }

    pub(crate) fn proposal(&self) -> Result<Proposal, Refusal> {
        let mut document = self.document.clone();
        document.proposer = key(self.proposer).fingerprint().to_owned();
        let bytes = serde_json::to_vec(&document).expect("JSON");
        Proposal::verify(&bytes, &signed(self.proposer, namespace::PROPOSAL, &bytes), &self.read_policy())
    }

    pub(crate) fn approval(&self, proposal: &Proposal) -> SignedApproval {
        let (mut manifest, _) = draft(proposal, self.draft()).expect("a draft");
        (self.terms)(&mut manifest);
        let bytes = (self.bytes)(serde_json::to_vec(&manifest).expect("JSON"));
        let signatures = self.signers.iter().map(|(seed, namespace)| signed(*seed, namespace, &bytes)).collect();
        SignedApproval { manifest: (self.signed_bytes)(bytes), signatures }
    }

    pub(crate) fn draft(&self) -> ApprovalDraft {
        ApprovalDraft {
            reason: "the diff is right".to_owned(),
            grants: self.document.grants.clone(),
            not_before: NOW,
            expires: NOW + HOUR,
            finish_by: None,
            uses: 1,
            confirmation: None,
            rollback_owner: "dave".to_owned(),
            evidence: Vec::new(),
            policy: self.read_policy().digest(),
            break_glass: None,
        }
    }

    pub(crate) fn authorize(&self) -> Result<Authorized, Refusal> {
        let proposal = self.proposal()?;
        self.authorize_with(&proposal, &[self.approval(&proposal)])
    }

    pub(crate) fn authorize_with(
        &self,
        proposal: &Proposal,
        approvals: &[SignedApproval],
    ) -> Result<Authorized, Refusal> {
        self.authorize_standing(proposal, approvals, &[])
    }

    pub(crate) fn authorize_standing(
        &self,
        proposal: &Proposal,
        approvals: &[SignedApproval],
        standing: &[Standing<'_>],
    ) -> Result<Authorized, Refusal> {
        let policy = self.read_policy();
        let denials: Vec<SignedDenial> = self
            .denials
            .iter()
            .map(|(seed, of, namespace)| {
                let of = of.unwrap_or(proposal.digest());
                let (_, document) = crate::draft_denial(of, "not\u{1b} now", NOW).expect("a denial");
                SignedDenial { signature: signed(*seed, namespace, &document), document }
            })
            .collect();
        let facts = &self.request;
        authorize(&Request {
            case: self.case(proposal, &policy),
            approvals,
            denials: &denials,
            target: facts.target,
            configuration: facts.configuration,
            runner: &facts.runner,
            bundle: facts.bundle,
            steps: &facts.steps,
            arguments: &facts.arguments,
            plan: facts.plan,
            uses_spent: &|_| facts.spent,
            standing,
            reversal: facts.reversal,
            now: facts.now,
        })
    }
}

/// What becomes of a valid world after one change.
#[track_caller]
pub(crate) fn refusal(change: impl FnOnce(&mut World)) -> Refusal {
    let mut world = World::new();
    change(&mut world);
    let refusal = world.authorize().expect_err("refused");
    let text = refusal.to_string();
    assert!(!text.ends_with('.') && !text.contains('\u{1b}') && text.len() < 600, "{text}");
    let hint = refusal.hint("`countersign rollback r-1`");
    assert!(!hint.is_empty() && !hint.contains('\n') && !hint.contains("--revise"), "{hint}");
    refusal
}

/// That one change of a valid world is refused so.
macro_rules! refuses {
    ($pattern:pat $(if $guard:expr)?, $change:expr) => {{
        let refusal = $crate::fixture::refusal($change);
        assert!(matches!(&refusal, $pattern $(if $guard)?), "{refusal:?}");
    }};
}

pub(crate) use refuses;
