use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not started: an authorization, a precondition or a setting did not hold. Nothing changed.
    Refused,
    /// The changes stay; check and guards held.
    Committed,
    /// Every subject is as it was before, read back from the target.
    RolledBack,
    /// Something is not as it was before, and is named.
    RollbackIncomplete,
    /// It is not known whether a change happened.
    InDoubt,
}

impl Outcome {
    /// The name in messages, JSON and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Committed => "committed",
            Self::RolledBack => "rolled-back",
            Self::RollbackIncomplete => "rollback-incomplete",
            Self::InDoubt => "in-doubt",
        }
    }

    /// The exit code of `countersign run` for this outcome.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Committed => 0,
            Self::Refused => 3,
            Self::RolledBack => 4,
            Self::RollbackIncomplete | Self::InDoubt => 5,
        }
    }

    /// Whether a person has to look: something is not as before, or nobody knows.
    #[must_use]
    pub const fn needs_person(self) -> bool {
        matches!(self, Self::RollbackIncomplete | Self::InDoubt)
    }

    /// The outcome of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Refused, Self::Committed, Self::RolledBack, Self::RollbackIncomplete, Self::InDoubt]
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
