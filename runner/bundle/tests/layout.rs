//! Bundles written and read back.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use countersign_bundle::{Bundle, BundleError};
use countersign_model::{Digest, Role};
use support::{MANIFEST, component, components, craft, files, write};

#[test]
fn opens_as_it_was_written() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let written = write(&dir);
    let opened = Bundle::open(&dir).expect("a bundle");
    assert_eq!(opened.digest(), written.digest());
    assert_eq!(opened.manifest().name(), "pool-size");
    assert_eq!(opened.manifest_bytes(), MANIFEST.as_bytes());
    assert_eq!(opened.steps(), written.steps());
    for role in Role::ALL {
        let step = opened.step(role).expect("a step");
        assert_eq!(**step.bytes(), *component(role));
        assert_eq!(step.digest(), Digest::of(step.bytes()));
    }
    // Nothing but the bundle is left behind.
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);
}

#[test]
fn is_the_same_bytes_each_time() {
    let place = tempfile::tempdir().expect("a directory");
    let (one, two, three) = (place.path().join("one"), place.path().join("two"), place.path().join("three"));
    let first = write(&one);
    assert_eq!(write(&two).digest(), first.digest());
    assert_eq!(files(&one), files(&two));
    Bundle::open(&two).expect("a bundle").copy_to(&three).expect("copied");
    assert_eq!(files(&one), files(&three));
    assert_eq!(Bundle::open(&three).expect("a bundle").digest(), first.digest());
}

/// A change of the format changes the names of all bundles, and approvals name bundles.
#[test]
fn its_format_is_pinned() {
    let place = tempfile::tempdir().expect("a directory");
    let empty_component = b"\0asm\x0d\0\x01\0".to_vec();
    let steps = Role::ALL.into_iter().map(|role| (role, empty_component.clone())).collect();
    let bundle = Bundle::write(&place.path().join("bundle"), MANIFEST.as_bytes(), &steps).expect("a bundle");
    assert_eq!(bundle.digest().to_string(), "sha256:94cc5d16acfeec59eb7bcddb67dffb208f7d32678487ef8a84f7ffcb3a79e5c2");
}

/// What another program writes by the format's description is a bundle too, under another digest if
/// its JSON is laid out otherwise.
#[test]
fn opens_what_another_writer_made() {
    let place = tempfile::tempdir().expect("a directory");
    let written = write(&place.path().join("bundle"));
    let dir = place.path().join("crafted");
    craft(&dir, &|_, bytes| bytes);
    let crafted = Bundle::open(&dir).expect("a bundle");
    assert_eq!(crafted.steps(), written.steps());
    // It keeps its bytes, and with them its digest, when it is copied.
    let copy = place.path().join("copy");
    crafted.copy_to(&copy).expect("copied");
    assert_eq!(Bundle::open(&copy).expect("a bundle").digest(), crafted.digest());
}

#[test]
fn equal_steps_share_their_blob() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let same = Role::ALL.into_iter().map(|role| (role, component(Role::Fix))).collect();
    let bundle = Bundle::write(&dir, MANIFEST.as_bytes(), &same).expect("a bundle");
    assert_eq!(Bundle::open(&dir).expect("a bundle").digest(), bundle.digest());
    // One index, five manifests, the toml and its configuration, one component and its configuration.
    assert_eq!(fs::read_dir(dir.join("blobs/sha256")).expect("a directory").count(), 10);
}

/// Whether it is a component is for the sandbox to say.
#[test]
fn holds_bytes_that_are_no_component() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let mut steps = components();
    steps.insert(Role::Fix, wat::parse_str("(module)").expect("a module"));
    steps.insert(Role::Check, b"not Wasm".to_vec());
    steps.insert(Role::Rollback, Vec::new());
    Bundle::write(&dir, MANIFEST.as_bytes(), &steps).expect("a bundle");
    let bundle = Bundle::open(&dir).expect("a bundle");
    assert_eq!(**bundle.step(Role::Check).expect("a step").bytes(), *b"not Wasm");
}

