//! A whole log, from its entries up to its signature.

use crate::checkpoint::{Checkpoint, Opened};
use crate::key::VerifierKey;
use crate::merkle::{leaf_hash, root_of};
use crate::source::{self, Source, WIDTH};
use crate::{Hash, ProofError};

/// A log that was verified whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its checkpoint.
    pub opened: Opened,
    /// How many files its entries and hashes are in.
    pub files: u64,
}

/// What is given every entry with its place, and says what is wrong with it, if anything.
pub type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'a;

/// Verifies every entry and every hash of a log against its signed checkpoint, and the checkpoint against those that are held
/// elsewhere. `each` is given every entry with its place, in order, until it fails; nothing is verified yet then. Takes the
/// memory of one bundle and of one tile a level, however many entries there are.
///
/// # Errors
/// The first thing that is not as it should be. Where all that was signed is, and `each` failed, [`ProofError::BadEntry`] with
/// what it said.
pub fn verify_log(
    source: &dyn Source,
    log: &VerifierKey,
    witnesses: &[VerifierKey],
    held: &[Checkpoint],
    each: &mut Each<'_>,
) -> Result<Whole, ProofError> {
    let opened = Checkpoint::open(&source::checkpoint(source)?, log, witnesses)?;
    let (size, root) = (opened.checkpoint.size, opened.checkpoint.root);
    if let Some(other) = held.iter().find(|held| held.size > size) {
        return Err(ProofError::Shorter { size, held: other.size });
    }
    if held.iter().any(|held| held.origin != log.name()) {
        return Err(ProofError::OtherLog { what: "checkpoint held elsewhere" });
    }
    let mut held: Vec<&Checkpoint> = held.iter().collect();
    held.sort_by_key(|held| held.size);
    let mut held = held.into_iter().peekable();
    let mut climb = Climb { source, levels: Vec::new(), files: 0 };
    let mut reached = |climb: &Climb<'_>, at: u64| -> Result<(), ProofError> {
        while let Some(held) = held.next_if(|held| held.size == at) {
            if climb.root() != held.root {
                return Err(ProofError::SplitView { size: at });
            }
        }
        Ok(())
    };
    reached(&climb, 0)?;
    // What an entry says counts once it is known to be what was signed.
    let (mut at, mut bad) = (0_u64, None);
    while at < size {
        let (_, entries) = source::bundle(source, at / WIDTH, WIDTH.min(size.saturating_sub(at)))?;
        climb.files = climb.files.saturating_add(1);
        for entry in entries {
            if bad.is_none() {
                bad = each(at, &entry).map_err(|why| ProofError::BadEntry { index: at, why }).err();
            }
            climb.take(0, leaf_hash(&entry))?;
            at = at.saturating_add(1);
            reached(&climb, at)?;
        }
    }
    climb.end()?;
    if climb.root() != root {
        return Err(ProofError::WrongRoot { size });
    }
    bad.map_or(Ok(Whole { opened, files: climb.files }), Err)
}

/// The hashes that no full tile holds yet, of each level, and each tile compared as it is reached.
struct Climb<'a> {
    source: &'a dyn Source,
    levels: Vec<Level>,
    files: u64,
}

#[derive(Default)]
struct Level {
    /// How many full tiles there were.
    full: u64,
    hashes: Vec<Hash>,
}

impl Climb<'_> {
    /// Takes in the next hash of a level.
    fn take(&mut self, level: usize, hash: Hash) -> Result<(), ProofError> {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        let Some(own) = self.levels.get_mut(level) else { return Ok(()) };
        own.hashes.push(hash);
        if own.hashes.len() as u64 == WIDTH {
            let (hashes, index) = (std::mem::take(&mut own.hashes), own.full);
            own.full = own.full.saturating_add(1);
            self.compare(level, index, &hashes)?;
            self.take(level.saturating_add(1), root_of(&hashes))?;
        }
        Ok(())
    }

    /// Compares the partial tiles of the right edge.
    fn end(&mut self) -> Result<(), ProofError> {
        for level in 0..self.levels.len() {
            let Some(own) = self.levels.get(level) else { break };
            let (hashes, index) = (own.hashes.clone(), own.full);
            if !hashes.is_empty() {
                self.compare(level, index, &hashes)?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, level: usize, index: u64, hashes: &[Hash]) -> Result<(), ProofError> {
        let level = u32::try_from(level).unwrap_or(u32::MAX);
        let (path, found) = source::tile(self.source, level, index, hashes.len() as u64)?;
        self.files = self.files.saturating_add(1);
        match hashes.iter().zip(&found).position(|(own, found)| own != found) {
            Some(place) => Err(ProofError::WrongTile { path, place }),
            None => Ok(()),
        }
    }

    /// The root of what was taken in so far.
    fn root(&self) -> Hash {
        let mut smaller: Option<Hash> = None;
        for level in &self.levels {
            let hashes: Vec<Hash> = level.hashes.iter().copied().chain(smaller).collect();
            if !hashes.is_empty() {
                smaller = Some(root_of(&hashes));
            }
        }
        smaller.unwrap_or_else(|| root_of(&[]))
    }
}
