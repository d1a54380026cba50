//! What a `remediation.toml` may say.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use countersign_bundle::{MAX_MANIFEST_BYTES, Manifest};
use countersign_model::{Access, Mode, Role, RollbackBy, Success};

const MANIFEST: &str = r#"name = "pool-size"
description = "Sets the pool size back"
mode = "scoped"
rollback = "step"

[arguments]
required = ["config"]
[arguments.properties.config]
type = "string"
[arguments.properties.workers]
type = "integer"
[arguments.properties.list]
type = "array"

[build]
language = "rust"

[steps.investigation]
grants = ["files.read {config}", "http.read http://127.0.0.1/healthz"]
[steps.fix]
grants = ["files.read {config}", "files.write {config} max-calls=1"]
module = "target/fix.wasm"
[steps.rollback]
[steps.check]
grants = ["process.read exe=/usr/sbin/nginx"]
within = "2m"
every = "50ms"
hold = "2m"
may-pass-before = true
"#;

fn parse(text: &str) -> Result<Manifest, String> {
    Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())
}

/// The error after a piece of the manifest above was replaced.
fn refusal(from: &str, to: &str) -> String {
    assert!(MANIFEST.contains(from), "{from}");
    parse(&MANIFEST.replacen(from, to, 1)).map(|_| ()).expect_err(to)
}

#[test]
fn reads_all_that_it_says() {
    let manifest = parse(MANIFEST).expect("a manifest");
    assert_eq!(manifest.name(), "pool-size");
    assert_eq!(manifest.description(), "Sets the pool size back");
    assert_eq!((manifest.mode(), manifest.rollback()), (Mode::Scoped, RollbackBy::Step));
    assert_eq!(
        manifest.success(),
        Success { within_ms: 120_000, every_ms: 50, hold_ms: 120_000, may_pass_before: true }
    );
    assert_eq!(manifest.language(), Some("rust"));
    assert_eq!(manifest.roles().collect::<Vec<_>>(), [Role::Investigation, Role::Fix, Role::Rollback, Role::Check]);
    assert_eq!((manifest.module(Role::Fix), manifest.module(Role::Check)), (Some("target/fix.wasm"), None));
    let requested: Vec<_> = manifest.requested(Role::Fix).map(ToString::to_string).collect();
    assert_eq!(requested, ["files.read {config}", "files.write {config} max-calls=1"]);
    let named = |names: &[(&str, Access)]| names.iter().map(|(name, access)| ((*name).to_owned(), *access)).collect();
    assert_eq!(manifest.capabilities(Role::Investigation), named(&[("files", Access::Read), ("http", Access::Read)]));
    assert_eq!(manifest.capabilities(Role::Fix), named(&[("files", Access::Read), ("files", Access::Write)]));
    assert!(manifest.capabilities(Role::Rollback).is_empty());
}

#[test]
fn has_defaults() {
    let text = "name = \"a\"\ndescription = \"b\"\nrollback = \"undo\"\n[steps.fix]\n[steps.check]\n";
    let manifest = parse(text).expect("a manifest");
    assert_eq!((manifest.mode(), manifest.rollback()), (Mode::Exact, RollbackBy::Undo));
    assert_eq!(manifest.success(), Success::default());
    assert_eq!(manifest.roles().collect::<Vec<_>>(), [Role::Fix, Role::Check]);
    assert_eq!(manifest.language(), None);
    assert_eq!(
        *manifest.arguments_schema(),
        serde_json::json!({"type": "object", "properties": {}, "additionalProperties": false})
    );
}

