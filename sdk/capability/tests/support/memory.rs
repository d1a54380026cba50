//! Blobs in memory, for the tests of whoever is given blobs: each includes this file.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use countersign_capability::{Blobs, Stream};
use countersign_model::{Digest, Fault, FaultKind, Image};

/// What was put, and room for so many bytes more.
pub(crate) struct Memory {
    pub(crate) kept: BTreeMap<Digest, Vec<u8>>,
    pub(crate) room: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), room: usize::MAX }
    }
}

impl Blobs for Memory {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        let digest = Digest::of(bytes);
        if !self.kept.contains_key(&digest) {
            let left = self.room.checked_sub(bytes.len());
            self.room = left.ok_or_else(|| Fault::new(FaultKind::Other, "there is no room"))?;
            self.kept.insert(digest, bytes.to_vec());
        }
        Ok(digest)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        self.kept.get(digest).cloned().ok_or_else(|| Fault::new(FaultKind::NotFound, "no such blob"))
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        let mut bytes = Vec::new();
        let read = from.take(size + 1).read_to_end(&mut bytes);
        read.map_err(|error| Fault::new(FaultKind::Other, error.to_string()))?;
        if bytes.len() as u64 != size {
            return Err(Fault::new(FaultKind::Changed, "more or fewer bytes came"));
        }
        self.put(&bytes)?;
        Ok(Image::of(&bytes))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        Ok(Box::new(Cursor::new(self.get(digest)?)))
    }
}
