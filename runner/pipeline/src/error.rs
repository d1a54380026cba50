use countersign_model::Fault;

use crate::listing::ShownChange;

/// Why the story did not go on. Each kind has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A decision: the rules do not allow it. Nothing changed. Exit code 3.
    #[error("{what}")]
    Refused {
        /// What was refused and why.
        what: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// Something is wrong with what was given or with the runner. Nothing changed. Exit code 1.
    #[error("{what}")]
    Failed {
        /// What is wrong.
        what: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A person has to look before anything else happens here. Exit code 5.
    #[error("{what}")]
    PersonNeeded {
        /// What state things are in.
        what: String,
        /// What to do next.
        hint: Option<String>,
        /// The run that it is about.
        run: Option<Box<BlockingRun>>,
        /// That run's journaled changes.
        changes: Vec<ShownChange>,
    },
}

/// A run that died without an outcome.
#[derive(Debug)]
pub struct BlockingRun {
    /// Its name.
    pub run: String,
    /// The target that it blocks.
    pub target: String,
    /// Who answers for the target.
    pub rollback_owner: String,
}

impl PipelineError {
    /// A refusal.
    #[must_use]
    pub fn refused(what: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), hint: None }
    }

    /// A failure before anything changed.
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), hint: None }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_hint(self, next: impl Into<String>) -> Self {
        let next = Some(next.into());
        match self {
            Self::Refused { what, .. } => Self::Refused { what, hint: next },
            Self::Failed { what, .. } => Self::Failed { what, hint: next },
            Self::PersonNeeded { what, run, changes, .. } => Self::PersonNeeded { what, hint: next, run, changes },
        }
    }

    /// What to do next, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } | Self::Failed { hint, .. } | Self::PersonNeeded { hint, .. } => hint.as_deref(),
        }
    }

    /// The exit code of `countersign`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Refused { .. } => 3,
            Self::PersonNeeded { .. } => 5,
        }
    }
}

impl From<Fault> for PipelineError {
    fn from(fault: Fault) -> Self {
        Self::failed(fault.what)
    }
}
