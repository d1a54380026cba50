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
    let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
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
    // As the pipeline does it: which interfaces grants open is found once, with the grants themselves.
    let opened = |grants: &[Grant]| -> BTreeSet<_> {
        let accesses: BTreeSet<_> = grants.iter().map(|grant| (grant.capability.as_str(), grant.access)).collect();
        accesses.into_iter().map(|(name, access)| (name.to_owned(), access)).collect()
    };
    let side = |grants: &[String]| {
        let (bounds, accesses) = (guest::bounds(grants), opened(&parsed(grants)));
        let (gate, compiled, registry) = (&gate, &compiled, &registry);
        move || {
            each(STEPS, || {
                for _ in 0..STEPS {
                    let linked = sandbox.link(compiled, registry, &accesses).expect("linked");
                    guest::begin(gate, &bounds);
                    guest::run(&linked, Box::new(gate.clone()));
                }
            })
        }
    };
    let row =
        Row::of("a step linked and run under 1,000 grants", "the same under one", ROUNDS, side(&many), side(&one));
    let parsing = median(20, || {
        each(1, || {
            guest::bounds(&many);
            opened(&parsed(&many));
        })
    });
    row.goal(1.1).note(format!("reading 1,000 grants from text, once for all steps: {}", shown(parsing)))
}
