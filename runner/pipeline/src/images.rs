//! What is kept for undo: how much of it there is, and what cannot be kept or is not kept any more.

use countersign_model::Plan;
use countersign_record::{ImagesUse, RecordError};

use crate::error::PipelineError;
use crate::rehearse::Rehearsed;
use crate::runner::Runner;

impl Runner {
    /// What images take, and what there is.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn images(&self) -> Result<ImagesUse, PipelineError> {
        Ok(self.state().images()?)
    }

    /// Refuses a plan whose images a run could not keep: what cannot be kept is not changed.
    pub(crate) fn keeps_images_of(&self, plan: &Plan) -> Result<(), PipelineError> {
        let images = plan.changes().flat_map(|planned| planned.change.images());
        self.state().admit_images(images).map_err(unkept)
    }

    /// Keeps what the rehearsals of a proposal put aside: a review shows it, and undo may need it.
    pub(crate) fn keep_what_was_put_aside(&self, rehearsals: &[Rehearsed]) -> Result<(), PipelineError> {
        let planned = rehearsals.iter().flat_map(|rehearsed| rehearsed.document().plan.changes());
        self.state().keep_images(planned.flat_map(|planned| planned.change.images())).map_err(unkept)
    }

    /// Refuses what puts contents back that are kept no more.
    pub(crate) fn has_what_is_put_back(&self, plan: &Plan) -> Result<(), PipelineError> {
        for change in plan.forward.iter().filter(|change| change.before != change.after) {
            let Some(image) = change.kept.map(|kept| kept.image).or(change.after) else { continue };
            if self.state().place(&image)?.is_none() {
                let what = format!("what `{}` was is not kept any more, so nothing is changed", change.subject);
                return Err(PipelineError::refused(what).with_hint("restore the state directory from a backup"));
            }
        }
        Ok(())
    }
}

/// A decision where what is to be kept has no room, and not a defect.
fn unkept(error: RecordError) -> PipelineError {
    match error {
        RecordError::OverCap { .. } | RecordError::UnderReserve { .. } | RecordError::Damaged { .. } => {
            let what = format!("what undo needs could not be kept, so nothing is changed: {error}");
            let refused = PipelineError::refused(what);
            match error.hint() {
                Some(hint) => refused.with_hint(hint),
                None => refused,
            }
        }
        error => error.into(),
    }
}
