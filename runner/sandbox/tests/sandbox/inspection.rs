use std::collections::BTreeSet;

use countersign_model::{Access, Digest, Role};
use countersign_sandbox::{InspectError, MAX_COMPONENT_BYTES, Refusal, inspect};

use crate::support::{bytes, grants, inspected, registry, step, trivial};

fn error(bytes: &[u8]) -> String {
    inspect(&registry(), bytes).expect_err("refused").to_string()
}

fn with_import(import: &str) -> String {
    trivial(Role::Fix).replacen("(component", &format!("(component {import}"), 1)
}

#[test]
fn reads_role_imports_and_digest() {
    let wat = step(Role::Fix, &["now", "get", "put"], r#"(func (export "run") (result i32) (i32.const 0))"#);
    let inspection = inspected(&wat);
    assert_eq!(inspection.role(), Role::Fix);
    assert_eq!(inspection.digest(), Digest::of(&bytes(&wat)));
    assert_eq!(inspection.bytes(), bytes(&wat));
    let imports = ["countersign:step/host@0.1.0", "countersign:probe/read@0.1.0", "countersign:probe/write@0.1.0"];
    assert_eq!(inspection.imports(), imports);
    assert_eq!(inspection.reads(), BTreeSet::from(["probe".to_owned()]));
    assert_eq!(inspection.writes(), BTreeSet::from(["probe".to_owned()]));
    for role in Role::ALL {
        assert_eq!(inspected(&trivial(role)).role(), role);
    }
}

#[test]
fn a_type_that_a_world_uses_is_no_authority() {
    let inspection = inspected(&trivial(Role::Check));
    assert_eq!(inspection.imports(), ["countersign:step/types@0.1.0"]);
}

#[test]
fn refuses_what_is_no_component() {
    assert_eq!(error(b""), "this is not WebAssembly");
    assert_eq!(error(b"#!/bin/sh\n"), "this is not WebAssembly");
    assert_eq!(error(trivial(Role::Fix).as_bytes()), "this is not WebAssembly");
    let core = error(&bytes("(module)"));
    assert_eq!(core, "this is a core WebAssembly module, not a component: `countersign build` makes a component of it");
    let elf = std::fs::read("/proc/self/exe").expect("this test");
    assert!(inspect(&registry(), &elf[..4096]).is_err_and(|error| error == InspectError::Precompiled));
    let large = vec![0; MAX_COMPONENT_BYTES + 1];
    assert_eq!(error(&large), "67108865 bytes are more than the 67108864 that a component may have");
}

#[test]
fn refuses_a_precompiled_component() {
    let engine = wasmtime::Engine::default();
    let native = engine.precompile_component(&bytes(&trivial(Role::Fix))).expect("native code");
    let why = "this is precompiled native code: the runner never loads code that it did not compile itself";
    assert_eq!(error(&native), why);
}

#[test]
fn refuses_every_damaged_prefix() {
    let whole = bytes(&trivial(Role::Check));
    for end in 0..whole.len() {
        // What is left out from here on is only a custom section, of names.
        let whole_sections = end > 8 && whole[end] == 0;
        assert!(inspect(&registry(), &whole[..end]).is_err() || whole_sections, "the first {end} bytes");
    }
    let trailing = [whole.as_slice(), &[0]].concat();
    assert!(matches!(inspect(&registry(), &trailing), Err(InspectError::Malformed { .. })));
}

#[test]
fn refuses_invalid_code_deep_inside() {
    let wat = step(Role::Fix, &[], r#"(func (export "run") (result i32) (i64.const 0))"#);
    let error = error(&bytes(&wat));
    assert!(error.starts_with("this is not a valid component: type mismatch"), "{error}");
}

#[test]
fn refuses_features_that_the_engine_has_not() {
    for core in [
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(tag)",
        "(type (struct))",
        "(func (param externref))",
        "(func $f return_call $f)",
        "(type $t (func)) (func (param (ref $t)))",
        "(func (param v128 v128 v128) (result v128) \
            local.get 0 local.get 1 local.get 2 f32x4.relaxed_madd)",
    ] {
        let wat = with_import(&format!("(core module {core})"));
        let error = inspect(&registry(), &bytes(&wat)).expect_err(core);
        assert!(matches!(error, InspectError::Malformed { .. }), "{core}: {error}");
    }
    for outer in [
        r#"(type (stream u8))"#,
        r#"(type (future))"#,
        r#"(core func (canon task.cancel))"#,
        r#"(type (func async (result u8)))"#,
        r#"(import "v" (value string))"#,
    ] {
        let error = inspect(&registry(), &bytes(&with_import(outer))).expect_err(outer);
        assert!(matches!(error, InspectError::Malformed { .. }), "{outer}: {error}");
    }
}

#[test]
fn refuses_names_that_are_not_exact() {
    for (name, known) in [
        ("countersign:probe/read@0.1.7", "there is `countersign:probe/read@0.1.0`"),
        ("countersign:probe/read@0.2.0", "there is `countersign:probe/read@0.1.0`"),
        ("countersign:probe/read@0.1.0-rc.1", "there is `countersign:probe/read@0.1.0`"),
        ("countersign:probe/read@0.1.0+build", "there is `countersign:probe/read@0.1.0`"),
        ("countersign:probe/read", "there is `countersign:probe/read@0.1.0`"),
        ("countersign:step/host@0.1.1", "there is `countersign:step/host@0.1.0`"),
        ("countersign:probe/admin@0.1.0", "`countersign:probe/read@0.1.0`, `countersign:probe/types@0.1.0`"),
        ("countersign:files/read@0.1.0", "`countersign:probe/read@0.1.0`"),
        ("other:probe/read@0.1.0", "`countersign:probe/read@0.1.0`"),
        ("probe", "`countersign:probe/read@0.1.0`"),
        ("url=<https://example.com/probe>", "there is"),
        ("locked-dep=<countersign:probe/read@0.1.0>", "there is"),
        ("unlocked-dep=<countersign:probe/read@{>=0.1.0}>", "there is"),
        ("integrity=<sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=>", "there is"),
    ] {
        // The other forms of name are for components; an instance of that name would not be valid.
        let item = if name.contains('=') { "(component)" } else { "(instance)" };
        let error = error(&bytes(&with_import(&format!(r#"(import "{name}" {item})"#))));
        assert!(error.contains(name) && error.contains(known), "{name}: {error}");
    }
}

#[test]
fn takes_inert_wasi_by_exact_name_and_refuses_the_rest_of_it() {
    for name in ["wasi:cli/environment@0.2.0", "wasi:cli/environment@0.2.12", "wasi:filesystem/types@0.2.6"] {
        let inspection = inspected(&with_import(&format!(r#"(import "{name}" (instance))"#)));
        assert_eq!(inspection.imports(), [name]);
        assert!(inspection.wasi() && inspection.reads().is_empty() && inspection.writes().is_empty());
        assert!(inspection.admit(Role::Fix, &BTreeSet::new()).is_ok(), "it needs no grant");
    }
    let network = "sockets and HTTP of WASI are never linked: a step reaches a network by the capability `http`";
    let other = "of WASI there is only what a language's runtime needs, and all of it is inert";
    for (name, why) in [
        ("wasi:sockets/tcp@0.2.0", network),
        ("wasi:sockets/network@0.2.6", network),
        ("wasi:sockets/ip-name-lookup@0.2.0", network),
        ("wasi:http/outgoing-handler@0.2.0", network),
        ("wasi:http/types@0.2.12", network),
        ("wasi:clocks/timezone@0.2.0", other),
        ("wasi:cli/run@0.2.0", other),
        ("wasi:keyvalue/store@0.2.0", other),
        ("wasi:cli/environment", "there is `wasi:cli/environment` of the releases 0.2.0 to 0.2.12 only"),
        ("wasi:cli/environment@0.2.13", "there is `wasi:cli/environment` of the releases 0.2.0 to 0.2.12 only"),
        ("wasi:cli/environment@0.3.0", "there is `wasi:cli/environment` of the releases 0.2.0 to 0.2.12 only"),
        ("wasi:cli/environment@0.2.0-rc", "there is `wasi:cli/environment` of the releases 0.2.0 to 0.2.12 only"),
    ] {
        let error = error(&bytes(&with_import(&format!(r#"(import "{name}" (instance))"#))));
        assert_eq!(error, format!("the component imports `{name}`, which is refused before it is compiled: {why}"));
    }
}

/// Resources are WASI's alone, and only the host makes them.
#[test]
fn takes_resources_of_wasi_only() {
    let resource = |name: &str| {
        bytes(&with_import(&format!(r#"(import "{name}" (instance (export "error" (type (sub resource)))))"#)))
    };
    assert!(inspect(&registry(), &resource("wasi:io/error@0.2.6")).is_ok());
    assert!(error(&resource("countersign:probe/read@0.1.0")).contains("the resource `error`"));
    let module = bytes(&with_import(r#"(import "wasi:io/error@0.2.6" (instance (export "m" (core module))))"#));
    assert!(error(&module).contains("neither a function nor a type"));
    let function = bytes(&with_import(r#"(import "wasi:io/error@0.2.6" (func))"#));
    assert!(error(&function).contains("something else than an instance"));
}

/// A program's `main` beside the step's own function is what toolchains make; it is no role.
#[test]
fn a_main_beside_the_step_is_not_looked_at() {
    let fix = trivial(Role::Fix);
    let beside = |name: &str| {
        let more = format!(r#"(instance $main) (export "{name}" (instance $main)))"#);
        format!("{} {more}", fix.strip_suffix(')').expect("it ends"))
    };
    assert_eq!(inspected(&beside("wasi:cli/run@0.2.6")).role(), Role::Fix);
    for other in ["wasi:cli/run@0.3.0", "wasi:cli/run", "wasi:http/incoming-handler@0.2.6"] {
        assert!(error(&bytes(&beside(other))).contains("so it is no step"), "{other}");
    }
    assert!(
        error(&bytes(r#"(component (instance $i) (export "wasi:cli/run@0.2.6" (instance $i)))"#)).contains("no step")
    );
}

#[test]
fn refuses_imports_of_another_shape() {
    for (import, what) in [
        (r#"(import "countersign:probe/read@0.1.0" (func))"#, "something else than an instance"),
        (r#"(import "countersign:probe/read@0.1.0" (component))"#, "something else than an instance"),
        (r#"(import "countersign:probe/read@0.1.0" (core module))"#, "something else than an instance"),
        (r#"(import "countersign:probe/read@0.1.0" (type (sub resource)))"#, "something else than an instance"),
        (
            r#"(import "countersign:probe/types@0.1.0" (instance (export "f" (func))))"#,
            "an instance with the function `f`, where it holds types only",
        ),
        (
            r#"(import "countersign:step/types@0.1.0" (instance (export "f" (func))))"#,
            "an instance with the function `f`, where it holds types only",
        ),
        (
            r#"(import "countersign:probe/types@0.1.0" (instance (export "r" (type (sub resource)))))"#,
            "an instance with the resource `r`",
        ),
        (
            r#"(import "countersign:probe/read@0.1.0" (instance (export "r" (type (sub resource)))))"#,
            "an instance with the resource `r`",
        ),
        (
            r#"(import "countersign:probe/read@0.1.0" (instance (export "i" (instance (export "f" (func))))))"#,
            "an instance with `i`, which is neither a function nor a type",
        ),
        (
            r#"(type $t (record (field "a" u8))) (import "countersign:probe/read@0.1.0" (type (eq $t)))"#,
            "something else than an instance",
        ),
        (
            r#"(type $t (record (field "a" u8))) (import "countersign:other/read@0.1.0" (type (eq $t)))"#,
            "`countersign:other/read@0.1.0`, which is not known here",
        ),
        (r#"(import "f" (func))"#, "`f`, which is not known here"),
        (r#"(import "r" (type (sub resource)))"#, "`r`, which is not known here"),
        (r#"(import "m" (core module))"#, "`m`, which is not known here"),
        (r#"(import "i" (instance (export "f" (func))))"#, "`i`, which is not known here"),
    ] {
        let error = error(&bytes(&with_import(import)));
        assert!(error.contains(what), "{import}: {error}");
    }
    let twice = r#"(import "countersign:step/host@0.1.0" (instance)) "#.repeat(2);
    let error = error(&bytes(&with_import(&twice)));
    assert!(error.starts_with("this is not a valid component: import name"), "{error}");
}

#[test]
fn counts_the_imports_of_the_outermost_component_only() {
    let inner = r#"(component (import "wasi:cli/run@0.2.0" (instance)) (core module) (component))"#;
    assert!(inspected(&with_import(inner)).imports().is_empty());
    // And goes on counting after what is nested.
    let after = format!(r#"{inner} (import "countersign:probe/write@0.1.0" (instance))"#);
    assert_eq!(inspected(&with_import(&after)).imports(), ["countersign:probe/write@0.1.0"]);
}

#[test]
fn refuses_another_world() {
    let fix = trivial(Role::Fix);
    for (wat, found) in [
        ("(component)".to_owned(), "nothing"),
        (fix.replace(r#"(export "fix")"#, r#"(export "repair")"#), "`repair`"),
        (fix.replace(r#"(export "fix")"#, r#"(export "countersign:step/fix@0.1.0")"#), "`countersign:step/fix@0.1.0`"),
        (format!(r#"{} (export "more" (func 0)))"#, fix.strip_suffix(')').expect("it ends")), "`more`, `fix`"),
        (format!(r#"{} (export "check" (func 0)))"#, fix.strip_suffix(')').expect("it ends")), "`check`, `fix`"),
        (r#"(component (instance $i) (export "fix" (instance $i)))"#.to_owned(), "`fix`"),
    ] {
        let error = error(&bytes(&wat));
        assert!(error.starts_with(&format!("the component exports {found}, so it is no step")), "{error}");
    }
}

#[test]
fn untrusted_names_are_shown_safely_and_cut() {
    let long = "a".repeat(5000);
    let error = error(&bytes(&with_import(&format!(r#"(import "{long}" (func))"#))));
    assert!(error.len() < 1000, "{error}");
}

#[test]
fn a_reading_role_that_could_write_is_refused_before_it_is_compiled() {
    for role in [Role::Check, Role::Investigation] {
        let wat = step(role, &["put"], r#"(func (export "run") (result i32) (i32.const 0))"#);
        // Whatever is granted.
        let refusal = inspected(&wat).admit(role, &grants(&[Access::Read, Access::Write])).expect_err("refused");
        let why = format!(
            "a step in the role `{role}` may import `read` interfaces only, and this one imports \
            `countersign:probe/write@0.1.0`: refused before it was compiled"
        );
        assert_eq!(refusal.to_string(), why);
    }
    // Only what is admitted can be handed to the compiler: `Sandbox::compile` shows that the rest has no type for it.
}

#[test]
fn what_is_imported_must_be_granted() {
    let wat = step(Role::Fix, &["get", "put"], r#"(func (export "run") (result i32) (i32.const 0))"#);
    let refusal = inspected(&wat).admit(Role::Fix, &grants(&[Access::Read])).expect_err("refused");
    let why = "the component imports `countersign:probe/write@0.1.0` and nothing grants it: \
        a grant `probe.write SELECTOR` would";
    assert_eq!(refusal.to_string(), why);
    assert!(inspected(&wat).admit(Role::Fix, &grants(&[Access::Write])).is_err());
    assert!(inspected(&wat).admit(Role::Fix, &grants(&[Access::Read, Access::Write])).is_ok());
    let refusal = inspected(&wat).admit(Role::Rollback, &grants(&[Access::Read, Access::Write]));
    assert_eq!(refusal.err(), Some(Refusal::Role { expected: Role::Rollback, found: Role::Fix }));
}
