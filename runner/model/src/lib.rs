//! The nouns of Countersign as plain data: no I/O, no clock, no async.
//!
//! Everything that crosses a boundary (a guest's call, a signed document, a journal row) is one of
//! these types. `ARCHITECTURE.md` has the table of nouns.

mod call;
mod change;
mod digest;
pub mod documents;
mod evidence;
mod grant;
mod nesting;
mod outcome;
mod plan;
mod role;
pub mod strict;
mod terms;
pub mod text;
pub mod toml;

pub use call::{Call, Fault, FaultKind, Reply, Stop};
pub use change::{Ability, Change, Image, Kept, Reversibility, State};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use evidence::Evidence;
pub use grant::{Access, Grant, GrantError, Limits, Selector};
pub use outcome::Outcome;
pub use plan::{Plan, PlannedChange};
pub use role::{Role, UnknownRole};
pub use terms::{Mode, RollbackBy, Success, Verdict};
