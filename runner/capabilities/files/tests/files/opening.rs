//! What is never opened, by whatever path.

use std::os::unix::fs::symlink;
use std::path::Path;

use countersign_capability::{Capability, Phase, Session};
use countersign_files::{Files, FilesCall, Kind};
use countersign_model::{Fault, FaultKind};

use crate::support::{Host, context, is_root, refused, scope};

/// Every call that opens a file, on one path.
fn each(host: &mut Host, name: &str) -> Vec<Result<(), Fault>> {
    let path = host.path(name);
    vec![
        host.read::<serde_bytes::ByteBuf>(FilesCall::Read { path: path.clone() }).map(drop),
        host.read::<serde_bytes::ByteBuf>(FilesCall::Tail { path: path.clone(), bytes: 10 }).map(drop),
        host.replace(name, "x").map(drop),
        host.remove(name).map(drop),
    ]
}

#[test]
fn a_symlink_is_never_followed() {
    let mut host = Host::live();
    let outside = tempfile::tempdir().expect("directory");
    std::fs::write(outside.path().join("secret"), "secret").expect("written");
    symlink(outside.path().join("secret"), host.root.join("link")).expect("link");
    symlink(outside.path(), host.root.join("directory")).expect("link");
    symlink("nowhere", host.root.join("dangling")).expect("link");
    for name in ["link", "directory/secret", "dangling"] {
        for result in each(&mut host, name) {
            refused(result, FaultKind::Unsupported, "symbolic link");
        }
    }
    refused(host.create("directory/new", "x", 0o600), FaultKind::Unsupported, "symbolic link");
    // A path that is taken by a dangling link is taken.
    refused(host.create("dangling", "x", 0o600), FaultKind::Unsupported, "symbolic link");
    refused(host.stat("directory/secret"), FaultKind::Unsupported, "symbolic link");
    let list = FilesCall::List { path: host.path("directory") };
    refused(host.read::<Vec<countersign_files::Entry>>(list), FaultKind::Unsupported, "");
    assert_eq!(host.stat("link").expect("stat").kind, Kind::Symlink);
    assert_eq!(std::fs::read_dir(outside.path()).expect("directory").count(), 1);
}

#[test]
fn a_symlink_above_the_scope_is_not_followed_either() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("real")).expect("made");
    host.write("real/file", "x");
    symlink("real", host.root.join("alias")).expect("link");
    let call = FilesCall::Read { path: host.path("alias/file") };
    let literal = host.scope(&call, "alias/file");
    refused(host.read_in::<serde_bytes::ByteBuf>(&literal, call), FaultKind::Unsupported, "symbolic link");
}

#[test]
fn dots_are_refused_even_where_the_scope_is_not_asked() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("a")).expect("made");
    host.write("secret", "secret");
    for path in ["a/../secret", "a/./../secret", "a//x", "./secret"] {
        let call = FilesCall::Read { path: format!("{}/{path}", host.root.display()) };
        let scope = host.scope(&call, "**");
        assert!(!Files::covers(&scope, &call));
        let result = host.session.read(&mut context(&mut host.blobs), &scope, call);
        refused(result, FaultKind::Invalid, "");
    }
}

#[test]
fn a_file_of_two_names_is_refused() {
    let mut host = Host::live();
    host.write("one", "x");
    std::fs::hard_link(host.root.join("one"), host.root.join("two")).expect("link");
    for result in each(&mut host, "two") {
        refused(result, FaultKind::Unsupported, "2 hard links");
    }
    assert_eq!(host.stat("two").expect("stat").kind, Kind::File);
}

#[test]
fn a_fifo_never_hangs() {
    let mut host = Host::live();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, host.root.join("fifo"), mode).expect("made");
    std::os::unix::net::UnixListener::bind(host.root.join("socket")).expect("bound");
    for name in ["fifo", "socket"] {
        for result in each(&mut host, name) {
            refused(result, FaultKind::Unsupported, "FIFO");
        }
        refused(host.create(name, "x", 0o600), FaultKind::Unsupported, "FIFO");
        assert_eq!(host.stat(name).expect("stat").kind, Kind::Other);
    }
}

#[test]
fn a_device_is_refused() {
    let mut host = Host::live();
    let call = FilesCall::Read { path: "/dev/null".to_owned() };
    let scope = scope(&call, "/dev/null");
    refused(host.read_in::<serde_bytes::ByteBuf>(&scope, call), FaultKind::Unsupported, "device");
}

