use std::collections::BTreeMap;

use countersign_model::documents::RoleGrants;
use countersign_model::{Access, Grant, Limits, Role};

/// How much of a least grant was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Calls made.
    pub calls: u64,
    /// Bytes of content written.
    pub bytes: u64,
}

/// What each step's permitted calls needed: the base of the least grants.
#[derive(Clone, Debug, Default)]
pub struct Usage(BTreeMap<Role, BTreeMap<Grant, Used>>);

impl Usage {
    pub(crate) fn add(&mut self, role: Role, least: Grant, bytes: u64) {
        let used = self.0.entry(role).or_default().entry(least).or_default();
        used.calls = used.calls.saturating_add(1);
        used.bytes = used.bytes.saturating_add(bytes);
    }

    /// The least grants: what was called, no wider; writes also bounded by how often and how much.
    /// Reads are not, since what they bring back may grow between a rehearsal and its run, and a
    /// check is repeated.
    #[must_use]
    pub fn least(&self) -> RoleGrants {
        self.0
            .iter()
            .map(|(role, grants)| (*role, grants.iter().map(|(grant, used)| bounded(grant, *used)).collect()))
            .collect()
    }
}

fn bounded(grant: &Grant, used: Used) -> Grant {
    let limits = match grant.access {
        Access::Read => Limits::default(),
        Access::Write => Limits { max_calls: Some(used.calls), max_bytes: (used.bytes > 0).then_some(used.bytes) },
    };
    Grant { limits, ..grant.clone() }
}
