//! What it costs to load a step's code.

use std::path::Path;

use countersign_sandbox::{Sandbox, Settings};
use wasmtime::component::Component;

use crate::guest;
use crate::harness::{Row, each};
use crate::raw::Raw;

const LOADS: u32 = 5;

pub fn measure() -> Vec<Row> {
    vec![load("a step of", &guest::idle(), 60).goal(1.2), load("a large step of", &guest::large(), 30).goal(1.2)]
}

fn load(what: &str, component: &[u8], rounds: usize) -> Row {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
    let admitted = guest::admitted(component);
    let kept = place.path().join("kept");
    std::fs::write(&kept, sandbox.precompile(&admitted).expect("compiled")).expect("it can be written");
    let raw = Raw::new();
    let file = place.path().join("raw");
    let code = Component::from_binary(&raw.engine, component).and_then(|code| code.serialize()).expect("compiled");
    std::fs::write(&file, &code).expect("it can be written");
    let load = || {
        let file = std::fs::File::open(&kept).expect("it is there");
        drop(sandbox.load(&file, admitted.outline()).expect("loaded"));
    };
    Row::of(
        &format!("{what} {} KiB, loaded", code.len() / 1024),
        "deserialize_file",
        rounds,
        || each(LOADS, || (0..LOADS).for_each(|_| load())),
        || each(LOADS, || (0..LOADS).for_each(|_| drop(deserialize(&raw, &file)))),
    )
}

#[allow(unsafe_code, reason = "what is measured against")]
fn deserialize(raw: &Raw, file: &Path) -> Component {
    // SAFETY: this process wrote the file just now, with the same engine, and nobody else knows of it.
    unsafe { Component::deserialize_file(&raw.engine, file) }.expect("loaded")
}
