//! What a run's subject was before the run, as it is kept for undo.

use std::collections::BTreeMap;

use countersign_capability::Stream;
use countersign_model::text::excerpt;
use countersign_model::{Change, Image};
use countersign_record::{ChangeState, RecordError};

use crate::approval::LOST;
use crate::error::PipelineError;
use crate::past::Past;
use crate::runner::Runner;
use crate::target::Target;

/// The content that a subject had before a run, or the end of it where no more is kept.
pub struct Before {
    /// The run's name.
    pub run: String,
    /// The subject.
    pub subject: String,
    /// What is kept.
    pub image: Image,
    /// Where in the content it begins, in bytes: 0 where all of it is kept.
    pub from: u64,
    /// Its bytes, verified.
    pub bytes: Box<dyn Stream>,
}

impl Runner {
    /// What a subject was before a run, by the run's name or the beginning of it. What is sensitive, then or now, is shown
    /// to nobody: that it belongs to whoever runs this makes no difference, since an agent may run it as the same user.
    ///
    /// # Errors
    /// A refusal, where the run did not change it, nothing was there, it is withheld or it is not kept any more.
    pub fn before(
        &self,
        run: &str,
        subject: &str,
        targets: &BTreeMap<String, Target>,
    ) -> Result<Before, PipelineError> {
        let past = Past::of(self, targets)?;
        let state = self.state();
        let run = state.runs().get(run)?;
        let changes = state.runs().changes(&run.id)?.into_iter().map(|made| past.journaled(&run.target, made));
        let steps = changes.filter(|made| made.resolution.is_none() && made.state != ChangeState::NotApplied);
        let made: Vec<Change> = steps.map(|made| made.change).filter(|change| change.subject == subject).collect();
        let (id, named) = (&run.id, excerpt(subject, 200));
        let show = format!("see `countersign show {id}`");
        let refused = |what: String, hint: &str| Err(PipelineError::refused(what).with_hint(hint.to_owned()));
        let Some(first) = made.first() else {
            return refused(format!("the run `{id}` did not change `{named}`"), &show);
        };
        if made.iter().any(|change| change.withheld) {
            let hint = "`countersign resolve RUN SUBJECT --restore` puts back what a run left otherwise, and shows it to nobody";
            return refused(format!("`{named}` is sensitive, and what it was is shown to nobody"), hint);
        }
        let Some(before) = first.before else {
            return refused(format!("`{named}` had no content before the run `{id}`, so none is kept"), &show);
        };
        // A change of mode keeps no content; the change after it found the same.
        let kept = made.iter().find(|change| change.before != change.after).and_then(|change| change.kept);
        let (image, from) = kept.map_or((before, 0), |kept| (kept.image, kept.from));
        match self.blobs().open(&image.digest) {
            Ok(bytes) => Ok(Before { run: run.id, subject: first.subject.clone(), image, from, bytes }),
            Err(RecordError::NotFound { .. }) if made.iter().all(|change| change.before == change.after) => {
                refused(format!("the run `{id}` left the content of `{named}` as it was, so none is kept"), &show)
            }
            Err(error @ (RecordError::NotFound { .. } | RecordError::Damaged { .. })) => {
                refused(format!("what `{named}` was before the run `{id}` is not kept any more: {error}"), LOST)
            }
            Err(error) => Err(error.into()),
        }
    }
}
