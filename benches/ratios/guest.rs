//! Steps in the component text format, and what runs them.

#[path = "../../tests/worker/guests.rs"]
mod guests;

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_capability::{LogLine, Phase, Port, Protected, Registry, StepContext};
use countersign_files::Files;
use countersign_gate::{Allowance, Bounds, Denials, Gate, GatePort, ReadRecord, Sessions, Step, Witness, Work};
use countersign_model::{Access, Fault, Grant, Reply, Role, Stop, Verdict};
use countersign_sandbox::{Admitted, Limits, Linked, Output, Sandbox, inspect};

/// A check that reads a file of `size` bytes so often and is content.
pub fn reading(path: &str, size: usize, times: u32) -> Vec<u8> {
    let length = path.len();
    let body = format!(
        r#"(data (i32.const 1024) "{path}")
        (func (export "run") (result i32) (local $left i32)
            (local.set $left (i32.const {times}))
            (block $done (loop $again
                (br_if $done (i32.eqz (local.get $left)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (call $read (i32.const 1024) (i32.const {length}) (i32.const 512))
                (if (i32.load8_u (i32.const 512)) (then unreachable))
                (if (i32.ne (i32.load (i32.const 520)) (i32.const {size})) (then unreachable))
                (br $again)))
            (i32.const 0))"#
    );
    check(&body)
}

/// A check that is content at once.
pub fn idle() -> Vec<u8> {
    check(r#"(func (export "run") (result i32) (i32.const 0))"#)
}

/// A check with some thousand functions, which is some megabytes when it is compiled.
pub fn large() -> Vec<u8> {
    let mut body = String::new();
    for number in 0..4000 {
        body += &format!(
            "(func (export \"f{number}\") (param i32 i32) (result i32)
                (i32.store (i32.and (local.get 0) (i32.const 0xfff0))
                    (i32.mul (i32.add (local.get 0) (i32.const {number})) (i32.load (i32.const {number}))))
                (if (i32.gt_s (local.get 0) (local.get 1)) (then (return (i32.div_s (local.get 0) (local.get 1)))))
                (i32.rem_u (i32.xor (local.get 0) (i32.load (local.get 1))) (i32.const {})))",
            number + 1
        );
    }
    check(&(body + r#"(func (export "run") (result i32) (i32.const 0))"#))
}

fn check(body: &str) -> Vec<u8> {
    wat::parse_str(guests::step(Role::Check, body)).expect("a component")
}

pub fn registry() -> Registry {
    Registry::default().with::<Files>()
}

pub fn admitted(component: &[u8]) -> Admitted {
    inspect(&registry(), component).expect("inspected").admit(Role::Check, &granted()).expect("admitted")
}

pub fn granted() -> BTreeSet<(String, Access)> {
    BTreeSet::from([("files".to_owned(), Access::Read)])
}

pub fn linked(sandbox: &Sandbox, component: &[u8]) -> Linked {
    let compiled = sandbox.compile(&admitted(component)).expect("compiled");
    sandbox.link(&compiled, &registry(), &granted()).expect("linked")
}

/// Runs a check that must be content, and gives the port's end of it back.
pub fn run(linked: &Linked, port: Box<dyn Port>) {
    let ended = linked.run(port, StepContext::default(), Limits::default());
    assert!(matches!(&ended.result, Ok(Output::Verdict(Verdict::Healthy))), "{:?}", ended.result);
}

/// Answers nothing: for steps that ask nothing.
pub struct Nobody;

impl Port for Nobody {
    fn call(&mut self, _: countersign_model::Call) -> Result<Reply, Stop> {
        Err(Stop("nobody is here".to_owned()))
    }

    fn log(&mut self, _: LogLine) {}
}

/// A gate that lets files be read.
pub fn gate(witness: Box<dyn Witness>) -> GatePort {
    gate_of(registry(), witness)
}

/// A gate that lets what these capabilities offer be read.
pub fn gate_of(registry: Registry, witness: Box<dyn Witness>) -> GatePort {
    let sessions =
        Sessions::new(Arc::new(registry), Default::default(), Phase::Observe, Arc::new(Protected::default()));
    GatePort::new(Gate::new(sessions, Work::Observe { denied: Denials::default() }, witness))
}

/// Begins a check that these grants bound.
pub fn begin(gate: &GatePort, bounds: &Bounds) {
    let allowance = Allowance::new(bounds.unused(), bounds.unused());
    gate.lock().begin(Step { role: Some(Role::Check), allowance });
}

pub fn bounds(grants: &[String]) -> Bounds {
    bounds_of(&registry(), grants)
}

/// Bounds for a gate of these capabilities.
pub fn bounds_of(registry: &Registry, grants: &[String]) -> Bounds {
    let grants: Vec<Grant> = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
    Bounds::new(registry, &grants).expect("bounds")
}

/// Keeps nothing, as a run does of its reads.
pub struct Silent;

impl Witness for Silent {
    fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}
