//! What is signed. Each document is compact JSON; a signature is over the exact bytes, which are
//! kept as they were signed and never written again from these types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Ability, Digest, Grant, Mode, Plan, Role, RollbackBy, Success, Verdict};

mod break_glass;
mod lineage;
mod resolution;
mod run_order;
mod standing;
mod standing_approval;

pub use break_glass::BreakGlassReviewDocument;
pub use lineage::{
    ArgumentDifference, ChangeDifference, Differs, GrantDifference, RevisionStanding, TargetDifference, UndoStanding,
};
pub use resolution::{OpenSubject, ResolutionDocument, Way};
pub use run_order::RunOrderDocument;
pub use standing::{
    Configured, DeniedBefore, EarlierRun, Found, GuardState, ProposalRun, SameSubject, StandingDocument, TargetStanding,
};
pub use standing_approval::{
    ArgumentRange, Budget, STANDING_APPROVAL_TYPE, StandingApproval, StandingTarget, StandingTerms,
};

/// The version of the documents below.
pub const DOCUMENT_VERSION: u32 = 1;

/// Grants by the role that has them.
pub type RoleGrants = BTreeMap<Role, Vec<Grant>>;

/// A reference to one evidence record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceReference {
    /// The record's id.
    pub id: String,
    /// Digest of the record's signed bytes.
    pub digest: Digest,
}

/// A call that no grant, or no ceiling, covered in a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// The step that made it.
    pub role: Role,
    /// The call in text.
    pub call: String,
    /// Why, in a sentence fragment.
    pub why: String,
    /// The grant that would have allowed it, where one would and it would not repeat the words of a step that had
    /// read what is sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// The committed run that is to be undone: the plan's forward part is what puts its changes back, last first, and
/// then what the bundle's rollback step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undoes {
    /// The run's name.
    pub run: String,
    /// Digest of what the runner recorded of it: its proposal, approval and target, and every change with its effect.
    pub record: Digest,
    /// Fingerprint of the key that proposed it, whose owner never approves this.
    pub proposer: String,
}

/// What the runner found when it rehearsed one bundle on one target; signed by the runner in the
/// namespace `rehearsal@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RehearsalDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The bundle.
    pub bundle: Digest,
    /// The arguments, as the steps see them.
    pub arguments: Map<String, Value>,
    /// The target's name.
    pub target: String,
    /// Digest of the target's resolved configuration.
    pub configuration: Digest,
    /// What the steps were granted.
    pub grants: RoleGrants,
    /// The steps' time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// The steps' seed.
    pub seed: u64,
    /// The run that is undone; then no fix runs.
    pub undoes: Option<Undoes>,
    /// What would change.
    pub plan: Plan,
    /// Whether the target's remediation identity could make the changes forward: one for each, in order. Empty where it
    /// was not asked, since what was rehearsed cannot be proposed, or the runner was an older one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<Ability>,
    /// The check on the untouched target.
    pub check_before: Verdict,
    /// The check on the overlay, after the fix.
    pub check_after: Verdict,
    /// How the fix ended, where it did not end well; untrusted text.
    pub fix_failure: Option<String>,
    /// How the rollback step ended, where it did not end well; untrusted text.
    pub rollback_failure: Option<String>,
    /// Whether a rollback step ran to its end.
    pub rollback_rehearsed: bool,
    /// Whether every subject of an exact or compensating change was back at its before-image.
    pub restores: bool,
    /// The subjects that were not, and why.
    pub unrestored: Vec<String>,
    /// The calls that were denied.
    pub denied: Vec<Denial>,
    /// The least grants that the steps need.
    pub least: RoleGrants,
    /// Every read, as recorded evidence.
    pub evidence: Vec<EvidenceReference>,
    /// When it was rehearsed, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// One target of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedTarget {
    /// Its name in the operator's configuration.
    pub name: String,
    /// Digest of its resolved configuration.
    pub configuration: Digest,
    /// Fingerprint of the runner's key.
    pub runner: String,
    /// Digest of the plan.
    pub plan: Digest,
    /// Digest of the signed rehearsal document.
    pub rehearsal: Digest,
}

/// What an agent proposes; signed by the proposer in the namespace `proposal@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProposalDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The bundle.
    pub bundle: Digest,
    /// The digest of every step.
    pub steps: BTreeMap<Role, Digest>,
    /// The arguments, valid against the bundle's schema.
    pub arguments: Map<String, Value>,
    /// Where it shall run, one plan each.
    pub targets: Vec<ProposedTarget>,
    /// What is asked for, arguments filled in.
    pub grants: RoleGrants,
    /// How closely the run is to be held to its plan.
    pub mode: Mode,
    /// What pairs with the fix.
    pub rollback: RollbackBy,
    /// When the check is asked.
    pub success: Success,
    /// The run that this undoes; then no fix runs.
    pub undoes: Option<Undoes>,
    /// Digest of the proposal of the same proposer that this one takes the place of.
    pub revises: Option<Digest>,
    /// The evidence that the proposer cites.
    pub evidence: Vec<EvidenceReference>,
    /// Why the proposer thinks that this helps; untrusted text.
    pub hypothesis: String,
    /// Fingerprint of the proposer's key.
    pub proposer: String,
    /// The steps' time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// The steps' seed.
    pub seed: u64,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it can no longer be approved.
    pub expires: u64,
}

/// The `_type` of every in-toto Statement v1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The `predicateType` of an approval manifest.
pub const APPROVAL_TYPE: &str = "urn:countersign:approval:v1";

