//! The trust policy: who may investigate, propose, approve and operate, and how far an approval may reach.
//!
//! | file | holds |
//! |---|---|
//! | `file.rs` | the TOML as it is written |
//! | `book.rs` | names and keys, each once |
//! | `roots.rs` | who decides on the policy itself |
//! | `rules.rs` | rules and ceilings |
//! | `quorum.rs` | how many must approve what |
//! | `break_glass.rs` | who may act where a quorum cannot be had |
//! | `exceptions.rs` | freezes and revocations |
//! | `unattended.rs` | how far standing approvals may reach |
//! | `entries.rs` | every entry in words, and what differs between two policies |

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_model::text::{excerpt, hides};
use countersign_model::{Digest, Grant, toml};

use crate::demands::Demands;
use crate::duration::parse_duration;
use crate::principal::{Activity, Principal, PrincipalKind, Right};
use crate::public_key::PublicKey;
use crate::text::parse_moment;
use crate::webauthn::wrong_origin;

mod book;
mod break_glass;
mod entries;
mod error;
mod exceptions;
mod file;
mod quorum;
mod roots;
mod rules;
mod unattended;

use book::Book;
pub use break_glass::BreakGlass;
pub use entries::{Difference, PolicyEntry};
pub use error::PolicyError;
pub use exceptions::Freeze;
use exceptions::Revocations;
pub use quorum::{Quorum, Risk};
pub use rules::{Ceiling, Rule};
pub use unattended::UnattendedBounds;

/// The largest trust policy that is read, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The version of the format.
pub const POLICY_VERSION: u32 = 2;
/// The longest name of a person or an agent, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// The longest name of a rule, in bytes.
const MAX_TITLE: usize = 100;
/// The highest serial: far more than there will ever be, and a whole number to every reader.
const MAX_SERIAL: u64 = 1_000_000_000;
/// The most origins that a policy lists.
const MAX_ORIGINS: usize = 32;
/// The most runs that a policy may let one approval be good for.
const MAX_USES: u32 = 1000;
/// The most proposals that a policy may let somebody make in an hour, and the most reads.
const MAX_PER_HOUR: u64 = 100_000;
/// The longest time for which a policy is good, in days.
const MAX_DAYS: u64 = 3 * 366;
/// What rules call keys that are not listed.
pub(crate) const UNLISTED: &str = "unlisted";

/// A trust policy, read and found to make sense. That it is the one in force, [`in_force`](crate::in_force) tells.
#[derive(Clone, Debug)]
pub struct Policy {
    source: Arc<[u8]>,
    digest: Digest,
    serial: u64,
    issued: u64,
    expires: u64,
    roots: Vec<PublicKey>,
    threshold: usize,
    max_validity_ms: u64,
    max_uses: u32,
    per_hour: u64,
    looks_per_hour: u64,
    runs_signed: bool,
    scoped: bool,
    demands: Demands,
    book: Book,
    rules: Vec<Rule>,
    ceilings: Vec<Ceiling>,
    quorums: Vec<Quorum>,
    break_glass: Vec<BreakGlass>,
    freezes: Vec<Freeze>,
    unattended: Option<UnattendedBounds>,
    revocations: Revocations,
    /// Digests of the policies that were in force before it.
    earlier: BTreeSet<Digest>,
}

impl Policy {
    /// Reads a trust policy in TOML.
    ///
    /// What is left out is as strict as can be: what no rule takes in is refused, an approval is good for one run, and
    /// `scoped` is not allowed.
    ///
    /// # Errors
    /// When it is larger than [`MAX_POLICY`], is not as the format says, or makes no sense: doubled
    /// names or keys, weak keys, people without keys, a quorum that cannot be reached, a group that nobody is in.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        /// Read first, so that another version is told as such and not by what it lacks.
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = toml::from_slice(bytes, MAX_POLICY)?;
        if version != POLICY_VERSION {
            return Err(PolicyError::Version(version));
        }
        let file: file::File = toml::from_slice(bytes, MAX_POLICY)?;
        if !(1..=MAX_SERIAL).contains(&file.serial) {
            return Err(PolicyError::Serial(file.serial));
        }
        let (issued, expires) = (moment("issued", &file.issued)?, moment("expires", &file.expires)?);
        span("the policy", issued, expires)?;

