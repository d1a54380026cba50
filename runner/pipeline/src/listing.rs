use std::collections::BTreeMap;
use std::path::Path;

use countersign_model::documents::{EarlierRun, OpenSubject, ProposalRun, ResolutionDocument, Way};
use countersign_model::text::without_digests;
use countersign_model::{Change, Digest, strict};
use countersign_record::{ChangeState, JournaledChange, Resolution, RunRecord, RunState};
use countersign_trust::moment;
use serde::Serialize;
use serde_json::Value;

use crate::actor::Actor;
use crate::approval::Approval;
use crate::error::PipelineError;
use crate::order::Order;
use crate::past::{Past, SINCE};
use crate::propose::proposal_name;
use crate::report::{ReportedChange, RunReport, silence};
use crate::runner::Runner;
use crate::target::Target;

/// How many earlier runs a review shows, and how many refused ones besides.
pub const MAX_EARLIER: usize = 20;
/// How many runs of one proposal are looked at: as many as its approvals allow.
const MAX_OF_PROPOSAL: usize = 1000;

/// A run's waiting for a person's word, while nothing is decided.
#[derive(Clone, Debug, Serialize)]
pub struct ListedWaiting {
    /// From when on, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// What silence means: `keep` or `roll-back`; none where the approval cannot be read.
    pub silence: Option<&'static str>,
    /// Whether its process is alive, which repeats check and guards.
    pub attended: bool,
}

impl ListedWaiting {
    /// What it waits for, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let silence = match self.silence {
            Some("keep") => "; silence keeps what was changed",
            Some(_) => "; silence rolls it back",
            None => "",
        };
        let alone = if self.attended { "" } else { "; its process is gone, and nobody looks at check and guards" };
        format!("waits for a confirmation until {}{silence}{alone}", moment(self.until))
    }
}

/// A run as `runs` lists it.
#[derive(Debug, Serialize)]
pub struct ListedRun {
    /// The run's name.
    pub run: String,
    /// How it ended, `running`, `waiting` or `unfinished`.
    pub outcome: String,
    /// The target.
    pub target: String,
    /// The proposal's name.
    pub proposal: String,
    /// Who started it; see [`RunReport::actor`].
    pub actor: Option<String>,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// Why it ended as it did.
    pub reason: String,
    /// The run that it undid, or was to undo.
    pub undoes: Option<String>,
    /// The run that undid it.
    pub undone_by: Option<String>,
    /// The subjects that it left otherwise than before and nobody has closed yet.
    pub open: Vec<String>,
    /// Whether everything is closed that it left; none of a run that left nothing.
    pub resolved: Option<bool>,
    /// While it waits for a person's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ListedWaiting>,
}

/// A run of which something is open, as `pending` lists it.
#[derive(Debug, Serialize)]
pub struct OpenRun {
    /// The run's name.
    pub run: String,
    /// How it ended.
    pub outcome: String,
    /// The target.
    pub target: String,
    /// The subjects that nobody has closed yet.
    pub open: Vec<String>,
}

/// One run as the journal has it.
#[derive(Debug, Serialize)]
pub struct ShownRun {
    /// The run's name.
    pub run: String,
    /// How it ended, `running`, `waiting` or `unfinished`.
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
    /// The standing approval by which it ran, where nobody was asked.
    pub unattended: Option<Digest>,
    /// The break-glass of the trust policy by which it was approved, in place of the quorums.
    pub break_glass: Option<String>,
    /// Who started it; see [`RunReport::actor`].
    pub actor: Option<String>,
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
    /// What of it nobody has closed yet.
    pub open: Vec<OpenSubject>,
    /// Whether everything is closed that it left; none of a run that left nothing.
    pub resolved: Option<bool>,
    /// What people said of what it left.
    pub resolutions: Vec<ShownResolution>,
    /// While it waits for a person's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<ListedWaiting>,
    /// What to do next, where the run is unfinished or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The report that the run ended with.
    pub report: Option<Value>,
}

/// What a person said of a subject that a run left otherwise than before.
#[derive(Debug, Serialize)]
pub struct ShownResolution {
    /// The subject.
    pub subject: String,
    /// What was to become of it; none where what was signed cannot be read.
    pub way: Option<Way>,
    /// Whose word it was.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: Option<u64>,
    /// Digest of the content that could stay, or that was replaced; none where it is withheld.
    pub found: Option<Digest>,
    /// Whether the subject was closed by it; none while it is at work.
    pub closed: Option<bool>,
    /// Why it failed, where it did.
    pub note: Option<String>,
}

