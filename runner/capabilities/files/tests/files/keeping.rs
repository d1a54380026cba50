//! What a change and its undo keep: owner, mode, ACL, extended attributes, time.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use countersign_capability::Phase;
use countersign_files::FilesCall;
use countersign_model::{FaultKind, State};
use rustix::fs::XattrFlags;
use serde_json::Value;

use crate::support::{Host, is_root, refused};

/// `user::rw-,user:1:r--,group::r--,mask::r--,other::---` as the kernel stores it.
fn acl(other: u8) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, permissions, id) in [(1u16, 6u16, none), (2, 4, 1), (4, 4, none), (16, 4, none), (32, other.into(), none)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).is_ok()
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Everything about a file that must come back.
#[derive(Debug, PartialEq)]
pub(crate) struct All {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: (i64, i64),
    pub(crate) xattrs: Vec<(&'static str, Option<Vec<u8>>)>,
}

const XATTRS: [&str; 5] = ["user.note", "user.empty", "system.posix_acl_access", "security.capability", "trusted.note"];

pub(crate) fn all(path: &Path) -> All {
    let metadata = std::fs::symlink_metadata(path).expect("metadata");
    All {
        content: std::fs::read(path).expect("read"),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: XATTRS.iter().map(|name| (*name, get(path, name))).collect(),
    }
}

/// A file with everything that this user can give it.
pub(crate) fn rich(host: &Host, name: &str) -> All {
    let path = host.root.join(name);
    host.write(name, "before");
    if is_root() {
        std::os::unix::fs::lchown(&path, Some(1234), Some(4321)).expect("owner");
    }
    assert!(set(&path, "user.note", b"kept"), "the temporary directory has no extended attributes");
    set(&path, "user.empty", b"");
    host.set_mode(name, 0o640);
    let has_acl = set(&path, "system.posix_acl_access", &acl(0));
    host.set_mode(name, 0o6640);
    if is_root() {
        // cap_net_bind_service=ep, in revision 2.
        let mut capability = 0x0200_0001u32.to_le_bytes().to_vec();
        capability.extend([1u32 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
        assert!(set(&path, "security.capability", &capability));
        set(&path, "trusted.note", b"kept too");
        assert!(has_acl);
    }
    let file = std::fs::File::open(&path).expect("opened");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789)).expect("time");
    let all = all(&path);
    assert_eq!(all.mode & 0o7777, 0o6640);
    all
}

#[test]
fn a_replaced_file_keeps_everything_and_gets_all_of_it_back() {
    // Once with the original kept beside it, once rebuilt from the journal alone.
    for rebuilt in [false, true] {
        let mut host = Host::live();
        let before = rich(&host, "file");
        let inode = host.inode("file");
        let change = host.replace("file", "after").expect("prepared");
        host.apply(&change).expect("applied");
        let after = all(&host.root.join("file"));
        assert_eq!(after.content, b"after");
        assert_ne!(after.modified, before.modified);
        let expected = All { content: b"after".to_vec(), modified: after.modified, ..rich(&host, "reference") };
        assert_eq!(after, expected);
        std::fs::remove_file(host.root.join("reference")).expect("removed");
        assert_eq!(host.probe(&change), State::After);
        if rebuilt {
            host.settle(&change).expect("settled");
            assert_eq!(host.names(), ["file"]);
        }
        host.undo(&change).expect("undone");
        assert_eq!(all(&host.root.join("file")), before);
        assert_eq!(host.probe(&change), State::Before);
        assert_eq!(host.names(), ["file"]);
        // A number that became free may be given again.
        assert!(rebuilt || host.inode("file") == inode, "the very same file");
    }
}

#[test]
fn a_removed_file_comes_back_with_everything() {
    for rebuilt in [false, true] {
        let mut host = Host::live();
        let before = rich(&host, "file");
        let change = host.remove("file").expect("prepared");
        host.apply(&change).expect("applied");
        assert!(!host.root.join("file").exists());
        if rebuilt {
            host.settle(&change).expect("settled");
            assert!(host.names().is_empty());
        }
        host.undo(&change).expect("undone");
        assert_eq!(all(&host.root.join("file")), before);
        assert_eq!(host.names(), ["file"]);
    }
}

#[test]
fn a_difference_in_metadata_alone_is_neither_before_nor_after() {
    let mut host = Host::live();
    rich(&host, "file");
    let change = host.replace("file", "after").expect("prepared");
    host.apply(&change).expect("applied");
    let path = host.root.join("file");
    let elsewhere = |host: &mut Host, says: &str| match host.probe(&change) {
        State::Elsewhere(what) => assert!(what.contains(says), "{what}"),
        state => panic!("{state:?}"),
    };
    host.set_mode("file", 0o600);
    elsewhere(&mut host, "mode is 0600, not 6640");
    refused(host.undo(&change), FaultKind::Changed, "mode is 0600");
    host.set_mode("file", 0o6640);
    assert_eq!(host.probe(&change), State::After);
    set(&path, "user.note", b"other");
    elsewhere(&mut host, "`user.note` is another");
    set(&path, "user.note", b"kept");
    set(&path, "user.more", b"more");
    elsewhere(&mut host, "`user.more` was added");
    rustix::fs::removexattr(&path, "user.more").expect("removed");
    rustix::fs::removexattr(&path, "user.empty").expect("removed");
    elsewhere(&mut host, "`user.empty` is missing");
    set(&path, "user.empty", b"");
    if is_root() {
        std::os::unix::fs::lchown(&path, Some(1), None).expect("owner");
        elsewhere(&mut host, "owner is 1:4321, not 1234:4321");
    }
}

#[test]
fn the_effect_names_what_an_approver_must_see() {
    let mut host = Host::live();
    let before = rich(&host, "file");
    let call = FilesCall::Replace { path: host.path("file"), contents: b"after".to_vec() };
    let prepared = host.prepare(call.clone()).expect("prepared");
    let effect = &prepared.effect;
    assert_eq!((&effect["op"], &effect["before"]), (&Value::from("replace"), &effect["after"]));
    assert_eq!(effect["after"]["mode"], "6640");
    assert_eq!(effect["after"]["uid"], before.owner.0);
    let digest = countersign_model::Digest::of(b"kept").to_string();
    assert_eq!(effect["after"]["xattrs"]["user.note"], digest);
    assert_eq!(prepared.before, Some(countersign_model::Image::of(b"before")));
    assert_eq!(prepared.after, Some(countersign_model::Image::of(b"after")));
    assert_eq!(prepared.summary, format!("replace `{}` (6 bytes become 5)", host.path("file")));
    // Nothing that only this moment knows: another file of the same kind has the same effect.
    std::fs::remove_file(host.root.join("file")).expect("removed");
    rich(&host, "file");
    host.reopened(Phase::Rehearse);
    let rehearsed = host.prepare(call).expect("prepared");
    assert_eq!(
        (rehearsed.effect, rehearsed.before, rehearsed.after),
        (prepared.effect, prepared.before, prepared.after)
    );
}

#[test]
fn a_created_file_has_just_its_mode() {
    let mut host = Host::live();
    for (name, mode) in [("a", 0o777), ("b", 0o600), ("c", 0)] {
        let change = host.create(name, "new", mode).expect("prepared");
        host.apply(&change).expect("applied");
        let metadata = std::fs::metadata(host.root.join(name)).expect("metadata");
        assert_eq!(metadata.mode() & 0o7777, mode);
        assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(metadata.gid(), rustix::process::getegid().as_raw());
        if mode & 0o400 != 0 || is_root() {
            assert_eq!(host.probe(&change), State::After);
        }
    }
    refused(host.create("d", "new", 0o4755), FaultKind::Invalid, "0777");
    assert_eq!(host.names(), ["a", "b", "c"]);
}

#[test]
fn a_created_file_gets_the_group_of_a_setgid_directory() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("shared")).expect("made");
    if is_root() {
        std::os::unix::fs::lchown(host.root.join("shared"), None, Some(4321)).expect("group");
    }
    host.set_mode("shared", 0o2755);
    let group = std::fs::metadata(host.root.join("shared")).expect("metadata").gid();
    let change = host.create("shared/file", "new", 0o640).expect("prepared");
    host.apply(&change).expect("applied");
    assert_eq!(std::fs::metadata(host.root.join("shared/file")).expect("metadata").gid(), group);
    assert_eq!(host.probe(&change), State::After);
}

