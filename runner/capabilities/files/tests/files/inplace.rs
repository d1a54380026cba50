//! Changes in place: the file stays the same one, and what is cut off comes back as it was.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use countersign_capability::{Context, Phase, Session as _};
use countersign_files::{FilesCall, KEPT_END, MAX_CUT, MAX_RANGE};
use countersign_model::{Digest, FaultKind, Image, Kept, Reversibility, State};

use crate::support::{Host, is_root, refused};

#[test]
fn a_truncated_file_stays_the_same_one_and_gets_its_end_back() {
    let mut host = Host::live();
    host.write("log", "one\ntwo\nthree\n");
    host.set_mode("log", 0o604);
    let (inode, modified) = (host.inode("log"), host.modified("log"));
    let mut daemon = host.appender("log");
    let prepared = host.truncating("log", 4).expect("prepared");
    assert_eq!(prepared.reversibility, Reversibility::Exact);
    assert_eq!(prepared.before, Some(Image::of(b"one\ntwo\nthree\n")));
    assert_eq!(prepared.after, Some(Image::of(b"one\n")));
    assert_eq!(prepared.kept, Some(Kept { from: 4, image: Image::of(b"two\nthree\n") }));
    assert_eq!(prepared.effect["op"], "truncate");
    assert!(prepared.summary.ends_with("(14 bytes become 4)"), "{}", prepared.summary);
    let change = prepared.change;
    assert_eq!((host.probe(&change), host.content("log").as_str()), (State::Before, "one\ntwo\nthree\n"));

    host.apply(&change).expect("applied");
    assert_eq!((host.probe(&change), host.content("log").as_str()), (State::After, "one\n"));
    // Another process undoes it, again and again.
    host.reopened(Phase::Live);
    for _ in 0..2 {
        host.undo(&change).expect("undone");
        assert_eq!((host.probe(&change), host.content("log").as_str()), (State::Before, "one\ntwo\nthree\n"));
    }
    assert_eq!((host.inode("log"), host.mode("log"), host.modified("log")), (inode, 0o604, modified));
    host.settle(&change).expect("settled");
    assert_eq!(host.names(), ["log"]);
    // The descriptor that was open all the time still leads to it.
    daemon.write_all(b"four\n").expect("appended");
    assert_eq!(host.content("log"), "one\ntwo\nthree\nfour\n");
}

#[test]
fn a_large_file_is_truncated_and_put_back() {
    let mut host = Host::live();
    let bytes = host.write_large("log");
    let length = bytes.len() as u64 - 3 * 1024 * 1024 - 5;
    let change = host.truncate("log", length).expect("prepared");
    host.apply(&change).expect("applied");
    assert_eq!((host.probe(&change), host.size("log")), (State::After, length));
    // Killed in the middle of putting it back.
    for back in [1, 300_000, 2 * 1024 * 1024] {
        let end = length as usize + back;
        host.appender("log").write_all(&bytes[host.size("log") as usize..end]).expect("appended");
        let State::Elsewhere(what) = host.probe(&change) else { panic!("not elsewhere") };
        assert_eq!(what, format!("{back} of the 3145733 bytes that were cut off are back"));
    }
    host.undo(&change).expect("undone");
    assert_eq!(host.probe(&change), State::Before);
    assert!(std::fs::read(host.root.join("log")).expect("read") == bytes);
}

#[test]
fn what_somebody_wrote_after_a_truncation_is_never_overwritten() {
    for theirs in ["2", "two\nthree\n!", "two\nthreeX", "theirs and much longer"] {
        let mut host = Host::live();
        host.write("log", "one\ntwo\nthree\n");
        let change = host.truncate("log", 4).expect("prepared");
        host.apply(&change).expect("applied");
        host.append("log", theirs);
        assert!(matches!(host.probe(&change), State::Elsewhere(_)), "{theirs}");
        refused(host.undo(&change), FaultKind::Changed, "left alone");
        assert_eq!(host.content("log"), format!("one\n{theirs}"));
    }
    // Another beginning, another mode, a file that is gone.
    let mut host = Host::live();
    host.write("log", "one\ntwo\nthree\n");
    let change = host.truncate("log", 4).expect("prepared");
    host.apply(&change).expect("applied");
    host.write("log", "ONE\n");
    refused(host.undo(&change), FaultKind::Changed, &Digest::of(b"ONE\n").to_string());
    host.write("log", "one\n");
    host.set_mode("log", 0o600);
    refused(host.undo(&change), FaultKind::Changed, "mode is 0600");
    std::fs::remove_file(host.root.join("log")).expect("removed");
    assert!(matches!(host.probe(&change), State::Elsewhere(what) if what.contains("missing")));
    refused(host.undo(&change), FaultKind::NotFound, "");
    assert_eq!(host.names(), [""; 0]);
}

