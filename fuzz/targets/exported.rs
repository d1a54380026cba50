//! An exported proposal.
#![no_main]

use std::sync::{Arc, LazyLock};

use countersign_capability::Registry;
use countersign_pipeline::{Exported, Pins};
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(countersign_fuzz::registry()));

fuzz_target!(|bytes: &[u8]| {
    let _ = Exported::recognizes(bytes);
    let opened = Exported::open(bytes, Arc::clone(&REGISTRY), || 0, &Pins::default());
    // A runner's signature is not made by chance.
    assert!(opened.is_err());
});
