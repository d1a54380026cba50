use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How closely a run is held to its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The whole plan, in order, and nothing else.
    #[default]
    Exact,
    /// Anything inside the grants. Only where it is asked for and the trust policy allows it.
    Scoped,
}

impl Mode {
    /// The word that people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Scoped => "scoped",
        }
    }
}

/// What pairs with the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RollbackBy {
    /// The host undoes the exact changes, then the rollback step does the rest.
    Step,
    /// The host's own undo is all; only where every change is exact.
    Undo,
}

/// What the check must show, and when it is asked after the fix, in milliseconds. The host repeats it; a step
/// never waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Success {
    /// Check and guards must hold within this time after the fix; at most an hour.
    pub within_ms: u64,
    /// The pause between two attempts; at least 50.
    pub every_ms: u64,
    /// From their first holding, they must go on holding for this long.
    pub hold_ms: u64,
    /// Whether the check may say healthy before the fix, where its saying so afterwards proves nothing. Otherwise
    /// that is refused.
    pub may_pass_before: bool,
}

impl Default for Success {
    fn default() -> Self {
        Self { within_ms: 10_000, every_ms: 250, hold_ms: 0, may_pass_before: false }
    }
}

/// What a check, or a guard, says of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "kebab-case")]
pub enum Verdict {
    /// The target is healthy.
    Healthy,
    /// It is not; the text is untrusted.
    Unhealthy(String),
    /// It cannot be told; the text is untrusted.
    CannotTell(String),
}

impl Verdict {
    /// The word that people read.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy(_) => "unhealthy",
            Self::CannotTell(_) => "cannot tell",
        }
    }

    /// The reason given, if any.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy(reason) | Self::CannotTell(reason) => Some(reason),
        }
    }
}
