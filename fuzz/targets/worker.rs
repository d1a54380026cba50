//! What a worker says to the runner, which has to take it for hostile; and its calls, as the gate decodes them.
#![no_main]

use std::sync::LazyLock;

use countersign_capability::Registry;
use libfuzzer_sys::fuzz_target;

static REGISTRY: LazyLock<Registry> = LazyLock::new(countersign_fuzz::registry);

fuzz_target!(|frame: &[u8]| {
    let Some(call) = countersign_worker::called(frame) else { return };
    let Ok(capability) = REGISTRY.get(&call.capability) else { return };
    if let Ok(typed) = capability.decode(&call) {
        // What people are shown of it is one line without anything that a terminal acts on.
        assert!(!typed.text().chars().any(char::is_control), "{:?}", typed.text());
    }
});
