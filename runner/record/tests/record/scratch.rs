//! What a rehearsal puts aside, what becomes of it, and what others left behind.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use countersign_capability::Blobs;
use countersign_model::{Change, Digest, Image, Role};
use countersign_record::{ImagesPlace, RecordError, State};

use crate::disk::{Watched, numbers};
use crate::images::{MIB, Untouched, content, files, over_cap, place, state};
use crate::support::{change, fixture};

/// What stands beside the folder of images: folders and locks.
fn scratch(images: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(images.join("scratch")) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn reopened(state: &State, images: &Path, cap: u64) -> State {
    let opened = State::open(state.dir()).expect("it opens");
    opened.keeping_images(&place(Some(images.to_owned()), cap)).expect("a place")
}

fn read(blobs: &mut dyn Blobs, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    blobs.open(digest).expect("it is there").read_to_end(&mut bytes).expect("read");
    assert_eq!(blobs.get(digest).expect("it is there"), bytes);
    bytes
}

#[test]
fn what_a_rehearsal_puts_is_apart_takes_nothing_and_is_gone_with_it() {
    let (_dir, images, state) = state(9 * MIB);
    let (small, large) = (content(1, 9), content(2, 2 * MIB));
    let digest = state.rehearsal_blobs().put(&small).expect("there is room");
    assert_eq!(digest, Digest::of(&small));
    let image = state.rehearsal_blobs().put_from(2 * MIB, &mut large.as_slice()).expect("there is room");
    assert_eq!(image, Image::of(&large));
    // Whoever asks this process finds it, and nobody else does.
    assert_eq!(
        (read(&mut state.rehearsal_blobs(), &digest), read(&mut state.rehearsal_blobs(), &image.digest)),
        (small, large)
    );
    let another = reopened(&state, &images, 9 * MIB);
    for blobs in [&mut state.blobs() as &mut dyn Blobs, &mut another.rehearsal_blobs()] {
        blobs.get(&digest).expect_err("it is not kept");
        blobs.open(&image.digest).map(drop).expect_err("it is not kept");
    }
    assert_eq!((state.images().expect("counted").used, files(&images.join("sha256"))), (0, 0));
    assert!(state.place(&image).expect("looked for").is_none());

    let aside = scratch(&images);
    let [folder, lock] = aside.as_slice() else { panic!("{aside:?}") };
    assert_eq!((files(folder), folder.with_extension("lock")), (2, lock.clone()));
    for (path, mode) in [(folder, 0o700), (&images.join("scratch"), 0o700), (&folder.join(digest.hex()), 0o600)] {
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o7777, mode, "{}", path.display());
    }
    drop(state);
    assert_eq!(scratch(&images), [""; 0].map(PathBuf::from));
}

#[test]
fn what_is_kept_is_not_put_aside() {
    let mut run = fixture();
    let images = run.path().join("blobs");
    let mut journal = run.begin(1).expect("it begins");
    let committed = change(&mut journal, b"before", b"after");
    journal.intend(Role::Fix, &committed).expect("recorded");
    let large = content(2, 2 * MIB);
    run.state.blobs().put(&large).expect("kept");
    run.state = run.state.keeping_images(&place(None, 2 * MIB + 11)).expect("a place");
    let blobs = run.state.rehearsal_blobs();
    assert_eq!(read(&mut blobs.clone(), &Digest::of(b"before")), b"before", "in the database it is found too");
    blobs.put(b"before").expect("it is kept");
    blobs.put(&large).expect("it is kept");
    assert!(!images.join("scratch").exists());
    // Of a stream that is only known at its end.
    blobs.put_from(2 * MIB, &mut large.as_slice()).expect("it is kept");
    blobs.put_from(5, &mut &b"after"[..]).expect("it is kept");
    assert_eq!(files(&images.join("scratch")), 1, "the lock");
    run.state.keep_images([Image::of(b"before"), Image::of(&large)].into_iter()).expect("they are");
    assert_eq!(run.state.images().expect("counted").used, 2 * MIB + 11);
}

