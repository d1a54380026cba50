//! The place of images, its cap and its reserve.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use countersign_model::{Image, Role};
use countersign_record::{ImagesPlace, RecordError, State};
use tempfile::TempDir;

use crate::support::{change, fixture};

pub(crate) const MIB: u64 = 1024 * 1024;

pub(crate) fn place(directory: Option<PathBuf>, cap: u64) -> ImagesPlace {
    ImagesPlace { directory, cap, reserve: 0 }
}

/// A state whose images stand beside it.
pub(crate) fn state(cap: u64) -> (TempDir, PathBuf, State) {
    let dir = tempfile::tempdir().expect("a directory");
    let images = dir.path().join("images");
    let state = State::create(&dir.path().join("state")).expect("a state");
    let state = state.keeping_images(&place(Some(images.clone()), cap)).expect("a place");
    (dir, images, state)
}

/// A content of its own for every name.
pub(crate) fn content(name: u8, size: u64) -> Vec<u8> {
    vec![name; usize::try_from(size).expect("small")]
}

pub(crate) fn over_cap<T: std::fmt::Debug>(result: Result<T, RecordError>) -> (u64, u64) {
    match result {
        Err(RecordError::OverCap { needed, used, .. }) => (needed, used),
        other => panic!("it is not over the cap: {other:?}"),
    }
}

/// Everything in the place that is no directory.
pub(crate) fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it is there").path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

pub(crate) struct Untouched;

impl Read for Untouched {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("it is known before anything is read")
    }
}

#[test]
fn all_images_together_stay_under_the_cap() {
    let (_dir, images, state) = state(5 * MIB);
    let blobs = state.blobs();
    blobs.put(&content(1, 2 * MIB)).expect("there is room");
    blobs.put_from(2 * MIB, &mut content(2, 2 * MIB).as_slice()).expect("there is room");
    // The same again takes nothing, whichever way it comes.
    blobs.put(&content(2, 2 * MIB)).expect("it is there");
    blobs.put_from(2 * MIB, &mut content(1, 2 * MIB).as_slice()).expect("it is there");
    assert_eq!(state.images().expect("counted").used, 4 * MIB);
    assert_eq!(over_cap(blobs.put(&content(3, 2 * MIB))), (2 * MIB, 4 * MIB));
    assert_eq!(over_cap(blobs.put_from(2 * MIB, &mut content(3, 2 * MIB).as_slice())), (2 * MIB, 4 * MIB));
    assert_eq!(over_cap(blobs.put_from(6 * MIB, &mut Untouched)).0, 6 * MIB);
    assert_eq!(files(&images), 2, "nothing of what was refused stays");
    blobs.put(&content(4, MIB)).expect("there is just room");
    assert_eq!(over_cap(blobs.put(b"x")), (1, 5 * MIB), "small ones count too");
}

#[test]
fn images_in_the_database_count() {
    let mut fixture = fixture();
    fixture.state = fixture.state.keeping_images(&place(None, 3 * MIB)).expect("a place");
    let mut journal = fixture.begin(1).expect("it begins");
    let first = change(&mut journal, &content(1, MIB), &content(2, MIB));
    journal.intend(Role::Fix, &first).expect("recorded");
    assert_eq!(fixture.state.images().expect("counted").used, 2 * MIB);
    assert_eq!(over_cap(journal.blobs().put(&content(3, MIB + 1))), (MIB + 1, 2 * MIB));
    journal.blobs().put(&content(3, MIB)).expect("there is just room");
    assert_eq!(over_cap(journal.blobs().put(b"x")).0, 1);
    journal.blobs().put(&content(2, MIB)).expect("what is there takes no more");
}

