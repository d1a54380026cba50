//! The trust policy: who may propose, approve and operate, and how far an approval may reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_model::Digest;
use countersign_model::text::excerpt;
use countersign_model::toml::{self, TomlError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::demands::Demands;
use crate::duration::{DurationError, parse_duration};
use crate::key::KeyError;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::public_key::{KeyKind, PublicKey};
use crate::webauthn::wrong_origin;

/// The largest trust policy that is read, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The version of the format.
pub const POLICY_VERSION: u32 = 1;
/// The longest name of a person or an agent, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// The most origins that a policy lists.
const MAX_ORIGINS: usize = 32;
/// The most runs that a policy may let one approval be good for.
const MAX_USES: u32 = 1000;

/// A trust policy, read and found to make sense.
#[derive(Clone, Debug)]
pub struct Policy {
    source: Arc<[u8]>,
    digest: Digest,
    unlisted_may_propose: bool,
    quorum: usize,
    max_validity_ms: u64,
    max_uses: u32,
    scoped: bool,
    demands: Demands,
    /// By fingerprint.
    keys: BTreeMap<String, Principal>,
    approvers: BTreeSet<String>,
}

/// Why a trust policy was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// It is larger than is read, or not the TOML that is expected.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Its version is another one.
    #[error("its version is `{0}`, expected `{POLICY_VERSION}`")]
    Version(u32),
    /// A name is no plain word.
    #[error(
        "`{0}` is not a name: expected 1 to {MAX_NAME} letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or a digit"
    )]
    Name(String),
    /// A name stands twice, perhaps in other letter case.
    #[error("the name `{0}` stands twice")]
    DuplicateName(String),
    /// Somebody has no key.
    #[error("`{0}` has no keys")]
    NoKeys(String),
    /// A key is not taken.
    #[error("a key of `{name}` is not taken: {error}")]
    Key {
        /// Whose.
        name: String,
        /// Why.
        error: KeyError,
    },
    /// One key stands twice.
    #[error("the key `{fingerprint}` of `{second}` is listed already, for `{first}`")]
    DuplicateKey {
        /// The key.
        fingerprint: String,
        /// Who has it first.
        first: String,
        /// Who has it again.
        second: String,
    },
    /// A key is another listed key once more, under another kind or application.
    #[error("the key `{fingerprint}` of `{second}` has the same secret as one that is listed already, for `{first}`")]
    SameSecret {
        /// The key.
        fingerprint: String,
        /// Who has it first.
        first: String,
        /// Who has it again.
        second: String,
    },
    /// An agent's key is in hardware.
    #[error(
        "a key of the agent `{name}` is of the kind `{kind}`: hardware is for people, since it asks for a touch; expected \
         `ssh-ed25519`"
    )]
    AgentInHardware {
        /// The agent.
        name: String,
        /// Its key's kind.
        kind: KeyKind,
    },
    /// An origin is none, or there are too many.
    #[error("`origins` is not taken: {0}")]
    Origins(String),
    /// An agent's owner is no listed person.
    #[error("the owner `{owner}` of `{agent}` is not a person in this policy")]
    UnknownOwner {
        /// The agent.
        agent: String,
        /// Its owner.
        owner: String,
    },
    /// The quorum can never be reached, or always is.
    #[error("the quorum is {quorum}, and {approvers} people may approve: expected 1 to as many as may approve")]
    Quorum {
        /// The quorum.
        quorum: u64,
        /// How many people may approve.
        approvers: usize,
    },
    /// `max-validity` is no length of time.
    #[error("`max-validity` is not taken: {0}")]
    Validity(DurationError),
    /// `max-uses` is out of range.
    #[error("`max-uses` is {0}, expected 1 to {MAX_USES}")]
    Uses(u64),
}

