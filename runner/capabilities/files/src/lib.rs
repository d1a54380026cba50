//! The `files` capability: files of the target's file system, by absolute path.
//!
//! Reads and writes go through descriptors that were opened name by name from `/`, without following
//! any symbolic link and without leaving the granted tree's file system. Regular files of one hard
//! link are the only ones that are opened. Nothing that belongs to the runner itself, nor to the kernel's own
//! file systems, can be reached.
//!
//! Most changes are a rename within one directory: the new file is staged beside the old one, complete
//! and synced, with its owner, mode, ACL and extended attributes, and the two are exchanged. The old one is kept
//! as `.countersign-` and 32 hexadecimal digits until the change is settled, so that undo gives
//! back the very same file. Guests see these names when they list a directory, and cannot use them.
//!
//! `truncate`, `set-mode` and `discard` change the file in place, so that whoever has it open goes on with it. What
//! `truncate` cuts off is kept by the runner; of what `discard` takes away only the last bytes are, and nothing
//! undoes it. Between the last look at a file and its truncation lies one system call: what somebody else adds in
//! that moment goes too. What they add earlier, since the change was prepared, refuses it.
//!
//! Linux only; the kernel must have `openat2` (5.6 or later).

#![forbid(unsafe_code)]

mod able;
mod apply;
mod call;
mod change;
mod durable;
mod ends;
mod fault;
mod guarded;
mod handle;
mod inplace;
mod link;
mod metadata;
mod overlay;
mod path;
mod read;
mod restore;
mod revert;
mod scope;
mod session;
mod snapshot;
mod source;
mod span;
mod undo;
mod verb;
mod walked;

use countersign_capability::{Capability, Linker, Opening, Protected};
use countersign_model::{Access, Fault, Selector};

pub use call::{
    Entry, FilesCall, KEPT_END, Kind, MAX_CONTENT, MAX_CUT, MAX_ENTRIES, MAX_RANGE, MAX_TAIL, Space, Stat, Usage,
};
pub use change::FilesChange;
pub use scope::Scope;
pub use session::FilesSession;

/// The capability itself.
pub struct Files;

impl Capability for Files {
    const NAME: &'static str = "files";
    const WIT_VERSION: &'static str = "0.1.0";
    const FORMAT: u32 = 1;

    type Scope = Scope;
    type Call = FilesCall;
    type Change = FilesChange;
    type Session = FilesSession;

    const ACCESSES: &'static [Access] = &[Access::Read, Access::Write];

    fn parse_scope(access: Access, selector: &Selector) -> Result<Scope, String> {
        Scope::parse(access, selector)
    }

    fn scope_selector(scope: &Scope) -> Selector {
        scope.selector()
    }

    fn parse_call(function: &str, selector: &Selector) -> Result<FilesCall, String> {
        FilesCall::parse(function, selector)
    }

    fn least_scope(call: &FilesCall) -> Result<Scope, Fault> {
        Ok(Scope::of(call, &call.path()?))
    }

    fn covers(scope: &Scope, call: &FilesCall) -> bool {
        scope.covers(call)
    }

    fn reaches(scope: &Scope, subject: &str) -> bool {
        scope.reaches(subject)
    }

    fn contains(wide: &Scope, narrow: &Scope) -> bool {
        wide.contains(narrow)
    }

    fn endangers(scope: &Scope, protected: &Protected) -> Option<String> {
        scope.endangers(protected)
    }

    fn describe_reply(call: &FilesCall, reply: &[u8]) -> serde_json::Value {
        call::describe(call, reply)
    }

    fn kept_beside(change: &FilesChange) -> Option<String> {
        change.kept_beside()
    }

    fn link(linker: &mut Linker, access: Access) -> link::Linked {
        link::link(linker, access)
    }

    fn open(opening: &Opening<'_>) -> Result<FilesSession, Fault> {
        FilesSession::open(opening)
    }
}
