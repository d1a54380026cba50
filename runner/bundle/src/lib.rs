//! Untrusted bytes to and from a [`Bundle`]: `remediation.toml`, OCI image layout, digests, size caps.
//!
//! An agent writes everything in here and any of it may lie. What comes out is a [`Bundle`], whose
//! bytes were read once, stand in memory, and are the ones that its digest names.
#![forbid(unsafe_code)]

mod arguments;
mod bundle;
mod component;
mod directory;
mod document;
mod duration;
mod error;
mod manifest;
mod oci;
mod open;
mod save;
mod schema;
mod template;

pub use arguments::{ArgumentsError, MAX_ARGUMENTS_BYTES};
pub use bundle::{Bundle, Step};
pub use error::BundleError;
pub use manifest::{Manifest, ManifestError};

/// The largest `remediation.toml`, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 256 * 1024;
/// The largest component, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 64 * 1024 * 1024;
/// The largest JSON document of the image layout, in bytes.
pub const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 320 * 1024 * 1024;

// Four components, `remediation.toml`, five manifests, five configurations and two indexes: the
// parts' own bounds keep a bundle below the whole's.
const _: () = assert!(4 * MAX_COMPONENT_BYTES + MAX_MANIFEST_BYTES + 12 * MAX_JSON_BYTES <= MAX_BUNDLE_BYTES);