/// What is appended while the end is put back may keep that from being done, but it is there afterwards.
#[test]
fn who_appends_while_it_is_put_back_loses_nothing() {
    let mut host = Host::live();
    let bytes: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    let (mut undone, mut disturbed) = (0, 0);
    for round in 0..100 {
        std::fs::write(host.root.join("log"), &bytes).expect("written");
        let change = host.truncate("log", 10).expect("prepared");
        host.apply(&change).expect("applied");
        let mut daemon = host.appender("log");
        let barrier = std::sync::Barrier::new(2);
        let result = std::thread::scope(|scope| {
            let daemon = scope.spawn(|| {
                barrier.wait();
                std::thread::sleep(Duration::from_micros(round * 200));
                for line in 0..20 {
                    daemon.write_all(format!("<line {line}>").as_bytes()).expect("appended");
                }
            });
            barrier.wait();
            let result = host.undo(&change);
            daemon.join().expect("joined");
            result
        });
        let found = std::fs::read(host.root.join("log")).expect("read");
        for line in 0..20 {
            let line = format!("<line {line}>");
            assert!(found.windows(line.len()).any(|part| part == line.as_bytes()), "{line} is lost: {result:?}");
        }
        match result {
            Ok(()) => {
                undone += 1;
                assert!(found.starts_with(&bytes));
            }
            Err(fault) => {
                disturbed += 1;
                assert_eq!(fault.kind, FaultKind::Changed, "{fault:?}");
            }
        }
        if round > 5 && undone > 0 && disturbed > 0 {
            break;
        }
    }
    assert!(disturbed > 0, "{undone} undone, {disturbed} disturbed: it was no race");
}

#[test]
fn what_is_appended_between_prepare_and_apply_refuses() {
    for operation in ["truncate", "discard", "set-mode"] {
        let prepare = |host: &mut Host| match operation {
            "truncate" => host.truncate("log", 4),
            "discard" => host.discard("log"),
            _ => host.chmod("log", 0o600),
        };
        let mut host = Host::live();
        host.write("log", "one\ntwo\n");
        host.set_mode("log", 0o644);
        let change = prepare(&mut host).expect("prepared");
        host.append("log", "three\n");
        refused(host.apply(&change), FaultKind::Changed, "14 bytes, not 8");
        assert_eq!((host.content("log").as_str(), host.mode("log")), ("one\ntwo\nthree\n", 0o644), "{operation}");

        // Written over, with the size and the time of the last modification as they were.
        let change = prepare(&mut host).expect("prepared");
        let modified = std::fs::metadata(host.root.join("log")).expect("metadata").modified().expect("a time");
        std::thread::sleep(Duration::from_millis(20));
        let file = OpenOptions::new().write(true).open(host.root.join("log")).expect("opened");
        file.write_all_at(b"ONE", 0).expect("written");
        file.set_modified(modified).expect("set");
        refused(host.apply(&change), FaultKind::Changed, "was written to");
        assert_eq!(host.content("log"), "ONE\ntwo\nthree\n", "{operation}");

        // Another file, another mode.
        let change = prepare(&mut host).expect("prepared");
        host.write("new", "ONE\ntwo\nthree\n");
        std::fs::rename(host.root.join("new"), host.root.join("log")).expect("renamed");
        host.set_mode("log", 0o644);
        refused(host.apply(&change), FaultKind::Changed, "another file");
        let change = prepare(&mut host).expect("prepared");
        host.set_mode("log", 0o640);
        refused(host.apply(&change), FaultKind::Changed, "mode is 0640");
        let change = prepare(&mut host).expect("prepared");
        std::fs::remove_file(host.root.join("log")).expect("removed");
        refused(host.apply(&change), FaultKind::Changed, "does not exist");
        assert_eq!(host.names(), [""; 0], "{operation}");
    }
}

