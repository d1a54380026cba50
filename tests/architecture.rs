//! Imports point one way: reads the normal dependencies in `cargo metadata` and fails on any other edge.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What each room may import of ours. Whoever adds an edge here changes the architecture, and says so
/// in ARCHITECTURE.md.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let capability = ["model", "capability"];
    let everything = [
        "model",
        "bundle",
        "trust",
        "tlog",
        "proof",
        "record",
        "capability",
        "gate",
        "sandbox",
        "worker",
        "files",
        "http",
        "process",
        "pipeline",
    ];
    [
        ("model", &[][..]),
        ("bundle", &["model"][..]),
        ("trust", &["model"][..]),
        // Whoever verifies a log shares nothing with whoever writes it.
        ("tlog", &[][..]),
        ("proof", &[][..]),
        ("capability", &["model"][..]),
        ("record", &["model", "tlog", "capability"][..]),
        ("gate", &["model", "capability", "record"][..]),
        ("sandbox", &capability[..]),
        ("worker", &["model", "capability", "sandbox"][..]),
        ("files", &capability[..]),
        ("http", &capability[..]),
        ("process", &capability[..]),
        (
            "pipeline",
            &["model", "bundle", "trust", "tlog", "proof", "record", "capability", "gate", "sandbox", "worker"][..],
        ),
        ("countersign", &everything[..]),
        ("sdk", &[][..]),
    ]
    .into_iter()
    .map(|(room, imports)| (room, imports.iter().copied().collect()))
    .collect()
}

/// Only these rooms may have wasmtime at all.
const WASMTIME: [&str; 5] = ["capability", "sandbox", "files", "http", "process"];

fn room(package: &str) -> &str {
    package.strip_prefix("countersign-").unwrap_or(package)
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a name")
}

#[test]
fn imports_point_one_way() {
    let packages = support::packages(&["--no-deps"]);
    let allowed = allowed();
    let ours: BTreeSet<&str> = packages.iter().map(name).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let importer = room(name(package));
        let Some(may) = allowed.get(importer) else {
            wrong.push(format!("`{}` is a room that this test does not know", name(package)));
            continue;
        };
        let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
        // Only normal dependencies have no kind.
        for on in dependencies.iter().filter(|dependency| dependency["kind"].is_null()).map(name) {
            if ours.contains(on) && !may.contains(room(on)) {
                wrong.push(format!("`{}` imports `{on}`", name(package)));
            }
            if on == "wasmtime" && !WASMTIME.contains(&importer) {
                wrong.push(format!("`{}` imports wasmtime", name(package)));
            }
        }
    }
    assert!(packages.len() > 10, "only {} packages were seen", packages.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In a capability, wasmtime is for `link.rs` alone.
#[test]
fn capabilities_touch_wasmtime_in_one_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runner/capabilities");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for capability in std::fs::read_dir(root).expect("the capabilities' folder is there") {
        let source = capability.expect("it can be read").path().join("src");
        for file in std::fs::read_dir(&source).expect("a capability has sources") {
            let path = file.expect("it can be read").path();
            if path.is_dir() || path.file_name().is_some_and(|name| name == "link.rs") {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(&path).expect("sources are text");
            // The trait's own signature in lib.rs is the one place that must name its result.
            let named = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let uses = named.filter(|line| line.contains("wasmtime::") && !line.contains("wasmtime::Result<()>"));
            wrong.extend(uses.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    assert!(seen > 10, "only {seen} files were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
