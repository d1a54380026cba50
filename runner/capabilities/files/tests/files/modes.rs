//! Modes are set in place and put back.

use countersign_capability::Phase;
use countersign_files::FilesCall;
use countersign_model::{FaultKind, Image, Reversibility, State};

use crate::support::{Host, refused};

#[test]
fn a_mode_is_set_in_place_and_put_back() {
    let mut host = Host::live();
    host.write("file", "content");
    host.set_mode("file", 0o644);
    let (inode, modified) = (host.inode("file"), host.modified("file"));
    let prepared = host.prepare(FilesCall::SetMode { path: host.path("file"), mode: 0o600 }).expect("prepared");
    assert_eq!((prepared.reversibility, prepared.kept), (Reversibility::Exact, None));
    assert_eq!((prepared.before, prepared.after), (Some(Image::of(b"content")), Some(Image::of(b"content"))));
    assert_eq!(
        (&prepared.effect["before"]["mode"], &prepared.effect["after"]["mode"]),
        (&"0644".into(), &"0600".into())
    );
    assert!(prepared.summary.ends_with("(0644 becomes 0600)"), "{}", prepared.summary);
    let change = prepared.change;
    assert_eq!(host.probe(&change), State::Before);
    host.apply(&change).expect("applied");
    assert_eq!((host.probe(&change), host.mode("file")), (State::After, 0o600));
    host.reopened(Phase::Live);
    for _ in 0..2 {
        host.undo(&change).expect("undone");
        assert_eq!((host.probe(&change), host.mode("file")), (State::Before, 0o644));
    }
    assert_eq!((host.inode("file"), host.modified("file"), host.names().len()), (inode, modified, 1));

    // Somebody else's mode stays; somebody else's content is not this change's.
    let again = host.chmod("file", 0o600).expect("prepared");
    host.apply(&again).expect("applied");
    host.set_mode("file", 0o640);
    refused(host.undo(&change), FaultKind::Changed, "mode is 0640");
    assert_eq!(host.mode("file"), 0o640);
    host.set_mode("file", 0o600);
    host.append("file", "!");
    host.undo(&change).expect("undone");
    assert_eq!((host.mode("file"), host.content("file").as_str()), (0o644, "content!"));
    assert_eq!(host.probe(&change), State::Before);
}

#[test]
fn special_bits_are_kept_or_taken_away_and_never_added() {
    let mut host = Host::live();
    host.write("file", "x");
    host.set_mode("file", 0o755);
    for mode in [0o4755, 0o2755, 0o1755] {
        refused(host.chmod("file", mode), FaultKind::Unsupported, "set-user-id");
    }
    refused(host.chmod("file", 0o10000), FaultKind::Invalid, "07777");
    host.set_mode("file", 0o4755);
    for mode in [0o4700, 0o700] {
        let change = host.chmod("file", mode).expect("prepared");
        host.apply(&change).expect("applied");
        assert_eq!(host.mode("file"), mode);
        host.undo(&change).expect("undone");
        assert_eq!(host.mode("file"), 0o4755);
    }
    // A write would take them away.
    refused(host.truncate("file", 0), FaultKind::Unsupported, "set-user-id");
    refused(host.discard("file"), FaultKind::Unsupported, "set-user-id");
}

#[test]
#[expect(clippy::print_stderr, reason = "says what it skips")]
fn an_acl_follows_the_mode_and_comes_back() {
    let mut host = Host::live();
    host.write("file", "x");
    // user::rw-, user:12345:rw-, group::r--, mask::rw-, other::r--
    let acl: Vec<u8> = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 6, 0, 57, 48, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 6, 0, 255, 255, 255, 255],
        &[32, 0, 4, 0, 255, 255, 255, 255],
    ]
    .concat();
    let path = host.root.join("file");
    let name = "system.posix_acl_access";
    if rustix::fs::setxattr(&path, name, &acl, rustix::fs::XattrFlags::empty()).is_err() {
        return eprintln!("skipped: the file system of temporary files has no ACLs");
    }
    let get = || {
        let mut buffer = [0; 200];
        let size = rustix::fs::getxattr(&path, name, &mut buffer).expect("an ACL");
        buffer[..size].to_vec()
    };
    let before = get();
    let change = host.chmod("file", 0o640).expect("prepared");
    host.apply(&change).expect("applied");
    assert_eq!(host.probe(&change), State::After);
    assert_ne!(get(), before);
    host.undo(&change).expect("undone");
    assert_eq!((get(), host.probe(&change)), (before, State::Before));
}
