//! An armored SSH signature, over nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|armored: &[u8]| {
    let verified = countersign_trust::verify("approval@countersign", b"", armored);
    // Nobody signs by chance.
    assert!(verified.is_err());
});
