//! `remediation.toml`.
#![no_main]

use countersign_bundle::Manifest;
use countersign_model::Role;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    for role in Role::ALL {
        // What it asks for, as it is written, is text that parses.
        for grant in manifest.requested(role) {
            assert_eq!(grant.to_string().parse().as_ref(), Ok(grant));
        }
    }
});