/// A journaled change with what became of it.
#[derive(Debug, Serialize)]
pub struct ShownChange {
    /// What became of it.
    pub state: String,
    /// Why it was not undone, where it was not.
    pub note: Option<String>,
    /// While the change may stand: the file that is kept beside the subject, which is what it was before a change
    /// that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_file: Option<String>,
    /// While the change may stand: where the end that was cut off is kept, or the whole content before where no file
    /// is kept beside the subject; a path, or a row of the database. None where it is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_at: Option<String>,
    /// By which of the run's resolutions it was made, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<u32>,
    /// The change as reports list it.
    #[serde(flatten)]
    pub change: ReportedChange,
}

impl From<&JournaledChange> for ShownChange {
    fn from(journaled: &JournaledChange) -> Self {
        Self {
            state: journaled.state.to_string(),
            note: journaled.note.clone(),
            kept_file: None,
            kept_at: None,
            resolution: journaled.resolution,
            change: ReportedChange::new(journaled.role, &journaled.change),
        }
    }
}

impl ShownChange {
    /// A change that a person puts right, with where what the subject was before it is kept now.
    pub(crate) fn unfinished(runner: &Runner, journaled: &JournaledChange) -> Self {
        let capability = runner.registry().get(&journaled.change.capability).ok();
        let kept = capability.and_then(|capability| capability.kept_beside(&journaled.change));
        let kept_file = kept.filter(|file| Path::new(file).symlink_metadata().is_ok());
        let kept_at = match kept_file {
            Some(_) => None,
            None => kept_at(runner, &journaled.change),
        };
        Self { kept_file, kept_at, ..Self::from(journaled) }
    }
}

/// Where the state keeps what the subject was before a change, or the end of it that was cut off. Not told of what is
/// withheld, since a place has the digest in it.
pub(crate) fn kept_at(runner: &Runner, change: &Change) -> Option<String> {
    let before = change.before.filter(|_| change.before != change.after);
    let image = change.kept.map(|kept| kept.image).or(before).filter(|_| !change.withheld)?;
    runner.state().place(&image).ok().flatten()
}

/// Why a run is unfinished, and what its operator does.
pub(crate) const DIED: &str = "the runner ended before the run did";

/// How an unfinished run is put right, with what is in the way of its changes.
pub(crate) fn put_right(changes: &[ShownChange], target: &str) -> String {
    let mut hint = String::new();
    if changes.is_empty() {
        hint.push_str("`countersign recover` tells why it is not recovered; nothing was recorded as changed, so there may be nothing to put right");
    } else {
        hint.push_str("`countersign recover` tells why it is not recovered; where that cannot be helped, put each subject right by hand");
    }
    if changes.iter().any(|change| change.state == "intended") {
        hint.push_str("; an `intended` change may or may not have been made");
    }
    if changes.iter().any(|change| change.kept_file.is_some()) {
        hint.push_str(
            "; the kept file is what the subject was before a change that was made, which its `before` digest tells, and may \
             be removed afterwards",
        );
    }
    if changes.iter().any(|change| change.kept_at.is_some()) {
        hint.push_str(
            "; what is kept elsewhere is named with its change: copy it back, from the byte that is given on",
        );
    }
    hint.push_str(&format!(". Then describe `{target}` under another name"));
    hint
}

fn outcome(run: &RunRecord) -> String {
    match run.state {
        RunState::Running | RunState::Unfinished if run.waits().is_some() => "waiting".to_owned(),
        RunState::Running => "running".to_owned(),
        RunState::Unfinished => "unfinished".to_owned(),
        RunState::Finished(outcome) => outcome.name().to_owned(),
    }
}

/// Whether it ended with something that a person has to close.
fn left_something(run: &RunRecord) -> bool {
    matches!(run.state, RunState::Finished(outcome) if outcome.needs_person())
}

fn reason(run: &RunRecord) -> String {
    run.reason.clone().or_else(|| run.rollback.clone()).unwrap_or_default()
}

