//! A disk that forgets what was not synced when its power is cut: under every durable write, at every one of its steps.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use countersign_capability::Stream;
use countersign_model::Digest;
use countersign_record::{Disk, Durable, State, Unsynced};

use crate::support::{begin, fixture};

/// What a disk may have of what was never synced when its power is cut.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// Nothing.
    Nothing,
    /// Names, and no bytes: those of a file that was never synced are none.
    Names,
    /// Bytes, and no names.
    Bytes,
    /// Names, and the first half of the bytes.
    Torn,
}

const LEFT: [Left; 4] = [Left::Nothing, Left::Names, Left::Bytes, Left::Torn];

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Default)]
struct Content {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    /// How many operations are done before the power is cut.
    left: usize,
}

#[derive(Clone, Default)]
struct Forgetful(Arc<Mutex<Content>>);

struct Written(Forgetful, usize);

impl Forgetful {
    fn cut_after(operations: usize) -> Self {
        Self(Arc::new(Mutex::new(Content { left: operations, ..Content::default() })))
    }

    /// One operation, unless the power is gone.
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> io::Result<T>) -> io::Result<T> {
        let mut content = self.0.lock().expect("the disk");
        content.left = content.left.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        act(&mut content)
    }

    /// What is there when it is started again.
    fn restarted(&self, left: Left) -> Self {
        let content = self.0.lock().expect("the disk").clone();
        let names = match left {
            Left::Nothing | Left::Bytes => content.synced,
            Left::Names | Left::Torn => content.names,
        };
        let bytes = |file: &File| match left {
            Left::Nothing | Left::Names => file.synced.clone(),
            Left::Bytes => file.bytes.clone(),
            Left::Torn if file.bytes == file.synced => file.synced.clone(),
            Left::Torn => file.bytes[..file.bytes.len() / 2].to_vec(),
        };
        let files = content.files.iter().map(bytes).map(|bytes| File { synced: bytes.clone(), bytes }).collect();
        let restarted = Content { files, synced: names.clone(), names, left: usize::MAX };
        Self(Arc::new(Mutex::new(restarted)))
    }

    fn put(&self, path: &Path, bytes: Vec<u8>) -> io::Result<Box<dyn Unsynced>> {
        let number = self.with(|content| {
            if content.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            content.files.push(File { bytes, synced: Vec::new() });
            let number = content.files.len() - 1;
            content.names.insert(path.to_owned(), number);
            Ok(number)
        })?;
        Ok(Box::new(Written(self.clone(), number)))
    }
}

impl Unsynced for Written {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.with(|content| {
            let file = &mut content.files[self.1];
            file.synced.clone_from(&file.bytes);
            Ok(())
        })
    }
}

impl Disk for Forgetful {
    fn create(&self, path: &Path, bytes: &[u8], _: u32) -> io::Result<Box<dyn Unsynced>> {
        self.put(path, bytes.to_vec())
    }
    fn create_from(&self, path: &Path, from: &mut dyn Read, _: u32) -> io::Result<Box<dyn Unsynced>> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        self.put(path, bytes)
    }
    fn set_aside(&self, path: &Path, size: u64, _: u32) -> io::Result<Box<dyn Unsynced>> {
        self.put(path, vec![0; usize::try_from(size).expect("small")])
    }
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.with(|content| {
            if !replace && content.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let number = content.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            content.names.insert(to.to_owned(), number);
            Ok(())
        })
    }
    fn make_dir(&self, _: &Path, _: u32) -> io::Result<()> {
        self.with(|_| Ok(()))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|content| {
            content.synced.retain(|name, _| name.parent() != Some(path));
            let names = content.names.iter().filter(|(name, _)| name.parent() == Some(path));
            let names: Vec<_> = names.map(|(name, number)| (name.clone(), *number)).collect();
            content.synced.extend(names);
            Ok(())
        })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|content| content.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }
    fn read(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        let content = self.0.lock().expect("the disk");
        let number = content.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(content.files[*number].bytes.clone())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Stream>> {
        self.read(path, usize::MAX).map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Stream>)
    }
}

