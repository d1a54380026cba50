//! A bundle that is not what it says, or says what no bundle says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use countersign_model::{Digest, Role};
use serde_json::{Value, json};

use crate::row::{Row, huge, modest};
use crate::support::place::{Place, two_faced};
use crate::support::{Ran, Runs, countersign};

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(fs::copy(entry.path(), target)) }
    }
}

/// A bundle to be spoilt, beside a target that must stay as it is.
struct Spoilt {
    place: Place,
    bundle: PathBuf,
}

impl Spoilt {
    fn new() -> Self {
        let place = Place::new();
        let path = place.state.path("bundle");
        copy(two_faced(), &path);
        Self { place, bundle: path }
    }

    /// Every command that takes a bundle refuses this one alike, and changes nothing.
    #[track_caller]
    fn refused(&self, says: &str) {
        let before = self.place.standing();
        modest(countersign().arg("inspect").arg(&self.bundle)).row(1, says);
        let rehearse = ["rehearse", "--target=place", &self.place.argument()];
        modest(self.place.command(&rehearse).arg(&self.bundle)).row(1, says);
        modest(&mut self.place.proposing(&self.bundle)).row(1, says);
        assert_eq!(self.place.standing(), before);
        let pending = self.place.state.run(&["--json", "pending"]).expect(0).json();
        assert_eq!(pending["pending"], json!([]), "nothing was kept");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bundle.join(name)
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("index.json")).expect("there is an index")).expect("it is JSON")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.path("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Changes the bundle's own index, with all digests right.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut outer = self.index();
        let old = self.blob(outer["manifests"][0]["digest"].as_str().expect("a digest"));
        let mut inner: Value = serde_json::from_slice(&fs::read(&old).expect("there is one")).expect("it is JSON");
        change(&mut inner);
        self.replace(&mut outer, &old, inner.to_string().as_bytes());
    }

    fn replace(&self, outer: &mut Value, old: &Path, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        fs::remove_file(old).expect("it can be removed");
        fs::write(self.blob(&digest.to_string()), bytes).expect("it can be written");
        outer["manifests"][0]["digest"] = json!(digest);
        outer["manifests"][0]["size"] = json!(bytes.len());
        fs::write(self.path("index.json"), outer.to_string()).expect("it can be written");
    }
}

#[test]
fn a_blob_named_by_an_absolute_or_climbing_path() {
    let spoilt = Spoilt::new();
    let good = spoilt.index();
    for path in ["/etc/passwd", "../../../../etc/passwd", "sha256:../../../../etc/passwd", "sha256:/etc/passwd"] {
        let mut index = good.clone();
        index["manifests"][0]["digest"] = json!(path);
        fs::write(spoilt.path("index.json"), index.to_string()).expect("it can be written");
        spoilt.refused("`index.json` is malformed");
    }
}

#[test]
fn a_symlink_in_it() {
    let spoilt = Spoilt::new();
    let (layout, aside) = (spoilt.path("oci-layout"), spoilt.place.state.path("aside"));
    fs::rename(&layout, &aside).expect("it can be moved");
    symlink(&aside, &layout).expect("a link");
    spoilt.refused("`oci-layout` is not a regular file");
    fs::remove_file(&layout).expect("it can be removed");
    fs::rename(&aside, &layout).expect("it can be put back");
    let (blobs, aside) = (spoilt.path("blobs"), spoilt.place.state.path("blobs"));
    fs::rename(&blobs, &aside).expect("it can be moved");
    symlink(&aside, &blobs).expect("a link");
    spoilt.refused("`blobs` is not a directory");
}

#[test]
fn an_entry_that_stands_twice() {
    let spoilt = Spoilt::new();
    spoilt.change(|index| {
        let manifests = index["manifests"].as_array_mut().expect("manifests");
        let fix = manifests[1].clone();
        manifests.insert(1, fix);
    });
    spoilt.refused("stands twice in the bundle");
}

#[test]
fn a_file_that_it_does_not_name() {
    let spoilt = Spoilt::new();
    fs::write(spoilt.path("blobs/sha256/extra\u{202e}txt"), "x").expect("it can be written");
    spoilt.refused("extra\\u{202e}txt` does not belong to the bundle");
}

