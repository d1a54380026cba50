use serde::{Deserialize, Serialize};

use super::{RehearsalDocument, RevisionStanding, UndoStanding};
use crate::{Digest, Success, Verdict};

/// How a proposal's targets stood at one moment: what only the runner's own host can know. Signed by the
/// runner, in the namespace `standing@countersign`, when the proposal is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StandingDocument {
    /// [`DOCUMENT_VERSION`](super::DOCUMENT_VERSION).
    pub version: u32,
    /// Digest of the proposal's signed bytes.
    pub proposal: Digest,
    /// Digest of the trust policy in force.
    pub policy: Digest,
    /// Digests of those before it, approvals under which are judged by it.
    pub earlier_policies: Vec<Digest>,
    /// The proposal's targets, in its order.
    pub targets: Vec<TargetStanding>,
    /// The run that it undoes, as the runner recorded it.
    pub undoes: Option<UndoStanding>,
    /// What differs from the proposal whose place it takes.
    pub revision: Option<RevisionStanding>,
    /// The name of the proposal that took its place.
    pub superseded_by: Option<String>,
    /// The denied proposals that it is like, the latest denial first.
    pub denied_before: Vec<DeniedBefore>,
    /// Earlier runs of the bundle, newest first.
    pub earlier_runs: Vec<EarlierRun>,
    /// The runs of this very proposal that began, oldest first.
    pub runs: Vec<ProposalRun>,
    /// When it was looked at, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// How one target stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetStanding {
    /// Its name.
    pub name: String,
    /// What the operator's configuration says of it.
    pub configured: Configured,
    /// What was found when it was looked at.
    pub found: Found,
    /// The rehearsal without what nobody is shown, in the place of the signed one where that cannot leave the host:
    /// it holds the digests of contents that are withheld. Its plan's digest is not the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<RehearsalDocument>,
}

/// What the operator's configuration says of a target, as far as an approver needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Configured {
    /// Digest of the configuration as it was resolved.
    pub configuration: Digest,
    /// The operator's description.
    pub description: String,
    /// Who answers for the target if it is not restored.
    pub rollback_owner: String,
    /// When check and guards are asked here: the proposal's terms, cut by the operator's own.
    pub success: Success,
    /// The validators that will test what is written, by name.
    pub validators: Vec<String>,
    /// Why what is asked for exceeds the target's ceilings, if it does: then nobody can approve it.
    pub exceeded: Option<String>,
}

/// What was found of a target when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Found {
    /// The run that died here without an outcome and blocks the target, if there is one; lines of text.
    pub blocked: Option<String>,
    /// What the check said.
    pub check: Verdict,
    /// What the guards said.
    pub guards: Vec<GuardState>,
    /// What was not as the rehearsal found it.
    pub drift: Vec<String>,
}

/// What a guard said of its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardState {
    /// The guard's name.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A denied proposal that another one is like, and what of the two is alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeniedBefore {
    /// The denied proposal's name.
    pub proposal: String,
    /// Its digest.
    pub digest: Digest,
    /// Who denied it, by name; none where that cannot be told any more.
    pub by: Option<String>,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: Option<u64>,
    /// Why, in their words; untrusted text.
    pub reason: String,
    /// Whether both have one bundle.
    pub same_bundle: bool,
    /// Whether both have one fix.
    pub same_fix: bool,
    /// Some of what both would change.
    pub same_subjects: Vec<SameSubject>,
    /// How many subjects both would change.
    pub subjects: u64,
}

/// Something that two proposals would change on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SameSubject {
    /// The target.
    pub target: String,
    /// The subject; untrusted text.
    pub subject: String,
}

/// An earlier run of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierRun {
    /// The run's name.
    pub run: String,
    /// How it ended, `running` or `unfinished`.
    pub outcome: String,
    /// The target.
    pub target: String,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// Why it ended as it did.
    pub reason: String,
}

/// A run of a proposal that began, and so spent a use of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalRun {
    /// The run's name.
    pub run: String,
    /// The target.
    pub target: String,
    /// The approval that it used, by the digest of its manifest.
    pub approval: Digest,
    /// The approvals that this one was made of, where nobody signed it as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Digest>,
    /// How it ended, `running` or `unfinished`.
    pub outcome: String,
}
