use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Sign approvals and denials.
    Approve,
    /// Sign proposals.
    Propose,
    /// Start runs and answer for them.
    Operate,
}

impl Right {
    /// The word in the trust policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Propose => "propose",
            Self::Operate => "operate",
        }
    }
}

/// What a rule lets agents and people do before anybody approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Read a target, by hand or by a bundle's investigation.
    Investigate,
    /// Rehearse a bundle, and propose it.
    Propose,
    /// Have a proposal run by a standing approval, which people signed before it was made.
    Unattended,
}

impl Activity {
    /// What somebody does, after `may`.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Investigate => "investigate",
            Self::Propose => "propose",
            Self::Unattended => "run unattended",
        }
    }

    /// The word in the trust policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Investigate => "investigate",
            Self::Propose => "propose",
            Self::Unattended => "unattended",
        }
    }
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person that the trust policy lists.
    Person,
    /// An agent that the trust policy lists.
    Agent,
    /// A person that the trust policy lists, by a key that breaks the glass and does nothing else.
    BreakGlass,
    /// A key that the trust policy does not list: nobody knows who has it.
    Unlisted,
}

/// Who a key belongs to under one trust policy. Only [`Policy::principal`](crate::Policy::principal)
/// makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(crate) name: String,
    pub(crate) kind: PrincipalKind,
    pub(crate) fingerprint: String,
    pub(crate) owner: Option<String>,
    pub(crate) enrolled_by: Option<String>,
    pub(crate) rights: BTreeSet<Right>,
    /// Why nothing that it signs counts.
    pub(crate) revoked: Option<String>,
}

impl Principal {
    /// The name in the trust policy; the key's fingerprint where it lists none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands behind the key.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The key's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The person who answers for the key: the person itself, or an agent's owner.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        match self.kind {
            PrincipalKind::Person | PrincipalKind::BreakGlass => Some(&self.name),
            PrincipalKind::Agent => self.owner.as_deref(),
            PrincipalKind::Unlisted => None,
        }
    }

    /// The person who put the key into the trust policy, where that says so.
    #[must_use]
    pub fn enrolled_by(&self) -> Option<&str> {
        self.enrolled_by.as_deref()
    }

    /// Why nothing that the key signs counts any more, where it is revoked; in the words of who revoked it.
    #[must_use]
    pub fn revoked(&self) -> Option<&str> {
        self.revoked.as_deref()
    }

    /// Whether the trust policy gives it this right; one that is revoked has none.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PrincipalKind::Person => write!(f, "person `{}`", self.name),
            PrincipalKind::Agent => write!(f, "agent `{}`", self.name),
            PrincipalKind::BreakGlass => write!(f, "break-glass key of `{}`", self.name),
            PrincipalKind::Unlisted => write!(f, "unlisted key `{}`", self.fingerprint),
        }
    }
}