/// Who may propose, approve and operate, and how far an approval may reach.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// The version of this format.
    #[schemars(range(min = POLICY_VERSION, max = POLICY_VERSION))]
    version: u32,
    #[serde(default)]
    proposals: Proposals,
    #[serde(default)]
    keys: Keys,
    approval: Approval,
    #[serde(default)]
    people: Vec<Person>,
    #[serde(default)]
    agents: Vec<Agent>,
}

/// Whose proposals are taken.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Proposals {
    /// Whether keys that are not listed here may propose; their runs are marked "approval not independent".
    #[serde(default)]
    unlisted: bool,
}

/// What is demanded of signatures by keys in hardware, beside a touch, which always is.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Where a browser may have signed with a passkey, e.g. `https://countersign.example.org`: at most 32, each as browsers
    /// write an origin. Where there is none, no browser's signature is taken.
    #[serde(default)]
    #[schemars(length(max = MAX_ORIGINS))]
    origins: Vec<String>,
}

/// What makes an approval enough, and how far it reaches.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Approval {
    /// How many people must approve: at most as many as may. The proposer never counts.
    #[schemars(range(min = 1))]
    quorum: u64,
    /// The longest time for which an approval may be good: a whole number and `s`, `m`, `h` or `d`, at most `366d`.
    max_validity: String,
    /// The most runs that one approval may be good for.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = MAX_USES))]
    max_uses: u64,
    /// Whether mode `scoped` may be approved, in which a run may do anything inside its grants.
    #[serde(default)]
    scoped: bool,
}

const fn one() -> u64 {
    1
}

/// Somebody who may approve, propose or operate.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Person {
    /// 1 to 64 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or a digit; each name once.
    name: String,
    /// Public keys as OpenSSH writes them, `ssh-ed25519 …`, and in hardware `sk-ssh-ed25519@openssh.com …` and
    /// `sk-ecdsa-sha2-nistp256@openssh.com …`; at least one. One in hardware counts for the application that it names.
    keys: Vec<String>,
    /// What they may do.
    may: Vec<Right>,
}

/// A program that may propose, and nothing else.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Agent {
    /// As a person's.
    name: String,
    /// The person who answers for it, and so cannot approve what it proposes.
    owner: Option<String>,
    /// `ssh-ed25519` keys, as a person's; hardware would ask for a touch.
    keys: Vec<String>,
}

impl Policy {
    /// Reads a trust policy in TOML.
    ///
    /// What is left out is as strict as can be: keys that are not listed may not propose, an
    /// approval is good for one run, and `scoped` is not allowed.
    ///
    /// # Errors
    /// When it is larger than [`MAX_POLICY`], is not as the format says, or makes no sense: doubled
    /// names or keys, weak keys, people without keys, a quorum that cannot be reached.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let file: File = toml::from_slice(bytes, MAX_POLICY)?;
        if file.version != POLICY_VERSION {
            return Err(PolicyError::Version(file.version));
        }

        let demands = Demands { origins: origins(&file.keys.origins)?, ..Demands::default() };
        let mut book = Book::default();
        let mut approvers = BTreeSet::new();
        for person in &file.people {
            let rights = person.may.iter().copied().collect::<BTreeSet<_>>();
            if rights.contains(&Right::Approve) {
                approvers.insert(person.name.clone());
            }
            book.add(&person.name, PrincipalKind::Person, None, &rights, &person.keys)?;
        }
        for agent in &file.agents {
            if let Some(owner) = &agent.owner
                && !file.people.iter().any(|person| person.name == *owner)
            {
                return Err(PolicyError::UnknownOwner {
                    agent: excerpt(&agent.name, MAX_NAME),
                    owner: excerpt(owner, MAX_NAME),
                });
            }
            let rights = BTreeSet::from([Right::Propose]);
            book.add(&agent.name, PrincipalKind::Agent, agent.owner.clone(), &rights, &agent.keys)?;
        }

