//! Making and opening the state directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use countersign_record::{FORMAT, RecordError, State, When};
use rusqlite::Connection;

use crate::support::{approve, begin, fixture};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("metadata").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn refusal(dir: &Path) -> String {
    State::open(dir).expect_err("refused").full()
}

#[test]
#[ignore = "a child of the test below, since a umask is the whole process's"]
fn child_makes() {
    let Some(dir) = std::env::var_os("COUNTERSIGN_RECORD_TEST_NEW") else { return };
    rustix::process::umask(rustix::fs::Mode::empty());
    let state = State::create(Path::new(&dir)).expect("made");
    let (proposal, manifest) = approve(&state, b"{}");
    let mut journal = begin(&state, "web-1", &proposal, &manifest, 1).expect("begins");
    journal.event("check", &serde_json::json!({}), When::Now).expect("an event");
    state.blobs().put(b"secret").expect("a blob");
    state.write_new(Path::new("runner.key"), b"key", 0o600).expect("a key");
    state.write_new(Path::new("runner.pub"), b"pub", 0o644).expect("a public key");
    // As a crash leaves it, with -wal and -shm.
    std::process::abort();
}

#[test]
fn is_private_whatever_the_umask_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("new/state");
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "directory::child_makes", "--ignored"])
        .env("COUNTERSIGN_RECORD_TEST_NEW", &dir)
        .output()
        .expect("a child");
    let (mut files, mut folders) = (0, vec![dir.clone()]);
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let expected = if path.ends_with("runner.pub") { 0o644 } else { 0o600 };
                assert_eq!(mode(&path), expected, "{}", path.display());
                files += 1;
            }
        }
    }
    // The database, its -wal and -shm, two keys, a manifest, a lock, a reserve, a blob.
    assert_eq!(files, 9);
    // As a careless copy leaves them.
    let beside = ["countersign.db-wal", "countersign.db-shm"].map(|name| dir.join(name));
    beside.iter().for_each(|path| chmod(path, 0o644));
    let _state = State::open(&dir).expect("opens");
    beside.iter().for_each(|path| assert_eq!(mode(path), 0o600, "{}", path.display()));
}

#[test]
fn is_made_only_where_nothing_is() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("notes.txt"), "mine").expect("a file");
    let error = State::create(dir.path()).expect_err("refused").to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);

    let run = fixture();
    assert!(matches!(State::create(run.path()), Err(RecordError::NotEmpty(_))));
    State::open(run.path()).expect("unharmed");

    // An empty directory that others could read becomes private.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    chmod(&empty, 0o755);
    State::create(&empty).expect("made");
    assert_eq!(mode(&empty), 0o700);
}

#[test]
fn tells_what_is_wrong_with_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing");
    assert_eq!(refusal(&missing), format!("there is no state directory at `{}`", missing.display()));
    assert!(refusal(dir.path()).contains("is not a state directory: it has no `countersign.db`"));
    let file = dir.path().join("file");
    fs::write(&file, "").expect("a file");
    assert!(refusal(&file).contains("it is not a directory"));

    let run = fixture();
    chmod(run.path(), 0o770);
    assert!(refusal(run.path()).contains("has mode 0770, so that others can write it; 0700 is needed"));
    chmod(run.path(), 0o702);
    assert!(refusal(run.path()).contains("can write it"));
    chmod(run.path(), 0o700);
    let database = run.path().join("countersign.db");
    chmod(&database, 0o644);
    assert!(refusal(run.path()).contains("has mode 0644, so that others can read it; 0600 is needed"));
    chmod(&database, 0o600);
    State::open(run.path()).expect("unharmed");
}

#[test]
fn refuses_another_users_directory() {
    let run = fixture();
    let dir = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(run.path(), Some(65_534), None).expect("chown");
        run.path()
    } else {
        Path::new("/")
    };
    assert!(matches!(State::open(dir), Err(RecordError::OtherOwner { .. })), "{}", refusal(dir));
}

