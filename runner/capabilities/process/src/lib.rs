//! The capability `process`: Linux processes by executable, never by bare process identifier.
//!
//! A process is what `/proc/PID/exe` says it runs, by path, device and inode, together with when it
//! started. Processes that the runner may not look at are left out of lists, as are the runner's own.

#![forbid(unsafe_code)]

mod call;
mod change;
mod link;
mod path;
mod pid_file;
mod proc;
mod read;
mod scope;
mod session;

#[cfg(test)]
mod tests;

use countersign_capability::{Capability, Linker, Opening, Protected};
use countersign_model::{Access, Fault, Selector};
use serde_json::Value;

pub use call::{Call, Named, Process, Signal, Which};
pub use change::Change;
pub use scope::Scope;
pub use session::ProcessSession;

/// The capability itself.
#[derive(Clone, Copy, Debug)]
pub struct ProcessCapability;

impl Capability for ProcessCapability {
    const NAME: &'static str = "process";
    const WIT_VERSION: &'static str = "0.1.0";
    const FORMAT: u32 = 1;
    const ACCESSES: &'static [Access] = &[Access::Read, Access::Write];

    type Scope = Scope;
    type Call = Call;
    type Change = Change;
    type Session = ProcessSession;

    fn parse_scope(access: Access, selector: &Selector) -> Result<Scope, String> {
        Scope::parse(access, selector)
    }

    fn scope_selector(scope: &Scope) -> Selector {
        scope.selector()
    }

    fn parse_call(function: &str, selector: &Selector) -> Result<Call, String> {
        Call::parse(function, selector)
    }

    fn least_scope(call: &Call) -> Result<Scope, Fault> {
        call.check().map(|()| Scope::of(call))
    }

    fn covers(scope: &Scope, call: &Call) -> bool {
        scope.covers(call)
    }

    fn reaches(scope: &Scope, subject: &str) -> bool {
        named(subject).is_ok_and(|process| scope.names(&process))
    }

    /// A process can be named by its start, and by any file with its number.
    fn held_as(subject: &str) -> String {
        named(subject).map_or_else(|_| subject.to_owned(), |process| format!("exe={}", process.executable))
    }

    fn contains(wide: &Scope, narrow: &Scope) -> bool {
        wide.contains(narrow)
    }

    fn endangers(scope: &Scope, protected: &Protected) -> Option<String> {
        scope.endangers(protected)
    }

    fn describe_reply(call: &Call, reply: &[u8]) -> Value {
        match call {
            Call::List { .. } => postcard::from_bytes::<Vec<Process>>(reply)
                .map_or(Value::Null, |found| found.into_iter().map(describe).collect()),
            Call::Inspect(_) => postcard::from_bytes::<Process>(reply).map_or(Value::Null, describe),
            Call::Signal { .. } => Value::Null,
        }
    }

    fn link(linker: &mut Linker, access: Access) -> link::Result<()> {
        link::link(linker, access)
    }

    fn open(opening: &Opening<'_>) -> Result<ProcessSession, Fault> {
        ProcessSession::open(opening)
    }
}

/// A subject is the words of a name; they are read as a grant's are.
fn named(subject: &str) -> Result<Named, String> {
    let (_, _, words) = Selector::parse_named(&format!("process.subject {subject}"))?;
    Named::parse(&words)
}

fn describe(process: Process) -> Value {
    serde_json::to_value(process).unwrap_or_default()
}
