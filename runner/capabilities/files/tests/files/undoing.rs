//! Undoing: exactly, again and again, and never over somebody else's edit.

use countersign_capability::Phase;
use countersign_model::{Digest, FaultKind, State};

use crate::support::{Host, refused};

#[test]
fn undoing_twice_is_undoing_once() {
    let mut host = Host::live();
    host.write("old", "before");
    host.write("gone", "gone");
    let inodes = (host.inode("old"), host.inode("gone"));
    let changes = [
        host.replace("old", "after").expect("prepared"),
        host.create("new", "new", 0o644).expect("prepared"),
        host.remove("gone").expect("prepared"),
    ];
    for change in &changes {
        // Before it was applied there is nothing to undo.
        host.undo(change).expect("undone");
        host.apply(change).expect("applied");
    }
    // Another process undoes what this one applied.
    host.reopened(Phase::Live);
    for _ in 0..2 {
        for change in changes.iter().rev() {
            host.undo(change).expect("undone");
            assert_eq!(host.probe(change), State::Before);
        }
        assert_eq!(host.names(), ["gone", "old"]);
        assert_eq!((host.content("old").as_str(), host.content("gone").as_str()), ("before", "gone"));
        assert_eq!((host.inode("old"), host.inode("gone")), inodes, "the very same files");
    }
    for change in &changes {
        host.settle(change).expect("settled");
    }
}

#[test]
fn somebody_elses_edit_is_never_overwritten() {
    let mut host = Host::live();
    host.write("old", "before");
    host.write("gone", "gone");
    let replace = host.replace("old", "after").expect("prepared");
    let create = host.create("new", "new", 0o644).expect("prepared");
    let remove = host.remove("gone").expect("prepared");
    for change in [&replace, &create, &remove] {
        host.apply(change).expect("applied");
    }
    for name in ["old", "new", "gone"] {
        host.write(name, "theirs");
    }
    let names = host.names();
    for change in [&replace, &create, &remove] {
        let fault = host.undo(change).expect_err("conflict");
        assert_eq!((fault.kind, fault.reached), (FaultKind::Changed, false));
        assert!(fault.what.contains(&Digest::of(b"theirs").to_string()), "{fault:?}");
        let State::Elsewhere(what) = host.probe(change) else { panic!("not elsewhere") };
        assert!(what.contains(&Digest::of(b"theirs").to_string()), "{what}");
    }
    let fault = host.undo(&replace).expect_err("conflict");
    for digest in [Digest::of(b"before"), Digest::of(b"after")] {
        assert!(fault.what.contains(&digest.to_string()), "{fault:?}");
    }
    for name in ["old", "new", "gone"] {
        assert_eq!(host.content(name), "theirs");
    }
    assert_eq!(host.names(), names);
    // What they removed stays removed.
    std::fs::remove_file(host.root.join("old")).expect("removed");
    refused(host.undo(&replace), FaultKind::Changed, "missing");
}

#[test]
fn what_was_kept_may_be_gone_or_written_to() {
    for operation in ["replace", "remove"] {
        for tampered in [false, true] {
            let mut host = Host::live();
            host.write("file", "before");
            let change = if operation == "replace" { host.replace("file", "after") } else { host.remove("file") };
            let change = change.expect("prepared");
            host.apply(&change).expect("applied");
            let kept = host.names().remove(0);
            if tampered {
                host.write(&kept, "tampered");
            } else {
                std::fs::remove_file(host.root.join(&kept)).expect("removed");
            }
            host.undo(&change).expect("undone");
            if tampered {
                refused(host.settle(&change), FaultKind::Changed, "left alone");
                assert_eq!(host.content(&kept), "tampered");
                std::fs::remove_file(host.root.join(&kept)).expect("removed");
            }
            assert_eq!((host.content("file").as_str(), host.names().len()), ("before", 1));
            assert_eq!(host.probe(&change), State::Before);
            host.undo(&change).expect("undone again");
        }
    }
}

