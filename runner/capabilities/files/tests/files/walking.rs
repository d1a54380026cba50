//! A session that walked to a directory before still opens what is there now, and refuses what it would have refused.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_capability::Phase;
use countersign_files::FilesCall;
use countersign_model::{Fault, FaultKind};

use crate::support::{Host, is_root, refused, scope};

/// `a/b/c/file`, read once, so that each directory on the way is known to the session.
fn walked() -> Host {
    let mut host = Host::protecting(Phase::Live, &["state"]);
    std::fs::create_dir_all(host.root.join("a/b/c")).expect("made");
    host.write("a/b/c/file", "first");
    assert_eq!(host.cat("a/b/c/file").expect("read"), "first");
    host
}

fn rename(host: &Host, from: &str, to: &str) {
    std::fs::rename(host.root.join(from), host.root.join(to)).expect("renamed");
}

/// Every call that walks to the directory.
fn each(host: &mut Host) -> Vec<Result<(), Fault>> {
    let path = host.path("a/b/c");
    vec![
        host.cat("a/b/c/file").map(drop),
        host.stat("a/b/c/file").map(drop),
        host.read::<Vec<countersign_files::Entry>>(FilesCall::List { path }).map(drop),
        host.replace("a/b/c/file", "x").map(drop),
        host.create("a/b/c/new", "x", 0o600).map(drop),
        host.remove("a/b/c/file").map(drop),
    ]
}

#[test]
fn another_directory_in_its_place_is_the_one_that_is_read() {
    for moved in ["a", "a/b", "a/b/c"] {
        let mut host = walked();
        rename(&host, moved, "old");
        for result in each(&mut host) {
            refused(result, FaultKind::NotFound, "");
        }
        std::fs::create_dir_all(host.root.join("a/b/c")).expect("made");
        host.write("a/b/c/file", "second");
        assert_eq!(host.cat("a/b/c/file").expect("read"), "second", "{moved}");
        let change = host.replace("a/b/c/file", "third").expect("prepared");
        host.apply(&change).expect("applied");
        assert_eq!(host.content("a/b/c/file"), "third", "{moved}");
        let rest = Path::new("a/b/c/file").strip_prefix(moved).expect("within");
        assert_eq!(std::fs::read(host.root.join("old").join(rest)).expect("read"), b"first");
    }
}

#[test]
fn a_symlink_in_its_place_is_not_followed_even_to_the_same_directory() {
    for moved in ["a", "a/b", "a/b/c"] {
        let mut host = walked();
        rename(&host, moved, "moved");
        symlink(host.root.join("moved"), host.root.join(moved)).expect("link");
        assert_eq!(host.content("a/b/c/file"), "first");
        for result in each(&mut host) {
            refused(result, FaultKind::Unsupported, "");
        }
    }
}

#[test]
fn the_runners_own_directory_in_its_place_is_refused() {
    for moved in ["a", "a/b", "a/b/c"] {
        let mut host = walked();
        // It holds what the rest of the path names.
        let rest = Path::new("a/b/c").strip_prefix(moved).expect("within");
        std::fs::create_dir_all(host.root.join("state").join(rest)).expect("made");
        std::fs::write(host.root.join("state").join(rest).join("file"), "secret").expect("written");
        rename(&host, moved, "old");
        rename(&host, "state", moved);
        for result in each(&mut host) {
            refused(result, FaultKind::Denied, "belongs to the runner");
        }
    }
}

#[test]
fn a_known_directory_that_was_moved_into_the_runners_own_is_refused() {
    for (moved, into) in [("a/b/c", "state/c"), ("a/b", "state/b")] {
        let mut host = walked();
        rename(&host, moved, into);
        let above = Path::new(moved).parent().and_then(Path::to_str).expect("a directory above");
        std::fs::remove_dir(host.root.join(above)).expect("empty");
        rename(&host, "state", above);
        assert_eq!(host.content("a/b/c/file"), "first");
        for result in each(&mut host) {
            refused(result, FaultKind::Denied, "belongs to the runner");
        }
    }
}