#[test]
fn a_default_acl_is_not_taken_over() {
    let mut host = Host::live();
    host.write("file", "before");
    let before = all(&host.root.join("file"));
    if !set(&host.root, "system.posix_acl_default", &acl(4)) {
        return;
    }
    refused(host.create("new", "x", 0o600), FaultKind::Unsupported, "default ACL");
    // What is staged in such a directory gets an ACL at first; the replaced file had none.
    let change = host.replace("file", "after").expect("prepared");
    host.apply(&change).expect("applied");
    assert_eq!(get(&host.root.join("file"), "system.posix_acl_access"), None);
    host.undo(&change).expect("undone");
    assert_eq!(all(&host.root.join("file")), before);
}

#[test]
fn flags_that_forbid_renaming_are_refused_up_front() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let mut host = Host::live();
    host.write("file", "before");
    for (name, flag, says) in [
        ("file", IFlags::IMMUTABLE, "immutable"),
        ("file", IFlags::APPEND, "append-only"),
        (".", IFlags::APPEND, "append-only"),
    ] {
        let file = std::fs::File::open(host.root.join(name)).expect("opened");
        let Ok(flags) = ioctl_getflags(&file) else { return };
        if ioctl_setflags(&file, flags | flag).is_err() {
            return;
        }
        let (replace, remove) = (host.replace("file", "after"), host.remove("file"));
        ioctl_setflags(&file, flags).expect("flags");
        refused(replace, FaultKind::Unsupported, says);
        refused(remove, FaultKind::Unsupported, says);
    }
    host.replace("file", "after").expect("prepared");
}

