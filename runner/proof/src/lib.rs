//! The reading and verifying side of a transparency log in the formats of C2SP, for whoever trusts neither its writer nor the
//! disk that it lies on.
//!
//! | file | holds |
//! |---|---|
//! | `merkle.rs` | the Merkle tree of RFC 6962: hashes, inclusion and consistency |
//! | `key.rs` | [`VerifierKey`]: whose signatures count |
//! | `note.rs` | [`Note`]: a text and its signatures, by `signed-note` |
//! | `checkpoint.rs` | [`Checkpoint`]: a tree's head, by `tlog-checkpoint`, and cosignatures, by `tlog-cosignature` |
//! | `source.rs` | [`Source`]: where the files of `tlog-tiles` are read from |
//! | `whole.rs` | [`verify_log`]: every entry, every hash, the root and the signature |
//! | `prove.rs` | [`Tree`]: proofs made from tiles |
//! | `receipt.rs` | [`Receipt`]: one entry that stands alone, by `tlog-proof` |
//! | `witness.rs` | what a witness is sent and answers, by `tlog-witness` |
//!
//! It shares no code with `countersign-tlog`, which writes logs: an error there is found here. Every parser takes untrusted
//! bytes and is bounded. It reads no clock, and nothing but what a [`Source`] gives.

#![forbid(unsafe_code)]

mod checkpoint;
mod error;
mod key;
mod merkle;
mod note;
mod prove;
mod receipt;
mod source;
mod whole;
mod witness;

pub use checkpoint::{Checkpoint, Cosignature, MAX_SIZE, Opened};
pub use error::ProofError;
pub use key::{KeyKind, MAX_KEY, VerifierKey};
pub use merkle::{Hash, MAX_PROOF, leaf_hash, verify_consistency, verify_inclusion};
pub use note::{MAX_NOTE, MAX_SIGNATURES, Note, NoteSignature};
pub use prove::Tree;
pub use receipt::{MAX_RECEIPT, Receipt, Verified};
pub use source::{Directory, Source};
pub use whole::{Each, Whole, verify_log};
pub use witness::{Request, conflicting_size, with_cosignatures};
