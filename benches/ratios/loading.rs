//! What it costs to take a step's code out of the cache.

use std::path::Path;

use countersign_sandbox::{Sandbox, Settings};
use wasmtime::component::Component;

use crate::guest;
use crate::harness::{Row, each};
use crate::raw::Raw;

const LOADS: u32 = 5;

pub fn measure() -> Vec<Row> {
    vec![
        load("a cached step of", &guest::idle(), 60).goal(1.2),
        load("a large cached step of", &guest::large(), 30).goal(1.2),
    ]
}

fn load(what: &str, component: &[u8], rounds: usize) -> Row {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let cache = place.path().join("cache");
    let sandbox = Sandbox::new(Settings::default(), Some(&cache)).expect("a sandbox");
    let admitted = guest::admitted(component);
    assert!(!sandbox.compile(&admitted).expect("compiled").from_cache());
    let raw = Raw::new();
    let file = place.path().join("raw");
    let code = Component::from_binary(&raw.engine, component).and_then(|code| code.serialize()).expect("compiled");
    std::fs::write(&file, &code).expect("it can be written");
    Row::of(
        &format!("{what} {} KiB, loaded", code.len() / 1024),
        "deserialize_file",
        rounds,
        || each(LOADS, || (0..LOADS).for_each(|_| assert!(sandbox.compile(&admitted).expect("loaded").from_cache()))),
        || each(LOADS, || (0..LOADS).for_each(|_| drop(deserialize(&raw, &file)))),
    )
}

#[allow(unsafe_code, reason = "what is measured against")]
fn deserialize(raw: &Raw, file: &Path) -> Component {
    // SAFETY: this process wrote the file just now, with the same engine, and nobody else knows of it.
    unsafe { Component::deserialize_file(&raw.engine, file) }.expect("loaded")
}
