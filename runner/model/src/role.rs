use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a step is for. The role decides which interfaces it may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at a target and reports findings; reads only.
    Investigation,
    /// Changes the target.
    Fix,
    /// Does what undoing the fix's changes cannot: a reload, a restart.
    Rollback,
    /// Tells whether the target is healthy; reads only.
    Check,
}

/// The text names no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a role: expected `investigation`, `fix`, `rollback` or `check`")]
pub struct UnknownRole(String);

impl Role {
    /// Every role, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Investigation, Self::Fix, Self::Check, Self::Rollback];

    /// The role's name, which is also the name of its world in `countersign:step`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Investigation => "investigation",
            Self::Fix => "fix",
            Self::Rollback => "rollback",
            Self::Check => "check",
        }
    }

    /// The one function that a step in this role exports.
    #[must_use]
    pub const fn export(self) -> &'static str {
        match self {
            Self::Investigation => "investigate",
            Self::Fix => "fix",
            Self::Rollback => "rollback",
            Self::Check => "check",
        }
    }

    /// Whether a step in this role may import `write` interfaces at all.
    #[must_use]
    pub const fn may_write(self) -> bool {
        matches!(self, Self::Fix | Self::Rollback)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| UnknownRole(crate::text::excerpt(text, 80)))
    }
}