#[test]
fn a_file_is_never_made_longer_and_no_more_is_cut_than_is_kept() {
    let mut host = Host::live();
    host.write("log", "four");
    refused(host.truncate("log", 5), FaultKind::Invalid, "has 4 bytes");
    refused(host.truncate("none", 0), FaultKind::NotFound, "");
    let same = host.truncate("log", 4).expect("prepared");
    host.apply(&same).expect("nothing to do");
    assert_eq!((host.content("log").as_str(), host.probe(&same)), ("four", State::Before));
    host.undo(&same).expect("nothing to undo");
    let huge = File::create(host.root.join("huge")).expect("made");
    huge.set_len(MAX_CUT + 1).expect("grown");
    // None of it is read for that, however little time there is.
    let mut cx = Context { blobs: &mut host.blobs, deadline: Instant::now() + Duration::from_millis(500) };
    let call = FilesCall::Truncate { path: host.root.join("huge").to_str().expect("text").to_owned(), length: 0 };
    let scope = crate::support::scope(&call, host.root.join("**").to_str().expect("text"));
    refused(host.session.prepare(&mut cx, &scope, call), FaultKind::TooLarge, "would lose");
    assert!(host.blobs.kept.values().all(|blob| blob.len() < 100), "nothing of it was kept");
}

#[test]
fn what_is_not_read_in_time_is_left_as_it_is() {
    let mut host = Host::live();
    let bytes = host.write_large("log");
    let path = host.path("log");
    for call in [
        FilesCall::Truncate { path: path.clone(), length: 0 },
        FilesCall::Discard { path: path.clone() },
        FilesCall::SetMode { path: path.clone(), mode: 0o600 },
        FilesCall::ReadRange { path, offset: 0, length: MAX_RANGE },
    ] {
        let scope = host.scope(&call, "**");
        let mut cx = Context { blobs: &mut host.blobs, deadline: Instant::now() };
        let fault = match &call {
            FilesCall::ReadRange { .. } => host.session.read(&mut cx, &scope, call).expect_err("late"),
            _ => host.session.prepare(&mut cx, &scope, call).expect_err("late"),
        };
        assert_eq!((fault.kind, fault.reached), (FaultKind::TimedOut, false), "{fault:?}");
    }
    let change = host.truncate("log", 7).expect("prepared");
    let mut cx = Context { blobs: &mut host.blobs, deadline: Instant::now() };
    refused(host.session.apply(&mut cx, &change), FaultKind::TimedOut, "");
    assert_eq!(host.size("log"), bytes.len() as u64);
    host.apply(&change).expect("applied");
    let mut cx = Context { blobs: &mut host.blobs, deadline: Instant::now() };
    refused(host.session.undo(&mut cx, &change), FaultKind::TimedOut, "");
    assert_eq!(host.size("log"), 7);
    host.undo(&change).expect("undone");
    assert!(std::fs::read(host.root.join("log")).expect("read") == bytes);
}

#[test]
fn a_discarded_file_is_empty_and_only_its_end_is_kept() {
    let mut host = Host::live();
    let bytes = host.write_large("log");
    let inode = host.inode("log");
    let mut daemon = host.appender("log");
    let prepared = host.discarding("log").expect("prepared");
    assert_eq!(prepared.reversibility, Reversibility::Irreversible);
    assert_eq!((prepared.before, prepared.after), (Some(Image::of(&bytes)), Some(Image::of(b""))));
    let from = bytes.len() as u64 - KEPT_END;
    assert_eq!(prepared.kept, Some(Kept { from, image: Image::of(&bytes[from as usize..]) }));
    assert!(host.blobs.kept.values().all(|blob| blob.len() as u64 <= KEPT_END), "no more than the end is kept");
    assert!(prepared.summary.contains("the last 65536 are kept"), "{}", prepared.summary);
    let change = prepared.change;
    assert_eq!(host.probe(&change), State::Before);
    host.undo(&change).expect("it was not done");
    host.apply(&change).expect("applied");
    assert_eq!((host.probe(&change), host.size("log"), host.inode("log")), (State::After, 0, inode));
    refused(host.undo(&change), FaultKind::Unsupported, "nothing undoes");
    assert_eq!(host.size("log"), 0);
    daemon.write_all(b"next\n").expect("appended");
    assert_eq!(host.content("log"), "next\n");
    assert!(matches!(host.probe(&change), State::Elsewhere(_)));
    host.settle(&change).expect("settled");
    assert_eq!(host.names(), ["log"]);
}

