//! Who may act where the people that a quorum asks for cannot be had, and how far that reaches.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::Grant;
use countersign_model::documents::RoleGrants;
use countersign_model::text::excerpt;

use super::book::Book;
use super::{Ceiling, MAX_TITLE, PolicyError, file};
use crate::demands::Demands;
use crate::duration::parse_duration;
use crate::grants::Contains;
use crate::text::length;

/// The longest time for which such an approval may be good, in milliseconds: a day.
const MAX_VALIDITY: u64 = 24 * 3_600_000;

/// An approval in place of the quorums: by keys that do nothing else, and within bounds of its own.
#[derive(Clone, Debug)]
pub struct BreakGlass {
    ceiling: Ceiling,
    max_validity_ms: u64,
    /// Whose each key is, by fingerprint.
    keys: BTreeMap<String, String>,
    people: usize,
    touch: bool,
    pin: bool,
    through_freezes: bool,
}

impl BreakGlass {
    /// Reads one, and takes its keys into the book.
    pub(super) fn read(table: file::BreakGlass, book: &mut Book, longest_ms: u64) -> Result<Self, PolicyError> {
        let title = excerpt(&table.name, MAX_TITLE);
        let wrong = |why: String| PolicyError::Entry { what: "break-glass", name: title.clone(), why };
        if table.targets.is_empty() || table.grants.is_empty() || table.keys.is_empty() {
            return Err(wrong("`targets`, `grants` and `keys` each need one entry at least".to_owned()));
        }
        let validity = parse_duration(&table.max_validity).map_err(|why| wrong(format!("`max-validity`: {why}")))?;
        // At most a year: it fits.
        let max_validity_ms = u64::try_from(validity.as_millis()).unwrap_or(u64::MAX);
        let longest = longest_ms.min(MAX_VALIDITY);
        if max_validity_ms > longest {
            let why = format!("`max-validity` is {}, expected at most {}", length(max_validity_ms), length(longest));
            return Err(wrong(why));
        }
        let mut keys = BTreeMap::new();
        for file::BreakGlassKey { person, key } in &table.keys {
            keys.insert(book.add_break_glass(person, key)?, person.clone());
        }
        let named: BTreeSet<_> = keys.values().collect();
        let people = usize::try_from(table.people).ok().filter(|people| (1..=named.len()).contains(people));
        let people = people.ok_or_else(|| {
            let have = named.len();
            wrong(format!("it needs {} people, and {have} have a key: expected 1 to as many as have one", table.people))
        })?;
        let file::BreakGlass { name, targets, grants, touch, pin, through_freezes, .. } = table;
        let ceiling = Ceiling::read(file::Ceiling { name, targets, grants })?;
        Ok(Self { ceiling, max_validity_ms, keys, people, touch, pin, through_freezes })
    }

    /// What people call it, and approvals by it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.ceiling.name()
    }

    /// The longest time for which an approval by it may be good, in milliseconds; at most a day.
    #[must_use]
    pub const fn max_validity_ms(&self) -> u64 {
        self.max_validity_ms
    }

    /// How many people must sign; at least 1.
    #[must_use]
    pub const fn people(&self) -> usize {
        self.people
    }

    /// Whether a run by it begins in a freeze too.
    #[must_use]
    pub const fn goes_through_freezes(&self) -> bool {
        self.through_freezes
    }

    /// Whether this is one of its keys.
    #[must_use]
    pub fn has(&self, fingerprint: &str) -> bool {
        self.keys.contains_key(fingerprint)
    }

    pub(super) fn grants(&self) -> &[Grant] {
        self.ceiling.grants()
    }

    pub(crate) fn reaches(&self, target: &str) -> bool {
        self.ceiling.reaches(target)
    }

    /// The first grant that goes beyond it, with why.
    pub(crate) fn exceeded(&self, grants: &RoleGrants, contains: Contains<'_>) -> Option<(Grant, String)> {
        self.ceiling.exceeded(grants, contains)
    }

    /// What it demands of each signature, beside what the policy always does.
    pub(crate) fn demands(&self, always: &Demands) -> Demands {
        Demands { touch: self.touch, pin: self.pin, ..always.clone() }
    }

    /// How many must sign and how, in words.
    pub(crate) fn wants(&self) -> String {
        let by = match (self.touch, self.pin) {
            (_, true) => " with a PIN",
            (true, false) => " with a touch",
            (false, false) => "",
        };
        if self.people == 1 { format!("1 person{by}") } else { format!("{} people{by}", self.people) }
    }

    /// It in words, beside its name.
    pub(super) fn says(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|(key, person)| format!("`{key}` of `{person}`")).collect();
        let freezes = if self.through_freezes { "; in a freeze too" } else { "" };
        format!(
            "{} in place of every quorum, {}, for {} at most{freezes}; keys {}",
            self.wants(),
            self.ceiling.says(),
            length(self.max_validity_ms),
            keys.join(", ")
        )
    }
}
