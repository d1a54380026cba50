//! Every way to bend a log is found.

use std::fs;
use std::path::Path;

use countersign_proof::{Checkpoint, ProofError};

use crate::support::{Log, ORIGIN, entry, verify, verify_against};

/// Every bit of every file counts.
#[test]
fn no_byte_of_any_file_can_be_changed() {
    let log = Log::sized(258);
    let dir = log.written();
    let mut files = Vec::new();
    collect(dir.path(), &mut files);
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let step = (bytes.len() / 97).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            fs::write(&file, &bent).unwrap();
            verify(dir.path()).expect_err(&format!("byte {at} of {}", file.display()));
        }
        for bent in [bytes[..bytes.len() - 1].to_vec(), [&bytes[..], b"x"].concat(), Vec::new()] {
            fs::write(&file, &bent).unwrap();
            verify(dir.path()).expect_err(&format!("{} bytes of {}", bent.len(), file.display()));
        }
        fs::remove_file(&file).unwrap();
        verify(dir.path()).expect_err("a file is missing");
        fs::write(&file, &bytes).unwrap();
        verify(dir.path()).expect("as it was");
    }
}

/// Where entries and tiles were bent alike, the root tells.
#[test]
fn a_log_that_was_made_again_is_not_what_was_signed() {
    let log = Log::sized(300);
    let bent: [Vec<Vec<u8>>; 4] = [
        // Edited, in another order, one left out and another added.
        (0..300).map(|index| entry(if index == 5 { 999 } else { index })).collect(),
        (0..300).map(|index| entry(if index < 2 { 1 - index } else { index })).collect(),
        (1..301).map(entry).collect(),
        (0..299).chain([299, 300]).take(300).map(|index| entry(index.max(1))).collect(),
    ];
    for entries in bent {
        let other = Log::of(entries);
        let dir = other.written();
        verify(dir.path()).expect("the writer itself signed it");
        fs::write(dir.path().join("checkpoint"), log.checkpoint()).unwrap();
        assert!(matches!(verify(dir.path()), Err(ProofError::WrongRoot { size: 300 })));
        // Even if the log's key signs it, whoever has an earlier checkpoint finds out.
        fs::write(dir.path().join("checkpoint"), other.checkpoint()).unwrap();
        let found = verify_against(dir.path(), &[log.head()]);
        assert!(matches!(found, Err(ProofError::SplitView { size: 300 })), "{found:?}");
    }
}

#[test]
fn a_log_that_was_cut_or_restored_is_told_by_what_was_held_elsewhere() {
    let dir = Log::sized(250).written();
    for size in [0, 1, 128, 250] {
        verify_against(dir.path(), &[Log::sized(size).head()]).expect("an earlier one");
    }
    let found = verify_against(dir.path(), &[Log::sized(3).head(), Log::sized(251).head()]);
    assert!(matches!(found, Err(ProofError::Shorter { size: 250, held: 251 })), "{found:?}");
    let other = Log::of([b"another".to_vec()]).head();
    let found = verify_against(dir.path(), &[Log::sized(3).head(), other]);
    assert!(matches!(found, Err(ProofError::SplitView { size: 1 })), "{found:?}");
    let empty = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: [0; 32] };
    let found = verify_against(dir.path(), &[empty]);
    assert!(matches!(found, Err(ProofError::SplitView { size: 0 })), "{found:?}");
    let elsewhere = Checkpoint { origin: "example.com/other".to_owned(), ..Log::sized(3).head() };
    let found = verify_against(dir.path(), &[elsewhere]);
    assert!(matches!(found, Err(ProofError::OtherLog { .. })), "{found:?}");
}

/// What is not a regular file is not waited for.
#[test]
fn a_pipe_in_the_place_of_a_file_is_no_file() {
    let dir = Log::sized(3).written();
    let path = dir.path().join("tile/0/000.p/3");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(verify(dir.path()), Err(ProofError::Unreadable { .. })));
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for found in fs::read_dir(dir).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
