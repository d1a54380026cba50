use std::io::Read;

use countersign_capability::{Blobs, Stream};
use countersign_model::{Digest, Fault, FaultKind, Image, Stop};

/// Blobs that remember when they could not keep something: that is no answer for a guest, who might go on without
/// the change, but the end of its step.
pub(crate) struct Keeping<'a> {
    blobs: &'a mut dyn Blobs,
    refused: Option<String>,
}

impl<'a> Keeping<'a> {
    pub(crate) fn new(blobs: &'a mut dyn Blobs) -> Self {
        Self { blobs, refused: None }
    }

    /// # Errors
    /// Why something was not kept.
    pub(crate) fn all(self) -> Result<(), Stop> {
        let stop = |why| Stop(format!("the change is not made, since what undo needs cannot be kept: {why}"));
        self.refused.map_or(Ok(()), |why| Err(stop(why)))
    }

    fn note(&mut self, fault: &Fault) {
        // The others are about what was to be kept: too much of it, or other bytes than were said.
        if fault.kind == FaultKind::Other {
            self.refused.get_or_insert_with(|| fault.what.clone());
        }
    }
}

impl Blobs for Keeping<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Fault> {
        self.blobs.put(bytes).inspect_err(|fault| self.note(fault))
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        self.blobs.get(digest)
    }

    fn put_from(&mut self, size: u64, from: &mut dyn Read) -> Result<Image, Fault> {
        self.blobs.put_from(size, from).inspect_err(|fault| self.note(fault))
    }

    fn open(&mut self, digest: &Digest) -> Result<Box<dyn Stream>, Fault> {
        self.blobs.open(digest)
    }
}
