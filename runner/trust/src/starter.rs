//! The trust policy that a new state directory begins with.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::policy::{MAX_NAME, POLICY_VERSION, Policy, PolicyError};
use crate::public_key::PublicKey;

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
}

impl StarterPolicy<'_> {
    /// The policy as TOML with comments, for an operator to read and edit; one approval suffices.
    /// Names come from the keys' comments.
    ///
    /// # Errors
    /// When no approver is given, or the result would not be taken by [`Policy::parse`].
    pub fn render(&self) -> Result<String, PolicyError> {
        let mut text = format!(
            "# Who may propose, approve and run. The configuration pins the digest of this file.\n\
             version = {POLICY_VERSION}\n\
             \n\
             [proposals]\n\
             # Whether a key that is not listed below may propose. Runs of such proposals are marked\n\
             # \"approval not independent\": nobody can tell whether their approver made them.\n\
             unlisted = {}\n\
             \n\
             [approval]\n\
             # How many people must sign. The proposer never counts.\n\
             quorum = 1\n\
             max-validity = \"24h\"\n\
             max-uses = 1\n\
             # Whether a run may do anything inside its grants, and not just its plan.\n\
             scoped = false\n",
            self.unlisted
        );
        let mut names = BTreeSet::new();
        let approvers = distinct(self.approvers);
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