/// Does this with a disk whose power is cut after each of its operations, until it is not cut any more; then looks at all
/// that may be left.
fn cut(act: impl Fn(&Forgetful) -> bool, look: impl Fn(&Forgetful, bool, &str)) {
    for operations in 0.. {
        let disk = Forgetful::cut_after(operations);
        let done = act(&disk);
        for left in LEFT {
            look(&disk.restarted(left), done, &format!("cut after {operations} operations, {left:?} is left"));
        }
        if disk.0.lock().expect("the disk").left > 0 {
            assert!(done && operations > 2, "it was done");
            return;
        }
    }
}

fn read(disk: &Forgetful, path: &Path) -> Option<Vec<u8>> {
    disk.read(path, usize::MAX).ok()
}

#[test]
fn a_new_file_is_there_whole_or_not_at_all() {
    let path = Path::new("/state/file");
    cut(
        |disk| Durable::new(Box::new(disk.clone())).write_new(path, b"all of it", 0o600).is_ok(),
        |disk, done, point| match read(disk, path) {
            Some(bytes) => assert_eq!(bytes, b"all of it", "{point}"),
            None => assert!(!done, "{point}: it was done"),
        },
    );
}

#[test]
fn a_file_that_is_replaced_is_the_earlier_one_or_the_later() {
    let path = Path::new("/state/file");
    let first = Mutex::new(false);
    cut(
        |disk| {
            let durable = Durable::new(Box::new(disk.clone()));
            *first.lock().expect("a flag") = durable.write_new(path, b"the earlier one", 0o600).is_ok();
            durable.replace(path, b"the later", 0o600).is_ok()
        },
        |disk, second, point| match read(disk, path).as_deref() {
            Some(b"the later") => {}
            Some(b"the earlier one") => assert!(!second, "{point}"),
            None => assert!(!*first.lock().expect("a flag"), "{point}"),
            Some(other) => panic!("{point}: {}", String::from_utf8_lossy(other)),
        },
    );
}

#[test]
fn an_image_is_there_whole_or_not_at_all() {
    let run = fixture();
    let bytes = vec![7; 5000];
    let digest = Digest::of(&bytes);
    let path = run.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    let look = |disk: &Forgetful, done: bool, point: &str| match read(disk, &path) {
        Some(found) => assert!(found == bytes, "{point}: {} bytes", found.len()),
        None => assert!(!done, "{point}: it was kept"),
    };
    let with = |disk: &Forgetful, put: &dyn Fn(&State) -> bool| {
        State::open_with(run.path(), Box::new(disk.clone())).is_ok_and(|state| put(&state))
    };
    cut(|disk| with(disk, &|state| state.blobs().put(&bytes).is_ok()), look);
    cut(|disk| with(disk, &|state| state.blobs().put_from(5000, &mut bytes.as_slice()).is_ok()), look);
    // Whoever put it first may have died before its name was durable.
    cut(|disk| with(disk, &|state| state.blobs().put(&bytes).is_ok_and(|_| state.blobs().put(&bytes).is_ok())), look);
}

#[test]
fn what_is_set_aside_is_there_once_the_run_has_begun() {
    // On one of its own each time, since its run is the real database's.
    let runs = Mutex::new(Vec::new());
    cut(
        |disk| {
            let run = fixture();
            let state = State::open_with(run.path(), Box::new(disk.clone()));
            let begun = state.is_ok_and(|state| begin(&state, "web-1", &run.proposal, &run.manifest, 1).is_ok());
            runs.lock().expect("a list").push(run);
            begun
        },
        |disk, begun, point| {
            let content = disk.0.lock().expect("the disk");
            let reserve = content.names.iter().find(|(name, _)| name.to_string_lossy().ends_with(".reserve"));
            let size = reserve.map(|(_, number)| content.files[*number].bytes.len());
            assert!(!begun || size.is_some_and(|size| size >= 1024 * 1024), "{point}: {size:?}");
        },
    );
}
