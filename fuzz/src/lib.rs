//! What the fuzz targets share.

use countersign_capability::Registry;

/// Every capability that the binary has.
#[must_use]
pub fn registry() -> Registry {
    Registry::default()
        .with::<countersign_files::Files>()
        .with::<countersign_http::Http>()
        .with::<countersign_process::ProcessCapability>()
}