/// A damaged one would otherwise stay so, since its name says that it is there.
#[test]
fn what_is_kept_and_damaged_is_mended() {
    let (_dir, images, state) = state(9 * MIB);
    let (small, large) = (content(1, 9), content(2, 2 * MIB));
    for bytes in [&small, &large] {
        state.blobs().put(bytes).expect("kept");
        let hex = Digest::of(bytes).hex();
        fs::write(images.join("sha256").join(&hex[..2]).join(hex), content(3, bytes.len() as u64)).expect("damaged");
    }
    state.rehearsal_blobs().put(&small).expect("put");
    state.rehearsal_blobs().put_from(2 * MIB, &mut large.as_slice()).expect("put");
    for bytes in [&small, &large] {
        assert_eq!(read(&mut state.rehearsal_blobs(), &Digest::of(bytes)), *bytes);
    }
    state.keep_images([Image::of(&small), Image::of(&large)].into_iter()).expect("kept");
    for bytes in [&small, &large] {
        assert_eq!(read(&mut state.blobs(), &Digest::of(bytes)), *bytes);
    }
    assert_eq!(state.images().expect("counted").used, 2 * MIB + 9);
}

#[test]
fn what_a_proposal_keeps_stays() {
    let (_dir, images, state) = state(9 * MIB);
    let (small, large) = (content(1, 9), content(2, 2 * MIB));
    for bytes in [&small, &large, &content(3, 9)] {
        state.rehearsal_blobs().put(bytes).expect("there is room");
    }
    let kept = [Image::of(&small), Image::of(&large)];
    state.keep_images(kept.into_iter().chain(kept)).expect("there is room");
    assert_eq!(state.images().expect("counted").used, 2 * MIB + 9);
    for bytes in [&small, &large] {
        assert_eq!(read(&mut state.rehearsal_blobs(), &Digest::of(bytes)), *bytes);
    }
    let missing = state.keep_images([Image::of(b"never put")].into_iter()).expect_err("it is nowhere");
    assert!(matches!(missing, RecordError::NotFound { .. }), "{missing}");
    let another = reopened(&state, &images, 9 * MIB);
    drop(state);
    assert_eq!((files(&images), scratch(&images).len()), (2, 0), "what nobody kept is gone");
    for bytes in [&small, &large] {
        assert_eq!(read(&mut another.blobs(), &Digest::of(bytes)), *bytes);
    }
}

#[test]
fn what_is_kept_is_durable_before_anything_says_so() {
    let run = fixture();
    let disk = Watched::default();
    let state = State::open_with(run.path(), Box::new(disk.clone())).expect("opens");
    let image = state.rehearsal_blobs().put_from(3_000_000, &mut numbers(3_000_000)).expect("put");
    let digest = state.rehearsal_blobs().put(b"bytes").expect("put");
    let done = disk.take();
    for name in [image.digest.hex(), digest.hex()] {
        let at = done.iter().position(|step| *step == format!("rename {name}")).expect("it gets its name");
        assert_eq!(done[at - 1], "sync file", "{done:?}");
    }
    let both = [image, Image { digest, size: 5 }];
    state.keep_images(both.into_iter()).expect("kept");
    let mut names = both.map(|image| image.digest.hex());
    names.sort();
    let renamed = names.clone().map(|name| format!("rename {name}"));
    let synced = names.map(|name| format!("sync-dir {}", &name[..2]));
    let steps: Vec<_> = renamed.into_iter().chain(synced.clone()).collect();
    assert_eq!(disk.take(), steps);
    // Whoever kept them before may have died before their names were durable.
    state.keep_images(both.into_iter()).expect("kept");
    assert_eq!(disk.take(), synced);

    state.rehearsal_blobs().put(b"others").expect("put");
    disk.fail(Some("sync-dir"));
    let error = state.keep_images([Image::of(b"others")].into_iter()).expect_err("not durable");
    assert!(matches!(error, RecordError::NotDurable { .. }), "{error}");
    disk.fail(None);
    assert!(matches!(state.keep_images(both.into_iter()), Err(RecordError::Stopped(_))));
}