        let demands = Demands { origins: origins(&file.keys.origins)?, ..Demands::default() };
        let max_validity = parse_duration(&file.approval.max_validity).map_err(PolicyError::Validity)?;
        // At most a year: it fits.
        let max_validity_ms = u64::try_from(max_validity.as_millis()).unwrap_or(0);
        let mut book = Book::read(&file.people, &file.agents)?;
        let break_glass = named(
            "break-glass",
            file.break_glass,
            |table| &table.name,
            |table| BreakGlass::read(table, &mut book, max_validity_ms),
        )?;
        let revocations = Revocations::read(&file.revocations, &book)?;
        let (roots, threshold) = roots::read(&file.roots, &book, &revocations)?;
        let groups = |of: &'static str, name: &str, groups: &BTreeSet<String>| {
            let unknown = groups.iter().find(|group| book.members(group).next().is_none());
            unknown.map_or(Ok(()), |group| {
                let why = format!("nobody who may approve is in the group `{}`", excerpt(group, MAX_NAME));
                Err(PolicyError::Entry { what: of, name: excerpt(name, MAX_TITLE), why })
            })
        };
        let rules = named(
            "rule",
            file.rules,
            |rule| &rule.name,
            |rule| {
                groups("rule", &rule.name, &rule.approvers)?;
                Rule::read(rule)
            },
        )?;
        let ceilings = named("ceiling", file.ceilings, |ceiling| &ceiling.name, Ceiling::read)?;
        let quorums = named(
            "quorum",
            file.quorums,
            |quorum| &quorum.name,
            |quorum| {
                groups("quorum", &quorum.name, &quorum.groups)?;
                Quorum::read(quorum, &book)
            },
        )?;
        if !quorums.iter().any(Quorum::is_general) {
            return Err(PolicyError::NoQuorum);
        }
        let freezes = named("freeze", file.freezes, |freeze| &freeze.name, Freeze::read)?;

        let max_uses = u32::try_from(file.approval.max_uses).ok().filter(|uses| (1..=MAX_USES).contains(uses));
        let max_uses = max_uses.ok_or(PolicyError::Uses(file.approval.max_uses))?;
        for per_hour in [file.proposals.per_hour, file.investigations.per_hour] {
            if !(1..=MAX_PER_HOUR).contains(&per_hour) {
                return Err(PolicyError::PerHour(per_hour));
            }
        }
        Ok(Self {
            source: bytes.into(),
            digest: Digest::of(bytes),
            serial: file.serial,
            issued,
            expires,
            roots,
            threshold,
            max_validity_ms,
            max_uses,
            per_hour: file.proposals.per_hour,
            looks_per_hour: file.investigations.per_hour,
            runs_signed: file.runs.signed,
            scoped: file.approval.scoped,
            demands,
            book,
            rules,
            ceilings,
            quorums,
            break_glass,
            freezes,
            unattended: file.unattended.map(UnattendedBounds::read).transpose()?,
            revocations,
            earlier: BTreeSet::new(),
        })
    }

    /// The same, with the policies that its runner says were in force before it: what was approved under one of them is
    /// judged by this one, and stays good where this one allows it too.
    #[must_use]
    pub fn following(mut self, earlier: BTreeSet<Digest>) -> Self {
        self.earlier = earlier;
        self
    }

    /// The format as a JSON Schema, for the reference.
    #[must_use]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(file::File)
    }

    /// Digest of the exact bytes, which every approval names.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The exact bytes that were read.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Which version of the policy it is; at least 1.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// When it was made, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// From when on nothing is proposed, approved or run by it, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// The keys that decide on the policy itself, each once.
    #[must_use]
    pub fn roots(&self) -> &[PublicKey] {
        &self.roots
    }

    /// How many of the roots must sign; at least 1.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Digests of the policies that were in force before it.
    #[must_use]
    pub const fn earlier(&self) -> &BTreeSet<Digest> {
        &self.earlier
    }

    /// Whether this is the policy with that digest, or one that came after it.
    #[must_use]
    pub fn knows(&self, policy: &Digest) -> bool {
        self.digest == *policy || self.earlier.contains(policy)
    }

    /// The longest time between an approval's beginning and its end, in milliseconds.
    #[must_use]
    pub const fn max_validity_ms(&self) -> u64 {
        self.max_validity_ms
    }

    /// The most runs that one approval may be good for; at least 1.
    #[must_use]
    pub const fn max_uses(&self) -> u32 {
        self.max_uses
    }

    /// Whether a run may be approved in mode `scoped`.
    #[must_use]
    pub const fn allows_scoped(&self) -> bool {
        self.scoped
    }

    /// How many proposals one person or agent may make in an hour; at least 1.
    #[must_use]
    pub const fn proposals_per_hour(&self) -> u64 {
        self.per_hour
    }

    /// How many reads, investigations and rehearsals one person or agent may begin in an hour; at least 1.
    #[must_use]
    pub const fn looks_per_hour(&self) -> u64 {
        self.looks_per_hour
    }

    /// Whether each run must be started with a person's signature.
    #[must_use]
    pub const fn runs_must_be_signed(&self) -> bool {
        self.runs_signed
    }

    /// What every signature must show of how it was made.
    #[must_use]
    pub const fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Whether a key that is not listed may propose, somewhere.
    #[must_use]
    pub fn unlisted_may_propose(&self) -> bool {
        self.rules.iter().any(|rule| rule.names_unlisted() && rule.lets(Activity::Propose))
    }

    /// The ways to act where a quorum cannot be had.
    #[must_use]
    pub fn break_glass(&self) -> &[BreakGlass] {
        &self.break_glass
    }

    /// Every grant of its rules, ceilings and break-glass, with what it stands in: for who knows what a scope means to find those
    /// that make no sense.
    pub fn grants(&self) -> impl Iterator<Item = (String, &Grant)> {
        let rules =
            self.rules.iter().flat_map(|rule| rule.grants().map(|grant| (format!("rule `{}`", rule.name()), grant)));
        let ceilings = self
            .ceilings
            .iter()
            .flat_map(|ceiling| ceiling.grants().iter().map(|grant| (format!("ceiling `{}`", ceiling.name()), grant)));
        let glass = self
            .break_glass
            .iter()
            .flat_map(|table| table.grants().iter().map(|grant| (format!("break-glass `{}`", table.name()), grant)));
        rules.chain(ceilings).chain(glass)
    }

    /// The names of the people who may approve, and are not revoked.
    pub fn approvers(&self) -> impl Iterator<Item = &str> {
        self.book.approvers().filter(|name| !self.revocations.names(name))
    }

    /// Every key that is listed, by fingerprint, with whose it is; those that are revoked are among them.
    pub fn keys(&self) -> impl Iterator<Item = (&Principal, &PublicKey)> {
        self.book.keys()
    }

    /// A person by name, with a key of theirs that is not revoked, if there is one.
    pub(crate) fn person(&self, name: &str) -> Option<Principal> {
        let theirs = |principal: &&Principal| principal.kind() == PrincipalKind::Person && principal.name() == name;
        let mut keys = self.book.principals().filter(theirs).map(|principal| self.principal(principal.fingerprint()));
        keys.find(|principal| principal.revoked().is_none())
    }

    /// The rules that name a person or an agent, each in words.
    #[must_use]
    pub fn rules_of(&self, name: &str) -> Vec<String> {
        let who = self.book.principals().find(|principal| principal.name() == name);
        let theirs = self.rules.iter().filter(|rule| who.is_some_and(|who| rule.names(who)));
        theirs.map(|rule| format!("{}: {}", rule.name(), rule.says())).collect()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn ceilings(&self) -> &[Ceiling] {
        &self.ceilings
    }

    pub(crate) fn quorums(&self) -> &[Quorum] {
        &self.quorums
    }

    /// How far standing approvals may reach; without it nothing runs unattended.
    #[must_use]
    pub const fn unattended(&self) -> Option<&UnattendedBounds> {
        self.unattended.as_ref()
    }

    pub(crate) fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    pub(crate) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whether a person is in one of these groups.
    pub(crate) fn is_in(&self, person: &str, groups: &BTreeSet<String>) -> bool {
        groups.iter().any(|group| self.book.members(group).any(|member| member == person))
    }

    /// Whose key this is. One that is not listed is a principal too, with hardly any rights; one that is revoked has none.
    #[must_use]
    pub fn principal(&self, fingerprint: &str) -> Principal {
        let mut principal = self.book.principal(fingerprint).cloned().unwrap_or_else(|| Principal {
            name: excerpt(fingerprint, 80),
            kind: PrincipalKind::Unlisted,
            fingerprint: excerpt(fingerprint, 80),
            owner: None,
            enrolled_by: None,
            rights: self.unlisted_may_propose().then_some(Right::Propose).into_iter().collect(),
            revoked: None,
        });
        principal.revoked = self.revocations.of(&principal).map(str::to_owned);
        if principal.revoked.is_some() {
            principal.rights.clear();
        }
        principal
    }

    /// The key of this wire format, where it is somebody's; it was found to be sound when the policy was read.
    pub(crate) fn key(&self, wire: &[u8]) -> Option<&PublicKey> {
        self.book.key(wire)
    }
}

