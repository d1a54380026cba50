use crate::JournaledChange;

/// A run whose process ended before the run did. It blocks its target until somebody has looked.
///
/// Only this crate makes one, from the journal, after it saw that nobody holds the target's lock.
/// It can only be read: a change that is `intended` may or may not have been applied.
#[derive(Clone, Debug)]
pub struct Unfinished {
    run: String,
    target: String,
    changes: Vec<JournaledChange>,
    reason: String,
}

impl Unfinished {
    pub(crate) fn new(run: String, target: String, changes: Vec<JournaledChange>, rollback: Option<String>) -> Self {
        let mut reason = "the runner ended before the run did".to_owned();
        if let Some(why) = rollback {
            reason.push_str(", while it was rolling back: ");
            reason.push_str(&why);
        }
        Self { run, target, changes, reason }
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The target that it was changing.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What it changed or was about to change, in order, as far as is durable.
    #[must_use]
    pub fn changes(&self) -> &[JournaledChange] {
        &self.changes
    }

    /// Why it is unfinished.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
