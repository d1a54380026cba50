//! The Merkle tree of RFC 6962, section 2.1, and the verification of its proofs as RFC 9162, section 2.1 has it.

use sha2::{Digest, Sha256};

use crate::ProofError;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The most hashes of a proof: a tree of less than 2^63 entries is no higher.
pub const MAX_PROOF: usize = 63;

fn sha256(prefix: u8, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([prefix]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// What an entry is in the tree.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(0, &[entry])
}

fn join(left: &Hash, right: &Hash) -> Hash {
    sha256(1, &[left, right])
}

/// The root of a tree of these leaves, as the RFC defines it. Of subtrees of one size, of which the last alone may be smaller,
/// it is the root of them together.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::new().finalize().into(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(split(hashes.len() as u64) as usize);
            join(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two that is smaller than this, which is more than one.
pub(crate) const fn split(size: u64) -> u64 {
    let below = size.saturating_sub(1);
    if below == 0 { 0 } else { 1 << below.ilog2() }
}

/// Verifies that the leaf is the entry at this place of the tree of that size and root.
///
/// # Errors
/// [`ProofError::BadProof`], or [`ProofError::Beyond`] where there is no such place.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    let bad = || ProofError::BadProof { what: "inclusion proof" };
    if index >= size {
        return Err(ProofError::Beyond { asked: index, size });
    }
    let (mut place, mut last, mut hash) = (index, size.saturating_sub(1), *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(bad());
        }
        if place & 1 == 1 || place == last {
            hash = join(sibling, &hash);
            // The levels at which the right edge has no sibling.
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = join(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(bad()) }
}

/// Verifies that the tree of the first size and root is the beginning of that of the second.
///
/// # Errors
/// [`ProofError::BadProof`], or [`ProofError::Beyond`] where the first is the larger one.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), ProofError> {
    let bad = || ProofError::BadProof { what: "consistency proof" };
    if old > new {
        return Err(ProofError::Beyond { asked: old, size: new });
    }
    if old == new || old == 0 {
        let same = if old == new { old_root == new_root } else { *old_root == root_of(&[]) };
        return if same && proof.is_empty() { Ok(()) } else { Err(bad()) };
    }
    let mut rest = proof.iter();
    let (mut place, mut last) = (old.saturating_sub(1), new.saturating_sub(1));
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    // The old tree's own root begins where it is a full subtree of the new one.
    let begin = if old.is_power_of_two() { old_root } else { rest.next().ok_or_else(bad)? };
    let (mut of_old, mut of_new) = (*begin, *begin);
    for sibling in rest {
        if last == 0 {
            return Err(bad());
        }
        if place & 1 == 1 || place == last {
            of_old = join(sibling, &of_old);
            of_new = join(sibling, &of_new);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            of_new = join(&of_new, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && of_old == *old_root && of_new == *new_root { Ok(()) } else { Err(bad()) }
}