#[test]
fn what_cannot_be_changed_in_place_is_refused() {
    let mut host = Host::live();
    host.write("file", "x");
    std::fs::create_dir(host.root.join("directory")).expect("made");
    std::os::unix::fs::symlink("file", host.root.join("link")).expect("link");
    for (name, says) in [("directory", "is a directory"), ("link", "symbolic link")] {
        refused(host.truncate(name, 0), FaultKind::Unsupported, says);
        refused(host.discard(name), FaultKind::Unsupported, says);
        refused(host.chmod(name, 0o600), FaultKind::Unsupported, says);
    }
    std::fs::hard_link(host.root.join("file"), host.root.join("other")).expect("linked");
    refused(host.truncate("file", 0), FaultKind::Unsupported, "hard links");
    refused(host.discard("file"), FaultKind::Unsupported, "hard links");
    refused(host.chmod("file", 0o600), FaultKind::Unsupported, "hard links");
    std::fs::remove_file(host.root.join("other")).expect("removed");
    if is_root() {
        // Not for who may write to it all the same.
        let change = host.truncate("file", 0).expect("prepared");
        std::fs::hard_link(host.root.join("file"), host.root.join("other")).expect("linked");
        refused(host.apply(&change), FaultKind::Unsupported, "hard links");
    } else {
        host.set_mode("file", 0o444);
        refused(host.truncate("file", 0), FaultKind::Other, "may not");
        refused(host.discard("file"), FaultKind::Other, "may not");
    }
    assert_eq!(host.content("file"), "x");
}

#[test]
fn a_rehearsal_sees_what_is_pending_in_place() {
    let mut host = Host::new(Phase::Rehearse);
    let bytes = host.write_large("log");
    let length = bytes.len() as u64 - 100;
    let cut = host.truncate("log", length).expect("prepared");
    host.rehearse(&cut).expect("rehearsed");
    assert_eq!(host.probe(&cut), State::After);
    assert_eq!(host.stat("log").expect("stat").size, length);
    assert_eq!(host.tail("log", 5).expect("tail"), bytes[length as usize - 5..length as usize]);
    assert_eq!(host.range("log", length - 5, 100).expect("range"), bytes[length as usize - 5..length as usize]);
    assert_eq!(host.range("log", length, 100).expect("range"), b"");
    refused(host.cat("log"), FaultKind::TooLarge, "8388608");
    refused(host.replace("log", "x"), FaultKind::TooLarge, "8388608");

    // Cut again until it is small, given a mode, replaced, cut, discarded.
    let small = host.truncate("log", 8).expect("prepared");
    host.rehearse(&small).expect("rehearsed");
    assert_eq!(host.range("log", 4, 100).expect("range"), bytes[4..8]);
    let mode = host.chmod("log", 0o600).expect("prepared");
    host.rehearse(&mode).expect("rehearsed");
    assert_eq!(
        (host.stat("log").expect("stat").mode, host.tail("log", 100).expect("tail")),
        (0o600, bytes[..8].to_vec())
    );
    let replace = host.replace("log", "new content").expect("prepared");
    host.rehearse(&replace).expect("rehearsed");
    let shorter = host.truncate("log", 3).expect("prepared");
    host.rehearse(&shorter).expect("rehearsed");
    assert_eq!(
        (host.cat("log").expect("read").as_str(), host.range("log", 1, 9).expect("range")),
        ("new", b"ew".to_vec())
    );
    let discard = host.discard("log").expect("prepared");
    host.rehearse(&discard).expect("rehearsed");
    assert_eq!((host.cat("log").expect("read").as_str(), host.stat("log").expect("stat").size), ("", 0));
    assert_eq!(host.list().expect("list").len(), 1);
    assert!(std::fs::read(host.root.join("log")).expect("read") == bytes, "the target was touched");

    for change in [&discard, &shorter, &replace, &mode, &small, &cut] {
        host.rehearse_undo(change).expect("undone");
        assert_eq!(host.probe(change), State::Before);
    }
    assert_eq!(host.tail("log", 5).expect("tail"), bytes[bytes.len() - 5..]);
}

