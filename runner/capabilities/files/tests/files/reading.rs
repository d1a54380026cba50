//! Reads: what they give and where they end.

use std::os::unix::fs::symlink;

use countersign_capability::Phase;
use countersign_files::{Entry, FilesCall, Kind, MAX_CONTENT, MAX_ENTRIES, MAX_RANGE, MAX_TAIL, Usage};
use countersign_model::FaultKind;

use crate::support::{Host, refused};

type Bytes = serde_bytes::ByteBuf;

#[test]
fn reads_stats_and_lists() {
    let mut host = Host::new(Phase::Observe);
    host.write("b", "hello");
    host.set_mode("b", 0o640);
    std::fs::create_dir(host.root.join("a")).expect("made");
    symlink("b", host.root.join("c")).expect("link");
    assert_eq!(host.cat("b").expect("read"), "hello");
    let stat = host.stat("b").expect("stat");
    assert_eq!((stat.kind, stat.size, stat.mode), (Kind::File, 5, 0o640));
    assert_eq!(stat.owner, rustix::process::geteuid().as_raw());
    let modified = std::fs::metadata(host.root.join("b")).expect("metadata").modified().expect("time");
    let modified = modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert_eq!(u128::from(stat.modified), modified);
    let entry = |name: &str, kind| Entry { name: name.to_owned(), kind };
    assert_eq!(
        host.list().expect("list"),
        [entry("a", Kind::Directory), entry("b", Kind::File), entry("c", Kind::Symlink)]
    );
    refused(host.cat("none"), FaultKind::NotFound, "does not exist");
    refused(host.stat("none"), FaultKind::NotFound, "does not exist");
    refused(host.cat("none/file"), FaultKind::NotFound, "does not exist");
    refused(host.cat("b/file"), FaultKind::Unsupported, "not a directory");
}

#[test]
fn the_root_can_be_looked_at() {
    let mut host = Host::new(Phase::Observe);
    let call = FilesCall::List { path: "/".to_owned() };
    let all = crate::support::scope(&call, "/**");
    assert!(!host.read_in::<Vec<Entry>>(&all, call).expect("list").is_empty());
    let call = FilesCall::Stat { path: "/".to_owned() };
    assert_eq!(host.read_in::<countersign_files::Stat>(&all, call).expect("stat").kind, Kind::Directory);
    let call = FilesCall::Read { path: "/".to_owned() };
    refused(host.read_in::<Bytes>(&all, call), FaultKind::Unsupported, "directory");
}

#[test]
fn a_tail_is_the_end() {
    let mut host = Host::new(Phase::Observe);
    host.write("log", "one\ntwo\n");
    let tail = |host: &mut Host, bytes| {
        host.read::<Bytes>(FilesCall::Tail { path: host.path("log"), bytes }).map(Bytes::into_vec)
    };
    assert_eq!(tail(&mut host, 4).expect("tail"), b"two\n");
    assert_eq!(tail(&mut host, 100).expect("tail"), b"one\ntwo\n");
    assert_eq!(tail(&mut host, 0).expect("tail"), b"");
    refused(tail(&mut host, MAX_TAIL + 1), FaultKind::TooLarge, "1048576");
    // The whole file may be larger than a read gives.
    let file = std::fs::OpenOptions::new().write(true).open(host.root.join("log")).expect("opened");
    file.set_len(MAX_CONTENT + 1).expect("grown");
    assert_eq!(tail(&mut host, MAX_TAIL).expect("tail").len(), MAX_TAIL as usize);
}

#[test]
fn a_range_is_a_part_of_a_file_of_any_size() {
    let mut host = Host::new(Phase::Observe);
    host.write("log", "one\ntwo\n");
    let range = |host: &mut Host, offset, length| {
        host.read::<Bytes>(FilesCall::ReadRange { path: host.path("log"), offset, length }).map(Bytes::into_vec)
    };
    assert_eq!(range(&mut host, 0, 3).expect("range"), b"one");
    assert_eq!(range(&mut host, 4, 100).expect("range"), b"two\n");
    for (offset, length) in [(8, 10), (9, 10), (u64::MAX, MAX_RANGE), (2, 0)] {
        assert_eq!(range(&mut host, offset, length).expect("range"), b"");
    }
    refused(range(&mut host, 0, MAX_RANGE + 1), FaultKind::TooLarge, "1048576");
    let file = std::fs::OpenOptions::new().append(true).open(host.root.join("log")).expect("opened");
    file.set_len(1 << 34).expect("grown");
    std::io::Write::write_all(&mut &file, b"end").expect("appended");
    assert_eq!(range(&mut host, (1 << 34) - 1, 10).expect("range"), b"\0end");
    assert_eq!(range(&mut host, 1 << 33, MAX_RANGE).expect("range").len(), MAX_RANGE as usize);
    std::fs::create_dir(host.root.join("directory")).expect("made");
    let call = FilesCall::ReadRange { path: host.path("directory"), offset: 0, length: 1 };
    refused(host.read::<Bytes>(call), FaultKind::Unsupported, "is a directory");
}

