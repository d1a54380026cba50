//! Notes, keys and checkpoints, as others make them and bent.

use base64ct::{Base64, Encoding as _};
use countersign_proof::{Checkpoint, KeyKind, MAX_NOTE, Note, ProofError, VerifierKey};
use countersign_tlog::{NoteSigner as _, sign_note, verifier_key};
use ed25519_dalek::Signer as _;

use crate::support::{Key, Log, ORIGIN, log_key, log_verifier};

/// The example of Go's checksum database.
const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn keys_are_read_as_they_are_written() {
    let key = VerifierKey::parse(VERIFIER).expect("a key");
    assert_eq!((key.name(), key.kind(), key.to_text().as_str()), ("PeterNeumann", KeyKind::Note, VERIFIER));
    assert_eq!(log_verifier().to_text(), verifier_key(ORIGIN, &log_key().public_key()));
    // No checkpoint, so its text is not even looked at before the signature was verified.
    let no_checkpoint = Checkpoint::open(NOTE.as_bytes(), &key, &[]);
    assert!(matches!(no_checkpoint, Err(ProofError::Malformed { what: "checkpoint", .. })), "{no_checkpoint:?}");
    let bent = Checkpoint::open(NOTE.replace("problem", "Problem").as_bytes(), &key, &[]);
    assert!(matches!(bent, Err(ProofError::BadSignature { .. })), "{bent:?}");
    let weak = Base64::encode_string(&[&[1_u8][..], &[0; 32]].concat());
    for bad in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        &format!("PeterNeumann+c74f20a3+{weak}"),
        &"x".repeat(2000),
    ] {
        VerifierKey::parse(bad).expect_err(bad);
    }
}

#[test]
fn notes_are_read_as_they_are_written() {
    let note = Note::parse(NOTE.as_bytes()).expect("a note");
    assert_eq!((note.to_text().as_str(), note.signatures.len()), (NOTE, 1));
    let line = NOTE.rsplit_once("\n\n").expect("a line").1;
    let many = |count| format!("text\n\n{}", line.repeat(count));
    Note::parse(many(64).as_bytes()).expect("as many as are read");
    for bad in [
        "",
        "text\n",
        "text\n\n",
        &NOTE.replace('\u{2014}', "-"),
        &NOTE.replace("PeterNeumann x", "PeterNeumannx"),
        &NOTE.replace("nAM=", "nAN="),
        &NOTE.replace("nAM=", "nAM"),
        NOTE.trim_end(),
        &NOTE.replace("answer", "ans\twer"),
        "text\n\n\u{2014} name AAAA\n",
        "text\n\n\u{2014} na+me AAAAAAAA\n",
        &many(65),
        &"x".repeat(MAX_NOTE + 1),
    ] {
        Note::parse(bad.as_bytes()).expect_err(bad);
    }
    Note::parse(b"\xff\n\n").expect_err("not UTF-8");
}

#[test]
fn only_the_logs_own_signature_makes_a_checkpoint_its() {
    let log = Log::sized(3);
    let opened = Checkpoint::open(log.checkpoint().as_bytes(), &log_verifier(), &[]).expect("a checkpoint");
    assert_eq!(opened.checkpoint, log.head());
    let other = Key::new(ORIGIN, 8).verifier(KeyKind::Note);
    assert!(matches!(Checkpoint::open(log.checkpoint().as_bytes(), &other, &[]), Err(ProofError::NotSigned { .. })));
    // Signed by the key, and of another log.
    let text = log.checkpoint().rsplit_once("\n\n").expect("a text").0.replace(ORIGIN, "example.com/other") + "\n";
    let found = Checkpoint::open(sign_note(&text, &log_key()).unwrap().as_bytes(), &log_verifier(), &[]);
    assert!(matches!(found, Err(ProofError::OtherLog { .. })), "{found:?}");
    for bad in [
        "x\n",
        "x\n1\n",
        "x\n01\nAAAA\n",
        &format!("{ORIGIN}\n1\nAAAA\n"),
        &format!("{ORIGIN}\n{}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", u64::MAX),
    ] {
        let note = sign_note(bad, &log_key()).unwrap();
        Checkpoint::open(note.as_bytes(), &log_verifier(), &[]).expect_err(bad);
    }
}

/// A cosignature as a witness makes it, over this time.
pub(crate) fn cosign(witness: &Key, checkpoint: &str, at: u64) -> String {
    let text = format!("{}\n", checkpoint.rsplit_once("\n\n").expect("a text").0);
    let signature = witness.key.sign(format!("cosignature/v1\ntime {at}\n{text}").as_bytes()).to_bytes();
    let id = witness.verifier(KeyKind::Cosignature).id();
    let line = Base64::encode_string(&[&id[..], &at.to_be_bytes(), &signature].concat());
    format!("\u{2014} {} {line}\n", witness.name)
}

#[test]
fn witnesses_are_counted_once_each_and_only_those_that_are_known() {
    let log = Log::sized(3);
    let (one, two) = (Key::new("witness.example/1", 21), Key::new("witness.example/2", 22));
    let known = [one.verifier(KeyKind::Cosignature), two.verifier(KeyKind::Cosignature)];
    let plain = log.checkpoint();
    let note = format!("{plain}{}{}", cosign(&one, &plain, 1_679_315_147), cosign(&one, &plain, 1_679_315_148));
    let opened = Checkpoint::open(note.as_bytes(), &log_verifier(), &known).expect("a checkpoint");
    let seen: Vec<_> = opened.cosignatures.iter().map(|one| (one.witness.as_str(), one.at)).collect();
    assert_eq!(seen, [("witness.example/1", 1_679_315_147)]);
    opened.witnessed_by(1).expect("one");
    assert!(matches!(opened.witnessed_by(2), Err(ProofError::TooFewWitnesses { found: 1, wanted: 2 })));
    let unknown = Checkpoint::open(note.as_bytes(), &log_verifier(), &known[1..]).expect("it is ignored");
    assert_eq!(unknown.cosignatures, []);
    // A cosignature of another checkpoint, or of another time, is a forgery.
    let other = Log::sized(4).checkpoint();
    let forged = format!("{plain}{}", cosign(&two, &other, 5));
    assert!(matches!(
        Checkpoint::open(forged.as_bytes(), &log_verifier(), &known),
        Err(ProofError::BadSignature { .. })
    ));
    // A witness alone makes no checkpoint of the log.
    let alone = note.replacen(&plain.rsplit_once("\n\n").expect("lines").1.to_owned(), "", 1);
    assert!(matches!(Checkpoint::open(alone.as_bytes(), &log_verifier(), &known), Err(ProofError::NotSigned { .. })));
}
