//! A target in memory, the capability that reaches it, and gates to send calls through.

mod bench;
#[path = "../../../../../sdk/capability/tests/support/memory.rs"]
mod memory;
mod run;
mod store;
mod target;

pub(crate) use bench::{ALL, Bench, Host};
pub(crate) use run::Run;
pub(crate) use store::{NAMELESS, get, get_as, put, put_mode, remove, ring, turn};
pub(crate) use target::{Entry, Trouble};