#[test]
fn a_rehearsal_puts_no_more_aside_than_could_be_kept() {
    let (_dir, images, state) = state(5 * MIB);
    state.blobs().put(&content(1, 2 * MIB)).expect("there is room");
    let blobs = state.rehearsal_blobs();
    blobs.put(&content(2, MIB)).expect("there is room");
    blobs.put_from(2 * MIB, &mut content(3, 2 * MIB).as_slice()).expect("there is just room");
    assert_eq!(over_cap(blobs.put(b"x")), (3 * MIB + 1, 2 * MIB));
    assert_eq!(over_cap(blobs.put(&content(4, 2 * MIB))), (5 * MIB, 2 * MIB));
    assert_eq!(over_cap(blobs.put_from(2 * MIB, &mut content(4, 2 * MIB).as_slice())), (5 * MIB, 2 * MIB));
    assert_eq!(over_cap(blobs.put_from(6 * MIB, &mut Untouched)).0, 6 * MIB);
    blobs.put(&content(3, 2 * MIB)).expect("what is there takes no more");
    blobs.put_from(MIB, &mut content(2, MIB).as_slice()).expect("what is there takes no more");
    assert_eq!(files(&images.join("scratch")), 3, "nothing of what was refused stays");

    // For everybody else there is room, and whoever comes first takes it.
    assert_eq!(state.images().expect("counted").used, 2 * MIB);
    let another = reopened(&state, &images, 5 * MIB);
    another.rehearsal_blobs().put(&content(5, 3 * MIB)).expect("there is room");
    another.keep_images([Image::of(&content(5, 3 * MIB))].into_iter()).expect("there is room");
    let images = [Image::of(&content(2, MIB)), Image::of(&content(3, 2 * MIB))];
    assert_eq!(over_cap(state.keep_images(images.into_iter())), (3 * MIB, 5 * MIB));
    assert_eq!(state.images().expect("counted").used, 5 * MIB, "nothing of what was refused is kept");
}

#[test]
fn what_is_put_aside_is_measured_as_what_a_proposal_and_its_run_take() {
    let (_dir, images, state) = state(5 * MIB);
    let (large, small) = (Image::of(&content(1, 3 * MIB)), Image::of(&content(2, MIB)));
    state.rehearsal_blobs().put(&content(1, 3 * MIB)).expect("there is room");
    state.rehearsal_blobs().put(&content(2, MIB)).expect("there is room");
    // The small one is a file of the proposal's, and in the database once it is run.
    state.admit_images([large, small].into_iter()).expect("there is just room");
    let tight = reopened(&state, &images, 5 * MIB - 1);
    tight.rehearsal_blobs().put(&content(1, 3 * MIB)).expect("there is room");
    tight.rehearsal_blobs().put(&content(2, MIB)).expect("there is room");
    assert_eq!(over_cap(tight.admit_images([large, small].into_iter())), (5 * MIB, 0));
    state.keep_images([large, small].into_iter()).expect("there is room");
    state.admit_images([large, small].into_iter()).expect("there still is");
}

#[test]
fn the_reserve_stays_free_of_what_is_put_aside() {
    let (_dir, images, state) = state(u64::MAX);
    let all_free = ImagesPlace { directory: Some(images.clone()), cap: u64::MAX, reserve: u64::MAX };
    let state = state.keeping_images(&all_free).expect("a place");
    let blobs = state.rehearsal_blobs();
    assert!(matches!(blobs.put(b"x"), Err(RecordError::UnderReserve { .. })));
    assert!(matches!(blobs.put_from(1, &mut Untouched), Err(RecordError::UnderReserve { .. })));
    assert_eq!(files(&images), 0);
}

