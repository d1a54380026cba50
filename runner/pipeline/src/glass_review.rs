//! The reviews that broken glass leaves: what came of each, and a person's word that closes it.

use countersign_model::Digest;
use countersign_model::documents::{BreakGlassReviewDocument, DOCUMENT_VERSION, ProposalRun, namespace};
use countersign_model::text::excerpt;
use countersign_record::{ClosingReview, GlassReview, RunState};
use countersign_trust::{Principal, Signatory, moment};
use serde::Serialize;

use crate::error::PipelineError;
use crate::order::refused_by;
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::stored::Stored;

/// The fewest digits that name an approval.
const MIN_NAME: usize = 6;

/// A broken glass as it is listed.
#[derive(Debug, Serialize)]
pub struct ListedGlass {
    /// Digest of the approval manifest, by whose beginning the review is closed.
    pub approval: Digest,
    /// What the trust policy called this break-glass.
    pub break_glass: String,
    /// The proposal's name.
    pub proposal: String,
    /// Who broke it.
    pub broken_by: Vec<String>,
    /// Why, in their words.
    pub reason: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub opened: u64,
    /// From when on no run starts by it any more.
    pub expires: u64,
    /// The runs by it, oldest first.
    pub runs: Vec<GlassRun>,
    /// When its review was closed; none while it is open.
    pub closed: Option<u64>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// What they found, in their words.
    pub closing_reason: Option<String>,
}

/// A run by which a broken glass was used.
#[derive(Debug, Serialize)]
pub struct GlassRun {
    /// Its name.
    pub run: String,
    /// Its target.
    pub target: String,
    /// How it ended, `running`, `waiting` or `unfinished`.
    pub outcome: String,
}

/// A review that was closed.
pub struct ClosedGlass {
    /// What was reviewed.
    pub glass: ListedGlass,
    /// Whose word closed it.
    pub by: String,
}

/// The reviews that are open, oldest first; or the latest of all, newest first.
///
/// # Errors
/// When the state cannot be read.
pub fn glass_reviews(runner: &Runner, all: bool) -> Result<Vec<ListedGlass>, PipelineError> {
    let state = runner.state();
    let reviews = if all { state.approvals().reviews()? } else { state.approvals().open_reviews()? };
    reviews.into_iter().map(|review| listed(runner, review)).collect()
}

fn listed(runner: &Runner, review: GlassReview) -> Result<ListedGlass, PipelineError> {
    let of = |run: ProposalRun| GlassRun { run: run.run, target: run.target, outcome: run.outcome };
    let runs = runner.runs_of(&review.proposal)?.into_iter().filter(|run| run.approval == review.approval);
    let (closed, closed_by, closing_reason) = match review.closed {
        None => (None, None, None),
        Some(closed) => (Some(closed.at), Some(closed.by), Some(closed.reason)),
    };
    Ok(ListedGlass {
        approval: review.approval,
        break_glass: review.name,
        proposal: proposal_name(&review.proposal),
        broken_by: review.broken_by,
        reason: review.reason,
        opened: review.opened,
        expires: review.expires,
        runs: runs.map(of).collect(),
        closed,
        closed_by,
        closing_reason,
    })
}

