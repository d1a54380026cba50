//! Arguments from a command line, and the grants that they fill in: never other ones than are written, and never more.
#![no_main]

use std::sync::LazyLock;

use countersign_bundle::Manifest;
use countersign_model::{Grant, Role};
use libfuzzer_sys::fuzz_target;

const TOML: &str = r#"
name = "fuzzed"
description = "takes a folder, a name, a number and a choice"
mode = "exact"
rollback = "undo"
[arguments]
required = ["folder", "name", "count"]
[arguments.properties.folder]
type = "string"
description = "a folder"
[arguments.properties.name]
type = "string"
description = "a file there"
[arguments.properties.count]
type = "integer"
description = "how many"
[arguments.properties.on]
type = "boolean"
description = "whether"
[build]
language = "rust"
[steps.fix]
grants = ["files.read {folder}/a", "files.write {folder}/{name} max-calls=2", "http.read http://127.0.0.1:{count}/{name}"]
[steps.check]
grants = ["files.read {folder}/a"]
within = "1s"
every = "1s"
hold = "0s"
"#;

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| Manifest::parse(TOML.as_bytes()).expect("it parses"));

fuzz_target!(|given: Vec<(String, String)>| {
    let Ok(arguments) = MANIFEST.parse_arguments(&given) else { return };
    for role in [Role::Fix, Role::Check] {
        let Ok(filled) = MANIFEST.grants(role, &arguments) else { continue };
        for (filled, written) in filled.iter().zip(MANIFEST.requested(role)) {
            assert_eq!((&filled.capability, filled.access), (&written.capability, written.access));
            let printed = filled.to_string();
            assert_eq!(printed.parse::<Grant>().as_ref(), Ok(filled));
            assert!(!printed.contains('*') && !printed.contains(".."), "{printed}");
        }
    }
});
