//! A capability that is no system at all, ports that answer at once, and guests in the component text format.

use std::collections::BTreeSet;

use countersign_capability::{
    Capability, Context, Linker, LogLine, Opening, Port, Prepared, Protected, Registry, Session, StepContext, TypedCall,
};
use countersign_model::{Access, Call, Fault, FaultKind, Reply, Role, Selector, State, Stop};
use countersign_sandbox::{Admitted, Ended, Inspection, Limits, Linked, Sandbox, Settings, inspect};
use serde::{Deserialize, Serialize};

/// `probe`: `read` has `get(string) -> result<list<u8>, string>`, `write` has `put(list<u8>) -> result<_, string>`.
pub(crate) struct Probe;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ProbeCall {
    Get(String),
    Put(Vec<u8>),
}

impl TypedCall for ProbeCall {
    fn function(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Put(_) => "put",
        }
    }
    fn access(&self) -> Access {
        match self {
            Self::Get(_) => Access::Read,
            Self::Put(_) => Access::Write,
        }
    }
    fn selector(&self) -> Selector {
        Selector::default()
    }
    fn subject(&self) -> Result<String, Fault> {
        Ok("it".to_owned())
    }
    fn payload(&self) -> u64 {
        0
    }
}

fn unused<T>() -> Result<T, Fault> {
    Err(Fault::new(FaultKind::Unsupported, "the probe has no system"))
}

impl Capability for Probe {
    const NAME: &'static str = "probe";
    const WIT_VERSION: &'static str = "0.1.0";
    const FORMAT: u32 = 1;
    type Scope = ();
    type Call = ProbeCall;
    type Change = ();
    type Session = ();
    const ACCESSES: &'static [Access] = &[Access::Read, Access::Write];

    fn parse_scope(_: Access, _: &Selector) -> Result<(), String> {
        Ok(())
    }
    fn scope_selector(_: &()) -> Selector {
        Selector::default()
    }
    fn parse_call(_: &str, _: &Selector) -> Result<ProbeCall, String> {
        Err("none".to_owned())
    }
    fn least_scope(_: &ProbeCall) -> Result<(), Fault> {
        Ok(())
    }
    fn covers(_: &(), _: &ProbeCall) -> bool {
        true
    }
    fn reaches(_: &(), _: &str) -> bool {
        true
    }
    fn contains(_: &(), _: &()) -> bool {
        true
    }
    fn endangers(_: &(), _: &Protected) -> Option<String> {
        None
    }
    fn describe_reply(_: &ProbeCall, _: &[u8]) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn link(linker: &mut Linker, access: Access) -> wasmtime::Result<()> {
        match access {
            Access::Read => {
                linker.instance("countersign:probe/read@0.1.0")?.func_wrap("get", |mut store, (key,): (String,)| {
                    let answer: Result<Vec<u8>, _> = store.data_mut().guest().ask::<Probe, _>(&ProbeCall::Get(key))?;
                    Ok((answer.map_err(|error| error.message),))
                })
            }
            Access::Write => {
                linker.instance("countersign:probe/write@0.1.0")?.func_wrap("put", |mut store, (bytes,): (Vec<u8>,)| {
                    let answer: Result<(), _> = store.data_mut().guest().ask::<Probe, _>(&ProbeCall::Put(bytes))?;
                    Ok((answer.map_err(|error| error.message),))
                })
            }
        }
    }
    fn open(_: &Opening<'_>) -> Result<(), Fault> {
        unused()
    }
}

impl Session<Probe> for () {
    fn read(&mut self, _: &mut Context<'_>, _: &(), _: ProbeCall) -> Result<Vec<u8>, Fault> {
        unused()
    }
    fn prepare(&mut self, _: &mut Context<'_>, _: &(), _: ProbeCall) -> Result<Prepared<()>, Fault> {
        unused()
    }
    fn rehearse(&mut self, _: &mut Context<'_>, _: &()) -> Result<Vec<u8>, Fault> {
        unused()
    }
    fn rehearse_undo(&mut self, _: &mut Context<'_>, _: &()) -> Result<(), Fault> {
        unused()
    }
    fn apply(&mut self, _: &mut Context<'_>, _: &()) -> Result<Vec<u8>, Fault> {
        unused()
    }
    fn probe(&mut self, _: &mut Context<'_>, _: &()) -> Result<State, Fault> {
        unused()
    }
    fn undo(&mut self, _: &mut Context<'_>, _: &()) -> Result<(), Fault> {
        unused()
    }
    fn settle(&mut self, _: &mut Context<'_>, _: &()) -> Result<(), Fault> {
        unused()
    }
    fn revert(&mut self, _: &mut Context<'_>, _: &(), _: &()) -> Result<Prepared<()>, Fault> {
        unused()
    }
}

pub(crate) fn registry() -> Registry {
    Registry::default().with::<Probe>()
}

/// A port made of a function.
pub(crate) struct Answers<F>(pub F);

impl<F: FnMut(Call) -> Result<Reply, Stop> + Send> Port for Answers<F> {
    fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        (self.0)(call)
    }
    fn log(&mut self, _: LogLine) {}
}

