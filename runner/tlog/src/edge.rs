//! A tree's right edge: the roots of the full subtrees that make it up, one for each bit of its size.

use crate::hash::{Hash, empty_root, leaf_hash, node_hash};

/// How many levels of the tree one level of tiles spans.
const TILE_HEIGHT: u32 = 8;
/// The most levels of tiles that a log has.
const TILE_LEVELS: u32 = 8;

/// All of a tree that an append has to know: at most 64 hashes, whatever its size. An append costs one hash of the entry and,
/// on average, one of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The largest subtree first.
    hashes: Vec<Hash>,
}

/// A node that stands in a tile above the lowest level: the root of a full tile below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The level of the tile that it stands in, from 1.
    pub level: u8,
    /// Its place in that level, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Bytes that are no edge of a tree of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} bytes are not the {expected} of the right edge of a tree of {size} entries")]
pub struct BadEdge {
    /// The size.
    pub size: u64,
    /// How many bytes there are.
    pub found: usize,
    /// How many there are of such a tree.
    pub expected: usize,
}

impl Edge {
    /// How many entries the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes an entry in, and gives what that completes of the tiles above the lowest: mostly nothing, once in 256 entries
    /// one node, seldom more.
    pub fn append(&mut self, entry: &[u8]) -> Vec<Node> {
        self.append_leaf(leaf_hash(entry))
    }

    /// The same for an entry whose [`leaf_hash`] is known.
    pub fn append_leaf(&mut self, leaf: Hash) -> Vec<Node> {
        let (mut hash, mut completed) = (leaf, Vec::new());
        let index = self.size;
        // As a binary counter carries: each low bit of the size that is set is a full subtree to join with.
        for height in 1..=index.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            let level = height / TILE_HEIGHT;
            if height % TILE_HEIGHT == 0 && level < TILE_LEVELS {
                completed.push(Node { level: level as u8, index: index >> height, hash });
            }
        }
        self.hashes.push(hash);
        self.size = index.saturating_add(1);
        completed
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let from_the_right = self.hashes.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// The hashes one after the other, the largest subtree first, to be read by [`Edge::from_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }

    /// Reads what [`Edge::to_bytes`] gave.
    ///
    /// # Errors
    /// Where there are more or fewer hashes than a tree of that size has.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, BadEdge> {
        let expected = (size.count_ones() as usize).saturating_mul(32);
        let (hashes, rest) = bytes.as_chunks::<32>();
        if bytes.len() != expected || !rest.is_empty() {
            return Err(BadEdge { size, found: bytes.len(), expected });
        }
        Ok(Self { size, hashes: hashes.to_vec() })
    }
}

#[cfg(test)]
mod tests;