#[test]
fn a_directory_is_no_file() {
    let mut host = Host::live();
    std::fs::create_dir(host.root.join("inner")).expect("made");
    for result in each(&mut host, "inner") {
        refused(result, FaultKind::Unsupported, "directory");
    }
    refused(host.create("inner", "x", 0o600), FaultKind::Unsupported, "directory");
    let list = FilesCall::List { path: host.path("inner/none") };
    refused(host.read::<Vec<countersign_files::Entry>>(list), FaultKind::NotFound, "");
    host.write("file", "x");
    let list = FilesCall::List { path: host.path("file") };
    refused(host.read::<Vec<countersign_files::Entry>>(list), FaultKind::Unsupported, "not a directory");
}

#[test]
fn no_mount_is_crossed_below_the_fixed_directory() {
    let mounted = Path::new("/dev/shm");
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).expect("metadata"));
    if !mounted.exists() || device(mounted) == device(Path::new("/dev")) {
        return;
    }
    let file = tempfile::NamedTempFile::new_in(mounted).expect("made");
    let path = file.path().to_str().expect("text").to_owned();
    let mut host = Host::live();
    let mut read = |pattern: &str| {
        let call = FilesCall::Read { path: path.clone() };
        host.read_in::<serde_bytes::ByteBuf>(&scope(&call, pattern), call)
    };
    for below in ["/dev/**", "/dev/*/*", "/**", "/dev/shm*/**"] {
        // Temporary names begin with a dot, which `*` does not take in.
        if below != "/dev/*/*" {
            refused(read(below), FaultKind::Unsupported, "another file system");
        }
    }
    read("/dev/shm/**").expect("the fixed directory may be a mount");
    read(&path).expect("the directory of a single file may be a mount");
    let call = FilesCall::Remove { path };
    let dev = scope(&call, "/dev/**");
    let result = host.session.prepare(&mut context(&mut host.blobs), &dev, call);
    refused(result.map(drop), FaultKind::Unsupported, "another file system");
    let call = FilesCall::List { path: "/dev/shm".to_owned() };
    let dev = scope(&call, "/dev/**");
    refused(host.read_in::<Vec<countersign_files::Entry>>(&dev, call), FaultKind::Unsupported, "another file system");
    // Only how full it is: that is asked of what is mounted, and no name in it is looked at.
    for pattern in ["/dev/**", "/dev/shm"] {
        let call = FilesCall::Usage { path: "/dev/shm".to_owned() };
        let scope = scope(&call, pattern);
        let usage = host.read_in::<countersign_files::Usage>(&scope, call).expect("usage");
        let found = rustix::fs::statvfs(mounted).expect("statvfs");
        assert_eq!(usage.bytes.total, found.f_blocks * found.f_frsize);
    }
    let call = FilesCall::Stat { path: "/dev/shm".to_owned() };
    refused(host.read_in::<countersign_files::Stat>(&dev, call), FaultKind::Unsupported, "another file system");
}

#[test]
fn the_kernels_own_file_systems_are_refused() {
    let mut host = Host::live();
    for path in ["/proc/version", "/sys/kernel/uevent_seqnum", "/proc/self/status"] {
        if !Path::new(path).exists() {
            continue;
        }
        let call = FilesCall::Stat { path: path.to_owned() };
        let own = scope(&call, path);
        let fault = host.read_in::<countersign_files::Stat>(&own, call).expect_err("refused");
        // `/proc/self` is a symbolic link.
        assert!(matches!(fault.kind, FaultKind::Denied | FaultKind::Unsupported), "{fault:?}");
        let call = FilesCall::Read { path: path.to_owned() };
        host.read_in::<serde_bytes::ByteBuf>(&own, call).expect_err("refused");
    }
    let call = FilesCall::Read { path: "/proc/version".to_owned() };
    let own = scope(&call, "/proc/version");
    refused(host.read_in::<serde_bytes::ByteBuf>(&own, call), FaultKind::Denied, "procfs");
}

