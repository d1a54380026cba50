use countersign_model::toml::TomlError;

use super::{MAX_NAME, MAX_PER_HOUR, MAX_TITLE, MAX_USES, POLICY_VERSION};
use crate::duration::DurationError;
use crate::key::KeyError;
use crate::public_key::KeyKind;

/// Why a trust policy was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// It is larger than is read, or not the TOML that is expected.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Its version is another one.
    #[error("its version is `{0}`, expected `{POLICY_VERSION}`")]
    Version(u32),
    /// Its serial is out of range.
    #[error("its serial is `{0}`, expected a whole number from 1 on")]
    Serial(u64),
    /// A moment is not written as one.
    #[error("`{key}` is `{found}`, expected a moment such as `2026-11-26T05:00:00Z`")]
    Moment {
        /// Which key.
        key: &'static str,
        /// What stands there.
        found: String,
    },
    /// It ends before it begins, or lasts too long.
    #[error("{what} ends before it begins, or more than {days} days after")]
    Span {
        /// What does.
        what: String,
        /// How many days it may last.
        days: u64,
    },
    /// A name is no plain word.
    #[error(
        "`{0}` is not a name: expected 1 to {MAX_NAME} letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or a digit"
    )]
    Name(String),
    /// A rule's name cannot be shown as what it is.
    #[error("`{0}` is no name of a {1}: expected 1 to {MAX_TITLE} bytes, all of which can be seen")]
    Title(String, &'static str),
    /// A name stands twice, perhaps in other letter case.
    #[error("the name `{0}` stands twice")]
    DuplicateName(String),
    /// A name has a meaning of its own.
    #[error("the name `{0}` means keys that are not listed, and nobody can have it")]
    ReservedName(String),
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
    /// Somebody who answers for a key is no listed person.
    #[error("`{person}`, {role} of `{of}`, is not a person in this policy")]
    UnknownPerson {
        /// Whose.
        of: String,
        /// As what, e.g. `the owner`.
        role: &'static str,
        /// The name.
        person: String,
    },
    /// The roots could never decide, or would be fewer than they seem.
    #[error("the roots: {0}")]
    Roots(String),
    /// A rule, a quorum, a freeze or a ceiling makes no sense.
    #[error("the {what} `{name}`: {why}")]
    Entry {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// Nothing says how many must approve in every case.
    #[error("no quorum is without a condition, so that some proposals would need nobody's approval")]
    NoQuorum,
    /// A revocation makes no sense.
    #[error("a revocation, for `{reason}`: {why}")]
    Revocation {
        /// Its reason.
        reason: String,
        /// Why it makes none.
        why: String,
    },
    /// `max-validity` is no length of time.
    #[error("`max-validity` is not taken: {0}")]
    Validity(DurationError),
    /// What is said of standing approvals is not taken.
    #[error("`[unattended]` is not taken: {0}")]
    Unattended(String),
    /// `per-hour` is out of range.
    #[error("`per-hour` is {0}, expected 1 to {MAX_PER_HOUR}")]
    PerHour(u64),
    /// `max-uses` is out of range.
    #[error("`max-uses` is {0}, expected 1 to {MAX_USES}")]
    Uses(u64),
}
