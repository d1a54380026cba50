//! The trust policy that a new state directory begins with.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::policy::{MAX_NAME, POLICY_VERSION, Policy, PolicyError, UNLISTED};
use crate::public_key::PublicKey;
use crate::text::moment;

/// What a first trust policy is made from.
#[derive(Clone, Copy, Debug)]
pub struct StarterPolicy<'a> {
    /// The keys of people who may approve and operate; at least one.
    pub approvers: &'a [PublicKey],
    /// The keys of agents that may propose. One that is an approver's too becomes that person's
    /// right to propose.
    pub proposers: &'a [PublicKey],
    /// Whether keys that are not listed may propose.
    pub unlisted: bool,
    /// The time, in milliseconds since 1970-01-01 UTC; the policy is good for a year from then on.
    pub now: u64,
}

/// For how long a first policy is good, in milliseconds: 365 days.
const GOOD_FOR: u64 = 365 * 86_400_000;

impl StarterPolicy<'_> {
    /// The policy as TOML with comments, for an operator to read and edit; one approval suffices, and whoever may propose
    /// may ask for whatever the ceilings of a target allow. The approvers' keys are its roots, and most of them must sign the
    /// next one: a single one could make itself the only approver. Names come from the keys' comments.
    ///
    /// # Errors
    /// When no approver is given, or the result would not be taken by [`Policy::parse`].
    pub fn render(&self) -> Result<String, PolicyError> {
        let approvers = distinct(self.approvers);
        let mut text = format!(
            "# Who may propose, approve and run. The next version has a higher serial, and is signed by these roots and its own:\n\
             # `countersign trust propose` tests it and says who must.\n\
             version = {POLICY_VERSION}\n\
             serial = 1\n\
             issued = \"{}\"\n\
             # From then on nothing is proposed, approved or run.\n\
             expires = \"{}\"\n\
             \n\
             [roots]\n\
             threshold = {}\n\
             keys = [\n",
            moment(self.now),
            moment(self.now.saturating_add(GOOD_FOR)),
            approvers.len() / 2 + 1,
        );
        for key in &approvers {
            // Writing to a string does not fail.
            let _ = writeln!(text, "    \"{}\",", key.to_openssh());
        }
        text.push_str(
            "]\n\
             \n\
             [approval]\n\
             max-validity = \"24h\"\n\
             max-uses = 1\n\
             # Whether a run may do anything inside its grants, and not just its plan.\n\
             scoped = false\n\
             \n\
             [[quorums]]\n\
             name = \"every run\"\n\
             # How many people must sign. The proposer never counts.\n\
             people = 1\n\
             \n\
             [[rules]]\n\
             name = \"whatever the ceilings allow\"\n",
        );
        if self.unlisted {
            text.push_str(
                "# Keys that are not listed below may propose too. Runs of such proposals are marked \"approval not\n\
                 # independent\": nobody can tell whether their approver made them.\n\
                 who = [\"*\", \"unlisted\"]\n",
            );
        } else {
            text.push_str("who = [\"*\"]\n");
        }
        text.push_str("targets = [\"*\"]\nmay = [\"investigate\", \"propose\"]\nwithin-ceilings = true\n");
        let mut names = BTreeSet::from([UNLISTED.to_owned()]);
        for key in &approvers {
            let may = if self.proposers.contains(key) {
                r#""approve", "propose", "operate""#
            } else {
                r#""approve", "operate""#
            };
            entry(&mut text, "people", &unique(key, "approver", &mut names), key, &format!("may = [{may}]\n"));
        }
        for key in distinct(self.proposers).iter().filter(|key| !approvers.contains(key)) {
            entry(&mut text, "agents", &unique(key, "agent", &mut names), key, "");
        }
        Policy::parse(text.as_bytes())?;
        Ok(text)
    }
}

fn distinct(keys: &[PublicKey]) -> Vec<&PublicKey> {
    let mut seen = BTreeSet::new();
    keys.iter().filter(|key| seen.insert(key.fingerprint())).collect()
}

fn entry(text: &mut String, table: &str, name: &str, key: &PublicKey, rest: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "\n[[{table}]]\nname = \"{name}\"\nkeys = [\"{} {name}\"]\n{rest}", key.to_openssh());
}

/// A name from the key's comment that no other entry has, whatever its letter case.
fn unique(key: &PublicKey, fallback: &str, names: &mut BTreeSet<String>) -> String {
    let mut base: String = key
        .comment()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._@-".contains(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        // Room for the number below.
        .take(MAX_NAME - 8)
        .collect();
    base.truncate(base.trim_end_matches('-').len());
    if base.is_empty() {
        base.push_str(fallback);
    }
    let mut name = base.clone();
    let mut number = 1_u32;
    // Ends: every name tried is another one, and there are finitely many taken.
    while !names.insert(name.to_ascii_lowercase()) {
        number += 1;
        name = format!("{base}-{number}");
    }
    name
}

#[cfg(test)]
mod tests;
