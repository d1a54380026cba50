use std::sync::{Arc, Mutex, PoisonError};

use countersign_gate::Tally;

/// How far a run is, for whoever wants it to end and asks meanwhile.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Before,
    Run {
        run: String,
        target: String,
        tally: Arc<Tally>,
        rolling_back: bool,
    },
    Ended,
}

impl UnderWay {
    pub(crate) fn began(&self, run: &str, target: &str, tally: Arc<Tally>) {
        self.set(Stage::Run { run: run.to_owned(), target: target.to_owned(), tally, rolling_back: false });
    }

    pub(crate) fn rolls_back(&self) {
        if let Stage::Run { rolling_back, .. } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *rolling_back = true;
        }
    }

    pub(crate) fn ended(&self) {
        self.set(Stage::Ended);
    }

    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// What state the target is in, and what comes next, told to whoever wants the run to end by a signal: for the first
    /// time, or again. `process` is the runner's own.
    #[must_use]
    pub fn describe(&self, again: bool, process: u32) -> String {
        let stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Stage::Run { run, target, tally, rolling_back } = &*stage else {
            return match &*stage {
                Stage::Ended => "the run has ended, and its result is about to be printed".to_owned(),
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
        under_way.began("r-1", "web", Arc::default());
        assert!(under_way.describe(false, 7).contains("has made 0 changes, and is rolled back as soon as"));
        under_way.rolls_back();
        let says = under_way.describe(true, 7);
        assert!(says.contains("goes on: of 0 changes, 0 undone so far") && says.contains("`kill -9 7`"), "{says}");
        under_way.ended();
        assert!(under_way.describe(true, 7).starts_with("the run has ended"));
    }
}
