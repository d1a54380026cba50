//! Applying: only what was prepared, atomically, nothing left over.

use std::os::unix::fs::symlink;

use countersign_files::FilesCall;
use countersign_model::{FaultKind, State};

use crate::support::{Host, refused};

#[test]
fn replaces_creates_and_removes() {
    let mut host = Host::live();
    host.write("old", "before");
    host.write("gone", "gone");
    let replace = host.replace("old", "after").expect("prepared");
    let create = host.create("new", "new", 0o644).expect("prepared");
    let remove = host.remove("gone").expect("prepared");
    assert_eq!(host.names(), ["gone", "old"], "preparing changes nothing");
    for change in [&replace, &create, &remove] {
        assert_eq!(host.probe(change), State::Before);
        host.apply(change).expect("applied");
        assert_eq!(host.probe(change), State::After);
    }
    assert_eq!((host.content("old").as_str(), host.content("new").as_str()), ("after", "new"));
    assert!(!host.root.join("gone").exists());
    // The two originals are kept, under names that tell whose they are.
    let kept: Vec<_> = host.names().into_iter().filter(|name| name.starts_with(".countersign-")).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|name| name.len() == ".countersign-".len() + 32));
    assert_eq!(host.list().expect("list").len(), 4, "shown to guests");
    let call = FilesCall::Read { path: host.path(&kept[0]) };
    let scope = host.scope(&call, "**");
    assert!(!<countersign_files::Files as countersign_capability::Capability>::covers(&scope, &call), "not opened");
    for change in [&replace, &create, &remove] {
        host.settle(change).expect("settled");
        host.settle(change).expect("settled again");
    }
    assert_eq!(host.names(), ["new", "old"]);
}

#[test]
fn what_must_or_must_not_exist() {
    let mut host = Host::live();
    host.write("here", "x");
    refused(host.replace("none", "x"), FaultKind::NotFound, "does not exist");
    refused(host.remove("none"), FaultKind::NotFound, "does not exist");
    refused(host.create("here", "x", 0o600), FaultKind::Exists, "exists already");
    refused(host.create("none/new", "x", 0o600), FaultKind::NotFound, "does not exist");
}

#[test]
fn a_target_that_changed_since_it_was_prepared_is_not_touched() {
    type Edit = fn(&Host);
    let edits: [(&str, Edit); 8] = [
        ("content is", |host| host.write("file", "other")),
        ("written to", |host| host.write("file", "before")),
        ("mode is 0600", |host| host.set_mode("file", 0o600)),
        ("another file", |host| {
            host.write("copy", "before");
            host.set_mode("copy", 0o644);
            let time = std::fs::metadata(host.root.join("file")).and_then(|m| m.modified()).expect("time");
            std::fs::File::open(host.root.join("copy")).and_then(|copy| copy.set_modified(time)).expect("time");
            std::fs::rename(host.root.join("copy"), host.root.join("file")).expect("renamed");
        }),
        ("missing", |host| std::fs::remove_file(host.root.join("file")).expect("removed")),
        ("symbolic link", |host| {
            std::fs::remove_file(host.root.join("file")).expect("removed");
            symlink("/etc/hostname", host.root.join("file")).expect("link");
        }),
        ("2 hard links", |host| std::fs::hard_link(host.root.join("file"), host.root.join("twin")).expect("link")),
        ("directory", |host| {
            std::fs::remove_file(host.root.join("file")).expect("removed");
            std::fs::create_dir(host.root.join("file")).expect("made");
        }),
    ];
    for (says, edit) in edits {
        for operation in ["replace", "remove"] {
            let mut host = Host::live();
            host.write("file", "before");
            host.set_mode("file", 0o644);
            // The time of a change is as coarse as the kernel's clock: here an edit must not share it.
            let past = std::time::SystemTime::now() - std::time::Duration::from_secs(10);
            std::fs::File::open(host.root.join("file")).and_then(|file| file.set_modified(past)).expect("time");
            let change = if operation == "replace" { host.replace("file", "after") } else { host.remove("file") };
            let change = change.expect("prepared");
            edit(&host);
            let names = host.names();
            refused(host.apply(&change), FaultKind::Changed, says);
            assert_eq!(host.names(), names);
        }
    }
}

#[test]
fn a_file_that_appeared_since_it_was_prepared_is_not_touched() {
    let mut host = Host::live();
    let change = host.create("file", "after", 0o600).expect("prepared");
    host.write("file", "theirs");
    refused(host.apply(&change), FaultKind::Changed, "exists");
    assert_eq!((host.content("file").as_str(), host.names().len()), ("theirs", 1));
}

#[test]
fn a_directory_that_was_exchanged_is_not_touched() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("a")).expect("made");
    let change = host.create("a/file", "after", 0o600).expect("prepared");
    std::fs::rename(host.root.join("a"), host.root.join("b")).expect("renamed");
    std::fs::create_dir(host.root.join("a")).expect("made");
    refused(host.apply(&change), FaultKind::Changed, "another directory");
    assert!(crate::support::names(&host.root.join("a")).is_empty());
}

#[test]
fn the_same_content_again_changes_nothing() {
    let mut host = Host::live();
    host.write("file", "same");
    let inode = host.inode("file");
    let change = host.replace("file", "same").expect("prepared");
    host.apply(&change).expect("applied");
    assert_eq!((host.inode("file"), host.names().len()), (inode, 1));
    assert_eq!(host.probe(&change), State::Before);
    host.undo(&change).expect("undone");
    host.settle(&change).expect("settled");
    // Its precondition counts all the same.
    let change = host.replace("file", "same").expect("prepared");
    host.write("file", "other");
    refused(host.apply(&change), FaultKind::Changed, "content is");
}

#[test]
fn what_cannot_be_staged_changes_nothing() {
    let mut host = Host::live();
    host.write("file", "before");
    let change = host.replace("file", "after").expect("prepared");
    // The after-image is not there to be had.
    let blobs = std::mem::take(&mut host.blobs);
    refused(host.apply(&change), FaultKind::NotFound, "blob");
    host.blobs = blobs;
    host.blobs.kept.insert(countersign_model::Digest::of(b"after"), b"damaged".to_vec());
    refused(host.apply(&change), FaultKind::Other, "damaged");
    assert_eq!((host.content("file").as_str(), host.names().len()), ("before", 1));
}

#[test]
fn settling_leaves_alone_what_was_not_kept() {
    let mut host = Host::live();
    host.write("file", "before");
    let change = host.replace("file", "after").expect("prepared");
    host.apply(&change).expect("applied");
    let kept = host.names().remove(0);
    for theirs in ["theirs", "somebody else's"] {
        host.write(&kept, theirs);
        refused(host.settle(&change), FaultKind::Changed, "left alone");
        assert_eq!(host.content(&kept), theirs);
    }
}

#[test]
fn a_journal_cannot_name_another_file() {
    let mut host = Host::live();
    host.write("file", "before");
    let change = host.replace("file", "after").expect("prepared");
    let value = serde_json::to_value(&change).expect("encoded");
    for (key, bad) in [("nonce", "../../etc/passwd"), ("nonce", ""), ("path", "/tmp/../etc/passwd"), ("path", "/")] {
        let mut value = value.clone();
        value[key] = bad.into();
        let change = serde_json::from_value(value).expect("decoded");
        host.apply(&change).expect_err("refused");
        host.undo(&change).expect_err("refused");
        host.settle(&change).expect_err("refused");
    }
    assert_eq!((host.content("file").as_str(), host.names().len()), ("before", 1));
}
