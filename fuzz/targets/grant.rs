//! Grants in text: what is parsed prints as text that parses to the same grant, and so does what a capability makes of it.
#![no_main]

use std::sync::LazyLock;

use countersign_capability::Registry;
use countersign_model::Grant;
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(countersign_fuzz::registry);

fuzz_target!(|text: &str| {
    let Ok(grant) = text.parse::<Grant>() else { return };
    let printed = grant.to_string();
    assert_eq!(printed.parse::<Grant>().as_ref(), Ok(&grant), "`{text}` prints as `{printed}`");
    let Ok(capability) = REGISTRY.get(&grant.capability) else { return };
    let Ok(normal) = capability.normalize(&grant) else { return };
    let printed = normal.to_string();
    let again: Grant = printed.parse().expect("what is normal parses");
    assert_eq!(capability.normalize(&again).ok().as_ref(), Some(&normal), "`{text}` is normally `{printed}`");
});
