//! Directories that were walked to before, so that not every call opens every name of its path again.
//!
//! A kept handle proves nothing of the path that led to it. Before it is used again, its name is looked at once more
//! in the directory above, and what stands there must be the same by device, inode and mount: so it is no symbolic
//! link, nothing was mounted over it, and no other directory, of the runner's own least of all, took its place.
//! The handle holds inode and mount, so neither number can have gone to another one meanwhile. What does not agree
//! is opened anew, as if nothing had been kept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Stat, Statx, StatxFlags, makedev, statx};

/// The most directories that one session keeps.
const MAX_KEPT: usize = 64;

/// A directory that was walked to, name by name, and admitted.
pub(crate) struct Node {
    pub(crate) fd: OwnedFd,
    /// What it was when it was opened; device and inode still hold.
    pub(crate) stat: Stat,
    /// Its path, ending in a slash.
    pub(crate) path: String,
    /// `None` where the kernel does not tell mounts apart, before 5.8: then it is not used twice.
    place: Option<Place>,
}

/// Which file it is, and by which mount it was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    mount: u64,
}

/// A regular file, seen without opening it.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Node {
    pub(crate) fn new(fd: OwnedFd, stat: Stat, path: String) -> Self {
        let own = statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID).ok();
        let place = own.and_then(|own| Place::of(&own));
        Self { fd, stat, path, place }
    }

    /// Whether this is what stands under `name` in the directory above now, and reached without crossing a mount
    /// point where none may be crossed.
    fn stands(&self, above: &Self, name: &str, crosses: bool) -> bool {
        let Some(place) = self.place else { return false };
        let crossed = above.place.is_none_or(|above| above.mount != place.mount);
        (crosses || !crossed)
            && above.at(name, StatxFlags::INO | StatxFlags::MNT_ID).is_some_and(|(there, _)| there == place)
    }

    /// What stands under a name in here, if it is a regular file. `None` says nothing but that it has to be looked
    /// at more closely.
    pub(crate) fn glance(&self, name: &str) -> Option<Seen> {
        let (there, found) = self.at(name, StatxFlags::TYPE | StatxFlags::INO | StatxFlags::MNT_ID)?;
        let regular = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile;
        regular.then_some(Seen { device: there.device, inode: there.inode })
    }

    /// One look by name, which follows no symbolic link; `None` unless everything wanted was told.
    fn at(&self, name: &str, wanted: StatxFlags) -> Option<(Place, Statx)> {
        let found = statx(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, wanted).ok()?;
        let told = StatxFlags::from_bits_retain(found.stx_mask).contains(wanted);
        told.then(|| Place::of(&found)).flatten().map(|place| (place, found))
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Place {
    fn of(found: &Statx) -> Option<Self> {
        let told = StatxFlags::from_bits_retain(found.stx_mask);
        let device = makedev(found.stx_dev_major, found.stx_dev_minor);
        told.contains(StatxFlags::INO | StatxFlags::MNT_ID).then_some(Self {
            device,
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
        })
    }
}

/// The directories that one session walked to and keeps.
#[derive(Default)]
pub(crate) struct Walked {
    pub(crate) root: Option<Arc<Node>>,
    below: Vec<Entry>,
}

struct Entry {
    above: Arc<Node>,
    name: String,
    node: Arc<Node>,
}

impl Walked {
    /// The directory that was walked to under this name, if it is there still.
    pub(crate) fn find(&mut self, above: &Arc<Node>, name: &str, crosses: bool) -> Option<Arc<Node>> {
        let found = self.below.iter().find(|entry| Arc::ptr_eq(&entry.above, above) && entry.name == name)?;
        if found.node.stands(above, name, crosses) {
            return Some(Arc::clone(&found.node));
        }
        let gone = found.node.path.clone();
        self.below.retain(|entry| !entry.node.path.starts_with(&gone));
        None
    }

    pub(crate) fn add(&mut self, above: &Arc<Node>, name: &str, node: &Arc<Node>) {
        if self.below.len() >= MAX_KEPT {
            self.below.clear();
        }
        self.below.push(Entry { above: Arc::clone(above), name: name.to_owned(), node: Arc::clone(node) });
    }
}
