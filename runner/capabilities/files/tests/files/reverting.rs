//! What puts back a change that was applied, stayed and was settled: the same file's content, owner, mode and attributes.

use countersign_capability::Phase;
use countersign_files::{FilesCall, FilesChange, MAX_CONTENT};
use countersign_model::{Fault, FaultKind, Image, Kept, Reversibility, State};

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
    host.blobs.kept.clear();
    refused(host.revert(&change), FaultKind::NotFound, "its content before the run is not kept");
    assert_eq!(host.content("file"), "after");
}

#[test]
fn a_session_that_only_looks_makes_nothing_ready() {
    let (mut host, change, _) = committed(|host| host.replace("file", "after"));
    host.reopened(Phase::Observe);
    refused(host.revert(&change), FaultKind::Denied, "only looks");
}

fn truncate(host: &mut Host, name: &str, length: u64) -> Result<FilesChange, Fault> {
    Ok(host.prepare(FilesCall::Truncate { path: host.path(name), length })?.change)
}

fn set_mode(host: &mut Host, name: &str, mode: u32) -> Result<FilesChange, Fault> {
    Ok(host.prepare(FilesCall::SetMode { path: host.path(name), mode })?.change)
}

#[test]
fn what_was_cut_off_is_appended_and_cut_off_again_by_its_undo() {
    let mut host = Host::live();
    host.write("log", "one\ntwo\nthree\n");
    let inode = host.inode("log");
    let change = truncate(&mut host, "log", 4).expect("prepared");
    host.apply(&change).expect("applied");
    host.settle(&change).expect("settled");
    host.reopened(Phase::Live);
    let prepared = host.revert(&change).expect("made ready");
    assert_eq!((prepared.before, prepared.after), (Some(Image::of(b"one\n")), Some(Image::of(b"one\ntwo\nthree\n"))));
    assert_eq!(prepared.kept, Some(Kept { from: 4, image: Image::of(b"two\nthree\n") }));
    assert_eq!((prepared.reversibility, host.content("log").as_str()), (Reversibility::Exact, "one\n"));
    assert!(prepared.summary.contains("(4 bytes become 14)"), "{}", prepared.summary);
    let reverted = prepared.change;
    assert_eq!(host.probe(&reverted), State::Before);
    host.undo(&reverted).expect("nothing to undo");
    host.apply(&reverted).expect("applied");
    assert_eq!((host.probe(&reverted), host.probe(&change)), (State::After, State::Before));
    assert_eq!((host.content("log").as_str(), host.inode("log")), ("one\ntwo\nthree\n", inode));
    for _ in 0..2 {
        host.undo(&reverted).expect("undone");
        assert_eq!((host.content("log").as_str(), host.probe(&reverted)), ("one\n", State::Before));
    }
    // It broke off in the middle; and then somebody else wrote to it.
    host.write("log", "one\ntw");
    assert!(matches!(host.probe(&reverted), State::Elsewhere(what) if what.starts_with("2 of the 10 bytes")));
    host.undo(&reverted).expect("undone");
    assert_eq!(host.content("log"), "one\n");
    host.write("log", "one\ntheirs");
    refused(host.undo(&reverted), FaultKind::Changed, "left alone");
    refused(host.apply(&reverted), FaultKind::Changed, "10 bytes, not 4");
    refused(host.revert(&change), FaultKind::Changed, "is not as the run left it");
    assert_eq!(host.content("log"), "one\ntheirs");
    // What was put back can be cut off again.
    host.write("log", "one\n");
    let reverted = revert(&mut host, &change);
    host.apply(&reverted).expect("applied");
    let again = revert(&mut host, &reverted);
    host.apply(&again).expect("applied");
    assert_eq!(host.content("log"), "one\n");
    host.undo(&again).expect("undone");
    assert_eq!(host.content("log"), "one\ntwo\nthree\n");
}

