//! Somebody else at work in the same directory: nothing escapes, no edit of theirs is lost.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_files::FilesCall;

use crate::support::Host;

/// The least and the most rounds; between them the first in which everything has been met ends the race.
const ROUNDS: std::ops::RangeInclusive<usize> = 200..=20_000;

/// Time for the other side, of changing length, or nothing would ever be applied.
fn gap(round: usize) {
    for _ in 0..round.wrapping_mul(7919) % 400 {
        std::thread::yield_now();
    }
}

/// Runs `work` while another thread repeats `meddle`.
fn while_meddling(meddle: impl Fn(usize) + Sync, work: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..usize::MAX {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                meddle(round);
            }
        });
        // Also where `work` panics, or the other thread would never end.
        let _stop = Stop(&over);
        work();
    });
}

fn put(path: &Path, content: &str) {
    let staged = path.with_extension("staged");
    std::fs::write(&staged, content).expect("written");
    std::fs::rename(&staged, path).expect("renamed");
}

fn point(path: &Path, target: &Path) {
    let staged = path.with_extension("staged");
    symlink(target, &staged).expect("link");
    std::fs::rename(&staged, path).expect("renamed");
}

#[test]
fn a_symlink_that_comes_and_goes_never_leads_out() {
    let outside = tempfile::tempdir().expect("directory");
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").expect("written");
    let mut host = Host::live();
    host.write("file", "inside");
    let path = host.root.join("file");
    let (mut done, mut refused) = (0, 0);
    while_meddling(
        |round| {
            if round % 2 == 0 {
                point(&path, &secret);
            } else {
                put(&path, "inside");
                gap(round);
            }
        },
        || {
            for round in 0..*ROUNDS.end() {
                if round >= *ROUNDS.start() && done > 0 && refused > 0 {
                    break;
                }
                match host.cat("file") {
                    Ok(content) => assert!(content == "inside" || content == "ours", "{content}"),
                    Err(_) => refused += 1,
                }
                let prepared = if round % 2 == 0 { host.replace("file", "ours") } else { host.remove("file") };
                if let Ok(change) = prepared {
                    match host.apply(&change) {
                        Ok(()) => {
                            done += 1;
                            let _ = host.undo(&change);
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
        },
    );
    assert_eq!(std::fs::read_to_string(&secret).expect("read"), "secret");
    assert_eq!(crate::support::names(outside.path()), ["secret"]);
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused: it was no race");
}

#[test]
fn a_directory_that_becomes_a_symlink_never_leads_out() {
    let outside = tempfile::tempdir().expect("directory");
    std::fs::write(outside.path().join("file"), "secret").expect("written");
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("real")).expect("made");
    host.write("real/file", "inside");
    let (real, door, link) = (host.root.join("real"), host.root.join("door"), host.root.join("link"));
    symlink(outside.path(), &link).expect("link");
    std::fs::rename(&real, &door).expect("renamed");
    let (mut done, mut refused) = (0, 0);
    let exchange = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &door, rustix::fs::CWD, &link, flags).expect("exchanged");
    };
    while_meddling(
        |_| exchange(),
        || {
            for round in 0..*ROUNDS.end() {
                if round >= *ROUNDS.start() && done > 0 && refused > 0 {
                    break;
                }
                match host.cat("door/file") {
                    Ok(content) => {
                        assert!(content.starts_with("inside"), "{content}");
                        done += 1;
                    }
                    Err(_) => refused += 1,
                }
                if let Ok(change) = host.replace("door/file", &format!("inside {round}")) {
                    let _ = host.apply(&change);
                    let _ = host.settle(&change);
                }
                if let Ok(change) = host.create("door/new", "new", 0o600) {
                    let _ = host.apply(&change);
                    let _ = host.undo(&change);
                }
            }
        },
    );
    assert_eq!(std::fs::read_to_string(outside.path().join("file")).expect("read"), "secret");
    assert_eq!(crate::support::names(outside.path()), ["file"]);
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused: it was no race");
}

#[test]
fn the_last_of_their_edits_is_never_lost() {
    let mut host = Host::live();
    host.write("file", "theirs 0");
    let path = host.root.join("file");
    let last = std::sync::atomic::AtomicUsize::new(0);
    let (mut applied, mut refused, mut in_doubt) = (0, 0, 0);
    while_meddling(
        |round| {
            put(&path, &format!("theirs {round}"));
            last.store(round, Ordering::SeqCst);
            gap(round);
        },
        || {
            for round in 0..*ROUNDS.end() {
                if round >= *ROUNDS.start() && applied > 0 && refused > 0 {
                    break;
                }
                let call = FilesCall::Replace { path: host.path("file"), contents: b"ours".to_vec() };
                let Ok(prepared) = host.prepare(call) else { continue };
                match host.apply(&prepared.change) {
                    Ok(()) => {
                        applied += 1;
                        let _ = host.undo(&prepared.change);
                    }
                    Err(fault) if fault.reached => in_doubt += 1,
                    Err(_) => refused += 1,
                }
            }
        },
    );
    // Whatever was applied was undone, or was replaced by them: the file is theirs, and the latest.
    let expected = format!("theirs {}", last.load(Ordering::SeqCst));
    assert_eq!(host.content("file"), expected, "{applied} applied, {refused} refused, {in_doubt} in doubt");
    assert!(applied > 0 && refused > 0, "{applied} applied, {refused} refused, {in_doubt} in doubt");
}
