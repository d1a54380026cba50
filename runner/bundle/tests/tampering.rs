//! Every way in which a directory can differ from the bundle that it says it is.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use countersign_bundle::{Bundle, MAX_COMPONENT_BYTES, MAX_JSON_BYTES, MAX_MANIFEST_BYTES};
use countersign_model::{Digest, Role};
use serde_json::{Value, json};
use support::{MANIFEST, component, files, refusal, refusal_of_bytes, write};

/// The error after a written bundle's directory was changed.
fn after(change: impl Fn(&Path)) -> String {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    write(&dir);
    change(&dir);
    Bundle::open(&dir).map(|bundle| bundle.digest()).expect_err("changed").to_string()
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

#[test]
fn one_byte_of_any_blob() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    write(&dir);
    let blobs: Vec<_> = files(&dir).into_iter().filter(|(name, _)| name.starts_with("blobs/")).collect();
    assert_eq!(blobs.len(), 16);
    for (name, mut bytes) in blobs {
        let original = bytes.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(dir.join(&name), &bytes).expect("written");
        let error = Bundle::open(&dir).map(|bundle| bundle.digest()).expect_err(&name).to_string();
        let (blob, found) = (Digest::of(&original), Digest::of(&bytes));
        assert_eq!(error, format!("blob `{blob}` holds other bytes: they are `{found}`"));
        fs::write(dir.join(&name), original).expect("written");
    }
    Bundle::open(&dir).expect("whole again");
}

#[test]
fn a_missing_blob() {
    let name = blob(&component(Role::Fix));
    assert_eq!(after(|dir| fs::remove_file(dir.join(&name)).expect("removed")), format!("`{name}` is missing"));
}

#[test]
fn other_sizes() {
    let fix = component(Role::Fix);
    let name = blob(&fix);
    for (size, change) in [(fix.len() + 1000, 1000), (fix.len() + 1, 1), (fix.len() - 1, -1)] {
        let error = after(|dir| {
            let file = OpenOptions::new().write(true).open(dir.join(&name)).expect("opened");
            file.set_len(fix.len().checked_add_signed(change).expect("a size") as u64).expect("resized");
        });
        let expected = format!("blob `{}` has {size} bytes: its descriptor says {}", Digest::of(&fix), fix.len());
        assert_eq!(error, expected);
    }
    let error = refusal("manifest fix", |manifest| manifest["layers"][0]["size"] = json!(1));
    assert!(error.ends_with("its descriptor says 1"), "{error}");
    // Also where another descriptor has had the same blob read already.
    let first = Digest::of(&component(Role::Investigation));
    let error = refusal("manifest fix", |manifest| {
        manifest["layers"][0]["digest"] = json!(first);
        manifest["layers"][0]["size"] = json!(1);
    });
    assert!(error.starts_with(&format!("blob `{first}` has ")), "{error}");
    let error = refusal("index", |index| index["manifests"][0]["size"] = json!(-1));
    assert!(error.starts_with("the bundle's index is malformed"), "{error}");
}

/// A descriptor's size decides before anything is read, and the file's own where there is none.
#[test]
fn oversized_parts() {
    let larger = |limit: usize| json!(limit + 1);
    let error = refusal("manifest fix", |manifest| manifest["layers"][0]["size"] = larger(MAX_COMPONENT_BYTES));
    assert!(error.ends_with("has 67108865 bytes, more than the 67108864 that are read"), "{error}");
    assert!(error.starts_with("the component of `fix`, blob `sha256:"), "{error}");
    let error = refusal("manifest remediation", |manifest| manifest["layers"][0]["size"] = larger(MAX_MANIFEST_BYTES));
    assert!(error.starts_with("`remediation.toml`, blob `sha256:"), "{error}");
    for (stage, field) in [("manifest fix", "/config"), ("index", "/manifests/2"), ("index.json", "/manifests/0")] {
        let error = refusal(stage, |value| value.pointer_mut(field).expect(field)["size"] = larger(MAX_JSON_BYTES));
        assert!(error.contains("more than the 1048576 that are read"), "{stage}: {error}");
    }
    for name in ["index.json", "oci-layout"] {
        let error = after(|dir| {
            OpenOptions::new().write(true).open(dir.join(name)).expect("opened").set_len(1 << 40).expect("sparse")
        });
        assert_eq!(error, format!("`{name}` has {} bytes, more than the 1048576 that are read", 1_u64 << 40));
    }
}

#[test]
fn strangers_in_the_directory() {
    for name in ["notes.txt", ".hidden", "blobs/sha512", "blobs/sha256/notes.txt"] {
        let error = after(|dir| fs::write(dir.join(name), "").expect("written"));
        assert_eq!(error, format!("`{name}` does not belong to the bundle"));
    }
    // A blob whose name is right is a stranger too if nothing refers to it.
    let name = blob(b"stray");
    let error = after(|dir| fs::write(dir.join(&name), "stray").expect("written"));
    assert_eq!(error, format!("`{name}` does not belong to the bundle"));
    let error = after(|dir| fs::write(dir.join("a\u{202e}b"), "").expect("written"));
    assert_eq!(error, "`a\\u{202e}b` does not belong to the bundle");
}