#[test]
fn a_mode_comes_back_whatever_was_written_since() {
    let mut host = Host::live();
    host.write("file", "content");
    host.set_mode("file", 0o4755);
    let change = set_mode(&mut host, "file", 0o600).expect("prepared");
    host.apply(&change).expect("applied");
    std::fs::OpenOptions::new()
        .append(true)
        .open(host.root.join("file"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b" and more"))
        .expect("appended");
    let reverted = revert(&mut host, &change);
    host.apply(&reverted).expect("applied");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(host.root.join("file")).expect("metadata"));
    assert_eq!((mode & 0o7777, host.content("file").as_str()), (0o4755, "content and more"));
    host.undo(&reverted).expect("undone");
    host.set_mode("file", 0o640);
    refused(host.revert(&change), FaultKind::Changed, "mode is 0640");
}

#[test]
fn what_was_discarded_cannot_be_reverted() {
    let mut host = Host::live();
    host.write("log", "content");
    let change = host.prepare(FilesCall::Discard { path: host.path("log") }).expect("prepared").change;
    host.apply(&change).expect("applied");
    refused(host.revert(&change), FaultKind::Unsupported, "nothing undoes");
    assert_eq!(host.content("log"), "");
}

#[test]
fn changes_in_place_are_reverted_as_a_chain_in_a_rehearsal_and_then_in_a_run() {
    let mut host = Host::live();
    let bytes: Vec<u8> = (0..MAX_CONTENT / 4 + 1000).flat_map(|number| (number as u32).to_le_bytes()).collect();
    std::fs::write(host.root.join("log"), &bytes).expect("written");
    host.set_mode("log", 0o644);
    let first = truncate(&mut host, "log", MAX_CONTENT + 100).expect("prepared");
    host.apply(&first).expect("applied");
    let second = truncate(&mut host, "log", 1000).expect("prepared");
    host.apply(&second).expect("applied");
    let third = set_mode(&mut host, "log", 0o600).expect("prepared");
    host.apply(&third).expect("applied");
    for phase in [Phase::Rehearse, Phase::Live] {
        host.reopened(phase);
        for change in [&third, &second, &first] {
            let reverted = revert(&mut host, change);
            match phase {
                Phase::Rehearse => host.rehearse(&reverted).expect("rehearsed"),
                _ => host.apply(&reverted).expect("applied"),
            }
            assert_eq!(host.probe(&reverted), State::After);
        }
        let stat = host.stat("log").expect("stat");
        assert_eq!((stat.size, stat.mode), (bytes.len() as u64, 0o644));
        let tail: Result<serde_bytes::ByteBuf, _> = host.read(FilesCall::Tail { path: host.path("log"), bytes: 4 });
        match phase {
            // Of what is too large, it is only known what it will be.
            Phase::Rehearse => refused(tail, FaultKind::Unknowable, "too large"),
            _ => assert_eq!(tail.expect("tail").as_slice(), &bytes[bytes.len() - 4..]),
        }
    }
    assert!(std::fs::read(host.root.join("log")).expect("read") == bytes);
}

/// What a rehearsal does not have as a whole, it makes up nothing of: only what needs no content of it goes on.
#[test]
fn a_rehearsal_of_reverts_invents_no_content() {
    let mut host = Host::live();
    let bytes: Vec<u8> = (0..MAX_CONTENT / 4 + 1000).flat_map(|number| (number as u32).to_le_bytes()).collect();
    std::fs::write(host.root.join("log"), &bytes).expect("written");
    let cut = truncate(&mut host, "log", 1000).expect("prepared");
    host.apply(&cut).expect("applied");
    host.reopened(Phase::Rehearse);
    let reverted = revert(&mut host, &cut);
    host.rehearse(&reverted).expect("rehearsed");
    let size = bytes.len() as u64;
    assert_eq!(host.stat("log").expect("stat").size, size);
    refused(truncate(&mut host, "log", 500), FaultKind::Unknowable, "before its end is back");
    let discard = FilesCall::Discard { path: host.path("log") };
    refused(host.prepare(discard), FaultKind::Unknowable, "before its end is back");
    refused(host.revert(&reverted), FaultKind::Unknowable, "before its end is back");
    let mode = set_mode(&mut host, "log", 0o600).expect("a mode needs no content");
    host.rehearse(&mode).expect("rehearsed");
    assert_eq!(host.stat("log").map(|stat| (stat.size, stat.mode)), Ok((size, 0o600)));
}
