//! Every entry of a policy in words, and what differs between two.

use std::collections::BTreeMap;

use super::Policy;
use super::rules::list;
use crate::principal::{Principal, PrincipalKind};
use crate::text::{length, moment};

/// One entry of a policy, as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyEntry {
    /// What it is: `policy`, `roots`, `approval`, `proposals`, `investigations`, `runs`, `unattended`, `person`, `agent`, `rule`,
    /// `ceiling`, `quorum`, `break-glass`, `freeze` or `revocation`.
    pub section: &'static str,
    /// Its name there.
    pub name: String,
    /// What it says, in one line.
    pub says: String,
}

/// What one policy says otherwise than another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As [`PolicyEntry::section`].
    pub section: &'static str,
    /// As [`PolicyEntry::name`].
    pub name: String,
    /// What the earlier one says; `None` where it has no such entry.
    pub was: Option<String>,
    /// What the later one says; `None` where it has no such entry.
    pub is: Option<String>,
}

impl Policy {
    /// Every entry in words: what is not there, the policy does not say.
    #[must_use]
    pub fn entries(&self) -> Vec<PolicyEntry> {
        let mut all = Vec::new();
        let mut add =
            |section, name: &str, says: String| all.push(PolicyEntry { section, name: name.to_owned(), says });
        add("policy", "serial", self.serial.to_string());
        add("policy", "issued", moment(self.issued));
        add("policy", "expires", moment(self.expires));
        add("roots", "threshold", format!("{} of {}", self.threshold, self.roots.len()));
        for key in &self.roots {
            let whose = self.book.principal(key.fingerprint());
            add("roots", key.fingerprint(), whose.map_or_else(|| "a key of its own".to_owned(), ToString::to_string));
        }
        add("approval", "max-validity", length(self.max_validity_ms));
        add("approval", "max-uses", self.max_uses.to_string());
        add("approval", "scoped", if self.scoped { "allowed" } else { "not allowed" }.to_owned());
        add("proposals", "per-hour", self.per_hour.to_string());
        if let Some(bounds) = &self.unattended {
            add("unattended", "at most", bounds.says());
        }
        add("investigations", "per-hour", self.looks_per_hour.to_string());
        add("runs", "signed", if self.runs_signed { "always" } else { "where somebody signs" }.to_owned());
        // People first, each with all of their keys.
        let mut named: BTreeMap<(bool, &str), Vec<&Principal>> = BTreeMap::new();
        for principal in self.book.principals() {
            let is_agent = principal.kind() == PrincipalKind::Agent;
            named.entry((is_agent, principal.name())).or_default().push(principal);
        }
        for ((is_agent, name), keys) in named {
            let Some(first) = keys.first() else { continue };
            let keys = list(keys.iter().map(|key| key.fingerprint()));
            if is_agent {
                add("agent", name, format!("{}keys {keys}", answers(first)));
                continue;
            }
            let rights: Vec<_> = first.rights.iter().map(|right| right.name()).collect();
            let rights = if rights.is_empty() { "nothing".to_owned() } else { rights.join(", ") };
            let groups: Vec<_> = self.book.groups_of(name).collect();
            let groups = if groups.is_empty() { String::new() } else { format!("in {}; ", list(groups)) };
            add("person", name, format!("may {rights}; {groups}{}keys {keys}", answers(first)));
        }
        for rule in &self.rules {
            add("rule", rule.name(), rule.says());
        }
        for ceiling in &self.ceilings {
            add("ceiling", ceiling.name(), ceiling.says());
        }
        for quorum in &self.quorums {
            add("quorum", quorum.name(), quorum.says());
        }
        for table in &self.break_glass {
            add("break-glass", table.name(), table.says());
        }
        for freeze in &self.freezes {
            add("freeze", freeze.name(), freeze.says());
        }
        for (what, why) in self.revocations.entries() {
            add("revocation", &what, why);
        }
        all
    }

    /// What a later policy says otherwise, entry by entry, in the order of the later one; what is gone comes last.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<Difference> {
        let mut was: BTreeMap<(&'static str, String), String> =
            self.entries().into_iter().map(|entry| ((entry.section, entry.name), entry.says)).collect();
        let mut all = Vec::new();
        for PolicyEntry { section, name, says } in later.entries() {
            match was.remove(&(section, name.clone())) {
                Some(same) if same == says => {}
                was => all.push(Difference { section, name, was, is: Some(says) }),
            }
        }
        let gone = was.into_iter().map(|((section, name), was)| Difference { section, name, was: Some(was), is: None });
        all.extend(gone);
        all
    }
}

/// Who answers for a key, with what parts it from what follows.
fn answers(of: &Principal) -> String {
    let owner = of.owner.as_ref().map(|owner| format!("owned by `{owner}`; "));
    let by = of.enrolled_by.as_ref().map(|by| format!("enrolled by `{by}`; "));
    owner.unwrap_or_default() + &by.unwrap_or_default()
}
