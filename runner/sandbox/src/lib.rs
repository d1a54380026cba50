//! The only owner of the Wasm engine and its stores.
//!
//! A step's bytes go one way, and each stage takes what the one before it made:
//!
//! | stage | from | makes |
//! |---|---|---|
//! | [`inspect`] | untrusted bytes | an [`Inspection`]: role, imports, digest; nothing is compiled |
//! | [`Inspection::admit`] | the role wanted and the grants given | an [`Admitted`], or a [`Refusal`] |
//! | [`Sandbox::compile`] | the same buffer | a [`Compiled`]; or by [`Sandbox::precompile`] and [`Sandbox::load`], in two processes |
//! | [`Sandbox::link`] | the same grants | a [`Linked`]: what is not granted is not there |
//! | [`Linked::run`] | a port, a context and [`Limits`] | an [`Ended`] |

mod admit;
mod engine;
mod imports;
mod inspect;
mod limits;
mod link;
mod load;
mod room;
mod run;
mod wasi;

pub use admit::{Admitted, Outline, Refusal};
pub use engine::{CompileError, Compiled, Sandbox, SandboxError};
pub use inspect::{InspectError, Inspection, MAX_COMPONENT_BYTES, inspect};
pub use limits::{Limits, Settings};
pub use link::{LinkError, Linked};
pub use room::{ROOM_BYTES, said, take_room};
pub use run::{Ended, Failure, Finding, MAX_FINDINGS, Output};
pub use wasi::WASI_IS_INERT;
