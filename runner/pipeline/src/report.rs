use countersign_model::documents::{Confirmation, Denial, OpenSubject};
use countersign_model::text::without_digests;
use countersign_model::{Change, Digest, Image, Kept, Outcome, Reversibility, Role, Verdict};
use countersign_worker::Mechanism;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use countersign_model::documents::GuardState;

use crate::confirm::Word;

/// How one run ended; what `countersign run --json` prints and `show` reads back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct RunReport {
    /// The run's name.
    pub run: String,
    /// The target's name.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// What was, or may have been, changed, in order; the rollback step's changes last.
    pub changes: Vec<ReportedChange>,
    /// What is not as before after a rollback; empty unless a person is needed.
    pub left: Vec<String>,
    /// Each subject that is to be closed by a person before nothing is open any more; as `left`.
    #[serde(default)]
    pub open: Vec<OpenSubject>,
    /// Why the outcome could not be recorded, if it could not: the run then blocks its target.
    #[serde(default)]
    pub unrecorded: Option<String>,
    /// Files of the runner's own that could not be removed from the target; they harm nothing.
    #[serde(default)]
    pub left_behind: Vec<String>,
    /// What was done on the way that nothing undoes.
    pub irreversible: Vec<String>,
    /// The call whose denial ended the run.
    pub denied: Option<Denial>,
    /// What the check said last.
    pub check: Option<Verdict>,
    /// The guards before the first change.
    pub guards_before: Vec<GuardState>,
    /// The guards at the end.
    pub guards: Vec<GuardState>,
    /// Who approved.
    pub approvers: Vec<String>,
    /// Whether the approval can be shown to be independent of the proposer.
    pub independent: bool,
    /// The standing approval by which it ran, by the digest of its document, where nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended: Option<Digest>,
    /// Who started it: a name of the trust policy where they signed for it, else `local user NAME (uid N)`; none where it is
    /// not known.
    pub actor: Option<String>,
    /// Who answers for the target if it is not restored.
    pub rollback_owner: String,
    /// What the kernel lacked of what holds a step's process, which the configuration allowed: `landlock`, `seccomp`.
    #[serde(default)]
    pub lowered: Vec<Mechanism>,
    /// The run that it undid, or was to undo.
    #[serde(default)]
    pub undoes: Option<UndoneRun>,
    /// The confirmation that it waited for, where it waited for one.
    #[serde(default)]
    pub confirmation: Option<ReportedConfirmation>,
    /// The break-glass of the trust policy by which it was approved, in place of the quorums.
    #[serde(default)]
    pub break_glass: Option<String>,
}

/// A confirmation that a run waited for, and what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedConfirmation {
    /// Until when it was waited for, in milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// What silence means: `keep` or `roll-back`.
    pub silence: String,
    /// Who said that it stays, or that it is rolled back; none where nobody said anything.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

impl ReportedConfirmation {
    pub(crate) fn new(until: u64, confirmation: Confirmation, word: Option<Word>) -> Self {
        let silence = silence(confirmation).to_owned();
        let (by, reason) = word.map_or((None, None), |word| (Some(word.by), word.reason));
        Self { until, silence, by, reason }
    }
}

/// What silence means, in a word.
pub(crate) const fn silence(confirmation: Confirmation) -> &'static str {
    if confirmation.silence_keeps { "keep" } else { "roll-back" }
}

/// A run that is undone, as reports name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoneRun {
    /// Its name.
    pub run: String,
    /// What it did that nothing undoes, one line each.
    pub not_undone: Vec<String>,
}

/// A change as reports list it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedChange {
    /// The step that made it.
    pub role: Role,
    /// What was changed.
    pub subject: String,
    /// One line for a person.
    pub summary: String,
    /// What undo is worth.
    pub reversibility: Reversibility,
    /// Digest of the content before; none where it is withheld, since a short content can be told by trying.
    pub before: Option<Digest>,
    /// Digest of the content after; as for `before`.
    pub after: Option<Digest>,
    /// What is kept of the content before, where that is not the whole of it; none where it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Where the subject is sensitive, the sizes that are all that is told of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Sizes>,
}

/// The sizes of a content that nobody is shown, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Before; none where there was no content.
    pub before: Option<u64>,
    /// After; none where there is no content.
    pub after: Option<u64>,
}

impl ReportedChange {
    /// The change as reports list it.
    #[must_use]
    pub fn new(role: Role, change: &Change) -> Self {
        let size = |image: Option<Image>| image.map(|image| image.size);
        let digest = |image: Option<Image>| image.filter(|_| !change.withheld).map(|image| image.digest);
        let summary = if change.withheld { without_digests(&change.summary) } else { change.summary.clone() };
        Self {
            role,
            subject: change.subject.clone(),
            summary,
            reversibility: change.reversibility,
            before: digest(change.before),
            after: digest(change.after),
            kept: change.kept.filter(|_| !change.withheld),
            withheld: change.withheld.then(|| Sizes { before: size(change.before), after: size(change.after) }),
        }
    }
}

impl RunReport {
    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // A struct of strings, numbers and lists always serializes.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The exit code of `countersign run`: a person is also needed where the outcome could not be recorded.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.unrecorded.is_some() { 5 } else { self.outcome.exit_code() }
    }
}
