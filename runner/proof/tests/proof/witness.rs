use countersign_proof::{Checkpoint, KeyKind, Request, conflicting_size, with_cosignatures};

use crate::notes::cosign;
use crate::support::{Key, Log, log_verifier};

#[test]
fn a_request_is_read_as_it_is_written() {
    let checkpoint = Log::sized(3).checkpoint().into_bytes();
    for proof in [vec![], vec![[1; 32]], vec![[2; 32]; 63]] {
        let request = Request { old: 2, proof, checkpoint: checkpoint.clone() };
        let bytes = request.to_bytes();
        assert!(bytes.starts_with(b"old 2\n"));
        assert_eq!(Request::parse(&bytes).expect("it parses"), request);
    }
    let long = Request { old: 2, proof: vec![[2; 32]; 64], checkpoint };
    Request::parse(&long.to_bytes()).expect_err("more than is sent");
    Request::parse(b"old 02\n\nx").expect_err("a leading zero");
    assert_eq!(conflicting_size(b"20852014\n").expect("a size"), 20_852_014);
    for bad in [&b"x\n"[..], b"12", b"\n", b"-1\n", b"012\n"] {
        conflicting_size(bad).expect_err("no size");
    }
}

#[test]
fn only_what_the_witness_signed_is_taken_over() {
    let log = Log::sized(3);
    let (one, two) = (Key::new("witness.example/1", 21), Key::new("witness.example/2", 22));
    let key = one.verifier(KeyKind::Cosignature);
    let plain = log.checkpoint();
    let answer = format!("{}{}", cosign(&two, &plain, 5), cosign(&one, &plain, 6));
    let taken = with_cosignatures(plain.as_bytes(), answer.as_bytes(), &log_verifier(), &key).expect("cosigned");
    let text = String::from_utf8(taken.clone()).expect("text");
    assert!(text.contains("witness.example/1") && !text.contains("witness.example/2"), "{text}");
    // Once more, later: the earlier one goes.
    let again = cosign(&one, &plain, 7);
    let taken = with_cosignatures(&taken, again.as_bytes(), &log_verifier(), &key).expect("cosigned");
    let opened = Checkpoint::open(&taken, &log_verifier(), std::slice::from_ref(&key)).expect("a checkpoint");
    assert_eq!(opened.cosignatures.iter().map(|one| one.at).collect::<Vec<_>>(), [7]);
    let forged = cosign(&one, &Log::sized(4).checkpoint(), 8);
    for bad in [cosign(&two, &plain, 5), forged, String::new(), "no line\n".to_owned()] {
        with_cosignatures(plain.as_bytes(), bad.as_bytes(), &log_verifier(), &key).expect_err(&bad);
    }
}
