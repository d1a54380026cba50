//! What the sandbox costs around a step.

use std::collections::BTreeSet;
use std::path::Path;

use countersign_model::Grant;
use countersign_sandbox::{Sandbox, Settings};

use crate::guest::{self, Nobody};
use crate::harness::{Row, each, median, shown};
use crate::raw::Raw;

const ROUNDS: usize = 100;
const STEPS: u32 = 20;

pub fn measure() -> Vec<Row> {
    let sandbox = Sandbox::new(Settings::default(), None).expect("a sandbox");
    vec![started(&sandbox), granted(&sandbox)]
}

fn started(sandbox: &Sandbox) -> Row {
    let raw = Raw::new();
    let (idle, reading) = (guest::idle(), Path::new("/"));
    let (linked, check) = (guest::linked(sandbox, &idle), raw.check(&idle, reading));
    let row = Row::of(
        "a step, instantiated and called",
        "wasmtime with the same settings, in the thread that asks",
        ROUNDS,
        || each(STEPS, || (0..STEPS).for_each(|_| guest::run(&linked, Box::new(Nobody)))),
        || each(STEPS, || (0..STEPS).for_each(|_| check.run())),
    );
    let thread = median(ROUNDS, || {
        each(STEPS, || {
            for _ in 0..STEPS {
                std::thread::Builder::new()
                    .stack_size(9 << 20)
                    .spawn(|| ())
                    .expect("a thread")
                    .join()
                    .expect("its end");
            }
        })
    });
    row.goal(1.25).note(format!("a thread of its own, were there one for each step: {}", shown(thread)))
}

fn granted(sandbox: &Sandbox) -> Row {
    let compiled = sandbox.compile(&guest::admitted(&guest::idle())).expect("compiled");
    let registry = guest::registry();
    let grants = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("files.read /srv/app-{number}/config/**")).collect()
    };
    let (one, many) = (grants(1), grants(1000));
    let parsed =
        |grants: &[String]| -> Vec<Grant> { grants.iter().map(|grant| grant.parse().expect("a grant")).collect() };
    let gate = guest::gate(Box::new(guest::Silent));
    let start = |grants: &[Grant], bounds: &countersign_gate::Bounds| {
        let accesses: BTreeSet<_> = grants.iter().map(|grant| (grant.capability.as_str(), grant.access)).collect();
        let accesses = accesses.into_iter().map(|(name, access)| (name.to_owned(), access)).collect();
        let linked = sandbox.link(&compiled, &registry, &accesses).expect("linked");
        guest::begin(&gate, bounds);
        guest::run(&linked, Box::new(gate.clone()));
    };
    let side = |grants: &[String]| {
        let bounds = guest::bounds(grants);
        let grants = parsed(grants);
        move || each(STEPS, || (0..STEPS).for_each(|_| start(&grants, &bounds)))
    };
    let row =
        Row::of("a step linked and run under 1,000 grants", "the same under one", ROUNDS, side(&many), side(&one));
    let parsing = median(20, || each(1, || drop(guest::bounds(&many))));
    row.goal(1.1).note(format!("reading 1,000 grants from text, once for all steps: {}", shown(parsing)))
}
