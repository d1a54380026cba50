//! A bundle's blobs. `@N` in one stands for the digest of the one before it by so many, so that the fuzzer can name them.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_bundle::Bundle;
use countersign_model::Digest;
use libfuzzer_sys::fuzz_target;

/// The most blobs of one input.
const MAX: usize = 8;

fuzz_target!(|input: Vec<Vec<u8>>| {
    let (mut digests, mut blobs) = (Vec::<Digest>::new(), BTreeMap::<Digest, Arc<[u8]>>::new());
    for blob in input.iter().take(MAX) {
        let blob = named(blob, &digests);
        let digest = Digest::of(&blob);
        digests.push(digest);
        blobs.insert(digest, blob.into());
    }
    let Some(last) = digests.last() else { return };
    if let Ok(bundle) = Bundle::from_blobs(*last, &blobs) {
        assert_eq!(bundle.digest(), *last);
    }
});

fn named(blob: &[u8], digests: &[Digest]) -> Vec<u8> {
    let mut named = Vec::new();
    let mut rest = blob;
    while let Some((first, after)) = rest.split_first() {
        let digit = after.first().filter(|_| *first == b'@').and_then(|digit| digit.checked_sub(b'0'));
        match digit.and_then(|digit| digests.len().checked_sub(usize::from(digit) + 1)).and_then(|at| digests.get(at)) {
            Some(digest) => {
                named.extend_from_slice(digest.to_string().as_bytes());
                rest = &after[1..];
            }
            None => {
                named.push(*first);
                rest = after;
            }
        }
    }
    named
}