#[test]
fn a_plan_is_measured_as_a_whole_before_anything_begins() {
    let (_dir, _, state) = state(5 * MIB);
    let large = [1, 2].map(|name| Image::of(&content(name, 2 * MIB)));
    let small = Image::of(b"small");
    state.admit_images(large.into_iter().chain(large)).expect("each counts once");
    state.blobs().put(&content(1, 2 * MIB)).expect("there is room");
    state.admit_images(large.into_iter()).expect("what is kept needs nothing");
    let third = Image::of(&content(3, 2 * MIB));
    assert_eq!(over_cap(state.admit_images(large.into_iter().chain([third, small]))), (4 * MIB + 5, 2 * MIB));
    let all_free = ImagesPlace { directory: None, cap: u64::MAX, reserve: u64::MAX };
    let (_dir, _, state) = self::state(u64::MAX);
    let state = state.keeping_images(&all_free).expect("a place");
    let refused = state.admit_images([small].into_iter()).expect_err("there is never so much free");
    assert!(matches!(refused, RecordError::UnderReserve { needed: 10, reserve: u64::MAX, .. }), "{refused:?}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("`reserve`")));
    state.admit_images([].into_iter()).expect("what keeps nothing needs nothing");
    assert!(matches!(state.blobs().put(b"x"), Err(RecordError::UnderReserve { .. })));
}

/// Between the plan's being measured and an image's being put, anybody may fill the place.
#[test]
fn an_image_is_measured_again_when_it_is_put() {
    let mut fixture = fixture();
    fixture.state = fixture.state.keeping_images(&place(None, 4 * MIB)).expect("a place");
    let image = Image::of(&content(1, 3 * MIB));
    fixture.state.admit_images([image].into_iter()).expect("there is room");
    let mut journal = fixture.begin(1).expect("it begins");
    let another = State::open(fixture.path()).expect("another process's").keeping_images(&place(None, 4 * MIB));
    another.expect("a place").blobs().put(&content(9, 2 * MIB)).expect("there is room");
    assert_eq!(over_cap(journal.blobs().put(&content(1, 3 * MIB))), (3 * MIB, 2 * MIB));
    let third = content(1, 3 * MIB);
    assert_eq!(over_cap(journal.blobs().put_from(3 * MIB, &mut third.as_slice())), (3 * MIB, 2 * MIB));
    assert_eq!(fixture.second().query_row("SELECT count(*) FROM changes", [], |row| row.get::<_, u32>(0)), Ok(0));
}

#[test]
fn a_rollback_may_take_what_it_needs() {
    let mut fixture = fixture();
    fixture.state =
        fixture.state.keeping_images(&ImagesPlace { directory: None, cap: MIB, reserve: u64::MAX }).expect("a place");
    let mut journal = fixture.begin(1).expect("it begins");
    journal.blobs().put(b"x").expect_err("nothing is ever so free");
    journal.begin_rollback("it failed").expect("marked");
    journal.blobs().put(b"x").expect("neither cap nor reserve counts");
    journal.blobs().put(&content(1, 2 * MIB)).expect("neither cap nor reserve counts");
    journal.blobs().put_from(2 * MIB, &mut content(2, 2 * MIB).as_slice()).expect("neither cap nor reserve counts");
}

#[test]
fn images_of_before_are_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::create(&dir.path().join("state")).expect("a state");
    let digest = state.blobs().put(b"kept before").expect("kept");
    let images = dir.path().join("images");
    let state = state.keeping_images(&place(Some(images.clone()), MIB)).expect("a place");
    assert_eq!(state.rehearsal_blobs().get(&digest).expect("it is found"), b"kept before");
    let mut read = Vec::new();
    state.blobs().open(&digest).expect("it is found").read_to_end(&mut read).expect("read");
    assert_eq!((read.as_slice(), files(&images)), (&b"kept before"[..], 0));
    assert_eq!(state.images().expect("counted").used, 11, "they count");
}

/// Whoever made the directory may have died on the way.
#[test]
fn a_place_that_was_made_in_part_is_made_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let images = dir.path().join("images");
    let state = State::create(&dir.path().join("state")).expect("a state");
    let place = place(Some(images.clone()), MIB);
    let state = state.keeping_images(&place).expect("a place");
    for first in ["7f", "80", "ff"] {
        std::fs::remove_dir(images.join("sha256").join(first)).expect("it is there");
    }
    let state = state.keeping_images(&place).expect("a place");
    for byte in 0..=u8::MAX {
        state.blobs().put(&[byte]).expect("every digest has a folder");
    }
    assert_eq!(files(&images), 256);
}

/// A run that changes one file again and again has its images once.
#[test]
fn what_is_stored_already_counts_once() {
    let run = fixture();
    let state = run.state.keeping_images(&place(None, 3 * MIB)).expect("a place");
    let mut journal = crate::support::begin(&state, "web-1", &run.proposal, &run.manifest, 1).expect("begins");
    let (one, other) = (content(1, MIB), content(2, MIB));
    for _ in 0..5 {
        let change = change(&mut journal, &one, &other);
        let seq = journal.intend(Role::Fix, &change).expect("there is room");
        journal.done(seq).expect("done");
    }
    assert_eq!(state.images().expect("counted").used, 2 * MIB);
    let more = change(&mut journal, &content(3, MIB / 2), &content(4, MIB / 4));
    // What waits for an intent counts as well, also in a new count.
    assert_eq!(state.images().expect("counted").used, 2 * MIB + MIB / 2 + MIB / 4);
    assert_eq!(over_cap(journal.blobs().put(&content(5, MIB / 2))).0, MIB / 2);
    journal.intend(Role::Fix, &more).expect("there is room");
    assert_eq!(state.images().expect("counted").used, 2 * MIB + MIB / 2 + MIB / 4);
}

/// Another process may have made room since this one counted.
#[test]
fn nothing_is_refused_by_an_old_count() {
    let (_dir, images, state) = state(2 * MIB);
    let blobs = state.blobs();
    let first = blobs.put(&content(1, MIB)).expect("there is room");
    blobs.put(&content(2, MIB / 2)).expect("there is room");
    assert_eq!(over_cap(blobs.put(&content(3, MIB))).0, MIB);
    std::fs::remove_file(images.join("sha256").join(&first.hex()[..2]).join(first.hex())).expect("removed");
    blobs.put(&content(3, MIB)).expect("there is room again");
}

/// What a runner staged that was killed is nobody's, and counts all the same.
#[test]
fn what_was_staged_long_ago_is_removed() {
    let (_dir, images, state) = state(5 * MIB);
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let now = std::time::SystemTime::now();
    let staged = |name: &str, age| {
        let path = images.join("sha256").join(name);
        std::fs::write(&path, content(1, MIB)).expect("written");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(now - age)).expect("set");
        path
    };
    let old = [staged(".new-0123456789ab", day * 2), staged("00/.new-0123456789ab", day * 2)];
    let young = [staged(".new-ba9876543210", day / 2), staged("00/.new-ba9876543210", day / 2)];
    assert_eq!(state.images().expect("counted").used, 4 * MIB);
    state.rehearsal_blobs().put(b"the first that is put aside").expect("put");
    assert!(old.iter().all(|path| !path.exists()) && young.iter().all(|path| path.exists()));
    assert_eq!(state.images().expect("counted").used, 2 * MIB);
}
