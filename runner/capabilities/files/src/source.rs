//! Where the content of what stands at a path is read: on the target, or where it is pending.

use std::ops::Range;

use countersign_capability::{Blobs, Context};
use countersign_model::{Fault, FaultKind, Image};
use rustix::io::Errno;

use crate::fault::{Deadline, about, failed};
use crate::handle::{Directory, Opened, size};
use crate::overlay::{Held, Layer};
use crate::path::Path;
use crate::session::FilesSession;
use crate::snapshot::{FileImage, Identity};

/// A content that can be read.
pub(crate) enum Source {
    /// The first bytes of a file of the target, this many.
    File(Opened, u64),
    /// The content itself: what is pending as a blob is never large.
    Bytes(Vec<u8>),
    /// It is nowhere as a whole before a run has put it together: of this path only the image is known.
    Nowhere { path: String, size: u64 },
}

impl Source {
    /// The content of what stands at the path.
    ///
    /// # Errors
    /// `NotFound` where nothing stands there, `Changed` where what is pending rests on a file that is no longer there.
    pub(crate) fn of(
        session: &FilesSession,
        blobs: &mut dyn Blobs,
        directory: &Directory<'_>,
        path: &Path,
        name: &str,
    ) -> Result<Self, Fault> {
        match session.overlay.at(path) {
            None => {
                let file = directory.file(name)?;
                let size = size(&file.stat()?);
                Ok(Self::File(file, size))
            }
            Some(layer) => Self::pending(blobs, layer, directory, path, name),
        }
    }

    fn pending(
        blobs: &mut dyn Blobs,
        layer: &Layer,
        directory: &Directory<'_>,
        path: &Path,
        name: &str,
    ) -> Result<Self, Fault> {
        let content = image(layer, path)?.content;
        match layer.held {
            _ if content.size == 0 => Ok(Self::Bytes(Vec::new())),
            Held::Nowhere => Ok(Self::Nowhere { path: path.as_str().to_owned(), size: content.size }),
            Held::Blob => Ok(Self::Bytes(blobs.get(&content.digest)?)),
            Held::Target { device, inode } => {
                let file = directory.file(name)?;
                let stat = file.stat()?;
                let found = Identity::of(&stat);
                if (found.device, found.inode) != (device, inode) || size(&stat) < content.size {
                    let why = "is not the file any more that is changed in the rehearsal";
                    return Err(about(FaultKind::Changed, path.as_str(), why));
                }
                Ok(Self::File(file, content.size))
            }
        }
    }

    /// How many bytes there are.
    pub(crate) const fn size(&self) -> u64 {
        match self {
            Self::File(_, size) | Self::Nowhere { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// The whole content, of at most `limit` bytes.
    pub(crate) fn content(self, path: &Path, limit: u64, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let size = self.size();
        match self {
            Self::Nowhere { path, .. } => Err(nowhere(&path)),
            _ if size > limit => {
                Err(about(FaultKind::TooLarge, path.as_str(), &format!("has more than {limit} bytes")))
            }
            Self::File(file, size) => file.range(0, usize::try_from(size).unwrap_or_default(), deadline),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }

    /// `count` bytes from `from` on, or fewer where the content ends.
    pub(crate) fn range(&self, from: u64, count: u32, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let range = self.cut(from..from.saturating_add(count.into()));
        match self {
            Self::File(file, _) => {
                file.range(range.start, usize::try_from(range.end - range.start).unwrap_or_default(), deadline)
            }
            Self::Bytes(bytes) => Ok(slice(bytes, range).to_vec()),
            Self::Nowhere { path, .. } => Err(nowhere(path)),
        }
    }

    /// The last `count` bytes, or all where there are fewer.
    pub(crate) fn tail(&self, count: u32, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.range(self.size().saturating_sub(count.into()), count, deadline)
    }

    /// The image of a part of the content.
    pub(crate) fn image(&self, range: Range<u64>, deadline: Deadline) -> Result<Image, Fault> {
        let range = self.cut(range);
        match self {
            Self::File(file, _) => file.image(range, deadline),
            Self::Bytes(bytes) => Ok(Image::of(slice(bytes, range))),
            Self::Nowhere { path, .. } => Err(nowhere(path)),
        }
    }

    /// Keeps a part of the content, without holding it in memory.
    pub(crate) fn keep(&self, cx: &mut Context<'_>, range: Range<u64>) -> Result<Image, Fault> {
        let range = self.cut(range);
        match self {
            Self::File(file, _) => {
                cx.blobs.put_from(range.end - range.start, &mut file.reader(range, Some(cx.deadline)))
            }
            Self::Bytes(bytes) => {
                let part = slice(bytes, range);
                cx.blobs.put(part)?;
                Ok(Image::of(part))
            }
            Self::Nowhere { path, .. } => Err(nowhere(path)),
        }
    }

    fn cut(&self, range: Range<u64>) -> Range<u64> {
        let size = self.size();
        range.start.min(size)..range.end.min(size).max(range.start.min(size))
    }
}

fn nowhere(path: &str) -> Fault {
    about(FaultKind::Unknowable, path, "is too large to be read before its end is back")
}

fn slice(bytes: &[u8], range: Range<u64>) -> &[u8] {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    bytes.get(place(range.start)..place(range.end)).unwrap_or_default()
}

/// What is pending, where that is a file.
pub(crate) fn image<'a>(layer: &'a Layer, path: &Path) -> Result<&'a FileImage, Fault> {
    layer.image.as_ref().ok_or_else(|| failed("opened", path.as_str(), Errno::NOENT))
}
