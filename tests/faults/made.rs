//! What is made once and then only used, a state and a folder of images, is there for good when the command has ended,
//! whatever is left of what it did not sync.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::forgetful::{self, Disk, LEFT, Leftover, restore};
use crate::strace::story;
use crate::support::{Ran, State};

/// Runs what makes something, and then, on each disk that may be left of it, what uses it.
fn survives(root: &Path, makes: &Command, uses: &dyn Fn() -> Ran) {
    // What is only for the test is not on that disk.
    let aside = tempfile::tempdir().expect("a temporary directory");
    let mut disk = Disk::of(root);
    let (story, ran) = story(makes, forgetful::CALLS, &aside.path().join("strace.log"));
    ran.expect(0);
    let changed = story.iter().filter(|line| disk.replay(line)).count();
    assert!(changed > 0, "it made nothing");
    for left in LEFT {
        for entry in fs::read_dir(root).expect("it can be listed") {
            let path = entry.expect("an entry").path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("it can be removed");
        }
        restore(&Leftover::new(), &disk.left(left));
        let used = uses();
        assert_eq!(used.code, 0, "{left:?}: {}{}", used.stdout, used.stderr);
    }
}

/// That what keeps contents by their digests has all its folders.
fn whole(folder: &Path) {
    assert!(["00", "7f", "ff"].iter().all(|name| folder.join(name).is_dir()), "not all of it is left");
}

#[test]
fn a_state_that_was_made_survives_a_disk_that_forgets() {
    let state = State::pinned();
    let mut init = state.command(&["init", "--approver"]);
    init.arg(state.path("alice.pub"));
    let survived = || {
        whole(&state.path("state/blobs/sha256"));
        state.run(&["--json", "pending"])
    };
    survives(&state.path(""), &init, &survived);
}

#[test]
fn a_folder_of_images_that_was_made_survives_a_disk_that_forgets() {
    let state = State::new();
    let images = state.path("images");
    state.configure(&format!("[images]\ndirectory = \"{}\"\n", images.display()));
    let survived = || {
        whole(&images.join("sha256"));
        state.run(&["--json", "recover"])
    };
    survives(&state.path(""), &state.command(&["--json", "recover"]), &survived);
}
