//! Contents that are too large for memory: kept and read piece by piece.

use std::io::{self, Read, SeekFrom};

use countersign_capability::Stream;
use countersign_model::{Digest, Hasher, Image};

use crate::RecordError;

/// How much is read at once, in bytes.
const PIECE: usize = 256 * 1024;

/// A reader that digests what it gives, never more than one byte past the size that it must have.
pub(crate) struct Digesting<'a> {
    from: &'a mut dyn Read,
    expected: u64,
    hasher: Hasher,
    failed: Option<io::ErrorKind>,
}

impl<'a> Digesting<'a> {
    pub(crate) fn new(from: &'a mut dyn Read, expected: u64) -> Self {
        Self { from, expected, hasher: Hasher::default(), failed: None }
    }

    /// The image of what was read, if all went well with reading it.
    pub(crate) fn image(self) -> Result<Image, RecordError> {
        let (found, expected) = (self.hasher.size(), self.expected);
        if found != expected {
            return Err(RecordError::OtherSize { found, expected });
        }
        Ok(self.hasher.image())
    }

    /// What went wrong: the reader, where it failed, and otherwise `error`.
    pub(crate) fn blame(&self, error: RecordError) -> RecordError {
        match (self.failed, error) {
            (Some(_), RecordError::File { source, .. }) => RecordError::Unread { source },
            (_, error) => error,
        }
    }
}

impl Read for Digesting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.expected.saturating_add(1).saturating_sub(self.hasher.size());
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most) else { return Ok(0) };
        let read = self.from.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = Some(error.kind());
            }
        })?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Copies a reader to its end, with a buffer of [`PIECE`].
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn io::Write) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The stream at its beginning again, once all of it was found to have this digest.
pub(crate) fn verified(
    digest: &Digest,
    limit: u64,
    mut stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, RecordError> {
    let unread = |source| RecordError::Unread { source };
    let size = stream.seek(SeekFrom::End(0)).map_err(unread)?;
    if size > limit {
        return Err(RecordError::TooLarge { what: "bytes of a blob", size, limit });
    }
    stream.rewind().map_err(unread)?;
    let mut digesting = Digesting::new(&mut stream, size);
    copy(&mut digesting, &mut io::sink()).map_err(unread)?;
    let found = digesting.image()?.digest;
    if found != *digest {
        let what = format!("its bytes have the digest {found}");
        return Err(RecordError::Damaged { path: digest.to_string(), what });
    }
    stream.rewind().map_err(unread)?;
    Ok(stream)
}
