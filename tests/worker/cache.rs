use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_model::Role;
use countersign_sandbox::Output;
use countersign_worker::Workers;

use crate::guests::{admitted, granted, run, trivial, workers};
use crate::support::mount::Mount;

struct Fixture {
    _root: tempfile::TempDir,
    dir: PathBuf,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("cache");
    Fixture { _root: root, dir }
}

fn caching(dir: &Path) -> Workers {
    workers(Some(dir))
}

/// Whether a step is compiled and not taken from the cache, by workers of its own; it runs either way.
fn compiles_anew(dir: &Path) -> bool {
    let workers = caching(dir);
    let admitted = admitted(&trivial(Role::Fix));
    let starting = workers.start(&admitted, &granted()).expect("started");
    let cached = starting.from_cache();
    assert_eq!(run(&starting.ready().expect("linked")).result, Ok(Output::Done));
    !cached
}

fn compile(dir: &Path) {
    compiles_anew(dir);
}

fn start(dir: &Path, role: Role) {
    let workers = caching(dir);
    let admitted = admitted(&trivial(role));
    workers.start(&admitted, &granted()).expect("started").ready().expect("linked");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

/// The one file in the cache.
fn file(dir: &Path) -> PathBuf {
    let mut files = files(dir);
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// No code is mapped from there: it is copied.
#[test]
fn what_is_kept_where_nothing_may_be_run_from_is_loaded_all_the_same() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(mount) = Mount::new(&root.path().join("mount"), 64) else { return };
    let noexec = Command::new("mount").args(["-o", "remount,noexec"]).arg(&mount.0).status().expect("it starts");
    assert!(noexec.success());
    let dir = mount.0.join("cache");
    assert!(compiles_anew(&dir));
    assert!(!compiles_anew(&dir));
}

#[test]
fn keeps_what_it_compiled() {
    let Fixture { dir, _root } = fixture();
    assert!(compiles_anew(&dir));
    assert!(!compiles_anew(&dir));
    assert_eq!(fs::metadata(&dir).expect("it is made").permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(file(&dir)).expect("it is kept").permissions().mode() & 0o7777, 0o600);
    // Another component is another file.
    start(&dir, Role::Check);
    assert_eq!(files(&dir).len(), 2);
}

#[test]
fn compiles_again_what_is_damaged() {
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    let whole = fs::read(file(&dir)).expect("native code");
    let mut damaged: Vec<Vec<u8>> = vec![vec![], b"\x7fELF".to_vec(), vec![0; whole.len()], b"junk".repeat(1000)];
    damaged.extend((0..20).map(|part| whole[..whole.len() * part / 20].to_vec()));
    damaged.push(whole[..whole.len() - 1].to_vec());
    // One bit, anywhere: in the header, the code, the metadata, the checksum.
    for at in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 6, whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    damaged.push([whole.as_slice(), &[0]].concat());
    for bytes in damaged {
        fs::write(file(&dir), &bytes).expect("damaged");
        assert!(compiles_anew(&dir), "{} of {} bytes", bytes.len(), whole.len());
        assert_eq!(fs::read(file(&dir)).expect("native code").len(), whole.len());
    }
    assert!(!compiles_anew(&dir));
}

#[test]
fn another_steps_code_under_this_name_is_noticed() {
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    let this = file(&dir);
    start(&dir, Role::Check);
    let other = files(&dir).into_iter().find(|path| *path != this).expect("two files");
    fs::copy(&other, &this).expect("exchanged");
    assert!(compiles_anew(&dir));
}

#[test]
fn takes_no_directory_that_others_can_reach() {
    for mode in [0o750, 0o701, 0o777, 0o1700, 0o500] {
        let Fixture { dir, _root } = fixture();
        compile(&dir);
        fs::set_permissions(&dir, Permissions::from_mode(mode)).expect("a mode");
        assert!(!caching(&dir).caches(), "{mode:o}");
        assert!(compiles_anew(&dir), "{mode:o}");
    }
    // A symlink to a good one, a file, and nothing that could be made.
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    let link = dir.with_file_name("link");
    symlink(&dir, &link).expect("a symlink");
    assert!(!caching(&link).caches());
    let plain = dir.with_file_name("plain");
    fs::write(&plain, "").expect("a file");
    assert!(!caching(&plain).caches());
    assert!(!caching(&dir.with_file_name("none").join("below")).caches());
}

#[test]
fn takes_no_directory_or_file_of_another_user() {
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    let owned_by = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None);
    // Only root can give files away.
    if owned_by(&file(&dir), 12345).is_err() {
        return;
    }
    assert!(compiles_anew(&dir));
    assert!(!compiles_anew(&dir));
    owned_by(&dir, 12345).expect("given away");
    assert!(!caching(&dir).caches());
}

#[test]
fn takes_no_file_that_others_could_have_written() {
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    for mode in [0o660, 0o602, 0o644, 0o700] {
        fs::set_permissions(file(&dir), Permissions::from_mode(mode)).expect("a mode");
        assert!(compiles_anew(&dir), "{mode:o}");
        assert!(!compiles_anew(&dir), "it was replaced");
    }
    // Under a second name, somebody may hold it open for writing.
    let elsewhere = dir.with_file_name("elsewhere");
    fs::hard_link(file(&dir), &elsewhere).expect("a link");
    assert!(compiles_anew(&dir));
    assert!(!compiles_anew(&dir));
    // Not the file itself.
    let path = file(&dir);
    fs::remove_file(&elsewhere).expect("removed");
    fs::rename(&path, &elsewhere).expect("moved");
    symlink(&elsewhere, &path).expect("a symlink");
    assert!(compiles_anew(&dir));
    assert!(fs::symlink_metadata(&path).expect("replaced").is_file());
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a directory");
    assert!(compiles_anew(&dir));
}

#[test]
fn holds_a_bounded_number_and_clears_what_dying_writers_left() {
    let Fixture { dir, _root } = fixture();
    compile(&dir);
    fs::remove_file(file(&dir)).expect("removed");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100_000);
    let put = |name: &str, modified| {
        let file = fs::File::create(dir.join(name)).expect("a file");
        file.set_modified(modified).expect("a time");
    };
    for number in 0..70 {
        put(&format!("old-{number}.cwasm"), old + std::time::Duration::from_secs(number));
    }
    put(".new-1-1", old);
    put(".new-2-1", std::time::SystemTime::now());
    put("notes", old);
    compile(&dir);
    let names: Vec<_> =
        files(&dir).iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".cwasm")).count(), 64);
    assert!(names.contains(&"old-69.cwasm".to_owned()) && !names.contains(&"old-0.cwasm".to_owned()));
    assert!(names.contains(&".new-2-1".to_owned()) && !names.contains(&".new-1-1".to_owned()));
    assert!(names.contains(&"notes".to_owned()));
    assert!(!compiles_anew(&dir));
}