#[test]
fn parts_over_the_size_caps() {
    let spoilt = Spoilt::new();
    let index = fs::read(spoilt.path("index.json")).expect("there is an index");
    huge(&spoilt.path("index.json"));
    spoilt.refused("`index.json` has 1073741824 bytes, more than the 1048576 that are read");
    fs::write(spoilt.path("index.json"), index).expect("it can be put back");
    let layout = spoilt.path("oci-layout");
    huge(&layout);
    spoilt.refused("`oci-layout` has 1073741824 bytes");

    // A blob that is larger than it says, and one that says so.
    let spoilt = Spoilt::new();
    let mut outer = spoilt.index();
    let blob = spoilt.blob(outer["manifests"][0]["digest"].as_str().expect("a digest"));
    huge(&blob);
    spoilt.refused("has 1073741824 bytes: its descriptor says");
    outer["manifests"][0]["size"] = json!(1_u64 << 30);
    fs::write(spoilt.path("index.json"), outer.to_string()).expect("it can be written");
    spoilt.refused("has 1073741824 bytes, more than the 1048576 that are read");
}

#[test]
fn json_that_is_malformed_doubled_unknown_or_deep() {
    let spoilt = Spoilt::new();
    let good = fs::read_to_string(spoilt.path("index.json")).expect("it is text");
    let doubled = good.replacen("{\"schemaVersion\":2", "{\"schemaVersion\":2,\"schemaVersion\":2", 1);
    let unknown = good.replacen("{\"schemaVersion\":2", "{\"schemaVersion\":2,\"colour\":\"red\"", 1);
    let deep = format!("{{\"schemaVersion\":{}2{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, says) in [
        (&good[..good.len() / 2], "EOF while parsing"),
        ("", "EOF while parsing"),
        (doubled.as_str(), "the key `schemaVersion` stands twice"),
        (unknown.as_str(), "unknown field `colour`"),
        (deep.as_str(), "nested too deeply"),
        ("{\"schemaVersion\":2.0}", "not a whole number"),
        ("\u{feff}{}", "malformed"),
    ] {
        fs::write(spoilt.path("index.json"), text).expect("it can be written");
        spoilt.refused(says);
    }
}

#[test]
fn what_is_no_plain_file_in_it() {
    for (name, kind) in
        [("oci-layout", "mkfifo"), ("index.json", "mkfifo"), ("oci-layout", "mkdir"), ("index.json", "mkdir")]
    {
        let spoilt = Spoilt::new();
        fs::remove_file(spoilt.path(name)).expect("it can be removed");
        let made = std::process::Command::new(kind).arg(spoilt.path(name)).status().expect("it starts");
        assert!(made.success());
        spoilt.refused(&format!("`{name}` is not a regular file"));
    }
}

#[test]
fn what_is_no_directory() {
    let place = Place::new();
    for path in ["/dev/zero", "/dev/null", "/proc/self/mem", "/nowhere/at/all"] {
        modest(&mut place.proposing(Path::new(path))).row(1, path);
        assert_ne!(modest(countersign().args(["inspect", path])).row(1, path).code, 0);
    }
}

#[test]
fn a_check_that_imports_a_write_is_refused_before_anything_is_compiled() {
    let place = Place::new();
    let good = countersign_bundle::Bundle::open(two_faced()).expect("a bundle");
    let mut steps: std::collections::BTreeMap<_, _> =
        Role::ALL.into_iter().filter_map(|role| Some((role, good.step(role)?.bytes().to_vec()))).collect();
    let check = wat::parse_str(
        r#"(component
            (import "countersign:files/write@0.1.0" (instance))
            (core module $m (func (export "f") (result i32) i32.const 0) (memory (export "memory") 1))
            (core instance $i (instantiate $m))
            (alias core export $i "f" (core func $f))
            (alias core export $i "memory" (core memory $memory))
            (func (export "check") (result (result (error string))) (canon lift (core func $f) (memory $memory))))"#,
    );
    steps.insert(Role::Check, check.expect("the component's text is right"));
    let path = place.state.path("bundle");
    countersign_bundle::Bundle::write(&path, good.manifest_bytes(), &steps).expect("it is written");

    let compiled = || {
        fn files(folder: &Path) -> usize {
            let entries =
                fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(&place.state.path("state/cache"))
    };
    let refused: Ran = place.proposing(&path).ran();
    refused.row(3, "countersign:files/write@0.1.0");
    assert_eq!(compiled(), 0, "no step was compiled, the fix neither");
    place.try_propose().expect(0);
    assert_ne!(compiled(), 0, "the good one was");
}