/// Reads what has names that are shown, each once.
fn named<T, U>(
    what: &'static str,
    entries: Vec<T>,
    name: impl Fn(&T) -> &String,
    mut read: impl FnMut(T) -> Result<U, PolicyError>,
) -> Result<Vec<U>, PolicyError> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for entry in entries {
        let title = name(&entry);
        if title.trim() != title || title.is_empty() || title.len() > MAX_TITLE || hides(title) {
            return Err(PolicyError::Title(excerpt(title, MAX_TITLE), what));
        }
        if !seen.insert(title.to_lowercase()) {
            return Err(PolicyError::DuplicateName(excerpt(title, MAX_TITLE)));
        }
        all.push(read(entry)?);
    }
    Ok(all)
}

fn moment(key: &'static str, text: &str) -> Result<u64, PolicyError> {
    parse_moment(text).ok_or_else(|| PolicyError::Moment { key, found: excerpt(text, 40) })
}

fn span(what: &str, from: u64, until: u64) -> Result<(), PolicyError> {
    let longest = MAX_DAYS * 86_400_000;
    match until.checked_sub(from) {
        Some(length) if (1..=longest).contains(&length) => Ok(()),
        _ => Err(PolicyError::Span { what: what.to_owned(), days: MAX_DAYS }),
    }
}

fn origins(listed: &[String]) -> Result<BTreeSet<String>, PolicyError> {
    if listed.len() > MAX_ORIGINS {
        return Err(PolicyError::Origins(format!("{} are more than {MAX_ORIGINS}", listed.len())));
    }
    let mut origins = BTreeSet::new();
    for origin in listed {
        let shown = excerpt(origin, 80);
        if let Some(why) = wrong_origin(origin) {
            return Err(PolicyError::Origins(format!("`{shown}` {why}, e.g. `https://countersign.example.org`")));
        }
        if !origins.insert(origin.clone()) {
            return Err(PolicyError::Origins(format!("`{shown}` stands twice")));
        }
    }
    Ok(origins)
}

pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b))
}

#[cfg(test)]
mod tests;
