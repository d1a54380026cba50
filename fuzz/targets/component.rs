//! A step's bytes, which the runner itself inspects before a worker compiles them.
#![no_main]

use std::sync::LazyLock;

use countersign_capability::Registry;
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(countersign_fuzz::registry);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(step) = countersign_sandbox::inspect(&REGISTRY, bytes) {
        assert_eq!(step.bytes(), bytes);
    }
});