#[test]
fn a_file_that_was_read_may_be_something_else_now() {
    let mut host = walked();
    let file = host.root.join("a/b/c/file");
    std::fs::hard_link(&file, host.root.join("second")).expect("link");
    refused(host.cat("a/b/c/file"), FaultKind::Unsupported, "2 hard links");
    std::fs::remove_file(&file).expect("removed");
    refused(host.cat("a/b/c/file"), FaultKind::NotFound, "");
    symlink(host.root.join("second"), &file).expect("link");
    refused(host.cat("a/b/c/file"), FaultKind::Unsupported, "symbolic link");
    std::fs::remove_file(&file).expect("removed");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).expect("made");
    refused(host.cat("a/b/c/file"), FaultKind::Unsupported, "FIFO");
    std::fs::remove_file(&file).expect("removed");
    host.write("a/b/c/file", "again, and longer");
    assert_eq!(host.cat("a/b/c/file").expect("read"), "again, and longer");
}

#[test]
fn only_so_many_directories_are_kept_open() {
    let mut host = Host::live();
    let open = || std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
    for number in 0..300 {
        let name = format!("{number}");
        std::fs::create_dir(host.root.join(&name)).expect("made");
        host.write(&format!("{number}/file"), &name);
        assert_eq!(host.cat(&format!("{number}/file")).expect("read"), name);
    }
    // Other tests of this process have descriptors too, but not hundreds.
    assert!(open() < 250, "{}", open());
}

#[test]
fn what_was_mounted_in_its_place_counts_as_a_mount() {
    // Within a mount namespace of a process of its own, so that nothing is left mounted.
    if !is_root() {
        eprintln!("skipped: only root may mount");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let run = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().expect("test"))
        .args(["--exact", "walking::mounting_in_a_namespace", "--ignored"])
        .env("FILES_TEST_ROOT", directory.path().canonicalize().expect("resolved"))
        .output();
    let Ok(run) = run else {
        eprintln!("skipped: there is no `unshare`");
        return;
    };
    let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if text.contains("Operation not permitted") || text.contains("permission denied") {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    }
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above in a mount namespace"]
fn mounting_in_a_namespace() {
    let Some(root) = std::env::var_os("FILES_TEST_ROOT").map(PathBuf::from) else { return };
    std::fs::create_dir_all(root.join("a/b/c")).expect("made");
    std::fs::create_dir_all(root.join("other/b/c")).expect("made");
    std::fs::write(root.join("a/b/c/file"), "first").expect("written");
    std::fs::write(root.join("other/b/c/file"), "other").expect("written");
    let mount = |from: &str, to: &str| {
        let status = Command::new("mount").arg("--bind").args([root.join(from), root.join(to)]).status();
        assert!(status.expect("mount").success(), "permission denied");
    };
    let unmount = |at: &str| {
        let status = Command::new("umount").arg("--lazy").arg(root.join(at)).status();
        assert!(status.expect("umount").success());
    };
    let mut host = Host::live();
    let path = root.join("a/b/c/file").to_str().expect("text").to_owned();
    let call = FilesCall::Read { path: path.clone() };
    let below = scope(&call, &format!("{}/**", root.display()));
    let single = scope(&call, &path);
    let mut read = |scope: &countersign_files::Scope| {
        let bytes = host.read_in::<serde_bytes::ByteBuf>(scope, call.clone())?;
        Ok::<_, Fault>(String::from_utf8(bytes.into_vec()).expect("text"))
    };
    assert_eq!(read(&below).expect("read"), "first");
    // Another directory, and the very same ones: device and inode alone would not tell.
    for (from, to, content) in
        [("other", "a", "other"), ("a", "a", "first"), ("a/b", "a/b", "first"), ("a/b/c", "a/b/c", "first")]
    {
        mount(from, to);
        refused(read(&below), FaultKind::Unsupported, "another file system");
        // The directory of a single file may be a mount; then it is known, and still no way for the other scope.
        assert_eq!(read(&single).expect("read"), content);
        refused(read(&below), FaultKind::Unsupported, "another file system");
        unmount(to);
        assert_eq!(read(&below).expect("read"), "first");
    }
    // A file can be mounted over too, here one in the same file system.
    std::fs::write(root.join("elsewhere"), "elsewhere").expect("written");
    mount("elsewhere", "a/b/c/file");
    refused(read(&below), FaultKind::Unsupported, "another file system");
    refused(read(&single), FaultKind::Unsupported, "another file system");
    unmount("a/b/c/file");
    assert_eq!(read(&below).expect("read"), "first");
}