#[test]
fn two_changes_of_one_file_are_undone_backwards() {
    for rebuilt in [false, true] {
        let mut host = Host::live();
        host.write("file", "zero");
        let inode = host.inode("file");
        let first = host.replace("file", "one").expect("prepared");
        host.apply(&first).expect("applied");
        let second = host.replace("file", "two").expect("prepared");
        host.apply(&second).expect("applied");
        let third = host.remove("file").expect("prepared");
        host.apply(&third).expect("applied");
        let fourth = host.create("file", "four", 0o600).expect("prepared");
        host.apply(&fourth).expect("applied");
        assert_eq!(host.names().len(), 4, "one kept for each but the last");
        // Out of order nothing is touched.
        refused(host.undo(&second), FaultKind::Changed, "left alone");
        if rebuilt {
            for change in [&first, &second, &third, &fourth] {
                host.settle(change).expect("settled");
            }
            assert_eq!(host.names(), ["file"]);
        }
        host.undo(&fourth).expect("undone");
        assert!(!host.root.join("file").exists());
        for (change, content) in [(&third, "two"), (&second, "one"), (&first, "zero")] {
            host.undo(change).expect("undone");
            assert_eq!(host.content("file"), content);
        }
        assert_eq!(host.names(), ["file"]);
        assert!(rebuilt || host.inode("file") == inode, "the very same file");
    }
}

#[test]
fn there_and_back_again_is_undone_step_by_step() {
    let mut host = Host::live();
    host.write("file", "zero");
    let there = host.replace("file", "one").expect("prepared");
    host.apply(&there).expect("applied");
    let back = host.replace("file", "zero").expect("prepared");
    host.apply(&back).expect("applied");
    host.undo(&back).expect("undone");
    assert_eq!(host.content("file"), "one");
    host.undo(&there).expect("undone");
    assert_eq!((host.content("file").as_str(), host.names().len()), ("zero", 1));
}

#[test]
fn what_a_dead_process_staged_is_cleared_away() {
    let mut host = Host::live();
    host.write("file", "before");
    let change = host.replace("file", "after").expect("prepared");
    host.apply(&change).expect("applied");
    let own = host.names().remove(0);
    host.undo(&change).expect("undone");
    // Killed while it wrote what it staged, or right before it renamed it.
    for staged in ["", "aft", "after"] {
        host.write(&own, staged);
        assert_eq!(host.probe(&change), State::Before);
        host.undo(&change).expect("undone");
        assert_eq!((host.content("file").as_str(), host.names().len()), ("before", 1));
    }
    // Killed in an undo that rebuilt the file, before and after its rename.
    let rebuilt = format!("{own}-undo");
    host.write("file", "after");
    for staged in ["", "bef", "before"] {
        host.write("file", "after");
        host.write(&rebuilt, staged);
        assert_eq!(host.probe(&change), State::After);
        host.undo(&change).expect("undone");
        assert_eq!((host.content("file").as_str(), host.names().len()), ("before", 1));
    }
    host.write(&rebuilt, "after");
    host.undo(&change).expect("undone");
    assert_eq!(host.names(), ["file"]);
}

#[test]
fn a_directory_that_is_gone_is_elsewhere() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("a")).expect("made");
    host.write("a/file", "before");
    let change = host.replace("a/file", "after").expect("prepared");
    host.apply(&change).expect("applied");
    std::fs::rename(host.root.join("a"), host.root.join("b")).expect("renamed");
    assert!(matches!(host.probe(&change), State::Elsewhere(what) if what.contains("does not exist")));
    refused(host.undo(&change), FaultKind::NotFound, "does not exist");
    host.settle(&change).expect("nothing is beside it");
    // A link in its place is not followed.
    std::os::unix::fs::symlink("b", host.root.join("a")).expect("link");
    assert!(matches!(host.probe(&change), State::Elsewhere(what) if what.contains("symbolic link")));
    refused(host.undo(&change), FaultKind::Unsupported, "symbolic link");
    assert_eq!(host.content("b/file"), "after");
}
