//! An armored SSH signature, over nothing, of every kind; and the bytes inside such an armor.
#![no_main]

use base64ct::{Base64, Encoding};
use countersign_trust::{PublicKey, SignatureError, Signer};
use libfuzzer_sys::fuzz_target;

/// The keys of the seeds, whose signatures are valid.
const SEEDS: [&str; 4] = [
    include_str!("../seeds/keys/ed25519.pub"),
    include_str!("../seeds/keys/sk-ed25519.pub"),
    include_str!("../seeds/keys/sk-ecdsa.pub"),
    include_str!("../seeds/keys/passkey.pub"),
];

fuzz_target!(|bytes: &[u8]| {
    look(countersign_trust::verify("approval@countersign", b"", bytes));
    look(countersign_trust::verify("approval@countersign", b"", armor(bytes).as_bytes()));
});

fn look(verified: Result<Signer, SignatureError>) {
    let Ok(signer) = verified else { return };
    // Nobody else signs by chance, and what is read is written again as it was.
    assert!(SEEDS.iter().any(|line| PublicKey::from_openssh(line).as_ref() == Ok(signer.public_key())));
    assert_eq!(signer.kind().is_hardware(), signer.presence().is_some());
    assert_eq!(PublicKey::from_wire(&signer.public_key().to_wire(), "").as_ref(), Ok(signer.public_key()));
    assert_eq!(PublicKey::from_openssh(&signer.public_key().to_openssh()).as_ref(), Ok(signer.public_key()));
}

fn armor(bytes: &[u8]) -> String {
    let text = Base64::encode_string(bytes);
    let lines: Vec<_> = text.as_bytes().chunks(70).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}