#[test]
fn anything_but_plain_files_and_directories() {
    let fix = blob(&component(Role::Fix));
    for name in ["oci-layout", "index.json", &fix] {
        let expected = format!("`{name}` is not a regular file");
        let moved = |dir: &Path| fs::rename(dir.join(name), dir.with_extension("moved")).expect("moved");
        let error = after(|dir| {
            moved(dir);
            symlink(dir.with_extension("moved"), dir.join(name)).expect("linked");
        });
        assert_eq!(error, expected, "a link");
        let error = after(|dir| {
            moved(dir);
            rustix::fs::mknodat(rustix::fs::CWD, dir.join(name), rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .expect("a pipe");
        });
        assert_eq!(error, expected, "a pipe");
        let error = after(|dir| {
            moved(dir);
            // A socket's path is short, so it is made next to the bundle.
            let socket = dir.with_extension("s");
            drop(UnixListener::bind(&socket).expect("a socket"));
            fs::rename(socket, dir.join(name)).expect("moved");
        });
        assert_eq!(error, expected, "a socket");
        let error = after(|dir| {
            moved(dir);
            fs::create_dir(dir.join(name)).expect("created");
        });
        assert_eq!(error, expected, "a directory");
    }
    for name in ["blobs", "blobs/sha256"] {
        let error = after(|dir| {
            fs::rename(dir.join(name), dir.with_extension("moved")).expect("moved");
            symlink(dir.with_extension("moved"), dir.join(name)).expect("linked");
        });
        assert_eq!(error, format!("`{name}` is not a directory"));
    }
}

#[test]
fn missing_files_and_directories() {
    for name in ["oci-layout", "index.json", "blobs", "blobs/sha256"] {
        let error = after(|dir| fs::rename(dir.join(name), dir.with_extension("moved")).expect("moved"));
        assert_eq!(error, format!("`{name}` is missing"));
    }
    let nowhere = Bundle::open(Path::new("/nowhere/at/all")).map(|_| ()).expect_err("missing").to_string();
    assert!(nowhere.starts_with("`/nowhere/at/all`: No such file"), "{nowhere}");
}

fn list<'a>(value: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    value[field].as_array_mut().expect("a list")
}

#[test]
fn roles_swapped_repeated_missing_or_unknown() {
    let role = |index: &mut Value, at: usize, name: &str| {
        index["manifests"][at]["annotations"]["org.countersign.role"] = json!(name);
    };
    // 0 remediation, 1 investigation, 2 fix, 3 rollback, 4 check
    let error = refusal("index", |index| list(index, "manifests").swap(2, 4));
    assert!(error.starts_with("`rollback` stands after `check`: the order is `remediation`"), "{error}");
    // The roles keep their places, the components change theirs.
    let error = refusal("index", |index| {
        list(index, "manifests").swap(2, 4);
        role(index, 2, "fix");
        role(index, 4, "check");
    });
    assert_eq!(
        error,
        "the manifest of `fix`: `annotations` is `org.countersign.role=check`, expected `org.countersign.role=fix`"
    );
    let error = refusal("index", |index| role(index, 3, "fix"));
    assert_eq!(error, "`fix` stands twice in the bundle");
    let error = refusal("index", |index| role(index, 3, "Fix\u{1b}[0m"));
    assert!(error.contains("`org.countersign.role` is `Fix\\u{1b}[0m`"), "{error}");
    let error = refusal("index", |index| drop(list(index, "manifests").remove(2)));
    assert_eq!(error, "the bundle has no `fix`");
    let error = refusal("index", |index| drop(list(index, "manifests").remove(0)));
    assert_eq!(error, "the bundle has no `remediation`");
    let toml = MANIFEST.replace("[steps.investigation]\ngrants = [\"files.read {config}\"]\n", "");
    let error = refusal_of_bytes("layer remediation", |_| toml.clone().into_bytes());
    assert_eq!(error, "the step `investigation` is not described in `remediation.toml`");
}

#[test]
fn more_or_fewer_entries_than_one() {
    let error = refusal("index.json", |index| {
        let first = index["manifests"][0].clone();
        list(index, "manifests").push(first);
    });
    assert_eq!(error, "`index.json`: `manifests` is `2 entries`, expected `1 entry`");
    let error = refusal("index.json", |index| list(index, "manifests").clear());
    assert_eq!(error, "`index.json`: `manifests` is `0 entries`, expected `1 entry`");
    for stage in ["manifest fix", "manifest remediation"] {
        let error = refusal(stage, |manifest| {
            let first = manifest["layers"][0].clone();
            list(manifest, "layers").push(first);
        });
        assert!(error.ends_with("`layers` is `2 entries`, expected `1 entry`"), "{error}");
    }
}

