//! The writing side of a transparency log in the formats of C2SP, over entries that are opaque bytes.
//!
//! | file | holds |
//! |---|---|
//! | `hash.rs` | the two hashes of RFC 6962 |
//! | `edge.rs` | [`Edge`]: a tree's right edge, by which it grows without the rest of it |
//! | `tiles.rs` | the files of `tlog-tiles`: their names, widths and bytes |
//! | `note.rs` | `signed-note`: key names, key ids, verifier keys, signature lines |
//! | `checkpoint.rs` | `tlog-checkpoint` |
//!
//! Pure: it reads and writes no file, and holds no key. What it makes is verified by `countersign-proof`, which shares no
//! code with it.

#![forbid(unsafe_code)]

mod checkpoint;
mod edge;
mod hash;
mod note;
mod tiles;

pub use checkpoint::{MAX_ORIGIN, checkpoint_text, sign_checkpoint};
pub use edge::{BadEdge, Edge, Node};
pub use hash::{Hash, leaf_hash, node_hash};
pub use note::{BadName, NoteSigner, key_id, sign_note, valid_name, verifier_key};
pub use tiles::{BUNDLE_WIDTH, File, FileKind, MAX_ENTRY, TooLong, bundle, files_after, partial_files, path, tile};
