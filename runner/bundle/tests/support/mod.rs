//! A second writer of bundles, by the format's description alone, that a test can make lie anywhere.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use countersign_bundle::Bundle;
use countersign_model::{Digest, Role};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = r#"name = "pool-size"
description = "Sets the pool size back to what the service can serve"
rollback = "step"

[arguments]
required = ["config"]
[arguments.properties.config]
type = "string"
description = "Path of the service's configuration"

[steps.investigation]
grants = ["files.read {config}"]
[steps.fix]
grants = ["files.read {config}", "files.write {config} max-calls=1"]
[steps.rollback]
grants = []
[steps.check]
grants = ["http.read http://127.0.0.1:8080/healthz"]
"#;

pub(crate) fn component(role: Role) -> Vec<u8> {
    let export = role.export();
    let text = format!(
        r#"(component (import "countersign:step/host@0.1.0" (instance)) (import "f" (func $f)) (export "{export}" (func $f)))"#
    );
    wat::parse_str(text).expect("a component")
}

pub(crate) fn components() -> BTreeMap<Role, Vec<u8>> {
    Role::ALL.into_iter().map(|role| (role, component(role))).collect()
}

pub(crate) fn write(dir: &Path) -> Bundle {
    Bundle::write(dir, MANIFEST.as_bytes(), &components()).expect("a bundle")
}

/// Every file below a directory, by its path in it.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// Writes the bundle with every digest and size right, after `edit` had each document: `oci-layout`,
/// `index.json`, `index`, and for each part `manifest PART`, `config PART`, `layer PART`.
pub(crate) fn craft(dir: &Path, edit: &dyn Fn(&str, Vec<u8>) -> Vec<u8>) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("created");
    let keep = |stage: &str, bytes: Vec<u8>| -> Vec<u8> {
        let bytes = edit(stage, bytes);
        fs::write(blobs.join(Digest::of(&bytes).hex()), &bytes).expect("written");
        bytes
    };
    let mut manifests = Vec::new();
    for part in ["remediation", "investigation", "fix", "rollback", "check"] {
        let layer = match part.parse() {
            Ok(role) => component(role),
            Err(_) => MANIFEST.as_bytes().to_vec(),
        };
        let layer = keep(&format!("layer {part}"), layer);
        let remediation = part == "remediation";
        let config = match remediation {
            true => json!({}),
            false => json!({
                "created": "1970-01-01T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [Digest::of(&layer)],
                "component": {
                    "exports": [part.parse::<Role>().expect("a role").export()],
                    "imports": ["countersign:step/host@0.1.0", "f"],
                },
            }),
        };
        let config = keep(&format!("config {part}"), config.to_string().into_bytes());
        let (config_type, layer_type) = match remediation {
            true => ("application/vnd.oci.empty.v1+json", "application/vnd.countersign.remediation.v1+toml"),
            false => ("application/vnd.wasm.config.v0+json", "application/wasm"),
        };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(config_type, &config),
            "layers": [descriptor(layer_type, &layer)],
            "annotations": {"org.countersign.role": part},
        });
        if remediation {
            manifest["artifactType"] = json!(layer_type);
        }
        let manifest = keep(&format!("manifest {part}"), manifest.to_string().into_bytes());
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.countersign.role": part});
        manifests.push(entry);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "artifactType": "application/vnd.countersign.bundle.v1",
        "manifests": manifests,
    });
    let index = keep("index", index.to_string().into_bytes());
    let directory = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.index.v1+json", &index)],
    });
    let directory = edit("index.json", directory.to_string().into_bytes());
    fs::write(dir.join("index.json"), directory).expect("written");
    let layout = edit("oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes());
    fs::write(dir.join("oci-layout"), layout).expect("written");
}

/// The error that opening gives after one document was edited as JSON.
pub(crate) fn refusal(stage: &str, edit: impl Fn(&mut Value)) -> String {
    refusal_of_bytes(stage, |bytes| {
        let mut value = serde_json::from_slice(&bytes).expect("JSON");
        edit(&mut value);
        value.to_string().into_bytes()
    })
}

/// The error that opening gives after one document was replaced.
pub(crate) fn refusal_of_bytes(stage: &str, edit: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let met = std::cell::Cell::new(false);
    craft(dir.path(), &|at, bytes| {
        if at == stage {
            met.set(true);
            edit(bytes)
        } else {
            bytes
        }
    });
    assert!(met.get(), "there is no {stage}");
    Bundle::open(dir.path()).map(|bundle| bundle.digest()).expect_err(stage).to_string()
}