#[test]
fn what_is_pending_on_another_file_is_not_made_up() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("log", "one\ntwo\n");
    let change = host.truncate("log", 4).expect("prepared");
    host.append("log", "three\n");
    refused(host.rehearse(&change), FaultKind::Changed, "14 bytes, not 8");
    let change = host.truncate("log", 4).expect("prepared");
    host.rehearse(&change).expect("rehearsed");
    host.write("new", "other\n");
    std::fs::rename(host.root.join("new"), host.root.join("log")).expect("renamed");
    refused(host.cat("log"), FaultKind::Changed, "not the file any more");
    refused(host.replace("log", "x"), FaultKind::Changed, "not the file any more");
}

#[test]
fn a_run_prepares_in_place_what_the_rehearsal_did() {
    let mut host = Host::new(Phase::Rehearse);
    host.write("file", "one\ntwo\nthree\n");
    host.set_mode("file", 0o644);
    let path = host.path("file");
    let calls = [
        FilesCall::Truncate { path: path.clone(), length: 8 },
        FilesCall::SetMode { path: path.clone(), mode: 0o640 },
        FilesCall::Replace { path: path.clone(), contents: b"four\nfive\n".to_vec() },
        FilesCall::Truncate { path: path.clone(), length: 5 },
        FilesCall::Discard { path },
    ];
    let mut steps = Vec::new();
    for _ in 0..2 {
        let mut effects = Vec::new();
        for call in &calls {
            let it = host.prepare(call.clone()).expect("prepared");
            effects.push((it.subject, it.before, it.after, it.kept, it.effect, it.summary));
            if steps.is_empty() {
                host.rehearse(&it.change).expect("rehearsed");
            } else {
                host.apply(&it.change).expect("applied");
            }
        }
        steps.push(effects);
        host.reopened(Phase::Live);
    }
    assert_eq!(steps[0], steps[1]);
}

#[test]
fn changes_in_place_and_others_are_undone_backwards() {
    let mut host = Host::live();
    host.write("file", "one\ntwo\nthree\n");
    host.set_mode("file", 0o644);
    let inode = host.inode("file");
    let cut = host.truncate("file", 8).expect("prepared");
    host.apply(&cut).expect("applied");
    let mode = host.chmod("file", 0o600).expect("prepared");
    host.apply(&mode).expect("applied");
    let replace = host.replace("file", "other\nthings\n").expect("prepared");
    host.apply(&replace).expect("applied");
    let again = host.truncate("file", 6).expect("prepared");
    host.apply(&again).expect("applied");
    assert_eq!((host.content("file").as_str(), host.mode("file")), ("other\n", 0o600));
    refused(host.undo(&cut), FaultKind::Changed, "left alone");
    for change in [&again, &replace, &mode, &cut] {
        host.undo(change).expect("undone");
        assert_eq!(host.probe(change), State::Before);
    }
    assert_eq!((host.content("file").as_str(), host.mode("file")), ("one\ntwo\nthree\n", 0o644));
    assert_eq!((host.inode("file"), host.names().len()), (inode, 1));
}

/// A program that goes on trying to log on a full file system moves the file's times with every write that fails.
#[test]
fn times_that_move_without_the_content_refuse_nothing() {
    let mut host = Host::live();
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(host.root.join("log"), &bytes).expect("written");
    let touched = host.appender("log");
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                touched.set_modified(std::time::SystemTime::now()).expect("touched");
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..20 {
                let change = host.truncate("log", 100).expect("prepared");
                host.apply(&change).expect("applied");
                assert_eq!(host.probe(&change), State::After);
                host.undo(&change).expect("undone");
                assert_eq!(host.probe(&change), State::Before);
                let change = host.chmod("log", 0o600).expect("prepared");
                host.apply(&change).expect("applied");
                host.undo(&change).expect("undone");
            }
            let change = host.discard("log").expect("prepared");
            host.apply(&change).expect("applied");
        }));
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        result.expect("nothing was refused");
    });
    assert_eq!(host.size("log"), 0);
}