/// The approval manifest: an in-toto Statement v1 whose subjects are the steps; signed by each
/// approver in the namespace `approval@countersign`.
///
/// <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalManifest {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// One per step, named by its role.
    pub subject: Vec<Subject>,
    /// [`APPROVAL_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The terms.
    pub predicate: Terms,
}

/// A subject of an in-toto statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The step's role.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

impl Subject {
    /// One for each step, named by its role.
    #[must_use]
    pub fn of(steps: &BTreeMap<Role, Digest>) -> Vec<Self> {
        let one = |(role, digest): (&Role, &Digest)| Self {
            name: role.name().to_owned(),
            digest: SubjectDigest { sha256: digest.hex() },
        };
        steps.iter().map(one).collect()
    }
}

/// The digest set of an in-toto subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// What an approver agrees to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Terms {
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// The bundle.
    pub bundle: Digest,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// Where it may run, one plan each.
    pub targets: Vec<ProposedTarget>,
    /// What each step may do: what was asked for, or less.
    pub grants: RoleGrants,
    /// How closely the run is held to its plan.
    pub mode: Mode,
    /// What pairs with the fix.
    pub rollback: RollbackBy,
    /// When the check is asked.
    pub success: Success,
    /// The run that is undone.
    pub undoes: Option<Undoes>,
    /// Whether a person must confirm what was changed before it is committed, and by when.
    pub confirmation: Option<Confirmation>,
    /// From when on it may run, in milliseconds since 1970-01-01 UTC.
    pub not_before: u64,
    /// From when on it may no longer start.
    pub expires: u64,
    /// From when on nothing that a run changed is committed any more, in milliseconds since 1970-01-01 UTC: what is not
    /// decided by then is rolled back. `None`: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_by: Option<u64>,
    /// How many runs it is good for.
    pub uses: u32,
    /// Who answers for the target if the rollback does not restore it.
    pub rollback_owner: String,
    /// The evidence that the approver relied on.
    pub evidence: Vec<EvidenceReference>,
    /// Digest of the trust policy in force.
    pub policy: Digest,
    /// Why the approver agrees.
    pub reason: String,
    /// What people signed, where the runner made this of it; what people sign has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derived>,
    /// The break-glass of the trust policy by which it is given, in place of the quorums; what is given by those has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
}

/// What an approval manifest was made of that nobody signed as it stands: whoever has what it names can make it again,
/// byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Derived {
    /// Several approvals of one proposal, by the digests of their manifests: of each term the stricter one.
    Approvals(Vec<Digest>),
    /// A standing approval, by the digest of its document.
    Standing(Digest),
}

/// Terms of a commit that a person must confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Confirmation {
    /// How long the run waits for a person once check and guards hold, in milliseconds; a second to seven days.
    pub within_ms: u64,
    /// Whether silence keeps the change; otherwise it is rolled back.
    pub silence_keeps: bool,
}

/// What a person says of a run that waits for it; signed in the namespace `confirmation@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmationDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The run's name.
    pub run: String,
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// Digest of the approval manifest that the run used.
    pub approval: Digest,
    /// The target's name.
    pub target: String,
    /// Fingerprint of the key of the runner whose run it is.
    pub runner: String,
    /// Whether what was changed is kept; otherwise it is rolled back.
    pub keeps: bool,
    /// Why, where anything was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// A person's refusal; signed in the namespace `denial@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// A person's word that no new run may begin, or that they may again; signed in the namespace `pause@countersign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseDocument {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The fingerprint of the runner's key: it is for no other runner.
    pub runner: String,
    /// Whether new runs are paused from now on; not, where a pause is lifted.
    pub paused: bool,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// The SSHSIG namespaces, one per document, so that a signature on one is never one on another.
pub mod namespace {
    /// [`ApprovalManifest`](super::ApprovalManifest).
    pub const APPROVAL: &str = "approval@countersign";
    /// [`DenialDocument`](super::DenialDocument).
    pub const DENIAL: &str = "denial@countersign";
    /// [`PauseDocument`](super::PauseDocument).
    pub const PAUSE: &str = "pause@countersign";
    /// [`ProposalDocument`](super::ProposalDocument).
    pub const PROPOSAL: &str = "proposal@countersign";
    /// [`RehearsalDocument`](super::RehearsalDocument).
    pub const REHEARSAL: &str = "rehearsal@countersign";
    /// [`Evidence`](crate::Evidence).
    pub const EVIDENCE: &str = "evidence@countersign";
    /// [`ConfirmationDocument`](super::ConfirmationDocument).
    pub const CONFIRMATION: &str = "confirmation@countersign";
    /// [`StandingDocument`](super::StandingDocument).
    pub const STANDING: &str = "standing@countersign";
    /// [`StandingApproval`](super::StandingApproval).
    pub const STANDING_APPROVAL: &str = "standing-approval@countersign";
    /// [`ResolutionDocument`](super::ResolutionDocument).
    pub const RESOLUTION: &str = "resolution@countersign";
    /// [`BreakGlassReviewDocument`](super::BreakGlassReviewDocument).
    pub const BREAK_GLASS_REVIEW: &str = "break-glass-review@countersign";
    /// [`RunOrderDocument`](super::RunOrderDocument).
    pub const RUN: &str = "run@countersign";
    /// The trust policy, which is TOML.
    pub const TRUST_POLICY: &str = "trust-policy@countersign";
}

#[cfg(test)]
mod tests;