/// The answer of nothing to `put`, of an empty list to `get`.
pub(crate) fn nothing(call: &Call) -> Reply {
    Reply::Value(if call.function == "get" { vec![0] } else { Vec::new() })
}

/// Answers every call with nothing.
pub(crate) fn agreeable() -> Box<dyn Port> {
    Box::new(Answers(|call| Ok(nothing(&call))))
}

pub(crate) fn all() -> BTreeSet<(String, Access)> {
    grants(&[Access::Read, Access::Write])
}

pub(crate) fn grants(accesses: &[Access]) -> BTreeSet<(String, Access)> {
    accesses.iter().map(|access| ("probe".to_owned(), *access)).collect()
}

pub(crate) fn inspected(wat: &str) -> Inspection {
    inspect(&registry(), &bytes(wat)).unwrap_or_else(|error| panic!("{error}\n{wat}"))
}

pub(crate) fn admitted(wat: &str) -> Admitted {
    let inspection = inspected(wat);
    let role = inspection.role();
    inspection.admit(role, &all()).expect("admitted")
}

pub(crate) fn bytes(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"))
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(Settings::default()).expect("a sandbox")
}

pub(crate) fn linked(sandbox: &Sandbox, wat: &str) -> Linked {
    let compiled = sandbox.compile(&admitted(wat)).expect("compiled");
    sandbox.link(&compiled, &registry(), &all()).expect("linked")
}

pub(crate) fn run(wat: &str, port: Box<dyn Port>, limits: Limits) -> Ended {
    linked(&sandbox(), wat).run(port, StepContext::default(), limits)
}

/// A step whose core function has this body. It finds `$now`, `$arguments`, `$log`, `$get` and `$put` of the imports
/// that `imports` names, and page 0 of its memory, zeroed: returning 0 from a fix is `ok`.
pub(crate) fn step(role: Role, imports: &[&str], body: &str) -> String {
    let export = role.export();
    let (mut outer, mut lowered, mut given, mut taken) = (String::new(), String::new(), String::new(), String::new());
    let mut seen = BTreeSet::new();
    for import in imports {
        let (instance, functions, core) = match *import {
            "now" => ("step/host", r#"(export "now" (func (result u64)))"#, "(result i64)"),
            "arguments" => ("step/host", r#"(export "arguments" (func (result string)))"#, "(param i32)"),
            "get" => (
                "probe/read",
                r#"(export "get" (func (param "key" string) (result (result (list u8) (error string)))))"#,
                "(param i32 i32 i32)",
            ),
            "put" => (
                "probe/write",
                r#"(export "put" (func (param "bytes" (list u8)) (result (result (error string)))))"#,
                "(param i32 i32 i32)",
            ),
            other => panic!("no import {other}"),
        };
        assert!(seen.insert(instance), "one function of each interface");
        outer += &format!(r#"(import "countersign:{instance}@0.1.0" (instance $i-{import} {functions}))"#);
        lowered += &format!(
            r#"(alias export $i-{import} "{import}" (func $f-{import}))
            (core func $l-{import} (canon lower (func $f-{import}) (memory $memory) (realloc $realloc)))"#
        );
        given += &format!(r#"(export "{import}" (func $l-{import}))"#);
        taken += &format!(r#"(import "host" "{import}" (func ${import} {core}))"#);
    }
    let (types, result) = match role {
        Role::Fix | Role::Rollback => ("", "(result (error string))".to_owned()),
        Role::Check => (CHECK_TYPES, "(result $verdict (error string))".to_owned()),
        Role::Investigation => (INVESTIGATION_TYPES, "(result (list $finding) (error string))".to_owned()),
    };
    format!(
        r#"(component {types} {outer}
            (core module $libc
                (memory (export "memory") 4)
                (global $next (mut i32) (i32.const 131072))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    global.get $next
                    (global.set $next (i32.and (i32.const -8)
                        (i32.add (i32.const 7) (i32.add (global.get $next) (local.get 3)))))))
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            {lowered}
            (core module $main
                (import "libc" "memory" (memory 1)) {taken}
                {body})
            (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance {given}))))
            (alias core export $main "run" (core func $run))
            (func (export "{export}") (result {result})
                (canon lift (core func $run) (memory $memory) (realloc $realloc))))"#
    )
}

/// As `wit-component` writes the worlds' `use types.{...}`: an instance, an alias, and an import that names the type.
const CHECK_TYPES: &str = r#"
    (import "countersign:step/types@0.1.0" (instance $types
        (type $v (variant (case "healthy") (case "unhealthy" string) (case "cannot-tell" string)))
        (export "verdict" (type (eq $v)))))
    (alias export $types "verdict" (type $v))
    (import "verdict" (type $verdict (eq $v)))"#;
const INVESTIGATION_TYPES: &str = r#"
    (import "countersign:step/types@0.1.0" (instance $types
        (type $f (record (field "summary" string) (field "detail" string)))
        (export "finding" (type (eq $f)))))
    (alias export $types "finding" (type $f))
    (import "finding" (type $finding (eq $f)))"#;

/// A step that answers with `ok` at once; a check finds the target healthy, an investigation nothing.
pub(crate) fn trivial(role: Role) -> String {
    step(role, &[], r#"(func (export "run") (result i32) (i32.const 0))"#)
}