#[test]
fn usage_is_that_of_the_file_system() {
    let mut host = Host::new(Phase::Observe);
    host.write("file", "x");
    std::fs::create_dir(host.root.join("directory")).expect("made");
    symlink("file", host.root.join("link")).expect("link");
    let usage = |host: &mut Host, name: &str| host.read::<Usage>(FilesCall::Usage { path: host.path(name) });
    let expected = rustix::fs::statvfs(&host.root).expect("statvfs");
    for name in ["file", "directory"] {
        let Usage { bytes, inodes } = usage(&mut host, name).expect("usage");
        assert_eq!((bytes.total, inodes.total), (expected.f_blocks * expected.f_frsize, expected.f_files));
        assert!(bytes.available <= bytes.free && bytes.free <= bytes.total && bytes.free > 0, "{bytes:?}");
    }
    refused(usage(&mut host, "link"), FaultKind::Unsupported, "symbolic link");
    refused(usage(&mut host, "none"), FaultKind::NotFound, "");
    let call = FilesCall::Usage { path: "/".to_owned() };
    let all = crate::support::scope(&call, "/**");
    assert!(host.read_in::<Usage>(&all, call).expect("usage").bytes.total > 0);

    // What it would be under pending changes is not guessed, and is known again when none are.
    host.reopened(Phase::Rehearse);
    let change = host.replace("file", "y").expect("prepared");
    assert!(usage(&mut host, "directory").is_ok());
    host.rehearse(&change).expect("rehearsed");
    refused(usage(&mut host, "directory"), FaultKind::Unknowable, "pending");
    host.rehearse_undo(&change).expect("undone");
    assert!(usage(&mut host, "directory").is_ok());
}

#[test]
fn what_is_too_large_is_refused() {
    let mut host = Host::live();
    let file = std::fs::File::create(host.root.join("large")).expect("made");
    file.set_len(MAX_CONTENT).expect("grown");
    assert_eq!(host.cat("large").expect("read").len() as u64, MAX_CONTENT);
    host.replace("large", "").expect("prepared");
    file.set_len(MAX_CONTENT + 1).expect("grown");
    refused(host.cat("large"), FaultKind::TooLarge, "8388608");
    refused(host.replace("large", ""), FaultKind::TooLarge, "8388608");
    refused(host.remove("large"), FaultKind::TooLarge, "8388608");
    let contents = "x".repeat(MAX_CONTENT as usize + 1);
    refused(host.create("new", &contents, 0o600), FaultKind::TooLarge, "8388608");
}

#[test]
fn a_directory_of_too_many_names_is_refused() {
    let mut host = Host::new(Phase::Observe);
    for number in 0..MAX_ENTRIES {
        host.write(&format!("{number:05}"), "");
    }
    let names: Vec<_> = host.list().expect("list").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), MAX_ENTRIES);
    assert!(names.is_sorted());
    // One more that is only pending, and then one on the target.
    host.reopened(Phase::Rehearse);
    let change = host.create("more", "", 0o600).expect("prepared");
    host.rehearse(&change).expect("rehearsed");
    refused(host.list(), FaultKind::TooLarge, "10000");
    host.reopened(Phase::Observe);
    host.write("more", "");
    refused(host.list(), FaultKind::TooLarge, "10000");
}

#[test]
fn a_name_that_is_not_text_is_listed() {
    use std::os::unix::ffi::OsStrExt;
    let mut host = Host::new(Phase::Observe);
    std::fs::write(host.root.join(std::ffi::OsStr::from_bytes(b"a\xff")), "").expect("written");
    assert_eq!(host.list().expect("list")[0].name, "a\u{fffd}");
}
