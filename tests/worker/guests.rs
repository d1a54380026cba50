//! Steps in the component text format, and the workers that run them.

#![allow(dead_code, reason = "each test that shares it uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;

use countersign_capability::{LogLine, Port, Registry, StepContext};
use countersign_files::Files;
use countersign_model::{Access, Call, Reply, Role, Stop};
use countersign_sandbox::{Admitted, Ended, Limits, inspect};
use countersign_worker::{Confinement, Program, Step, Workers};

/// Workers of the real program.
pub(crate) fn workers(cache: Option<&Path>) -> Workers {
    Workers::new(program(), Confinement::default(), cache)
}

pub(crate) fn program() -> Program {
    Program::at(Path::new(env!("CARGO_BIN_EXE_countersign")))
}

pub(crate) fn granted() -> BTreeSet<(String, Access)> {
    BTreeSet::from([("files".to_owned(), Access::Read)])
}

/// Of a component, or of its text.
pub(crate) fn admitted(component: &(impl AsRef<[u8]> + ?Sized)) -> Admitted {
    let bytes = wat::parse_bytes(component.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    let inspection = inspect(&Registry::default().with::<Files>(), &bytes).unwrap_or_else(|error| panic!("{error}"));
    let role = inspection.role();
    inspection.admit(role, &granted()).expect("admitted")
}

/// The step, linked by the real program.
pub(crate) fn linked(component: &(impl AsRef<[u8]> + ?Sized)) -> Step {
    workers(None).start(&admitted(component), &granted()).expect("started").ready().expect("linked")
}

pub(crate) fn run(step: &Step) -> Ended {
    run_with(step, &mut |_| Ok(empty()), &Limits::default())
}

pub(crate) fn run_with(step: &Step, answer: &mut Answer<'_>, limits: &Limits) -> Ended {
    step.run(&mut Answers(answer), StepContext::default(), limits, &|| false)
}

/// How a call is answered.
pub(crate) type Answer<'a> = dyn FnMut(Call) -> Result<Reply, Stop> + Send + 'a;

pub(crate) struct Answers<'a, 'b>(pub(crate) &'a mut Answer<'b>);

impl Port for Answers<'_, '_> {
    fn call(&mut self, call: Call) -> Result<Reply, Stop> {
        (self.0)(call)
    }

    fn log(&mut self, _: LogLine) {}
}

/// An empty file.
pub(crate) fn empty() -> Reply {
    Reply::Value(vec![0])
}

/// A fix or a rollback that is done at once, a check that is content.
pub(crate) fn trivial(role: Role) -> String {
    step(role, r#"(func (export "run") (result i32) (i32.const 0))"#)
}

/// A fix that reads a file without end.
pub(crate) fn reading() -> String {
    step(
        Role::Fix,
        r#"(data (i32.const 1024) "/x")
        (func (export "run") (result i32)
            (loop $again (call $read (i32.const 1024) (i32.const 2) (i32.const 512)) (br $again))
            (i32.const 0))"#,
    )
}

/// A step whose core function has this body. It finds `$read` of `countersign:files/read`, and page 0 of its memory, zeroed:
/// returning 0 from a fix is `ok`.
pub(crate) fn step(role: Role, body: &str) -> String {
    let export = role.export();
    let result = match role {
        Role::Check => "(result $verdict (error string))",
        _ => "(result (error string))",
    };
    format!(
        r#"(component
            (import "countersign:step/types@0.1.0" (instance $types
                (type $k (enum "denied" "not-found" "exists" "invalid" "too-large" "unsupported" "changed"
                    "unknowable" "unreachable" "timed-out" "other"))
                (export "error-kind" (type $kind (eq $k)))
                (type $e (record (field "kind" $kind) (field "message" string) (field "reached" bool)))
                (export "error" (type (eq $e)))
                (type $v (variant (case "healthy") (case "unhealthy" string) (case "cannot-tell" string)))
                (export "verdict" (type (eq $v)))))
            (alias export $types "error" (type $error))
            (alias export $types "verdict" (type $v))
            (import "countersign:files/read@0.1.0" (instance $files
                (alias outer 1 $error (type $outer))
                (export "error" (type $error (eq $outer)))
                (export "read" (func (param "path" string) (result (result (list u8) (error $error)))))))
            (import "verdict" (type $verdict (eq $v)))
            (core module $libc
                (memory (export "memory") 32)
                ;; Nothing is kept from one call to the next.
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072)))
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (alias export $files "read" (func $read))
            (core func $lowered (canon lower (func $read) (memory $memory) (realloc $realloc)))
            (core module $main
                (import "libc" "memory" (memory 1))
                (import "host" "read" (func $read (param i32 i32 i32)))
                {body})
            (core instance $main (instantiate $main
                (with "libc" (instance $libc)) (with "host" (instance (export "read" (func $lowered))))))
            (alias core export $main "run" (core func $run))
            (func (export "{export}") (result {result})
                (canon lift (core func $run) (memory $memory) (realloc $realloc))))"#
    )
}