#[test]
fn refuses_a_database_behind_a_link() {
    let run = fixture();
    let database = run.path().join("countersign.db");
    let elsewhere = run.dir.path().join("elsewhere.db");
    fs::rename(&database, &elsewhere).expect("moved");
    symlink(&elsewhere, &database).expect("a link");
    assert!(refusal(run.path()).contains("its `countersign.db` is not a regular file"));
}

#[test]
fn refuses_a_newer_version() {
    let newer = FORMAT + 1;
    let sqls =
        [format!("PRAGMA user_version = {newer}"), format!("UPDATE meta SET value = '{newer}' WHERE key = 'format'")];
    for sql in &sqls {
        let run = fixture();
        run.second().execute_batch(sql).expect("changed");
        let error = refusal(run.path());
        let says = format!("has format {newer}, and this version knows formats up to {FORMAT}; nothing was changed");
        assert!(error.contains(&says), "{error}");
    }
    let run = fixture();
    run.second().execute_batch("DELETE FROM meta").expect("changed");
    assert!(refusal(run.path()).contains("names no version"));
}

#[test]
fn refuses_an_older_version_and_says_what_to_do() {
    let run = fixture();
    let older = "PRAGMA user_version = 1; UPDATE meta SET value = '1' WHERE key = 'format'";
    run.second().execute_batch(older).expect("changed");
    let error = State::open(run.path()).expect_err("refused");
    let says = format!("has format 1, and this version knows only format {FORMAT}; nothing was changed");
    assert!(error.full().contains(&says), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("make a new state directory")), "{:?}", error.hint());
}

#[test]
fn refuses_other_databases_and_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let database = dir.path().join("countersign.db");
    for (content, expected) in [
        (&b""[..], "making it may have been cut off"),
        (
            b"not a database, but long enough to be taken for one by its size alone: \
           SQLite reads a header of a hundred bytes before it decides",
            "is damaged: file is not a database",
        ),
    ] {
        fs::write(&database, content).expect("a file");
        chmod(&database, 0o600);
        let error = refusal(dir.path());
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(&database).expect("removed");
    Connection::open(&database).expect("a database").execute_batch("PRAGMA user_version = 9").expect("a version");
    chmod(&database, 0o600);
    assert!(refusal(dir.path()).contains("another program's"));
}

#[test]
fn refuses_a_database_that_was_damaged_in_the_middle() {
    let run = fixture();
    // Into the file itself, so that there is no -wal to repair it from.
    run.second().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("a checkpoint");
    let database = run.path().join("countersign.db");
    let (path, mut bytes) = (run.path().to_owned(), fs::read(&database).expect("the database"));
    drop(run.state);
    bytes[100..].fill(0xa5);
    fs::write(&database, bytes).expect("damaged");
    let error = refusal(&path);
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn reads_private_files_only_where_they_are_private() {
    let run = fixture();
    let key = Path::new("runner.key");
    assert!(matches!(run.state.read_private(key, 10), Err(RecordError::NotFound { .. })));
    run.state.write_new(key, b"key", 0o600).expect("a key");
    assert!(matches!(run.state.write_new(key, b"other", 0o600), Err(RecordError::Duplicate { .. })));
    assert_eq!(run.state.read_private(key, 3).expect("read"), b"key");
    let error = run.state.read_private(key, 2).expect_err("too large").full();
    assert!(error.contains("more than 2 bytes"), "{error}");
    chmod(&run.path().join(key), 0o640);
    assert!(matches!(run.state.read_private(key, 3), Err(RecordError::Exposed { .. })));
    fs::remove_file(run.path().join(key)).expect("removed");
    symlink("runner.pub", run.path().join(key)).expect("a link");
    run.state.write_new(Path::new("runner.pub"), b"pub", 0o600).expect("a public key");
    assert!(run.state.read_private(key, 3).is_err(), "a link is not followed");
}
