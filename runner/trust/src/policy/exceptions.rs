//! What the rules do not let through for now, or never again: freezes and revocations.

use std::collections::BTreeMap;

use countersign_model::Digest;
use countersign_model::text::excerpt;

use super::book::Book;
use super::rules::list;
use super::{PolicyError, file, moment, span};
use crate::pattern::Pattern;
use crate::principal::Principal;
use crate::text;

/// The longest reason, in bytes.
const MAX_REASON: usize = 500;

/// A time in which no run begins on some targets.
#[derive(Clone, Debug)]
pub struct Freeze {
    name: String,
    targets: Vec<Pattern>,
    from: u64,
    until: u64,
    reason: String,
}

impl Freeze {
    pub(super) fn read(freeze: file::Freeze) -> Result<Self, PolicyError> {
        let wrong = |why: &str| PolicyError::Entry { what: "freeze", name: freeze.name.clone(), why: why.to_owned() };
        if freeze.targets.is_empty() {
            return Err(wrong("`targets` needs one entry at least"));
        }
        reason(&freeze.reason).map_err(|why| wrong(&why))?;
        let (from, until) = (moment("from", &freeze.from)?, moment("until", &freeze.until)?);
        span(&format!("the freeze `{}`", freeze.name), from, until)?;
        Ok(Self { name: freeze.name, targets: freeze.targets, from, until, reason: freeze.reason })
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From when on runs begin again, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn until(&self) -> u64 {
        self.until
    }

    /// Why, in the words of who froze it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn reaches(&self, target: &str) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
    }

    pub(crate) const fn is_on(&self, now: u64) -> bool {
        self.from <= now && now < self.until
    }

    /// The freeze in words, beside its name.
    pub(super) fn says(&self) -> String {
        let (from, until) = (text::moment(self.from), text::moment(self.until));
        format!(
            "no run begins on {} from {from} until {until}: {}",
            list(&self.targets),
            excerpt(&self.reason, MAX_REASON)
        )
    }
}

/// What counts no more, each with the reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations {
    keys: BTreeMap<String, String>,
    principals: BTreeMap<String, String>,
    proposals: BTreeMap<Digest, String>,
    bundles: BTreeMap<Digest, String>,
    approvals: BTreeMap<Digest, String>,
}

impl Revocations {
    pub(super) fn read(entries: &[file::Revocation], book: &Book) -> Result<Self, PolicyError> {
        let mut all = Self::default();
        for entry in entries {
            let wrong = |why: String| PolicyError::Revocation { reason: excerpt(&entry.reason, 80), why };
            reason(&entry.reason).map_err(wrong)?;
            let why = entry.reason.clone();
            let again = match entry {
                file::Revocation {
                    key: Some(key),
                    principal: None,
                    proposal: None,
                    bundle: None,
                    approval: None,
                    ..
                } => {
                    let encoded = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
                    let hash = key.strip_prefix("SHA256:").filter(|hash| hash.len() == 43 && hash.bytes().all(encoded));
                    if hash.is_none() {
                        let key = excerpt(key, 80);
                        return Err(wrong(format!("`{key}` is no fingerprint: expected `SHA256:` and 43 characters")));
                    }
                    all.keys.insert(key.clone(), why)
                }
                file::Revocation {
                    key: None,
                    principal: Some(name),
                    proposal: None,
                    bundle: None,
                    approval: None,
                    ..
                } => {
                    if !book.principals().any(|principal| principal.name() == name) {
                        return Err(wrong(format!("nobody is called `{}`", excerpt(name, 80))));
                    }
                    all.principals.insert(name.clone(), why)
                }
                file::Revocation {
                    key: None,
                    principal: None,
                    proposal: Some(digest),
                    bundle: None,
                    approval: None,
                    ..
                } => all.proposals.insert(*digest, why),
                file::Revocation {
                    key: None,
                    principal: None,
                    proposal: None,
                    bundle: Some(digest),
                    approval: None,
                    ..
                } => all.bundles.insert(*digest, why),
                file::Revocation {
                    key: None,
                    principal: None,
                    proposal: None,
                    bundle: None,
                    approval: Some(digest),
                    ..
                } => all.approvals.insert(*digest, why),
                _ => {
                    let kinds = "`key`, `principal`, `proposal`, `bundle` or `approval`";
                    return Err(wrong(format!("it needs exactly one of {kinds}")));
                }
            };
            if again.is_some() {
                return Err(wrong("the same is revoked twice".to_owned()));
            }
        }
        Ok(all)
    }

    /// Why nothing that this principal's key signs counts, if so.
    pub(super) fn of(&self, principal: &Principal) -> Option<&str> {
        let key = self.keys.get(principal.fingerprint());
        // Another key's fingerprint, as which an unlisted one is called, is no name of anybody.
        key.or_else(|| self.principals.get(principal.name())).map(String::as_str)
    }

    pub(super) fn key(&self, fingerprint: &str) -> bool {
        self.keys.contains_key(fingerprint)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.principals.contains_key(name)
    }

    pub(crate) fn proposal(&self, digest: &Digest) -> Option<&str> {
        self.proposals.get(digest).map(String::as_str)
    }

    pub(crate) fn bundle(&self, digest: &Digest) -> Option<&str> {
        self.bundles.get(digest).map(String::as_str)
    }

    pub(crate) fn approval(&self, digest: &Digest) -> Option<&str> {
        self.approvals.get(digest).map(String::as_str)
    }

    /// Each in words: what is revoked, and why.
    pub(super) fn entries(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        all.extend(self.keys.iter().map(|(key, why)| (format!("key {key}"), why)));
        all.extend(self.principals.iter().map(|(name, why)| (format!("principal {name}"), why)));
        for (what, digests) in [("proposal", &self.proposals), ("bundle", &self.bundles), ("approval", &self.approvals)]
        {
            all.extend(digests.iter().map(|(digest, why)| (format!("{what} {digest}"), why)));
        }
        all.into_iter().map(|(what, why)| (what, excerpt(why, MAX_REASON))).collect()
    }
}

fn reason(text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > MAX_REASON {
        return Err(format!("`reason` needs 1 to {MAX_REASON} bytes"));
    }
    Ok(())
}
