//! What stands at a path at one moment.

use countersign_model::{Fault, FaultKind, Image};
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::call::MAX_CONTENT;
use crate::fault::{Deadline, about};
use crate::handle::{Directory, Opened, plain, size};
use crate::metadata::{Attributes, Time, modified};

/// No limit on what is read of a file but the time that a call has.
pub(crate) const ANY_SIZE: u64 = u64::MAX;
/// How often a file is read that is written meanwhile.
const TRIES: usize = 3;

/// A file as changes compare it: content, mode, owner and extended attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileImage {
    pub(crate) content: Image,
    pub(crate) attributes: Attributes,
}

/// Which file it was, on a target that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) modified: Time,
}

/// What stands at a path.
pub(crate) enum Standing {
    /// Nothing.
    Missing,
    /// A regular file of one link.
    File(Box<Snapshot>),
    /// Something that is not handled, and why.
    Other(Fault),
}

/// A regular file, read.
pub(crate) struct Snapshot {
    pub(crate) image: FileImage,
    /// Which file it is; `None` where it is only pending in a rehearsal.
    pub(crate) identity: Option<Identity>,
    /// Its content; `None` where it is only pending, or over [`MAX_CONTENT`].
    pub(crate) bytes: Option<Vec<u8>>,
}

impl FileImage {
    /// What of `found` is not as in `self`, for a person; empty where all is.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.content != found.content {
            differences.push(format!("content is {}, not {}", found.content.digest, self.content.digest));
        }
        differences.extend(self.attributes.differences(&found.attributes));
        differences
    }
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino, modified: modified(stat) }
    }
}

impl Snapshot {
    /// Reads an open file as a whole.
    ///
    /// # Errors
    /// `Changed` where it is written all the time, `TooLarge` over `limit`.
    pub(crate) fn of(file: &Opened, limit: u64, deadline: Deadline) -> Result<Self, Fault> {
        let mut earlier = None;
        for _ in 0..TRIES {
            let seen = file.stat()?;
            let (content, bytes) = if limit > MAX_CONTENT && size(&seen) > MAX_CONTENT {
                (file.image(0..size(&seen), deadline)?, None)
            } else {
                match file.content(MAX_CONTENT, deadline) {
                    Ok(bytes) => (Image::of(&bytes), Some(bytes)),
                    // It grew past that meanwhile.
                    Err(fault) if fault.kind == FaultKind::TooLarge && limit > MAX_CONTENT => continue,
                    Err(fault) => return Err(fault),
                }
            };
            let attributes = Attributes::of(file, file.path())?;
            let stat = file.stat()?;
            let image = FileImage { content, attributes };
            // It may have been cut or have grown while it was read, and then what was read is neither.
            let whole = image.content.size == size(&seen) && size(&seen) == size(&stat);
            // Its times alone say nothing: a write that fails, as on a full file system, moves them too.
            if whole && (still(&seen, &stat) || earlier.as_ref() == Some(&image)) {
                return Ok(Self { image, identity: Some(Identity::of(&stat)), bytes });
            }
            earlier = whole.then_some(image);
        }
        Err(about(FaultKind::Changed, file.path(), "is being written to"))
    }
}

/// Whether nothing happened to a file between the two.
pub(crate) fn still(one: &Stat, other: &Stat) -> bool {
    one.st_size == other.st_size
        && one.st_mode == other.st_mode
        && modified(one) == modified(other)
        && (one.st_ctime, one.st_ctime_nsec) == (other.st_ctime, other.st_ctime_nsec)
}

impl Standing {
    /// What stands under this name, on the target; a file of more than `limit` bytes is not read.
    pub(crate) fn of(directory: &Directory<'_>, name: &str, limit: u64, deadline: Deadline) -> Result<Self, Fault> {
        let Some(stat) = directory.look(name)? else { return Ok(Self::Missing) };
        if let Err(fault) = plain(&stat, &directory.path_of(name)) {
            return Ok(Self::Other(fault));
        }
        let snapshot = directory.file(name).and_then(|file| Snapshot::of(&file, limit, deadline));
        match snapshot {
            Ok(snapshot) => Ok(Self::File(Box::new(snapshot))),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(Self::Missing),
            Err(fault) if matches!(fault.kind, FaultKind::TooLarge | FaultKind::Unsupported) => Ok(Self::Other(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// What is not as `wanted`, for a person; empty where all is.
    pub(crate) fn differences(&self, wanted: Option<&FileImage>) -> Vec<String> {
        match (self, wanted) {
            (Self::Missing, None) => Vec::new(),
            (Self::Missing, Some(wanted)) => vec![format!("it is missing, not of content {}", wanted.content.digest)],
            (Self::File(found), None) => vec![format!("it exists, with content {}", found.image.content.digest)],
            (Self::File(found), Some(wanted)) => wanted.differences(&found.image),
            (Self::Other(fault), _) => vec![fault.what.clone()],
        }
    }

    /// The first thing that is not as `wanted`, if any.
    pub(crate) fn unlike(&self, wanted: Option<&FileImage>) -> Option<String> {
        self.differences(wanted).into_iter().next()
    }

    /// Whether it is as `wanted`.
    pub(crate) fn is(&self, wanted: Option<&FileImage>) -> bool {
        self.differences(wanted).is_empty()
    }

    /// Which file it is, where it is one on the target.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match self {
            Self::File(found) => found.identity,
            _ => None,
        }
    }
}
