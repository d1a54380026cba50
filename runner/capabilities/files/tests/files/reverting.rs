//! What puts back a change that was applied, stayed and was settled: the same file's content, owner, mode and attributes.

use countersign_capability::Phase;
use countersign_files::FilesChange;
use countersign_model::{Fault, FaultKind, Reversibility, State};

use crate::keeping::{All, all, rich};
use crate::support::{Host, refused};

/// A host on which a change was made, and committed: nothing is kept beside it any more.
fn committed(change: impl Fn(&mut Host) -> Result<FilesChange, Fault>) -> (Host, FilesChange, All) {
    let mut host = Host::live();
    let before = rich(&host, "file");
    let change = change(&mut host).expect("prepared");
    host.apply(&change).expect("applied");
    host.settle(&change).expect("settled");
    (host, change, before)
}

fn revert(host: &mut Host, change: &FilesChange) -> FilesChange {
    host.revert(change).expect("made ready").change
}

#[test]
fn a_replaced_and_a_removed_file_come_back_with_everything_but_their_time() {
    for remove in [false, true] {
        let change = |host: &mut Host| if remove { host.remove("file") } else { host.replace("file", "after") };
        let (mut host, change, before) = committed(change);
        let names = host.names();
        let reverted = revert(&mut host, &change);
        assert_eq!(host.names(), names, "making it ready changes nothing");
        assert_eq!(host.probe(&reverted), State::Before);
        host.apply(&reverted).expect("applied");
        let after = all(&host.root.join("file"));
        assert_eq!(after, All { modified: after.modified, ..before });
        assert_eq!((host.probe(&reverted), host.probe(&change)), (State::After, State::Before));
        // It is a change like any other: undone exactly, and settled.
        host.undo(&reverted).expect("undone");
        assert_eq!((host.probe(&reverted), host.probe(&change)), (State::Before, State::After));
        host.settle(&reverted).expect("settled");
        assert_eq!(host.names(), names);
    }
}

#[test]
fn a_file_that_was_made_is_taken_away() {
    let mut host = Host::live();
    let change = host.create("new", "made", 0o640).expect("prepared");
    host.apply(&change).expect("applied");
    host.settle(&change).expect("settled");
    let prepared = host.revert(&change).expect("made ready");
    assert_eq!((prepared.reversibility, prepared.after), (Reversibility::Exact, None));
    assert!(prepared.summary.starts_with("remove "), "{}", prepared.summary);
    host.apply(&prepared.change).expect("applied");
    assert_eq!(host.probe(&change), State::Before);
    host.settle(&prepared.change).expect("settled");
    assert_eq!(host.names(), Vec::<String>::new());
}

#[test]
fn a_later_edit_is_never_overwritten() {
    type Edit = fn(&Host);
    let edits: [(&str, Edit); 4] = [
        ("content is sha256:", |host| host.write("file", "somebody's")),
        ("mode is 0600", |host| host.set_mode("file", 0o600)),
        ("missing", |host| std::fs::remove_file(host.root.join("file")).expect("removed")),
        ("content is sha256:", |host| {
            // Even back to what it was: that is somebody's edit too.
            host.write("file", "before");
        }),
    ];
    for (says, edit) in edits {
        let (mut host, change, _) = committed(|host| host.replace("file", "after"));
        edit(&host);
        let names = host.names();
        let found = std::fs::read(host.root.join("file")).ok();
        let result = host.revert(&change);
        let error = result.as_ref().expect_err("refused").what.clone();
        refused(result, FaultKind::Changed, says);
        assert!(error.contains("is not as the run left it"), "{error}");
        assert_eq!((host.names(), std::fs::read(host.root.join("file")).ok()), (names, found));
    }
    let (mut host, change, _) = committed(|host| host.remove("file"));
    host.write("file", "somebody's");
    refused(host.revert(&change), FaultKind::Changed, "it exists");
    // A directory that is gone is an edit as well.
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("sub")).expect("made");
    let change = host.create("sub/new", "made", 0o640).expect("prepared");
    host.apply(&change).expect("applied");
    std::fs::remove_dir_all(host.root.join("sub")).expect("removed");
    refused(host.revert(&change), FaultKind::Changed, "does not exist");
}

#[test]
fn an_edit_after_it_was_made_ready_is_not_overwritten_either() {
    let (mut host, change, _) = committed(|host| host.replace("file", "after"));
    let reverted = revert(&mut host, &change);
    host.write("file", "somebody's");
    refused(host.apply(&reverted), FaultKind::Changed, "is not as the change was prepared for");
    assert_eq!(host.content("file"), "somebody's");
}

#[test]
fn several_changes_of_one_file_are_reverted_as_a_chain() {
    let mut host = Host::live();
    let before = rich(&host, "file");
    let mut changes = Vec::new();
    for content in ["one", "two", "three"] {
        let change = host.replace("file", content).expect("prepared");
        host.apply(&change).expect("applied");
        host.settle(&change).expect("settled");
        changes.push(change);
    }
    // Rehearsed, the overlay shows what is pending; the middle one alone is not as it was left.
    host.reopened(Phase::Rehearse);
    refused(host.revert(&changes[1]), FaultKind::Changed, "is not as the run left it");
    for change in changes.iter().rev() {
        let reverted = revert(&mut host, change);
        host.rehearse(&reverted).expect("rehearsed");
    }
    assert_eq!(host.cat("file").expect("read"), "before");
    assert_eq!(host.content("file"), "three", "a rehearsal changes nothing");
    host.reopened(Phase::Live);
    for change in changes.iter().rev() {
        let reverted = revert(&mut host, change);
        host.apply(&reverted).expect("applied");
        host.settle(&reverted).expect("settled");
    }
    let after = all(&host.root.join("file"));
    assert_eq!(after, All { modified: after.modified, ..before });
    assert_eq!(host.names(), ["file"]);
}

#[test]
fn an_image_that_is_kept_no_longer_cannot_be_put_back() {
    let (mut host, change, _) = committed(|host| host.replace("file", "after"));
    host.blobs.0.clear();
    refused(host.revert(&change), FaultKind::NotFound, "its content before the run is not kept");
    assert_eq!(host.content("file"), "after");
}

#[test]
fn a_session_that_only_looks_makes_nothing_ready() {
    let (mut host, change, _) = committed(|host| host.replace("file", "after"));
    host.reopened(Phase::Observe);
    refused(host.revert(&change), FaultKind::Denied, "only looks");
}