#[test]
fn replaces_a_bundle_and_nothing_else() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let first = write(&dir);
    let mut steps = components();
    steps.insert(Role::Fix, component(Role::Check));
    let second = Bundle::write(&dir, MANIFEST.as_bytes(), &steps).expect("a bundle");
    assert_ne!(first.digest(), second.digest());
    assert_eq!(Bundle::open(&dir).expect("a bundle").digest(), second.digest());
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);

    let refused = |dir: &std::path::Path| {
        let error = Bundle::write(dir, MANIFEST.as_bytes(), &components()).expect_err("occupied");
        assert!(matches!(error, BundleError::Occupied { .. }), "{error}");
        error.to_string()
    };
    fs::write(dir.join("notes.txt"), "mine").expect("written");
    assert!(refused(&dir).ends_with("`notes.txt` does not belong to the bundle"));
    assert_eq!(fs::read(dir.join("notes.txt")).expect("still there"), b"mine");
    fs::remove_file(dir.join("notes.txt")).expect("removed");
    let link = place.path().join("link");
    symlink(&dir, &link).expect("linked");
    assert!(refused(&link).ends_with("it is not a directory"));
    let file = place.path().join("file");
    fs::write(&file, "mine").expect("written");
    assert!(refused(&file).ends_with("it is not a directory"));
    assert_eq!(Bundle::open(&dir).expect("untouched").digest(), second.digest());
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 3);
}

#[test]
fn has_the_steps_that_are_described() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let mut steps = components();
    steps.remove(&Role::Fix);
    let error = Bundle::write(&dir, MANIFEST.as_bytes(), &steps).expect_err("no fix");
    assert_eq!(error.to_string(), "the bundle has no `fix`");
    let manifest = MANIFEST.replace("[steps.investigation]\ngrants = [\"files.read {config}\"]\n", "");
    let error = Bundle::write(&dir, manifest.as_bytes(), &components()).expect_err("undescribed");
    assert_eq!(error.to_string(), "the step `investigation` is not described in `remediation.toml`");
    let error = Bundle::write(&dir, b"name = 1", &BTreeMap::new()).expect_err("no manifest");
    assert!(error.to_string().starts_with("`remediation.toml`: line 1: "), "{error}");
    let mut steps = components();
    steps.insert(Role::Fix, vec![0; countersign_bundle::MAX_COMPONENT_BYTES + 1]);
    let error = Bundle::write(&dir, MANIFEST.as_bytes(), &steps).expect_err("too large");
    assert_eq!(error.to_string(), "the component of `fix` has 67108865 bytes, more than the 67108864 that are read");
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 0);
}

/// What an exported proposal carries: the same checks as on a directory.
#[test]
fn opens_from_its_blobs() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("bundle");
    let written = write(&dir);
    let kept: BTreeMap<String, Vec<u8>> =
        written.files().into_iter().map(|(path, bytes)| (path, bytes.to_vec())).collect();
    assert_eq!(kept, files(&dir));

    let blobs: BTreeMap<Digest, std::sync::Arc<[u8]>> = written
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("blobs/"))
        .map(|(_, bytes)| (Digest::of(&bytes), bytes))
        .collect();
    let opened = Bundle::from_blobs(written.digest(), &blobs).expect("a bundle");
    assert_eq!((opened.digest(), opened.steps()), (written.digest(), written.steps()));

    for digest in blobs.keys() {
        let mut fewer = blobs.clone();
        let bytes = fewer.remove(digest).expect("it is there");
        let error = Bundle::from_blobs(written.digest(), &fewer).expect_err("one is missing");
        assert!(matches!(error, BundleError::Missing { .. }), "{error}");
        let mut other = bytes.to_vec();
        other[0] ^= 1;
        fewer.insert(*digest, other.into());
        let error = Bundle::from_blobs(written.digest(), &fewer).expect_err("one has other bytes");
        assert!(matches!(error, BundleError::WrongDigest { .. }), "{error}");
    }
    let mut more = blobs.clone();
    more.insert(Digest::of(b"x"), b"x".as_slice().into());
    let error = Bundle::from_blobs(written.digest(), &more).expect_err("a stranger");
    assert!(matches!(error, BundleError::Unexpected { .. }), "{error}");
}
