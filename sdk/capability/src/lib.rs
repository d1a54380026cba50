//! What the author of a capability implements: [`Capability`], its [`Session`] and its [`TypedCall`].
//!
//! A capability is one kind of system that steps can reach. It has a WIT package with a `read` and a
//! `write` interface, and one crate of this shape:
//!
//! | file | holds |
//! |---|---|
//! | `scope.rs` | what a grant may name: parses it, prints it, decides what it covers |
//! | `call.rs` | one variant per WIT function |
//! | `read.rs` | performs read calls |
//! | `change.rs` | the changes: prepare, rehearse, apply, probe, undo |
//! | `link.rs` | WIT imports become calls |
//! | `lib.rs` | ties them together behind [`Capability`] |
//!
//! The runner never sees a capability's types: the [`Registry`] erases them.

mod capability;
mod erased;
mod guest;
mod session;

pub use capability::{Capability, Choice, Opening, Phase, Protected, TypedCall};
pub use erased::{AnyCall, AnyCapability, AnyScopes, AnySession, Permitting, Registry};
pub use guest::{Guest, InertState, Linker, LogLine, LogSink, Port, StepContext, StepState, ViaPort, step};
pub use session::{Blobs, Context, Prepared, Session, Stream};