#[test]
fn documents_that_say_something_else() {
    let cases: [(&str, &str, Value); 22] = [
        ("oci-layout", "/imageLayoutVersion", json!("1.1.0")),
        ("index.json", "/schemaVersion", json!(1)),
        ("index.json", "/mediaType", json!("application/vnd.oci.image.manifest.v1+json")),
        ("index.json", "/manifests/0/mediaType", json!("application/vnd.oci.image.manifest.v1+json")),
        ("index", "/schemaVersion", json!(3)),
        ("index", "/artifactType", json!("application/wasm")),
        ("index", "/manifests/0/mediaType", json!("application/vnd.oci.image.index.v1+json")),
        ("manifest fix", "/schemaVersion", json!(1)),
        ("manifest fix", "/mediaType", json!("x")),
        ("manifest fix", "/config/mediaType", json!("application/vnd.oci.empty.v1+json")),
        ("manifest fix", "/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar")),
        ("manifest fix", "/annotations/org.countersign.role", json!("check")),
        ("manifest remediation", "/artifactType", json!("application/wasm")),
        ("manifest remediation", "/layers/0/mediaType", json!("application/wasm")),
        ("config fix", "/created", json!("2024-01-01T00:00:00Z")),
        ("config fix", "/architecture", json!("amd64")),
        ("config fix", "/os", json!("linux")),
        ("config fix", "/layerDigests/0", json!(Digest::of(b""))),
        ("config fix", "/component/imports", json!([])),
        ("config fix", "/component/exports", json!(["check"])),
        ("config fix", "/component", json!(null)),
        ("config remediation", "", json!({"a": 1})),
    ];
    for (stage, pointer, value) in cases {
        let error = refusal(stage, |document| *document.pointer_mut(pointer).expect(pointer) = value.clone());
        assert!(error.contains("expected `"), "{stage} {pointer}: {error}");
    }
}

#[test]
fn documents_with_more_than_they_may_have() {
    for stage in ["oci-layout", "index.json", "index", "manifest fix", "manifest remediation", "config fix"] {
        let error = refusal(stage, |document| document["subject"] = json!({}));
        assert!(error.contains("is malformed: unknown field `subject`"), "{stage}: {error}");
    }
    for (stage, pointer) in [("index.json", "/manifests/0"), ("manifest fix", "/config"), ("manifest fix", "/layers/0")]
    {
        let error = refusal(stage, |document| {
            document.pointer_mut(pointer).expect(pointer)["annotations"] = json!({"a": "b"});
        });
        assert!(error.contains("is `a=b`, expected ``"), "{stage}: {error}");
        let error = refusal(stage, |document| document.pointer_mut(pointer).expect(pointer)["urls"] = json!([]));
        assert!(error.contains("unknown field `urls`"), "{stage}: {error}");
    }
    let error = refusal("index", |index| index["manifests"][2]["annotations"]["a"] = json!("b"));
    assert!(error.contains("is `a=b`, expected ``"), "{error}");
    let error = refusal("manifest fix", |manifest| manifest["annotations"]["a"] = json!("b"));
    assert!(error.contains("`annotations` is `a=b "), "{error}");
}

#[test]
fn keys_that_stand_twice() {
    for stage in ["oci-layout", "index.json", "index", "manifest fix", "config fix"] {
        let error = refusal_of_bytes(stage, |bytes| {
            let text = String::from_utf8(bytes).expect("text");
            let (key, _) = text.trim_start_matches('{').split_once(':').expect("a key");
            format!("{{{key}:null,{}", text.trim_start_matches('{')).into_bytes()
        });
        assert!(error.contains("stands twice"), "{stage}: {error}");
    }
}

#[test]
fn digests_that_are_paths() {
    for digest in ["sha256:../../../etc/passwd", "sha512:00", "../index.json", &format!("sha256:{}", "A".repeat(64))] {
        let error = refusal("manifest fix", |manifest| manifest["layers"][0]["digest"] = json!(digest));
        assert!(error.contains("is not a digest"), "{error}");
    }
}

#[test]
fn a_remediation_that_cannot_be_used() {
    let error = refusal_of_bytes("layer remediation", |bytes| [bytes, b"\nextra = 1\n".to_vec()].concat());
    assert!(error.starts_with("`remediation.toml`: line "), "{error}");
    let error = refusal_of_bytes("layer remediation", |_| vec![0xff]);
    assert_eq!(error, "`remediation.toml`: it is not UTF-8 text");
}

/// Deep JSON must not overflow the stack.
#[test]
fn deep_documents() {
    let error = refusal_of_bytes("index", |_| "[".repeat(MAX_JSON_BYTES / 2).into_bytes());
    assert!(error.contains("nested too deeply"), "{error}");
}