#[test]
fn a_sealed_content_is_not_replaced() {
    let mut host = Host::live();
    host.write("file", "before");
    if !set(&host.root.join("file"), "security.ima", &[4, 4, 0]) {
        return;
    }
    refused(host.replace("file", "after"), FaultKind::Unsupported, "security.ima");
    host.remove("file").expect("prepared");
}

#[test]
fn a_file_that_could_not_be_given_back_is_refused() {
    // As an ordinary user, in a process of its own.
    if is_root() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("mode");
        for (name, uid, gid) in [("theirs", 4242, 4242), ("ours", 1234, 1234), ("group", 1234, 4242), ("root", 0, 1234)]
        {
            let path = directory.path().join(name);
            std::fs::write(&path, "before").expect("written");
            std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).expect("owner");
        }
        // The test itself may lie where an ordinary user may not look.
        let program = directory.path().join("test");
        std::fs::copy(std::env::current_exe().expect("test"), &program).expect("copied");
        let run = std::process::Command::new("setpriv")
            .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
            .arg(&program)
            .args(["--exact", "keeping::as_an_ordinary_user", "--ignored"])
            .env("FILES_TEST_ROOT", directory.path())
            .output();
        let Ok(run) = run else { return };
        let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && text.contains("1 passed"), "{text}");
    }
}

#[test]
#[ignore = "run by the test above as an ordinary user"]
fn as_an_ordinary_user() {
    let Some(root) = std::env::var_os("FILES_TEST_ROOT") else { return };
    let mut host = Host::live();
    host.root = std::path::PathBuf::from(root).canonicalize().expect("resolved");
    refused(host.replace("theirs", "x"), FaultKind::Unsupported, "belongs to user 4242");
    refused(host.remove("root"), FaultKind::Unsupported, "belongs to user 0");
    refused(host.replace("group", "x"), FaultKind::Unsupported, "belongs to group 4242");
    let change = host.replace("ours", "after").expect("prepared");
    host.apply(&change).expect("applied");
    host.undo(&change).expect("undone");
    assert_eq!(host.content("ours"), "before");
    // A directory that nothing can be renamed in.
    let call = FilesCall::Create { path: "/usr/new".to_owned(), contents: vec![], mode: 0o600 };
    let own = crate::support::scope(&call, "/usr/new");
    let result = countersign_capability::Session::prepare(
        &mut host.session,
        &mut crate::support::context(&mut host.blobs),
        &own,
        call,
    );
    refused(result.map(drop), FaultKind::Other, "may not");
}
