//! Bytes of which nothing is ever compiled, or linked.

use std::fs;

use countersign_model::{Access, Role};
use countersign_sandbox::Settings;
use wit_component::StringEncoding;

use crate::guest::component;
use crate::guests::{admitted, granted, trivial, workers};
use crate::support::{Ran, countersign};

/// What `countersign inspect` says of a component.
fn inspected(bytes: &[u8]) -> Ran {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("step.wasm");
    fs::write(&file, bytes).expect("written");
    let mut command = countersign();
    command.args(["--json", "inspect"]).arg(&file);
    Ran::of(command)
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let error = inspected(&bytes).expect(1).json();
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with(why), "{error:#}");
}

#[test]
fn asynchronous_functions_streams_and_futures() {
    for (text, what) in [
        ("(component (type (stream u8)))", "`stream` requires"),
        ("(component (type (future u8)))", "`future` requires"),
        (r#"(component (import "x" (func async)))"#, "async component functions require"),
        ("(component (core func (canon task.cancel)))", "`task.cancel` requires"),
    ] {
        let why = format!("this is not a valid component: {what} the component model async feature (at byte 11)");
        refused(text, &why);
    }
}

#[test]
fn a_check_that_writes() {
    let core = r#"
        (import "countersign:files/write@0.1.0" "remove" (func $remove (param i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func $run (result i32) (call $remove (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0))"#;
    let check = component(Role::Check, &["countersign:files/write@0.1.0"], StringEncoding::UTF8, core);
    let registry = countersign_capability::Registry::default().with::<countersign_files::Files>();
    let all = [Access::Read, Access::Write].map(|access| ("files".to_owned(), access)).into();
    let refusal = countersign_sandbox::inspect(&registry, &check).expect("a step").admit(Role::Check, &all);
    assert_eq!(
        refusal.expect_err("it could write").to_string(),
        "a step in the role `check` may import `read` interfaces only, and this one imports \
         `countersign:files/write@0.1.0`: refused before it was compiled"
    );
}

/// Whatever there might be somewhere, by its usual name.
#[test]
fn a_component_that_imports_everything() {
    let everything = [
        "wasi:sockets/tcp@0.2.6",
        "wasi:http/outgoing-handler@0.2.6",
        "wasi:keyvalue/store@0.2.0-draft",
        "countersign:process/write@9.9.9",
        "countersign:trust/sign@0.1.0",
        "env",
    ];
    let importing = |names: &[&str]| {
        let imports: String =
            names.iter().map(|import| format!(r#"(import "{import}" (instance (export "f" (func))))"#)).collect();
        trivial(Role::Fix).replacen("(component", &format!("(component {imports}"), 1)
    };
    for import in everything {
        refused(&importing(&[import]), &format!("the component imports `{import}`, which is "));
    }
    refused(
        &importing(&everything),
        "the component imports `wasi:sockets/tcp@0.2.6`, which is refused before it is compiled",
    );
}

/// The contract has none of these types, and whoever brings them is not linked: they would not reach the host.
#[test]
fn flags_and_characters_where_the_contract_has_others() {
    for brought in ["char", "u64", "(list char)", "(flags \"a\" \"b\")", "(tuple string)", "(option string)"] {
        let typed = format!(r#"(type $t {brought}) (export "brought" (type $brought (eq $t)))"#);
        // A guest that could be called, with another parameter in place of the path.
        let text = trivial(Role::Fix);
        let text = text.replace(
            r#"(alias outer 1 $error (type $outer))"#,
            &format!(r#"(alias outer 1 $error (type $outer)) {typed}"#),
        );
        let text = text.replace(r#"(param "path" string)"#, r#"(param "path" $brought)"#);
        let lowered = "(import \"host\" \"read\" (func $read (param i32 i32 i32)))";
        let core = match brought {
            "char" | "(flags \"a\" \"b\")" => "(import \"host\" \"read\" (func $read (param i32 i32)))",
            "u64" => "(import \"host\" \"read\" (func $read (param i64 i32)))",
            "(option string)" => "(import \"host\" \"read\" (func $read (param i32 i32 i32 i32)))",
            _ => lowered,
        };
        let text = text.replace(lowered, core);
        let admitted = admitted(&text);
        let workers = workers(None);
        let error = workers.start(&admitted, &granted()).expect("compiled").ready().err().expect("it is not linked");
        let error = error.to_string();
        assert!(error.starts_with("the component does not fit the interfaces that it imports: "), "{brought}: {error}");
    }
}

#[test]
fn precompiled_code_in_disguise() {
    let engine = wasmtime::Engine::new(&Settings::default().engine_config()).expect("an engine");
    let step = wat::parse_str(trivial(Role::Fix)).expect("a component");
    let native = engine.precompile_component(&step).expect("native code");
    let why = "this is precompiled native code: the runner never loads code that it did not compile itself";
    let message =
        |bytes: &[u8]| inspected(bytes).expect(1).json()["error"]["message"].as_str().expect("text").to_owned();
    assert!(message(&native).contains(why));
    // Under the first bytes of a component, and in a section of one that is otherwise good: never looked at.
    let headed = [&step[..8], &native].concat();
    assert!(message(&headed).contains("this is not a valid component"), "{}", message(&headed));
    let mut carried = step.clone();
    let name = b"\x06native";
    let size = u32::try_from(name.len() + native.len()).expect("it is small");
    carried.push(0);
    let mut left = size;
    while left > 0x7f {
        carried.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    carried.push(left as u8);
    carried.extend_from_slice(name);
    carried.extend_from_slice(&native);
    let admitted = admitted(&carried);
    let step = workers(None).start(&admitted, &granted()).expect("compiled").ready().expect("linked");
    assert!(crate::guests::run(&step).result.is_ok());
}
