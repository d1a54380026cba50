//! Stopping new runs: at once, by any one person who has a say. What is under way goes on to its end, and nothing keeps
//! anybody from undoing.

use countersign_model::documents::namespace;
use countersign_record::{NewPause, Paused};
use countersign_trust::{Signatory, moment};

use crate::error::PipelineError;
use crate::order::refused_by;
use crate::runner::Runner;

/// What became of a pause, or of lifting one.
pub struct PauseSaid {
    /// Who said so, by name.
    pub by: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What was so before.
    pub before: Option<Paused>,
    /// The runs that are under way, each with its target: they go on to their ends.
    pub running: Vec<(String, String)>,
}

/// Has a person's word signed that new runs are paused, or may begin again, and keeps it durably.
///
/// # Errors
/// When the key's owner may not say so, the reason is empty or too long, or it cannot be recorded; and where there is
/// nothing to lift.
pub fn pause(
    runner: &Runner,
    signatory: &dyn Signatory,
    paused: bool,
    reason: &str,
) -> Result<PauseSaid, PipelineError> {
    if !paused && runner.paused()?.is_none() {
        return Err(
            PipelineError::failed("new runs are not paused").with_hint("nothing changed, and there is nothing to lift")
        );
    }
    // A clock that went back must not keep anybody from stopping.
    let at = runner.now();
    let document = countersign_trust::draft_pause(runner.fingerprint(), paused, reason, at)
        .map_err(|error| PipelineError::failed(format!("the pause: {error}")).with_hint(error.hint()))?;
    let signature = crate::approve::signed(signatory, namespace::PAUSE, &document)?;
    let verified =
        countersign_trust::verify_pause(&document, signature.as_bytes(), runner.fingerprint(), runner.policy());
    let (_, who) = verified.map_err(|refusal| refused_by(&refusal))?;
    let by = who.name().to_owned();
    let new = NewPause { paused, by: &by, reason, at, document: &document, signature: &signature };
    let before = runner.state().pauses().add(new)?;
    let running = runner.state().runs().under_way()?.into_iter().map(|run| (run.id, run.target)).collect();
    Ok(PauseSaid { by, at, before, running })
}

/// Refuses a run while new ones are paused.
pub(crate) fn not_paused(runner: &Runner) -> Result<(), PipelineError> {
    runner.paused()?.map_or(Ok(()), |paused| Err(refused(&paused)))
}

pub(crate) fn refused(paused: &Paused) -> PipelineError {
    PipelineError::refused(describe_pause(paused)).with_hint(
        "nothing changed and no use is spent; somebody whom the trust policy lists as a person who may operate or approve \
         ends it with `countersign pause --lift`",
    )
}

/// Who paused new runs, when and why, in one line.
#[must_use]
pub fn describe_pause(paused: &Paused) -> String {
    let reason = countersign_model::text::excerpt(&paused.reason, 500);
    format!("new runs are paused, by {} at {}: {reason}", paused.by, moment(paused.at))
}

impl Runner {
    /// Why no new run begins, if none does.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn paused(&self) -> Result<Option<Paused>, PipelineError> {
        Ok(self.state().pauses().paused()?)
    }
}
