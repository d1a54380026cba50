use super::*;

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.com";

fn none() -> Option<Zeroizing<String>> {
    None
}

#[test]
fn a_keyed_digest_tells_nothing_to_who_tries() {
    let (content, key) = (Digest::of(b"x"), SigningKey::from_seed(1));
    let keyed = key.keyed_digest("ev-1", &content);
    assert_eq!(keyed, key.keyed_digest("ev-1", &content), "the runner can make it again");
    assert_ne!(keyed, content);
    assert_ne!(keyed, key.keyed_digest("ev-2", &content), "two records of one content cannot be told to be so");
    assert_ne!(keyed, key.keyed_digest("ev-1", &Digest::of(b"y")));
    assert_ne!(keyed, SigningKey::from_seed(2).keyed_digest("ev-1", &content), "nobody else can make it");
}

#[test]
fn generates_keys_that_are_read_again() {
    let key = SigningKey::generate("runner@host").expect("a key");
    assert_ne!(key.fingerprint(), SigningKey::generate("runner@host").expect("a key").fingerprint());
    let text = key.to_openssh().expect("text");
    let again = SigningKey::from_openssh(&text, &mut none).expect("a key");
    assert_eq!(again.public_key(), key.public_key());
    assert_eq!(again.public_key().comment(), "runner@host");
    assert_eq!(again.inner().to_bytes(), key.inner().to_bytes());
}

#[test]
fn never_prints_the_secret() {
    let key = SigningKey::from_seed(0xab);
    let shown = format!("{key:?} {key:#?}");
    assert!(shown.contains(key.fingerprint()));
    for secret in ["171", "ab, ab", "abab", "ABAB", "q6ur"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn refuses_what_is_no_private_key() {
    let not = |why: &str| KeyError::NotAKey { kind: "private", why: why.to_owned() };
    let good = SigningKey::from_seed(1).to_openssh().expect("text");
    let begin = "it must begin with `-----BEGIN OPENSSH PRIVATE KEY-----`";
    for (text, error) in [
        (String::new(), not(begin)),
        (LINE.to_owned(), not("it is a public key")),
        (good.replace("OPENSSH", "RSA"), not(begin)),
        (good[..good.len() / 2].to_owned(), not("it is damaged")),
        (good.replacen("AAAA", "AAAB", 1), not("it is damaged")),
        ("x".repeat(MAX_KEY + 1), KeyError::TooLarge { size: MAX_KEY + 1 }),
    ] {
        assert_eq!(SigningKey::from_openssh(&text, &mut none).map(drop), Err(error), "{text:.80}");
    }
}

#[test]
fn bounds_the_work_that_a_key_file_asks_for() {
    let pair = KeypairData::Ed25519(Ed25519Keypair::from(SigningKey::from_seed(1).inner()));
    let kdf = Kdf::Bcrypt { salt: vec![7; 16], rounds: 1 };
    let key = PrivateKey::new(pair, "").and_then(|key| key.encrypt_with(ssh_key::Cipher::Aes256Ctr, kdf, 7, "secret"));
    let good = key.and_then(|key| key.to_openssh(LineEnding::LF)).expect("text");
    let mut ask = || Some("secret".to_owned().into());
    assert!(SigningKey::from_openssh(&good, &mut ask).is_ok());

    // The rounds stand behind the salt.
    let mut blob = Vec::new();
    pem::Decoder::new_wrapped(good.as_bytes(), 70)
        .and_then(|mut pem| pem.decode_to_end(&mut blob).map(drop))
        .expect("a blob");
    let rounds = blob.windows(16).position(|salt| salt == [7; 16]).expect("the salt") + 16;
    blob[rounds..rounds + 4].copy_from_slice(&(MAX_ROUNDS + 1).to_be_bytes());
    let mut bad = vec![0; 4096];
    let mut encoder =
        pem::Encoder::new_wrapped("OPENSSH PRIVATE KEY", 70, LineEnding::LF, &mut bad).expect("an encoder");
    encoder.encode(&blob).expect("encoded");
    let length = encoder.finish().expect("finished");
    let bad = std::str::from_utf8(&bad[..length]).expect("text");
    let mut never = || -> Option<Zeroizing<String>> { panic!("asked for a passphrase") };
    let refused = SigningKey::from_openssh(bad, &mut never).map(drop);
    assert!(matches!(&refused, Err(KeyError::NotAKey { why, .. }) if why.contains("4097 rounds")), "{refused:?}");
}

/// What is signed for SSH, of whatever namespace, is never signed as a note: it has a length of four bytes.
#[test]
fn only_the_text_of_a_note_is_signed_as_one() {
    let key = SigningKey::from_seed(1);
    let text = "origin\n1\nroot\n";
    let signature = ed25519_dalek::Signature::from_bytes(&key.sign_note(text.as_bytes()).expect("signed"));
    key.inner().verifying_key().verify_strict(text.as_bytes(), &signature).expect("it verifies");
    assert_eq!(key.public_key().ed25519(), Some(key.inner().verifying_key().to_bytes()));
    for bad in [&b"SSHSIG\0\0\0\x14approval@countersign"[..], b"a\tb\n", b"\0"] {
        assert_eq!(key.sign_note(bad), Err(KeyError::NotANote));
    }
}