/// What is only put aside is gone before a run could put it back.
#[test]
fn a_run_keeps_its_own() {
    for bytes in [content(1, 9), content(2, 2 * MIB)] {
        let run = fixture();
        let mut journal = run.begin(1).expect("it begins");
        let change = Change { after: Some(Image::of(&bytes)), ..change(&mut journal, b"before", b"after") };
        run.state.rehearsal_blobs().put(&bytes).expect("put");
        let error = journal.intend(Role::Fix, &change).expect_err("it is not kept").to_string();
        assert!(error.contains("was never put"), "{error}");
    }
}

#[test]
fn what_a_killed_process_left_behind_is_removed_and_what_another_uses_is_not() {
    let (_dir, images, state) = state(9 * MIB);
    let live = reopened(&state, &images, 9 * MIB);
    let digest = live.rehearsal_blobs().put(b"in use").expect("put");
    let used = scratch(&images);
    let left = |name: &str| images.join("scratch").join(name);
    // With a lock that nobody holds, before the folder was made, and with no lock at all.
    for name in ["0123456789ab", "0123456789ac"] {
        fs::create_dir(left(name)).expect("a folder");
        fs::write(left(name).join("ff"), "x").expect("a file");
    }
    let outside = images.parent().expect("it has one").join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), "x").expect("a file");
    symlink(outside.join("file"), left("0123456789ab").join("link")).expect("a link");
    symlink(&outside, left("0123456789ae")).expect("a link");
    for name in ["0123456789ab.lock", "0123456789ad.lock"] {
        File::create(left(name)).expect("a lock");
    }
    fs::write(left("mine"), "x").expect("a file");
    state.rehearsal_blobs().put(b"x").expect("put");
    let own = scratch(&images).into_iter().filter(|path| !used.contains(path) && *path != left("mine"));
    assert_eq!(own.count(), 2, "a folder and its lock: {:?}", scratch(&images));
    assert!(left("mine").exists() && outside.join("file").exists(), "what is not ours stays");
    assert_eq!(read(&mut live.rehearsal_blobs(), &digest), b"in use");
    drop((live, state));
    assert_eq!(scratch(&images), [left("mine")]);
}

#[test]
fn those_that_begin_at_once_leave_one_another_alone() {
    let (_dir, images, state) = state(9 * MIB);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let state = reopened(&state, &images, 9 * MIB);
                    let digest = state.rehearsal_blobs().put(b"x").expect("put");
                    assert_eq!(read(&mut state.rehearsal_blobs(), &digest), b"x");
                    state.rehearsal_blobs().put(b"y").expect("its folder is still there");
                }
            });
        }
    });
    assert_eq!(scratch(&images).len(), 0);
}

#[test]
fn a_folder_that_is_not_the_operators_own_is_not_used() {
    let (dir, images, state) = state(9 * MIB);
    let scratch = images.join("scratch");
    let error = || state.rehearsal_blobs().put(b"x").expect_err("it is refused").full();
    symlink(dir.path(), &scratch).expect("a link");
    assert!(error().contains("could not open"), "{}", error());
    fs::remove_file(&scratch).expect("removed");
    fs::create_dir(&scratch).expect("a folder");
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o750)).expect("its mode");
    assert!(error().contains("has mode 0750"), "{}", error());
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o700)).expect("its mode");
    state.rehearsal_blobs().put(b"x").expect("put");
}

#[test]
fn what_is_put_aside_makes_a_directory_no_place_of_images() {
    let (_dir, images, state) = state(9 * MIB);
    state.rehearsal_blobs().put(b"x").expect("put");
    let again = || State::open(state.dir()).expect("opens").keeping_images(&place(Some(images.clone()), MIB));
    // Whoever made the place may have died on the way.
    fs::remove_dir(images.join("sha256/ff")).expect("it is there");
    again().expect("it is made whole");
    fs::remove_dir_all(images.join("sha256")).expect("it is there");
    assert!(matches!(again(), Err(RecordError::NotAPlace { .. })));
    fs::remove_dir_all(images.join("scratch")).expect("it is there");
    fs::create_dir(images.join("sha256")).expect("made");
    fs::write(images.join("scratch"), "x").expect("a file");
    assert!(matches!(again(), Err(RecordError::NotAPlace { .. })));
}
