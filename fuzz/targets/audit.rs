//! What is read of an audit log that somebody else holds: notes, checkpoints, keys, receipts, and what witnesses are sent and
//! answer. Whatever is taken has one encoding, and comes back byte for byte.
#![no_main]

use std::sync::LazyLock;

use countersign_proof::{Checkpoint, KeyKind, Note, Receipt, Request, VerifierKey, conflicting_size, with_cosignatures};
use libfuzzer_sys::fuzz_target;

/// The example of Go's checksum database.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static LOG: LazyLock<VerifierKey> = LazyLock::new(|| VerifierKey::parse(KEY).expect("a key"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_text().as_bytes(), bytes);
        if let Ok(checkpoint) = Checkpoint::parse(&note.text) {
            assert!(note.text.starts_with(&format!("{}\n{}\n", checkpoint.origin, checkpoint.size)));
        }
        let answer = note.to_text();
        let lines = answer.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
        assert!(with_cosignatures(bytes, lines.as_bytes(), &LOG, &LOG).is_err(), "nobody has that key");
    }
    assert!(Checkpoint::open(bytes, &LOG, &[]).is_err(), "nobody has that key");
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
        assert!(receipt.verify(&LOG, &[]).is_err());
    }
    if let Ok(request) = Request::parse(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
    if let Ok(size) = conflicting_size(bytes) {
        assert_eq!(format!("{size}\n").as_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Checkpoint::parse(text);
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_text(), text.trim_ascii());
            assert!(matches!(key.kind(), KeyKind::Note | KeyKind::Cosignature));
        }
    }
});
