//! Makes components of core modules in the text format, by the real contract in `sdk/wit`.

use std::path::Path;

use countersign_model::Role;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every guest below has: a memory, room in it for what the host returns, and what it may call. A path of two bytes
/// stands at 1024, results go to 512.
const PRELUDE: &str = r#"
    (import "countersign:files/read@0.1.0" "read" (func $read (param i32 i32 i32)))
    (memory (export "memory") 32)
    (data (i32.const 1024) "/x")
"#;
const REALLOC: &str = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))"#;

/// A step that may read files: what it does is this core function, called `$run`, and what stands beside it.
pub(crate) fn step(role: Role, run: &str) -> Vec<u8> {
    reading(role, &format!("{REALLOC} {run}"))
}

/// The same with a `cabi_realloc` of its own.
pub(crate) fn reading(role: Role, rest: &str) -> Vec<u8> {
    component(role, &["countersign:files/read@0.1.0"], StringEncoding::UTF8, &format!("{PRELUDE} {rest}"))
}

/// A step of this core module, whose export `run` is its role's. It may import these interfaces, and `countersign:step/host`.
pub(crate) fn component(role: Role, imports: &[&str], encoding: StringEncoding, core: &str) -> Vec<u8> {
    let (mut resolve, wit) = (Resolve::default(), Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/wit"));
    for package in ["step", "files", "http", "process"] {
        resolve.push_dir(wit.join(package)).unwrap_or_else(|error| panic!("{package}: {error:?}"));
    }
    let imports: String = imports.iter().map(|import| format!("import {import};")).collect();
    let world = format!("package hostile:guest; world guest {{ {imports} include countersign:step/{role}@0.1.0; }}");
    let package = resolve.push_str("guest.wit", &world).expect("a world");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    let export = role.export();
    let text = format!("(module {core} (export \"{export}\" (func $run)))");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, &resolve, world, encoding).expect("embedded");
    let encoder = ComponentEncoder::default().module(&module).unwrap_or_else(|error| panic!("{error:?}"));
    encoder.validate(true).encode().unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}
