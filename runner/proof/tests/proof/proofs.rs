use countersign_proof::{
    Checkpoint, Directory, ProofError, Receipt, Tree, leaf_hash, verify_consistency, verify_inclusion, verify_log,
};

use crate::support::{Log, ORIGIN, entry, log_verifier, verify};

const SIZES: [u64; 14] = [0, 1, 2, 3, 7, 8, 100, 255, 256, 257, 511, 600, 65_536, 66_100];

#[test]
fn what_the_writer_writes_is_verified_whole() {
    for size in SIZES {
        let log = Log::sized(size);
        let dir = log.written();
        let mut seen = 0;
        let whole = verify_log(&Directory::new(dir.path()), &log_verifier(), &[], &[], &mut |index, bytes| {
            assert_eq!((index, bytes), (seen, entry(seen).as_slice()));
            seen += 1;
            Ok(())
        });
        assert_eq!(whole.expect("a log").opened.checkpoint, log.head());
        assert_eq!(seen, size);
    }
}

#[test]
fn every_entry_is_proven_and_no_other_one_by_its_proof() {
    for size in [1, 2, 3, 5, 8, 13, 300, 66_000] {
        let log = Log::sized(size);
        let (dir, head) = (log.written(), log.head());
        let source = Directory::new(dir.path());
        let mut tree = Tree::new(&source, &head);
        let step = if size > 1000 { 1_777 } else { 1 };
        for index in (0..size).step_by(step).chain([size - 1]) {
            let (bytes, proof) = tree.inclusion(index).expect("a proof");
            assert_eq!(bytes, entry(index));
            assert!(proof.len() as u32 <= size.ilog2() + 1, "{} hashes of {size}", proof.len());
            let leaf = leaf_hash(&bytes);
            verify_inclusion(index, size, &leaf, &proof, &head.root).expect("it is in");
            let other = leaf_hash(&entry(index + 1));
            verify_inclusion(index, size, &other, &proof, &head.root).expect_err("another entry");
            if size > 1 {
                let elsewhere = (index + 1) % size;
                verify_inclusion(elsewhere, size, &leaf, &proof, &head.root).expect_err("another place");
                verify_inclusion(index, size, &leaf, &proof[1..], &head.root).expect_err("a shorter proof");
            }
            verify_inclusion(index, size, &leaf, &[&proof[..], &[head.root]].concat(), &head.root)
                .expect_err("a longer proof");
        }
        assert!(matches!(tree.inclusion(size), Err(ProofError::Beyond { .. })));
    }
}

#[test]
fn each_tree_is_proven_to_begin_each_larger_one() {
    let heads: Vec<Checkpoint> = (0..=40).map(|size| Log::sized(size).head()).collect();
    for (new, head) in heads.iter().enumerate() {
        let dir = Log::sized(new as u64).written();
        let source = Directory::new(dir.path());
        let mut tree = Tree::new(&source, head);
        for (old, before) in heads.iter().enumerate().take(new + 1) {
            let (root, proof) = tree.consistency(old as u64).expect("a proof");
            assert_eq!(root, before.root);
            verify_consistency((before.size, &before.root), (head.size, &head.root), &proof).expect("it begins it");
            let other = [1; 32];
            verify_consistency((before.size, &other), (head.size, &head.root), &proof).expect_err("another old one");
            if old > 0 {
                verify_consistency((before.size, &before.root), (head.size, &other), &proof)
                    .expect_err("another new one");
            }
            let longer = [&proof[..], &[other]].concat();
            verify_consistency((before.size, &before.root), (head.size, &head.root), &longer).expect_err("too long");
        }
        assert!(matches!(tree.consistency(new as u64 + 1), Err(ProofError::Beyond { .. })));
    }
    let log = Log::sized(66_000);
    let (dir, head) = (log.written(), log.head());
    let source = Directory::new(dir.path());
    let mut tree = Tree::new(&source, &head);
    for old in [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_999, 66_000] {
        assert_eq!(tree.consistency(old).expect("a proof").0, Log::sized(old).head().root);
    }
}

#[test]
fn a_receipt_stands_alone() {
    let log = Log::sized(300);
    let (dir, head) = (log.written(), log.head());
    let source = Directory::new(dir.path());
    let (entry, proof) = Tree::new(&source, &head).inclusion(77).expect("a proof");
    let receipt = Receipt { entry: entry.clone(), index: 77, proof, checkpoint: log.checkpoint().into_bytes() };
    drop(dir);
    let bytes = receipt.to_bytes();
    assert!(
        bytes.starts_with(b"c2sp.org/tlog-proof@v1\nextra ZW50cnkgNzc=\nindex 77\n"),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    assert_eq!(Receipt::parse(&bytes).expect("it parses"), receipt);
    let verified = receipt.clone().verify(&log_verifier(), &[]).expect("it proves it");
    assert_eq!((verified.entry, verified.index), (entry, 77));
    let text = String::from_utf8(bytes).expect("text");
    for (from, to) in [
        ("index 77", "index 78"),
        ("extra ZW50cnkgNzc=", "extra ZW50cnkgNzg="),
        ("\n300\n", "\n301\n"),
        (ORIGIN, "example.com/other"),
    ] {
        let bent = text.replace(from, to);
        assert_ne!(bent, text);
        Receipt::parse(bent.as_bytes()).expect("it parses").verify(&log_verifier(), &[]).expect_err(from);
    }
    for (from, to) in
        [("index 77", "index 077"), ("extra ", "Extra "), ("@v1", "@v2"), ("=\nindex", "\nindex"), ("\n\n", "\n")]
    {
        Receipt::parse(text.replace(from, to).as_bytes()).expect_err(from);
    }
}

#[test]
fn what_the_reader_is_told_to_refuse_is_refused() {
    let dir = Log::sized(3).written();
    let refused = verify_log(&Directory::new(dir.path()), &log_verifier(), &[], &[], &mut |index, _| {
        if index == 2 { Err("it is odd".to_owned()) } else { Ok(()) }
    });
    assert!(matches!(refused, Err(ProofError::BadEntry { index: 2, .. })), "{refused:?}");
    // A partial file that gave way to a full one is found there.
    let log = Log::sized(300);
    let dir = log.written();
    std::fs::write(dir.path().join("checkpoint"), Log::sized(200).checkpoint()).unwrap();
    verify(dir.path()).expect("an older checkpoint of the same log");
}