#[test]
fn refuses_other_shapes() {
    for (from, to, why) in [
        ("mode =", "extra = 1\nmode =", "line 3: unknown field `extra`"),
        ("name =", "nam =", "unknown field `nam`"),
        ("[steps.rollback]", "[steps.rollback]\nwithin = \"1s\"", "unknown field `within`"),
        ("[steps.rollback]", "[steps.undo]", "unknown field `undo`"),
        ("language", "lang", "unknown field `lang`"),
        ("name = \"pool-size\"", "name = \"pool-size\"\nname = \"b\"", "line 2: duplicate key"),
        ("[steps.rollback]", "[steps.fix]", "duplicate key"),
        ("mode = \"scoped\"", "mode = \"any\"", "unknown variant `any`"),
        ("mode = \"scoped\"", "mode = 1", "line 3: "),
        ("rollback = \"step\"", "", "missing field `rollback`"),
        ("[steps.rollback]\n", "", "`steps.rollback` is missing"),
        ("rollback = \"step\"", "rollback = \"undo\"", "`rollback = \"undo\"` has no rollback step"),
        ("\"pool-size\"", "\"\"", "`name`"),
        ("\"pool-size\"", "\"Pool\"", "`name`"),
        ("\"pool-size\"", "\"-pool\"", "`name`"),
        ("\"pool-size\"", "\"../pool\"", "`name`"),
        ("\"Sets the pool size back\"", "\" \"", "`description`"),
        ("\"Sets the pool size back\"", "\"a\\nb\"", "`description`"),
        ("\"Sets the pool size back\"", "\"a\\u202eb\"", "`description`"),
        ("\"Sets the pool size back\"", "\"a\\u001b[0m\"", "`description`"),
        ("\"rust\"", "\"rust; rm\"", "`build.language`"),
        ("target/fix.wasm", "../fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "a/../fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "/fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "./fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "a//fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "a\\\\fix.wasm", "`steps.fix.module`"),
        ("target/fix.wasm", "", "`steps.fix.module`"),
        ("within = \"2m\"", "within = \"2\"", "`steps.check.within`: `2` is not a duration"),
        ("within = \"2m\"", "within = \"61m\"", "`steps.check.within`: at most `1h`"),
        ("every = \"50ms\"", "every = \"49ms\"", "`steps.check.every`: at least `50ms`"),
        ("may-pass-before = true", "may-pass-before = \"yes\"", "invalid type"),
        ("hold = \"2m\"", "hold = \"121s\"", "`steps.check.hold`: at most as long as `within`"),
    ] {
        let error = refusal(from, to);
        assert!(error.contains(why), "{to}: {error}");
    }
    let (long_name, long_text) = (format!("\"a{}\"", "b".repeat(64)), format!("\"{}\"", "ä".repeat(201)));
    assert!(refusal("\"pool-size\"", &long_name).contains("`name`"));
    assert!(refusal("\"Sets the pool size back\"", &long_text).contains("`description`"));
    parse(&MANIFEST.replace("Sets the pool size back", &"ä".repeat(200))).expect("200 characters");
}

/// Untrusted keys reach a terminal in error messages.
#[test]
fn messages_show_what_hides() {
    let error = refusal("[build]", "[build]\n\"\\u001b[31m\\u202e\" = 1");
    assert!(error.contains("\\u{1b}[31m\\u{202e}"), "{error}");
    let error = refusal("[build]", &format!("[build]\n{} = 1", "k".repeat(10_000)));
    assert!(error.len() < 400, "{error}");
}

#[test]
fn refuses_grants_that_cannot_be_granted() {
    for (to, why) in [
        ("files.write {config}", "`steps.investigation.grants`: `files.write {config}` writes"),
        ("files {config}", "capability.name"),
        ("files.exec {config}", "neither `read` nor `write`"),
        ("{config}.read /x", "it must begin with `capability.name`"),
        ("files.{config} /x", "it must begin with `capability.name`"),
        ("files.read /x max-calls={workers}", "`max-calls` must be a whole number"),
        ("files.read /x max-bytes={workers}", "`max-bytes` must be a whole number"),
        ("files.read {other}", "`{other}` is not an argument"),
        ("files.read {list}", "`{list}` is neither a string, an integer nor a boolean"),
        ("files.read {}", "`{}` is not an argument"),
        ("files.read {config", "a brace without its partner"),
        ("files.read config}", "a brace without its partner"),
        ("files.read {{config}}", "a brace without its partner"),
        ("files.read exe={other}", "`{other}` is not an argument"),
        ("files.read \\\"{config}", "a quote is not closed"),
    ] {
        let error = refusal("files.read {config}", to);
        assert!(error.contains(why), "{to}: {error}");
    }
    let error = refusal("exe=/usr/sbin/nginx", "exe=/usr/sbin/nginx\", \"process.write exe=/x signals=HUP");
    assert!(error.contains("`steps.check.grants`: `process.write exe=/x signals=HUP` writes"), "{error}");
    let many = vec!["\"files.read /x\""; 65].join(", ");
    let error = refusal("\"process.read exe=/usr/sbin/nginx\"", &many);
    assert_eq!(error, "`steps.check.grants`: there are more than 64");
}

#[test]
fn refuses_too_much() {
    let padding = "#".repeat(MAX_MANIFEST_BYTES - MANIFEST.len());
    parse(&format!("{MANIFEST}{padding}")).expect("as large as it may be");
    let error = parse(&format!("{MANIFEST}{padding}#")).map(|_| ()).expect_err("too large");
    assert_eq!(error, "262145 bytes are more than the 262144 that are read");
    // Before it is parsed, or even looked at: 1 GiB takes no time.
    let huge = vec![0; 1 << 30];
    let start = std::time::Instant::now();
    let error = Manifest::parse(&huge).map(|_| ()).expect_err("huge").to_string();
    assert!(error.starts_with("1073741824 bytes are more than"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_millis(100));
    assert_eq!(Manifest::parse(b"\xff").map(|_| ()).expect_err("no text").to_string(), "it is not UTF-8 text");
}

/// `toml` alone overflows the stack, which ends the process: 2 KB nest 800 tables.
#[test]
fn refuses_deep_nesting() {
    let keys = vec!["a"; 70].join(".");
    let inline = (0..60).fold("1".to_owned(), |inner, _| format!("{{ {keys} = {inner} }}"));
    let brackets = "[".repeat(100_000);
    let header = format!("[{}]", vec!["a"; 70].join("."));
    for deep in [format!("x = {inline}"), format!("x = {brackets}"), header] {
        let error = parse(&format!("\n{deep}\n")).map(|_| ()).expect_err("deep");
        assert_eq!(error, "line 2: it is nested too deeply, or a bracket has no partner");
    }
    // The deepest that is read, read on a small stack.
    let keys = vec!["items"; 30].join(".");
    let deepest =
        format!("{}\n[arguments.{keys}]\n{keys} = true\n", MANIFEST.replace("[arguments]\n", "[arguments]\n#"));
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    let read = thread.spawn(move || parse(&deepest).map(|_| ())).expect("a thread").join().expect("no overflow");
    read.expect("read");
}
