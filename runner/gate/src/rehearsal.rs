use std::collections::BTreeSet;

use countersign_capability::Blobs;
use countersign_model::documents::Denial;
use countersign_model::{Change, Fault, Plan, Reversibility, Role};

use crate::denials::Denials;
use crate::proof::First;
use crate::sessions::Sessions;
use crate::usage::Usage;

/// A rehearsal under way: the plan as it grows, what was denied, and what the overlay holds.
pub struct Rehearsal {
    pub(crate) blobs: Box<dyn Blobs>,
    pub(crate) plan: Plan,
    pub(crate) denied: Denials,
    pub(crate) usage: Usage,
    /// Forward changes that the host has undone on the overlay, by position.
    undone: BTreeSet<usize>,
    /// Whether the current step read what nobody can know.
    pub(crate) stale: bool,
}

impl Rehearsal {
    /// Begins with nothing changed.
    #[must_use]
    pub fn new(blobs: Box<dyn Blobs>) -> Self {
        Self {
            blobs,
            plan: Plan::default(),
            denied: Denials::default(),
            usage: Usage::default(),
            undone: BTreeSet::new(),
            stale: false,
        }
    }

    /// What would change.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was denied.
    #[must_use]
    pub fn denied(&self) -> &[Denial] {
        self.denied.list()
    }

    /// What the permitted calls needed.
    #[must_use]
    pub const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether the step that ran last used a read that no rehearsal can know.
    #[must_use]
    pub const fn stale(&self) -> bool {
        self.stale
    }

    pub(crate) fn planned(&mut self, role: Role, change: Change) {
        match role {
            Role::Rollback => self.plan.back.push(change),
            _ => self.plan.forward.push(change),
        }
    }

    /// A capability other than `reading` whose pending change makes a read unknowable, if any.
    pub(crate) fn unsettled_by(&self, reading: &str) -> Option<&str> {
        let forward = self.plan.forward.iter().enumerate().filter(|(at, _)| !self.undone.contains(at)).map(|(_, c)| c);
        forward.chain(&self.plan.back).map(|change| change.capability.as_str()).find(|name| *name != reading)
    }

    /// Undoes the exact and compensating changes on the overlay, last first, as the host will.
    ///
    /// # Errors
    /// When a capability could not undo one.
    pub fn undo_exact(&mut self, sessions: &mut Sessions) -> Result<(), Fault> {
        for (position, change) in self.plan.forward.iter().enumerate().rev() {
            if change.reversibility != Reversibility::Irreversible && !self.undone.contains(&position) {
                sessions.rehearse_undo(self.blobs.as_mut(), change)?;
                self.undone.insert(position);
            }
        }
        Ok(())
    }

    /// The subjects that are not back at their first before-image on the overlay, and why.
    pub fn unrestored(&mut self, sessions: &mut Sessions) -> Vec<String> {
        let mut left = Vec::new();
        for first in First::of(self.plan.forward.iter().chain(&self.plan.back)) {
            if let Some(why) = first.not_as_before("the fix", sessions, self.blobs.as_mut()) {
                left.push(format!("{}: {why}", first.change.subject));
            }
        }
        left
    }
}
