//! A disk whose power is cut: a file system of its own on a loop device, which forgets on command what was not synced.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Ran, eventually};

/// What ext4 is told: to end at once, and to write nothing that is not in its journal on the disk (`EXT4_IOC_SHUTDOWN` with
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`).
const CUT: &str =
    "sysopen(my $root, $ARGV[0], 0) or die $!; my $how = pack('L', 2); ioctl($root, 0x8004587D, $how) // die $!";

/// An ext4 of its own, mounted until it is dropped.
pub(crate) struct Disk {
    /// A file of its own each time: of one that was mounted before, the kernel may still know what it was.
    image: RefCell<PathBuf>,
    saved: PathBuf,
    point: PathBuf,
    above: TempDir,
}

fn tried(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

impl Disk {
    /// `None`, with a printed reason, where there can be none.
    pub(crate) fn new() -> Option<Self> {
        let above = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| above.path().join(name);
        let (image, saved, point) = (path("image"), path("saved"), path("disk"));
        fs::create_dir(&point).expect("a mount point");
        fs::File::create(&image).and_then(|file| file.set_len(96 << 20)).expect("an image");
        let made = tried(Command::new("mkfs.ext4").arg("-q").arg(&image))
            .and_then(|()| tried(Command::new("perl").args(["-e", "1"])))
            .and_then(|()| mount(&image, &point));
        match made {
            Ok(()) => Some(Self { image: RefCell::new(image), saved, point, above }),
            Err(why) => {
                println!("skipped: there is no disk whose power can be cut: {why}");
                None
            }
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.point
    }

    /// A file that is not on it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.above.path().join(name)
    }

    /// This is how it is [`Disk::again`].
    pub(crate) fn save(&self) {
        self.unmount();
        fs::copy(&*self.image.borrow(), &self.saved).expect("it can be copied");
        self.mount();
    }

    pub(crate) fn again(&self) {
        self.unmount();
        let earlier = self.image.borrow().clone();
        let next = earlier.with_extension(match earlier.extension() {
            None => "1".to_owned(),
            Some(number) => (number.to_string_lossy().parse::<u32>().expect("a number") + 1).to_string(),
        });
        copy(&self.saved, &next);
        fs::remove_file(earlier).expect("it can be removed");
        self.image.replace(next);
        self.mount();
    }

    /// Cuts its power, and starts it again.
    pub(crate) fn cut(&self) {
        tried(Command::new("perl").args(["-e", CUT]).arg(&self.point)).expect("it ends");
        self.unmount();
        self.mount();
    }

    fn mount(&self) {
        mount(&self.image.borrow(), &self.point).expect("it can be mounted");
    }

    fn unmount(&self) {
        // Somebody who was killed may hold it for a moment.
        eventually("the end of the mount", || tried(Command::new("umount").arg(&self.point)).ok());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = tried(Command::new("umount").arg("--lazy").arg(&self.point));
    }
}

/// What it is not told to write it writes late, so that there is something to lose.
fn mount(image: &Path, point: &Path) -> Result<(), String> {
    tried(Command::new("mount").args(["-o", "loop,commit=300"]).arg(image).arg(point))
}

fn copy(from: &Path, to: &Path) {
    let mut copying = Command::new("cp");
    copying.arg("--sparse=always").arg(from).arg(to);
    Ran::of(copying).expect(0);
}
