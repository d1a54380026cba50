use countersign_model::Digest;
use countersign_model::documents::EarlierRun;
use countersign_record::{JournaledChange, RunRecord, RunState};
use serde::Serialize;
use serde_json::Value;

use crate::error::PipelineError;
use crate::order::Order;
use crate::propose::proposal_name;
use crate::report::{ReportedChange, RunReport};
use crate::runner::Runner;

/// How many earlier runs a review shows, and how many proposals `pending` lists.
const MAX_EARLIER: usize = 20;
const MAX_PENDING: usize = 1000;

/// A run as `runs` lists it.
#[derive(Debug, Serialize)]
pub struct ListedRun {
    /// The run's name.
    pub run: String,
    /// How it ended, `running` or `unfinished`.
    pub outcome: String,
    /// The target.
    pub target: String,
    /// The proposal's name.
    pub proposal: String,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// Why it ended as it did.
    pub reason: String,
    /// The run that it undid, or was to undo.
    pub undoes: Option<String>,
    /// The run that undid it.
    pub undone_by: Option<String>,
}

/// A proposal as `pending` lists it.
#[derive(Debug, Serialize)]
pub struct PendingProposal {
    /// The proposal's name.
    #[serde(rename = "proposal")]
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// `waits for approval` or `approved`.
    pub status: &'static str,
    /// The targets.
    pub targets: Vec<String>,
    /// The remediation's name, which its author chose.
    pub remediation: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it cannot be approved.
    pub expires: u64,
}

/// One run as the journal has it.
#[derive(Debug, Serialize)]
pub struct ShownRun {
    /// The run's name.
    pub run: String,
    /// How it ended, `running` or `unfinished`.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// The target.
    pub target: String,
    /// The proposal's name.
    pub proposal: String,
    /// The bundle.
    pub bundle: Digest,
    /// Who approved.
    pub approvers: Vec<String>,
    /// Whether the approval can be shown to be independent of the proposer.
    pub independent: bool,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// The run that it undid, or was to undo.
    pub undoes: Option<String>,
    /// The run that undid it.
    pub undone_by: Option<String>,
    /// Every journaled change.
    pub changes: Vec<ShownChange>,
    /// What is not as before.
    pub left: Vec<String>,
    /// The report that the run ended with.
    pub report: Option<Value>,
}

/// A journaled change with what became of it.
#[derive(Debug, Serialize)]
pub struct ShownChange {
    /// What became of it.
    pub state: String,
    /// Why it was not undone, where it was not.
    pub note: Option<String>,
    /// The change as reports list it.
    #[serde(flatten)]
    pub change: ReportedChange,
}

impl From<&JournaledChange> for ShownChange {
    fn from(journaled: &JournaledChange) -> Self {
        Self {
            state: journaled.state.to_string(),
            note: journaled.note.clone(),
            change: ReportedChange::new(journaled.role, &journaled.change),
        }
    }
}

fn outcome(state: RunState) -> String {
    match state {
        RunState::Running => "running".to_owned(),
        RunState::Unfinished => "unfinished".to_owned(),
        RunState::Finished(outcome) => outcome.name().to_owned(),
    }
}

fn reason(run: &RunRecord) -> String {
    run.reason.clone().or_else(|| run.rollback.clone()).unwrap_or_default()
}

impl Runner {
    /// The proposals that wait for a decision or a run.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn pending(&self) -> Result<Vec<PendingProposal>, PipelineError> {
        let mut pending = Vec::new();
        for summary in self.state().proposals().pending(self.now(), MAX_PENDING)? {
            let record = self.state().proposals().get(&summary.digest)?;
            let document: Value = serde_json::from_slice(&record.document)
                .map_err(|error| PipelineError::failed(format!("a proposal cannot be read: {error}")))?;
            let targets = document.get("targets").and_then(Value::as_array).into_iter().flatten();
            let remediation = self.bundle(&summary.bundle).map(|bundle| bundle.manifest().name().to_owned());
            pending.push(PendingProposal {
                name: proposal_name(&summary.digest),
                digest: summary.digest,
                status: if summary.manifests > 0 { "approved" } else { "waits for approval" },
                targets: targets.filter_map(|target| target.get("name")?.as_str().map(str::to_owned)).collect(),
                remediation: remediation.unwrap_or_default(),
                created: summary.created,
                expires: summary.expires,
            });
        }
        Ok(pending)
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn runs(&self, limit: u32) -> Result<Vec<ListedRun>, PipelineError> {
        let runs = self.state().runs().list(limit as usize)?;
        let listed = |run: &RunRecord| ListedRun {
            run: run.id.clone(),
            outcome: outcome(run.state),
            target: run.target.clone(),
            proposal: proposal_name(&run.proposal),
            started: run.started,
            reason: reason(run),
            undoes: run.undoes.clone(),
            undone_by: run.undone_by.clone(),
        };
        Ok(runs.iter().map(listed).collect())
    }

    /// One run, by its name or the beginning of it.
    ///
    /// # Errors
    /// When there is no such run, or several.
    pub fn show(&self, name: &str) -> Result<ShownRun, PipelineError> {
        let state = self.state();
        let run = state.runs().get(name)?;
        let changes = state.runs().changes(&run.id)?;
        let report = state.runs().report(&run.id)?;
        let left = report.as_ref().and_then(|report| serde_json::from_value::<RunReport>(report.clone()).ok());
        Ok(ShownRun {
            outcome: outcome(run.state),
            reason: reason(&run),
            target: run.target,
            proposal: proposal_name(&run.proposal),
            bundle: run.bundle,
            approvers: run.approvers,
            independent: run.independent,
            started: run.started,
            ended: run.finished,
            undoes: run.undoes,
            undone_by: run.undone_by,
            changes: changes.iter().map(ShownChange::from).collect(),
            left: left.map(|report| report.left).unwrap_or_default(),
            report,
            run: run.id,
        })
    }

    pub(crate) fn earlier_runs(&self, bundle: &Digest) -> Result<Vec<EarlierRun>, PipelineError> {
        let runs = self.state().runs().of_bundle(bundle, MAX_EARLIER)?;
        let earlier = |run: RunRecord| EarlierRun {
            outcome: outcome(run.state),
            run: run.id,
            target: run.target,
            started: run.started,
        };
        Ok(runs.into_iter().map(earlier).collect())
    }

    /// Records that a run was refused, so that `runs` shows it; spends no use. Gives the run's name, if
    /// it could be recorded.
    pub fn keep_refusal(&self, order: &Order<'_>, error: &PipelineError) -> Option<String> {
        let refusal = countersign_record::Refusal {
            proposal: &order.proposal.digest(),
            target: order.name,
            reason: &error.to_string(),
            at: self.now(),
        };
        // The refusal stands whether or not it could be written down.
        let kept = self.state().runs().refuse(refusal);
        kept.inspect_err(|error| tracing::warn!(%error, "the refusal was not recorded")).ok()
    }
}