#[test]
fn the_runners_own_files_are_refused_by_inode() {
    let mut host = Host::protecting(Phase::Live, &["state"]);
    host.write("state/journal", "x");
    for result in each(&mut host, "state/journal") {
        refused(result, FaultKind::Denied, "belongs to the runner");
    }
    refused(host.create("state/new", "x", 0o600), FaultKind::Denied, "belongs to the runner");
    refused(host.stat("state"), FaultKind::Denied, "belongs to the runner");
    let list = FilesCall::List { path: host.path("state") };
    refused(host.read::<Vec<countersign_files::Entry>>(list), FaultKind::Denied, "belongs to the runner");
    // Renamed, it is still the same directory; so is a bind mount.
    std::fs::rename(host.root.join("state"), host.root.join("plain")).expect("renamed");
    for result in each(&mut host, "plain/journal") {
        refused(result, FaultKind::Denied, "belongs to the runner");
    }
    assert_eq!(host.content("plain/journal"), "x");
}

#[test]
fn a_bind_mount_of_a_part_of_the_runners_files_is_refused() {
    // Within a mount namespace of a process of its own, so that nothing is left mounted.
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path().canonicalize().expect("resolved");
    for name in ["state/blobs", "alias", "elsewhere"] {
        std::fs::create_dir_all(root.join(name)).expect("made");
    }
    std::fs::write(root.join("state/blobs/one"), "x").expect("written");
    let run = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", "mount --bind \"$1/state/blobs\" \"$1/alias\"; exec \"$2\" --exact opening::within_a_mount_namespace --ignored", "sh"])
        .arg(&root)
        .arg(std::env::current_exe().expect("test"))
        .env("FILES_TEST_ROOT", &root)
        .output();
    let Ok(run) = run else { return };
    let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if text.contains("Operation not permitted") || text.contains("permission denied") {
        return;
    }
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above in a mount namespace"]
fn within_a_mount_namespace() {
    let Some(root) = std::env::var_os("FILES_TEST_ROOT").map(std::path::PathBuf::from) else { return };
    let mut host = Host::live();
    host.session = crate::support::open(Phase::Live, &[root.join("state")]);
    let path = root.join("alias/one").to_str().expect("text").to_owned();
    assert_eq!(std::fs::read(&path).expect("mounted"), b"x");
    for pattern in [path.clone(), format!("{}/alias/**", root.display())] {
        let call = FilesCall::Read { path: path.clone() };
        let own = scope(&call, &pattern);
        refused(host.read_in::<serde_bytes::ByteBuf>(&own, call), FaultKind::Denied, "belongs to the runner");
        let call = FilesCall::Remove { path: path.clone() };
        let own = scope(&call, &pattern);
        let result = host.session.prepare(&mut context(&mut host.blobs), &own, call);
        refused(result.map(drop), FaultKind::Denied, "belongs to the runner");
    }
}

#[test]
fn settings_and_phases_are_strict() {
    let protected = Default::default();
    let settings = serde_json::json!({"root": "/"});
    let opening = countersign_capability::Opening { settings: &settings, phase: Phase::Observe, protected: &protected };
    assert!(Files::open(&opening).is_err());

    let mut host = Host::live();
    host.write("file", "x");
    let change = host.replace("file", "y").expect("prepared");
    refused(host.rehearse(&change), FaultKind::Denied, "session of a run");
    refused(host.rehearse_undo(&change), FaultKind::Denied, "session of a run");
    for phase in [Phase::Observe, Phase::Rehearse] {
        host.reopened(phase);
        refused(host.apply(&change), FaultKind::Denied, "applied");
        refused(host.undo(&change), FaultKind::Denied, "undone");
        refused(host.settle(&change), FaultKind::Denied, "settled");
    }
    host.reopened(Phase::Observe);
    refused(host.replace("file", "y"), FaultKind::Denied, "prepared");
    refused(host.rehearse(&change), FaultKind::Denied, "rehearsed");
    assert_eq!(host.probe(&change), countersign_model::State::Before);
    assert_eq!((host.content("file").as_str(), host.names().len()), ("x", 1));
}

#[test]
fn a_call_past_its_deadline_does_nothing() {
    let mut host = Host::live();
    host.write("file", "x");
    let change = host.replace("file", "y").expect("prepared");
    let deadline = std::time::Instant::now();
    let mut late = countersign_capability::Context { blobs: &mut crate::support::Memory::default(), deadline };
    refused(host.session.apply(&mut late, &change), FaultKind::TimedOut, "");
    let call = FilesCall::Read { path: host.path("file") };
    let own = host.scope(&call, "**");
    refused(host.session.read(&mut late, &own, call), FaultKind::TimedOut, "");
    assert_eq!((host.content("file").as_str(), host.names().len()), ("x", 1));
}
