//! How many people must approve what.

use std::collections::BTreeSet;

use countersign_model::Mode;

use super::rules::list;
use super::{Policy, PolicyError, book::Book, file};
use crate::demands::Demands;
use crate::pattern::Pattern;
use crate::proposal::Proposal;

/// What a proposal's plans say of how much is at stake, as this runner rehearsed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// Whether a change cannot be undone.
    pub irreversible: bool,
    /// How many subjects are changed, on all targets together.
    pub subjects: usize,
}

/// How many people must approve, and of which groups, where its conditions hold.
#[derive(Clone, Debug)]
pub struct Quorum {
    name: String,
    people: usize,
    groups: BTreeSet<String>,
    touch: bool,
    pin: bool,
    targets: Vec<Pattern>,
    irreversible: bool,
    scoped: bool,
    targets_over: Option<u64>,
    subjects_over: Option<u64>,
}

impl Quorum {
    pub(super) fn read(quorum: file::Quorum, book: &Book) -> Result<Self, PolicyError> {
        let counted: BTreeSet<&str> = match quorum.groups.is_empty() {
            true => book.approvers().collect(),
            false => quorum.groups.iter().flat_map(|group| book.members(group)).collect(),
        };
        let people = usize::try_from(quorum.people).ok().filter(|people| (1..=counted.len()).contains(people));
        let people = people.ok_or_else(|| PolicyError::Entry {
            what: "quorum",
            name: quorum.name.clone(),
            why: format!(
                "it needs {} people, and {} may approve: expected 1 to as many as may approve",
                quorum.people,
                counted.len()
            ),
        })?;
        Ok(Self {
            name: quorum.name,
            people,
            groups: quorum.groups,
            touch: quorum.touch,
            pin: quorum.pin,
            targets: quorum.targets,
            irreversible: quorum.irreversible,
            scoped: quorum.scoped,
            targets_over: quorum.targets_over,
            subjects_over: quorum.subjects_over,
        })
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many people it needs; at least 1.
    #[must_use]
    pub const fn people(&self) -> usize {
        self.people
    }

    /// The groups whose people count; none where everybody who may approve does.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// What it demands of each signature, beside what the policy always does.
    pub(crate) fn demands(&self, always: &Demands) -> Demands {
        Demands { touch: self.touch, pin: self.pin, ..always.clone() }
    }

    /// Whether it holds for every proposal.
    pub(super) fn is_general(&self) -> bool {
        self.targets.is_empty()
            && !self.irreversible
            && !self.scoped
            && self.targets_over.is_none()
            && self.subjects_over.is_none()
    }

    /// Whether it holds for this proposal.
    pub(crate) fn holds(&self, proposal: &Proposal, risk: Risk) -> bool {
        let document = proposal.document();
        let over = |bound: Option<u64>, count: usize| {
            bound.is_none_or(|bound| u64::try_from(count).is_ok_and(|count| count > bound))
        };
        let reaches = |name: &str| self.targets.iter().any(|pattern| pattern.matches(name));
        (self.targets.is_empty() || document.targets.iter().any(|target| reaches(&target.name)))
            && (!self.irreversible || risk.irreversible)
            && (!self.scoped || document.mode == Mode::Scoped)
            && over(self.targets_over, document.targets.len())
            && over(self.subjects_over, risk.subjects)
    }

    /// Of these people, those who count for it.
    pub(crate) fn counted<'p>(&self, people: &'p BTreeSet<String>, policy: &Policy) -> Vec<&'p str> {
        let counts = |name: &&String| self.groups.is_empty() || policy.is_in(name, &self.groups);
        people.iter().filter(counts).map(String::as_str).collect()
    }

    /// Whom it counts, in words: `2 people`, `2 people of `sre``.
    pub(crate) fn wants(&self) -> String {
        let by = match (self.touch, self.pin) {
            (_, true) => " with a PIN",
            (true, false) => " with a touch",
            (false, false) => "",
        };
        let people = if self.people == 1 { "1 person".to_owned() } else { format!("{} people", self.people) };
        if self.groups.is_empty() { people + by } else { format!("{people} of {}{by}", list(&self.groups)) }
    }

    /// The quorum in words, beside its name.
    pub(super) fn says(&self) -> String {
        let mut when = Vec::new();
        if !self.targets.is_empty() {
            when.push(format!("a target is {}", list(&self.targets)));
        }
        if self.irreversible {
            when.push("a change cannot be undone".to_owned());
        }
        if self.scoped {
            when.push("the mode is `scoped`".to_owned());
        }
        for (bound, what) in [(self.targets_over, "targets"), (self.subjects_over, "subjects")] {
            if let Some(bound) = bound {
                when.push(format!("there are more than {bound} {what}"));
            }
        }
        let when = if when.is_empty() { "always".to_owned() } else { format!("where {}", when.join(" and ")) };
        format!("{} {when}", self.wants())
    }
}
