//! Proofs, made from a log's tiles.

use std::collections::HashMap;

use crate::merkle::{MAX_PROOF, root_of, split, verify_consistency, verify_inclusion};
use crate::source::{self, Source, WIDTH};
use crate::{Checkpoint, Hash, ProofError, leaf_hash};

/// How many tiles are remembered; a proof needs some twenty.
const REMEMBERED: usize = 64;

/// The tree of a log at a checkpoint that was opened: whatever is made from its files is verified against that.
pub struct Tree<'a> {
    source: &'a dyn Source,
    checkpoint: &'a Checkpoint,
    tiles: HashMap<(u32, u64), Vec<Hash>>,
}

impl<'a> Tree<'a> {
    /// The tree of this checkpoint.
    #[must_use]
    pub fn new(source: &'a dyn Source, checkpoint: &'a Checkpoint) -> Self {
        Self { source, checkpoint, tiles: HashMap::new() }
    }

    /// The entry at this place, from 0, and its inclusion proof, the leaf's sibling first.
    ///
    /// # Errors
    /// Where there is no such entry, a file is missing or damaged, or the proof does not lead to the checkpoint's root.
    pub fn inclusion(&mut self, index: u64) -> Result<(Vec<u8>, Vec<Hash>), ProofError> {
        let size = self.checkpoint.size;
        if index >= size {
            return Err(ProofError::Beyond { asked: index, size });
        }
        let first = index / WIDTH * WIDTH;
        let (path, mut entries) = source::bundle(self.source, index / WIDTH, WIDTH.min(size.saturating_sub(first)))?;
        let place = (index % WIDTH) as usize;
        if place >= entries.len() {
            return Err(ProofError::Damaged { path, why: "it has fewer entries than its name says" });
        }
        let entry = entries.swap_remove(place);
        let mut proof = Vec::new();
        let (mut low, mut high) = (0, size);
        while high.saturating_sub(low) > 1 && proof.len() < MAX_PROOF {
            let middle = low.saturating_add(split(high.saturating_sub(low)));
            if index < middle {
                proof.push(self.subtree(middle, high)?);
                high = middle;
            } else {
                proof.push(self.subtree(low, middle)?);
                low = middle;
            }
        }
        proof.reverse();
        verify_inclusion(index, size, &leaf_hash(&entry), &proof, &self.checkpoint.root)?;
        Ok((entry, proof))
    }

    /// The proof that the tree of these first entries is the beginning of this one, and that tree's root.
    ///
    /// # Errors
    /// Where there are fewer entries, a file is missing or damaged, or the proof does not lead to the checkpoint's root.
    pub fn consistency(&mut self, old: u64) -> Result<(Hash, Vec<Hash>), ProofError> {
        let size = self.checkpoint.size;
        if old > size {
            return Err(ProofError::Beyond { asked: old, size });
        }
        let old_root = self.subtree(0, old)?;
        let mut proof = Vec::new();
        if old > 0 && old < size {
            // How far the old tree is a full subtree of what is looked at.
            let (mut low, mut high, mut whole) = (0_u64, size, true);
            while old < high && proof.len() < MAX_PROOF {
                let middle = low.saturating_add(split(high.saturating_sub(low)));
                if old <= middle {
                    proof.push(self.subtree(middle, high)?);
                    high = middle;
                } else {
                    proof.push(self.subtree(low, middle)?);
                    (low, whole) = (middle, false);
                }
            }
            if !whole {
                proof.push(self.subtree(low, high)?);
            }
            proof.reverse();
        }
        verify_consistency((old, &old_root), (size, &self.checkpoint.root), &proof)?;
        Ok((old_root, proof))
    }

    /// The root of the entries from `low` on to before `high`.
    fn subtree(&mut self, low: u64, high: u64) -> Result<Hash, ProofError> {
        let count = high.saturating_sub(low);
        if count == 0 {
            return Ok(root_of(&[]));
        }
        if !count.is_power_of_two() || !low.is_multiple_of(count) {
            let middle = low.saturating_add(split(count));
            let both = [self.subtree(low, middle)?, self.subtree(middle, high)?];
            return Ok(root_of(&both));
        }
        let (level, within) = (count.ilog2() / 8, count.ilog2() % 8);
        let height = level.saturating_mul(8);
        let first = low >> height;
        let index = first / WIDTH;
        let hashes = self.tile(level, index, height)?;
        let begin = (first % WIDTH) as usize;
        match hashes.get(begin..begin.saturating_add(1 << within)) {
            Some(hashes) => Ok(root_of(hashes)),
            None => Err(ProofError::BadProof { what: "proof that was asked for" }),
        }
    }

    fn tile(&mut self, level: u32, index: u64, height: u32) -> Result<&[Hash], ProofError> {
        if self.tiles.len() >= REMEMBERED && !self.tiles.contains_key(&(level, index)) {
            self.tiles.clear();
        }
        match self.tiles.entry((level, index)) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(empty) => {
                let left = (self.checkpoint.size >> height).saturating_sub(index.saturating_mul(WIDTH));
                let (_, hashes) = source::tile(self.source, level, index, WIDTH.min(left))?;
                Ok(empty.insert(hashes))
            }
        }
    }
}
