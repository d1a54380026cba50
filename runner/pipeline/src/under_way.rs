use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_gate::Tally;
use countersign_model::text::excerpt;

/// How far a run is, for whoever wants it to end and asks meanwhile.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Before,
    Run {
        known: Known,
        rolling_back: bool,
    },
    Ended(Known),
    /// A subject that an ended run left is put back.
    Restoring(Restoring),
}

/// A subject that an ended run left, and that is being put back.
#[derive(Clone, Debug)]
pub(crate) struct Restoring {
    pub(crate) run: String,
    pub(crate) subject: String,
}

/// A run that is under way, or has ended.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) run: String,
    pub(crate) target: String,
    pub(crate) rollback_owner: String,
    pub(crate) tally: Arc<Tally>,
    /// Whether it is another process's run that is rolled back.
    pub(crate) recovering: bool,
    /// Whether its outcome is recorded.
    pub(crate) ended: bool,
}

impl UnderWay {
    pub(crate) fn began(&self, run: &str, target: &str, rollback_owner: &str, tally: Arc<Tally>) {
        let (run, target, rollback_owner) = (run.to_owned(), target.to_owned(), rollback_owner.to_owned());
        let known = Known { run, target, rollback_owner, tally, recovering: false, ended: false };
        self.set(Stage::Run { known, rolling_back: false });
    }

    /// The same of a run whose process died.
    pub(crate) fn taken_over(&self, run: &str, target: &str, rollback_owner: &str) {
        let (run, target, rollback_owner) = (run.to_owned(), target.to_owned(), rollback_owner.to_owned());
        let known = Known { run, target, rollback_owner, tally: Arc::default(), recovering: true, ended: false };
        self.set(Stage::Run { known, rolling_back: true });
    }

    /// What is known of the run, if there is one.
    pub(crate) fn known(&self) -> Option<Known> {
        match &*self.lock() {
            Stage::Before | Stage::Restoring(_) => None,
            Stage::Run { known, .. } | Stage::Ended(known) => Some(known.clone()),
        }
    }

    /// A subject that an ended run left is put back from now on.
    pub(crate) fn restores(&self, run: &str, subject: &str) {
        self.set(Stage::Restoring(Restoring { run: run.to_owned(), subject: subject.to_owned() }));
    }

    /// What is being put back of an ended run, if anything is.
    pub(crate) fn restoring(&self) -> Option<Restoring> {
        match &*self.lock() {
            Stage::Restoring(restoring) => Some(restoring.clone()),
            _ => None,
        }
    }

    /// From now on no run is under way.
    pub(crate) fn over(&self) {
        self.set(Stage::Before);
    }

    pub(crate) fn rolls_back(&self) {
        if let Stage::Run { rolling_back, .. } = &mut *self.lock() {
            *rolling_back = true;
        }
    }

    pub(crate) fn ended(&self) {
        let known = self.known();
        if let Some(known) = known {
            self.set(Stage::Ended(Known { ended: true, ..known }));
        }
    }

    fn set(&self, stage: Stage) {
        *self.lock() = stage;
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What state the target is in, and what comes next, told to whoever wants the run to end by a signal: for the first
    /// time, or again. `process` is the runner's own.
    #[must_use]
    pub fn describe(&self, again: bool, process: u32) -> String {
        let stage = self.lock();
        let Stage::Run { known: Known { run, target, tally, .. }, rolling_back } = &*stage else {
            return match &*stage {
                Stage::Ended(_) => "the run has ended, and its result is about to be printed".to_owned(),
                Stage::Restoring(Restoring { run, subject }) => {
                    format!(
                        "`{}` is being put back as it was before run {run}, and that goes on",
                        excerpt(subject, 200)
                    )
                }
                _ => "no run has begun, and nothing was changed: none begins any more".to_owned(),
            };
        };
        let (made, undone) = (tally.made(), tally.undone());
        let made = if made == 1 { "1 change".to_owned() } else { format!("{made} changes") };
        let mut says = match rolling_back {
            false => format!(
                "run {run} on `{target}` has made {made}, and is rolled back as soon as what is being done has ended"
            ),
            true => format!(
                "run {run} on `{target}` is being rolled back, and that goes on: of {made}, {undone} undone so far"
            ),
        };
        if again {
            says.push_str(&format!(
                "; wait for its end; or `kill -9 {process}` ends it half way, and `countersign recover` goes on from there"
            ));
        }
        says
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told() {
        let under_way = UnderWay::default();
        assert!(under_way.describe(false, 7).starts_with("no run has begun"));
        under_way.rolls_back();
        assert!(under_way.describe(true, 7).starts_with("no run has begun"), "what has not begun is not rolled back");
        under_way.began("r-1", "web", "alice", Arc::default());
        assert!(under_way.describe(false, 7).contains("has made 0 changes, and is rolled back as soon as"));
        under_way.rolls_back();
        let says = under_way.describe(true, 7);
        assert!(says.contains("goes on: of 0 changes, 0 undone so far") && says.contains("`kill -9 7`"), "{says}");
        under_way.ended();
        assert!(under_way.describe(true, 7).starts_with("the run has ended"));
    }
}
