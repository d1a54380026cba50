//! The two hashes of a Merkle tree by RFC 6962, section 2.1: of a leaf and of a node, each with a prefix of its own, so
//! that no entry passes for a node.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What an entry is in the tree.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// What two neighbours are one level up.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without entries.
pub(crate) fn empty_root() -> Hash {
    Sha256::new().finalize().into()
}
