//! A trust policy.
#![no_main]

use countersign_trust::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.digest(), countersign_model::Digest::of(bytes));
        // Every entry is told, by a name of its own.
        assert_eq!(policy.differences(&policy), []);
        assert!(policy.threshold() >= 1 && policy.threshold() <= policy.roots().len());
    }
});