        let quorum = usize::try_from(file.approval.quorum).ok().filter(|quorum| (1..=approvers.len()).contains(quorum));
        let quorum = quorum.ok_or(PolicyError::Quorum { quorum: file.approval.quorum, approvers: approvers.len() })?;
        let max_uses = u32::try_from(file.approval.max_uses).ok().filter(|uses| (1..=MAX_USES).contains(uses));
        let max_uses = max_uses.ok_or(PolicyError::Uses(file.approval.max_uses))?;
        let max_validity = parse_duration(&file.approval.max_validity).map_err(PolicyError::Validity)?;
        Ok(Self {
            source: bytes.into(),
            digest: Digest::of(bytes),
            unlisted_may_propose: file.proposals.unlisted,
            quorum,
            // At most a year: it fits.
            max_validity_ms: u64::try_from(max_validity.as_millis()).unwrap_or(0),
            max_uses,
            scoped: file.approval.scoped,
            demands,
            keys: book.keys,
            approvers,
        })
    }

    /// The format as a JSON Schema, for the reference.
    #[must_use]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(File)
    }

    /// Digest of the exact bytes, which the operator's configuration pins and every approval names.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The exact bytes that were read.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// How many people must approve; at least 1.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.quorum
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

    /// What every signature must show of how it was made.
    #[must_use]
    pub const fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Whether a key that is not listed may propose.
    #[must_use]
    pub const fn unlisted_may_propose(&self) -> bool {
        self.unlisted_may_propose
    }

    /// The names of the people who may approve.
    pub fn approvers(&self) -> impl Iterator<Item = &str> {
        self.approvers.iter().map(String::as_str)
    }

    /// Whose key this is. One that is not listed is a principal too, with hardly any rights.
    #[must_use]
    pub fn principal(&self, fingerprint: &str) -> Principal {
        self.keys.get(fingerprint).cloned().unwrap_or_else(|| Principal {
            name: excerpt(fingerprint, 80),
            kind: PrincipalKind::Unlisted,
            fingerprint: excerpt(fingerprint, 80),
            owner: None,
            rights: self.unlisted_may_propose.then_some(Right::Propose).into_iter().collect(),
        })
    }
}

/// Names and keys, each once.
#[derive(Default)]
struct Book {
    names: BTreeSet<String>,
    keys: BTreeMap<String, Principal>,
    /// Whose each key is, by what one secret has in common under several kinds and applications.
    secrets: BTreeMap<Vec<u8>, String>,
}

impl Book {
    fn add(
        &mut self,
        name: &str,
        kind: PrincipalKind,
        owner: Option<String>,
        rights: &BTreeSet<Right>,
        lines: &[String],
    ) -> Result<(), PolicyError> {
        if !is_name(name) {
            return Err(PolicyError::Name(excerpt(name, MAX_NAME)));
        }
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Err(PolicyError::DuplicateName(name.to_owned()));
        }
        if lines.is_empty() {
            return Err(PolicyError::NoKeys(name.to_owned()));
        }
        for line in lines {
            let key =
                PublicKey::from_openssh(line).map_err(|error| PolicyError::Key { name: name.to_owned(), error })?;
            let fingerprint = key.fingerprint().to_owned();
            if let Some(first) = self.keys.get(&fingerprint) {
                let (first, second) = (first.name.clone(), name.to_owned());
                return Err(PolicyError::DuplicateKey { fingerprint, first, second });
            }
            if kind == PrincipalKind::Agent && key.kind().is_hardware() {
                return Err(PolicyError::AgentInHardware { name: name.to_owned(), kind: key.kind() });
            }
            if let Some(first) = self.secrets.insert(key.secret(), name.to_owned()) {
                return Err(PolicyError::SameSecret { fingerprint, first, second: name.to_owned() });
            }
            let principal = Principal {
                name: name.to_owned(),
                kind,
                fingerprint: fingerprint.clone(),
                owner: owner.clone(),
                rights: rights.clone(),
            };
            self.keys.insert(fingerprint, principal);
        }
        Ok(())
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
