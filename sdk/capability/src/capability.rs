use std::path::PathBuf;

use countersign_model::{Access, Fault, Selector};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::guest::Linker;
use crate::session::Session;

/// A call of one capability, typed: one variant per WIT function.
///
/// Its text is what people read and what `countersign read` takes, e.g. `files.read /etc/hosts`;
/// contents are left out of it.
pub trait TypedCall: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// The name of the WIT function.
    fn function(&self) -> &'static str;

    /// Whether it looks or changes.
    fn access(&self) -> Access;

    /// The words after `capability.function`, for a person.
    fn selector(&self) -> Selector;

    /// The subject that the call names, as grants and changes name it, normalized.
    ///
    /// # Errors
    /// `Invalid` where the arguments name nothing that could be a subject.
    fn subject(&self) -> Result<String, Fault>;

    /// Bytes of content that the call carries towards the target; 0 for reads.
    fn payload(&self) -> u64;

    /// What of the call a step still picks where a grant names it exactly, and the plan shows, or whoever answers the call
    /// sees: it could tell by it what it has read. Whatever is not said to be less is [`Choice::More`].
    fn choice(&self) -> Choice {
        Choice::More("something")
    }
}

/// What a step picks of a call that a grant names exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: the grant says all of it, such as a signal.
    Nothing,
    /// Of a write, what is content, and is shown nowhere where the subject is sensitive; its size is shown.
    Content,
    /// More than content, shown wherever it is written, or seen by whoever answers: what it is, such as `the mode`.
    More(&'static str),
}

/// What the runner owns and no grant may ever reach.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Absolute, resolved paths of the state directory, the configuration and the binary.
    pub paths: Vec<PathBuf>,
    /// Process identifiers of the runner itself.
    pub processes: Vec<u32>,
}

/// Why a session is opened; decides what it may do and with whose credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reads only, with the target's investigation settings.
    Observe,
    /// Reads and an overlay, with the target's investigation settings; the target is never changed.
    Rehearse,
    /// Nothing but [`Session::can_apply`], with the target's remediation settings.
    Preflight,
    /// Reads and writes, with the target's remediation settings.
    Live,
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The capability's table in the target's `investigation` or `remediation` settings, `null` where there is none.
    pub settings: &'a serde_json::Value,
    /// Why it is opened.
    pub phase: Phase,
    /// What it must refuse to touch, on whatever path it gets there.
    pub protected: &'a Protected,
}

/// The static facts of a capability: all that a process needs which only links guests.
///
/// `covers`, `reaches` and `contains` are pure and lexical. They decide what is asked for; the
/// session enforces the same scope again on what it really opened.
pub trait Capability: Sized + Send + Sync + 'static {
    /// The name in grants and calls, and of the WIT package `countersign:NAME`.
    const NAME: &'static str;
    /// The version of the WIT package, e.g. `0.1.0`.
    const WIT_VERSION: &'static str;
    /// The version of the journaled change's format. A runner undoes what an older one journaled.
    const FORMAT: u32;

    /// What a grant may name.
    type Scope: Send + Sync;
    /// Its calls.
    type Call: TypedCall;
    /// Its journaled changes.
    type Change: Serialize + DeserializeOwned;
    /// Its connections and overlay.
    type Session: Session<Self>;

    /// The accesses for which there is a WIT interface.
    const ACCESSES: &'static [Access];

    /// Reads a scope from a grant's words.
    ///
    /// # Errors
    /// A sentence fragment that says what was expected.
    fn parse_scope(access: Access, selector: &Selector) -> Result<Self::Scope, String>;

    /// The scope's words, normalized; parsing them gives an equal scope.
    fn scope_selector(scope: &Self::Scope) -> Selector;

    /// Reads a call from its text, for `countersign read` and guards.
    ///
    /// # Errors
    /// A sentence fragment that says what was expected; writes cannot be had this way.
    fn parse_call(function: &str, selector: &Selector) -> Result<Self::Call, String>;

    /// Reads back a read from the text that it was recorded by ([`TypedCall::selector`]), as far as its subject goes, where
    /// that text holds more than [`Capability::parse_call`] takes.
    ///
    /// # Errors
    /// A sentence fragment that says what was expected.
    fn parse_recorded(function: &str, selector: &Selector) -> Result<Self::Call, String> {
        Self::parse_call(function, selector)
    }

    /// The narrowest scope that covers this call.
    fn least_scope(call: &Self::Call) -> Result<Self::Scope, Fault>;

    /// Whether the scope permits the call.
    fn covers(scope: &Self::Scope, call: &Self::Call) -> bool;

    /// Whether the scope takes in this subject, as [`Prepared::subject`](crate::Prepared) names it.
    fn reaches(scope: &Self::Scope, subject: &str) -> bool;

    /// Whether `wide` permits everything that `narrow` does.
    fn contains(wide: &Self::Scope, narrow: &Self::Scope) -> bool;

    /// What of the runner's own the scope could reach, if anything; such a grant is refused.
    fn endangers(scope: &Self::Scope, protected: &Protected) -> Option<String>;

    /// A reply's content as JSON that people and guards can read. Bytes that are text become text.
    fn describe_reply(call: &Self::Call, reply: &[u8]) -> serde_json::Value;

    /// Where on the target the capability keeps, until a change is settled, what undo needs of it: for a person who puts
    /// the subject right by hand. Nothing may be there yet, or any more.
    fn kept_beside(_change: &Self::Change) -> Option<String> {
        None
    }

    /// What a run holds that is about to change this subject, so that no other run changes it meanwhile. Where one thing
    /// has several names as a subject, what they have in common.
    fn held_as(subject: &str) -> String {
        subject.to_owned()
    }

    /// Links the interface of this access, and nothing else.
    ///
    /// # Errors
    /// When the linker has one of its functions already.
    fn link(linker: &mut Linker, access: Access) -> wasmtime::Result<()>;

    /// Opens a session.
    ///
    /// # Errors
    /// When the settings make no sense or the target cannot be reached.
    fn open(opening: &Opening<'_>) -> Result<Self::Session, Fault>;
}
