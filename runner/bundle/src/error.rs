use countersign_model::{Digest, Role};

use crate::ManifestError;

/// Why a directory is not a bundle, or a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system refused.
    #[error("`{what}`: {source}")]
    Io {
        /// The file or directory.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// A part of the bundle is not there.
    #[error("`{what}` is missing")]
    Missing {
        /// The file or directory, relative to the bundle.
        what: String,
    },
    /// A link, pipe, device or directory where a file must be, or a file where a directory must be.
    #[error("`{what}` is not {expected}")]
    WrongKind {
        /// The path, relative to the bundle.
        what: String,
        /// What must be there.
        expected: &'static str,
    },
    /// Something that the bundle does not name.
    #[error("`{what}` does not belong to the bundle")]
    Unexpected {
        /// The path, relative to the bundle.
        what: String,
    },
    /// A part is larger than is read.
    #[error("{what} has {size} bytes, more than the {limit} that are read")]
    TooLarge {
        /// The part.
        what: String,
        /// Its size in bytes, as its descriptor or the file system has it.
        size: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A blob has another size than its descriptor says.
    #[error("blob `{blob}` has {found} bytes: its descriptor says {expected}")]
    WrongSize {
        /// The blob's name.
        blob: Digest,
        /// Its descriptor's size.
        expected: u64,
        /// Its own.
        found: u64,
    },
    /// A blob's bytes are not the ones that it is named for.
    #[error("blob `{blob}` holds other bytes: they are `{found}`")]
    WrongDigest {
        /// The blob's name.
        blob: Digest,
        /// The digest of what it holds.
        found: Digest,
    },
    /// A JSON document does not parse.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The document.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A document parses but is not what a bundle has there.
    #[error("{what}: `{field}` is `{found}`, expected `{expected}`")]
    Field {
        /// The document.
        what: String,
        /// The field.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// Two manifests are for the same role.
    #[error("`{0}` stands twice in the bundle")]
    Twice(String),
    /// The manifests are not in the order of a bundle.
    #[error(
        "`{found}` stands after `{before}`: the order is `remediation`, `investigation`, `fix`, `rollback`, `check`"
    )]
    Order {
        /// The later one.
        found: String,
        /// The earlier one.
        before: String,
    },
    /// `remediation.toml` describes a step, or is itself, not in the bundle.
    #[error("the bundle has no `{0}`")]
    NoSuchPart(String),
    /// A step stands in the bundle that `remediation.toml` does not describe.
    #[error("the step `{0}` is not described in `remediation.toml`")]
    Undescribed(Role),
    /// `remediation.toml` cannot be used.
    #[error("`remediation.toml`: {0}")]
    Manifest(#[from] ManifestError),
    /// Something other than an intact bundle stands where one is to be written.
    #[error("`{dir}` exists and is not an intact bundle, so it is not replaced: {why}")]
    Occupied {
        /// Where.
        dir: String,
        /// What makes it not a bundle.
        why: String,
    },
}
