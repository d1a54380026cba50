//! Parts of an open file's content, read piece by piece: no more than a piece of it is in memory.

use std::io;
use std::ops::Range;

use countersign_model::{Fault, FaultKind, Hasher, Image};

use crate::fault::{Deadline, about, in_time};
use crate::handle::Opened;

/// How much is read or written between two looks at the deadline, in bytes.
pub(crate) const PIECE: usize = 256 * 1024;

impl Opened {
    /// `count` bytes from `from` on; fewer where the file ends, none past its end.
    pub(crate) fn range(&self, from: u64, count: usize, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.pieces(from..from.saturating_add(count as u64), deadline, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The image of this part of the content, or of as much of it as there is.
    pub(crate) fn image(&self, range: Range<u64>, deadline: Deadline) -> Result<Image, Fault> {
        let mut hasher = Hasher::default();
        self.pieces(range, deadline, |piece| hasher.update(piece))?;
        Ok(hasher.image())
    }

    /// This part of the content as a reader, which fails with `TimedOut` once the deadline has passed.
    pub(crate) const fn reader(&self, range: Range<u64>, deadline: Deadline) -> Reader<'_> {
        Reader { file: self, range, deadline }
    }

    fn pieces(&self, range: Range<u64>, deadline: Deadline, mut take: impl FnMut(&[u8])) -> Result<(), Fault> {
        let Range { start, end } = range;
        let mut at = start;
        while at < end {
            if in_time(deadline).is_err() {
                let why = format!(
                    "is too large for the time that a call has: {} of {} bytes were read",
                    at - start,
                    end - start
                );
                return Err(about(FaultKind::TimedOut, self.path(), &why));
            }
            let piece = self.part(at, usize::try_from(end - at).unwrap_or(PIECE).min(PIECE))?;
            if piece.is_empty() {
                break;
            }
            take(&piece);
            at += piece.len() as u64;
        }
        Ok(())
    }
}

/// A part of an open file's content, up to where the file ends.
pub(crate) struct Reader<'a> {
    file: &'a Opened,
    range: Range<u64>,
    deadline: Deadline,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failed = |kind: io::ErrorKind| move |fault: Fault| io::Error::new(kind, fault.what);
        in_time(self.deadline).map_err(failed(io::ErrorKind::TimedOut))?;
        let left = self.range.end.saturating_sub(self.range.start);
        let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE).min(buffer.len());
        let part = self.file.part(self.range.start, count).map_err(failed(io::ErrorKind::Other))?;
        if let Some(buffer) = buffer.get_mut(..part.len()) {
            buffer.copy_from_slice(&part);
        }
        self.range.start += part.len() as u64;
        Ok(part.len())
    }
}