/// A resolution as it may be told; `made` are the run's changes as they may be.
fn shown_resolution(resolution: &Resolution, made: &[ReportedChange]) -> ShownResolution {
    let Resolution { subject, person, document, closed, note, .. } = resolution;
    let signed: Option<ResolutionDocument> = strict::from_slice(document, countersign_trust::MAX_RESOLUTION).ok();
    let withheld = made.iter().any(|made| made.subject == *subject && made.withheld.is_some());
    let note = note.as_ref().map(|note| if withheld { without_digests(note) } else { note.clone() });
    ShownResolution {
        subject: subject.clone(),
        way: signed.as_ref().map(|signed| signed.way),
        by: person.clone(),
        at: signed.as_ref().map(|signed| signed.at),
        found: signed.as_ref().and_then(|signed| signed.found).filter(|_| !withheld),
        reason: signed.map(|signed| signed.reason).unwrap_or_default(),
        closed: *closed,
        note,
    }
}

impl Runner {
    /// The latest runs, newest first. What may quote what is sensitive by now on the configured targets is withheld.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn runs(&self, limit: u32, targets: &BTreeMap<String, Target>) -> Result<Vec<ListedRun>, PipelineError> {
        let past = Past::of(self, targets)?;
        let state = self.state();
        let runs = state.runs().list(limit as usize)?;
        let listed = |run: &RunRecord| -> Result<ListedRun, PipelineError> {
            let open = if left_something(run) { state.runs().open_subjects(&run.id)? } else { Vec::new() };
            let waiting = self.waiting(run);
            Ok(ListedRun {
                resolved: left_something(run).then_some(open.is_empty()),
                open: open.into_iter().map(|open| open.subject).collect(),
                run: run.id.clone(),
                outcome: outcome(run),
                target: run.target.clone(),
                proposal: proposal_name(&run.proposal),
                actor: run.actor.clone(),
                started: run.started,
                reason: match &waiting {
                    Some(waiting) => waiting.sentence(),
                    None if past.quotes(run) => SINCE.to_owned(),
                    None => reason(run),
                },
                undoes: run.undoes.clone(),
                undone_by: run.undone_by.clone(),
                waiting,
            })
        };
        runs.iter().map(listed).collect()
    }

    /// One run, by its name or the beginning of it. Withheld is what [`Runner::runs`] withholds, and what tells the
    /// content of a subject that is sensitive by now.
    ///
    /// # Errors
    /// When there is no such run, or several.
    pub fn show(&self, name: &str, targets: &BTreeMap<String, Target>) -> Result<ShownRun, PipelineError> {
        let past = Past::of(self, targets)?;
        let state = self.state();
        let run = state.runs().get(name)?;
        let changes = state.runs().changes(&run.id)?.into_iter().map(|made| past.journaled(&run.target, made));
        let changes: Vec<_> = changes.collect();
        let made = changes.iter().filter(|made| made.state != ChangeState::NotApplied);
        let made: Vec<_> = made.map(|made| ReportedChange::new(made.role, &made.change)).collect();
        let report = state.runs().report(&run.id)?;
        let quotes = past.quotes(&run);
        let waiting = self.waiting(&run);
        let unfinished = run.state == RunState::Unfinished && run.waits().is_none();
        let open = state.runs().open_subjects(&run.id)?;
        let by_hand = !open.is_empty();
        let redacted = |open| if quotes { crate::past::opened(open, made.iter()) } else { open };
        let open: Vec<OpenSubject> = open.into_iter().map(redacted).collect();
        let resolutions = state.runs().resolutions(&run.id)?;
        let resolutions = resolutions.iter().map(|resolution| shown_resolution(resolution, &made)).collect();
        let shown = |change: &JournaledChange| {
            // What a person let be written over can be looked at for as long as it is kept.
            if unfinished || (by_hand && change.state.may_stand()) || change.resolution.is_some() {
                ShownChange::unfinished(self, change)
            } else {
                ShownChange::from(change)
            }
        };
        let changes: Vec<ShownChange> = changes.iter().map(shown).collect();
        let reason = match reason(&run) {
            _ if waiting.is_some() => waiting.as_ref().map(ListedWaiting::sentence).unwrap_or_default(),
            reason if quotes && !reason.is_empty() => SINCE.to_owned(),
            reason if unfinished && reason.is_empty() => DIED.to_owned(),
            reason if unfinished => format!("{DIED}, while it was rolling back: {reason}"),
            reason => reason,
        };
        let reported = report.as_ref().and_then(|report| serde_json::from_value::<RunReport>(report.clone()).ok());
        let (report, left) = match (reported, quotes) {
            (Some(reported), true) => {
                let told = crate::past::report(reported, &made);
                (
                    Some(serde_json::to_value(&told).map_err(|error| PipelineError::failed(error.to_string()))?),
                    told.left,
                )
            }
            (None, true) => (None, Vec::new()),
            (reported, false) => (report, reported.map(|reported| reported.left).unwrap_or_default()),
        };
        let terms = crate::approval::terms_of(self, &run).ok();
        Ok(ShownRun {
            break_glass: terms.and_then(|terms| terms.break_glass),
            outcome: outcome(&run),
            hint: match &waiting {
                Some(_) => Some(crate::confirm::next(&run.id)),
                None => unfinished.then(|| put_right(&changes, &run.target)),
            },
            waiting,
            resolved: left_something(&run).then_some(open.is_empty()),
            open,
            resolutions,
            reason,
            target: run.target,
            proposal: proposal_name(&run.proposal),
            bundle: run.bundle,
            approvers: run.approvers,
            independent: run.independent,
            unattended: run.standing,
            actor: run.actor,
            started: run.started,
            ended: run.finished,
            undoes: run.undoes,
            undone_by: run.undone_by,
            changes,
            left,
            report,
            run: run.id,
        })
    }

    /// The runs of which something is open, oldest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>, PipelineError> {
        let state = self.state();
        let open = |run: RunRecord| -> Result<OpenRun, PipelineError> {
            let open = state.runs().open_subjects(&run.id)?.into_iter().map(|open| open.subject).collect();
            Ok(OpenRun { outcome: outcome(&run), run: run.id, target: run.target, open })
        };
        state.runs().with_open_subjects()?.into_iter().map(open).collect()
    }

    /// A run's waiting, while nothing is decided.
    pub(crate) fn waiting(&self, run: &RunRecord) -> Option<ListedWaiting> {
        let waiting = run.waits().filter(|waiting| waiting.kept.is_none())?;
        let approval = Approval::of_run(self, run).ok();
        Some(ListedWaiting {
            since: waiting.since,
            until: waiting.until,
            silence: approval.map(|approval| silence(crate::recover::confirmation(waiting, &approval))),
            attended: run.state == RunState::Running,
        })
    }

    pub(crate) fn earlier_runs(
        &self,
        bundle: &Digest,
        targets: &BTreeMap<String, Target>,
    ) -> Result<Vec<EarlierRun>, PipelineError> {
        let past = Past::of(self, targets)?;
        let state = self.state();
        let mut runs = state.runs().of_bundle(bundle, MAX_EARLIER)?;
        runs.extend(state.runs().refused_of_bundle(bundle, MAX_EARLIER)?);
        runs.sort_by(|one, other| other.started.cmp(&one.started).then_with(|| one.id.cmp(&other.id)));
        let earlier = |run: RunRecord| EarlierRun {
            outcome: outcome(&run),
            reason: match self.waiting(&run) {
                Some(waiting) => waiting.sentence(),
                None => past.reason(&run, reason(&run)),
            },
            run: run.id,
            target: run.target,
            started: run.started,
        };
        Ok(runs.into_iter().map(earlier).collect())
    }

    /// The runs of a proposal that began, oldest first.
    pub(crate) fn runs_of(&self, proposal: &Digest) -> Result<Vec<ProposalRun>, PipelineError> {
        let runs = self.state().runs().of_proposal(proposal, MAX_OF_PROPOSAL)?;
        let of = |run: RunRecord| {
            let outcome = outcome(&run);
            Some(ProposalRun {
                approval: run.manifest?,
                sources: run.sources,
                run: run.id,
                target: run.target,
                outcome,
            })
        };
        Ok(runs.into_iter().rev().filter_map(of).collect())
    }

    /// Records that a run was refused, so that `runs` shows it; spends no use. Gives the run's name, if
    /// it could be recorded.
    pub fn keep_refusal(&self, order: &Order<'_>, actor: Option<&Actor>, error: &PipelineError) -> Option<String> {
        let refusal = countersign_record::Refusal {
            proposal: &order.proposal.digest(),
            target: order.name,
            reason: &error.to_string(),
            at: self.now(),
            actor: actor.map(Actor::name),
        };
        // The refusal stands whether or not it could be written down.
        let kept = self.state().runs().refuse(refusal);
        kept.inspect_err(|error| tracing::warn!(%error, "the refusal was not recorded")).ok()
    }
}
