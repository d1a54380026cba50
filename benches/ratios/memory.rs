//! The `files` capability with nothing behind it: what is read comes from memory. What is left is what a call costs.

use countersign_capability::{Capability, Context, Linker, Opening, Prepared, Protected, Session};
use countersign_files::{Files, FilesCall, FilesChange, Scope};
use countersign_model::{Access, Fault, FaultKind, Selector, State};

/// As the guest's side decodes it: 4096 as a varint, and so many bytes.
const REPLY: [u8; 2] = [0x80, 0x20];
const SIZE: usize = 4096;

pub struct Memory;

impl Capability for Memory {
    const NAME: &'static str = Files::NAME;
    const WIT_VERSION: &'static str = Files::WIT_VERSION;
    const FORMAT: u32 = Files::FORMAT;
    const ACCESSES: &'static [Access] = Files::ACCESSES;

    type Scope = Scope;
    type Call = FilesCall;
    type Change = FilesChange;
    type Session = Held;

    fn parse_scope(access: Access, selector: &Selector) -> Result<Scope, String> {
        Files::parse_scope(access, selector)
    }

    fn scope_selector(scope: &Scope) -> Selector {
        Files::scope_selector(scope)
    }

    fn parse_call(function: &str, selector: &Selector) -> Result<FilesCall, String> {
        Files::parse_call(function, selector)
    }

    fn least_scope(call: &FilesCall) -> Result<Scope, Fault> {
        Files::least_scope(call)
    }

    fn covers(scope: &Scope, call: &FilesCall) -> bool {
        Files::covers(scope, call)
    }

    fn reaches(scope: &Scope, subject: &str) -> bool {
        Files::reaches(scope, subject)
    }

    fn contains(wide: &Scope, narrow: &Scope) -> bool {
        Files::contains(wide, narrow)
    }

    fn endangers(scope: &Scope, protected: &Protected) -> Option<String> {
        Files::endangers(scope, protected)
    }

    fn describe_reply(call: &FilesCall, reply: &[u8]) -> serde_json::Value {
        Files::describe_reply(call, reply)
    }

    fn link(linker: &mut Linker, access: Access) -> wasmtime::Result<()> {
        Files::link(linker, access)
    }

    fn open(_: &Opening<'_>) -> Result<Held, Fault> {
        Ok(Held)
    }
}

pub struct Held;

fn nothing<T>() -> Result<T, Fault> {
    Err(Fault::new(FaultKind::Unsupported, "nothing is changed here"))
}

impl Session<Memory> for Held {
    fn read(&mut self, _: &mut Context<'_>, _: &Scope, _: FilesCall) -> Result<Vec<u8>, Fault> {
        let mut reply = Vec::with_capacity(REPLY.len() + SIZE);
        reply.extend(REPLY);
        reply.resize(REPLY.len() + SIZE, b'x');
        Ok(reply)
    }

    fn prepare(&mut self, _: &mut Context<'_>, _: &Scope, _: FilesCall) -> Result<Prepared<FilesChange>, Fault> {
        nothing()
    }

    fn rehearse(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<Vec<u8>, Fault> {
        nothing()
    }

    fn rehearse_undo(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<(), Fault> {
        nothing()
    }

    fn apply(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<Vec<u8>, Fault> {
        nothing()
    }

    fn probe(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<State, Fault> {
        nothing()
    }

    fn undo(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<(), Fault> {
        nothing()
    }

    fn settle(&mut self, _: &mut Context<'_>, _: &FilesChange) -> Result<(), Fault> {
        nothing()
    }

    fn revert(&mut self, _: &mut Context<'_>, _: &Scope, _: &FilesChange) -> Result<Prepared<FilesChange>, Fault> {
        nothing()
    }
}