/// Closes the review of a broken glass, named by the beginning of its approval's digest: a person who may approve says what
/// they found, once nothing can come of it any more.
///
/// # Errors
/// A refusal, where it stays open: somebody else has to, a run by it may begin still or has not ended, or it is closed already.
pub fn close_review(
    runner: &Runner,
    name: &str,
    signatory: &dyn Signatory,
    reason: &str,
) -> Result<ClosedGlass, PipelineError> {
    let review = find(runner, name)?;
    let stored = Stored::load(runner, &review.proposal.to_string())?;
    let proposers = proposers(runner, &stored);
    let who = runner.policy().principal(signatory.fingerprint());
    countersign_trust::may_close_glass_review(&who, &review.broken_by, &proposers)
        .map_err(|refusal| refused_by(&refusal))?;
    is_over(runner, &stored, &review)?;
    let document = BreakGlassReviewDocument {
        version: DOCUMENT_VERSION,
        approval: review.approval,
        proposal: review.proposal,
        runner: runner.fingerprint().to_owned(),
        reason: reason.to_owned(),
        at: runner.decisive()?,
    };
    let bytes = countersign_trust::draft_glass_review(&document)
        .map_err(|error| PipelineError::failed(format!("the review: {error}")).with_hint(error.hint()))?;
    let signature = crate::approve::signed(signatory, namespace::BREAK_GLASS_REVIEW, &bytes)?;
    // The runner takes one only as it will be read again.
    let (_, person) = countersign_trust::verify_glass_review(
        &bytes,
        signature.as_bytes(),
        &document,
        &review.broken_by,
        &proposers,
        runner.policy(),
    )
    .map_err(|refusal| refused_by(&refusal))?;
    let closing = ClosingReview {
        approval: &review.approval,
        by: person.name(),
        reason,
        at: document.at,
        document: &bytes,
        signature: &signature,
    };
    let entry = crate::audit::review_closed(runner, &document, &bytes, &signature);
    let state = runner.state();
    state.approvals().close_review(&closing, &entry)?;
    let closed = state.approvals().review(&review.approval)?.unwrap_or(review);
    Ok(ClosedGlass { glass: listed(runner, closed)?, by: person.name().to_owned() })
}

/// The open review that is named.
fn find(runner: &Runner, name: &str) -> Result<GlassReview, PipelineError> {
    let sought = name.strip_prefix("sha256:").unwrap_or(name);
    let shown = excerpt(name, 80);
    let mut found = Vec::new();
    if sought.len() >= MIN_NAME {
        let all = runner.state().approvals().reviews()?.into_iter();
        found.extend(all.filter(|review| review.approval.hex().starts_with(sought)));
    }
    match (found.pop(), found.is_empty()) {
        (Some(GlassReview { closed: Some(closed), .. }), true) => {
            let what = format!("the review of `{shown}` was closed already, by {}", excerpt(&closed.by, 80));
            Err(PipelineError::refused(what)
                .with_hint("nothing changed; `countersign break-glass list --all` shows it"))
        }
        (Some(review), true) => Ok(review),
        (None, _) => Err(PipelineError::failed(format!("no broken glass has an approval that begins with `{shown}`"))
            .with_hint("`countersign break-glass list` lists them; at least 6 digits name one")),
        (Some(_), false) => Err(PipelineError::failed(format!("several approvals begin with `{shown}`"))
            .with_hint("give more digits; `countersign break-glass list` lists them")),
    }
}

/// Who proposed it and, where it undoes a run, that one.
fn proposers(runner: &Runner, stored: &Stored) -> Vec<Principal> {
    let document = stored.proposal.document();
    let undone = document.undoes.as_ref().map(|undoes| undoes.proposer.as_str());
    let keys = std::iter::once(document.proposer.as_str()).chain(undone);
    keys.map(|key| runner.policy().principal(key)).collect()
}

/// Refuses while there is more to come: what nobody has seen yet is not reviewed.
fn is_over(runner: &Runner, stored: &Stored, review: &GlassReview) -> Result<(), PipelineError> {
    let more =
        |what: String, next: &str| Err(PipelineError::refused(what).with_hint(format!("nothing changed; {next}")));
    for run in runner.state().runs().open()? {
        if run.manifest == Some(review.approval) && !matches!(run.state, RunState::Finished(_)) {
            return more(format!("the run {} by it has not ended", run.id), "close the review once it has");
        }
    }
    if crate::approve::undenied(runner, stored).is_err() {
        return Ok(());
    }
    let now = runner.decisive()?;
    let given = crate::given::given(runner, stored)?;
    match given.iter().find(|given| given.approval == review.approval && given.open(now)) {
        None => Ok(()),
        Some(given) => more(
            format!("a run may begin by it until {}", moment(given.terms.expires)),
            "close the review once it was used or has expired; `countersign deny` ends the proposal before",
        ),
    }
}
