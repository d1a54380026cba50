//! The processes that hold no authority.
//!
//! What a step is made of is never run, loaded or compiled in the runner's own process. A worker is this same program, started
//! again with one socket and nothing else. It takes one job and descriptors from the socket, confines itself (`confine.rs`),
//! and then either compiles one step into memory that it was given, or loads one step's native code, links it to what was
//! granted by [`Capability::link`](countersign_capability::Capability::link), and runs it once. Its host calls go over the socket
//! to the runner, whose gate decides.
//!
//! | side | file |
//! |---|---|
//! | the runner's | [`Workers`] compiles and starts, [`Step`] runs, `cache.rs` keeps native code |
//! | the worker's | [`serve`], `confine.rs` |
//! | both | `wire.rs`: what they say |
//!
//! What comes from a worker is untrusted: its frames are bounded and decoded whole, and its claims are cut like a step's own words.

mod cache;
mod confine;
mod process;
mod serve;
mod step;
mod wire;
mod workers;

pub use confine::Mechanism;
pub use process::{Program, WORKER_NAME, is_worker};
pub use serve::serve;
pub use step::Step;
pub use wire::{CompileLimits, MAX_FRAME, called};
pub use workers::{Confinement, Starting, WorkerError, Workers};
