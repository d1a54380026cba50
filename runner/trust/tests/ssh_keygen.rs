//! Signatures and keys against the real `ssh-keygen`.
#![expect(clippy::expect_used, reason = "a test's helpers may panic like the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use countersign_trust::{KeyError, PublicKey, SignatureError, SigningKey, sign, verify};

const SPACE: &str = "approval@countersign";
const BYTES: &[u8] = b"{\"_type\":\"https://in-toto.io/Statement/v1\"}";

fn ssh_keygen(arguments: &[&str], input: Stdio) -> Output {
    let output = Command::new("ssh-keygen").args(arguments).stdin(input).output();
    output.expect("these tests need `ssh-keygen`: install OpenSSH's client, e.g. the package `openssh-client`")
}

fn ssh_keygen_works(arguments: &[&str], input: Stdio) {
    let output = ssh_keygen(arguments, input);
    assert!(output.status.success(), "ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A directory with a document, where `ssh-keygen` makes keys and signatures.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a temporary directory"));
        std::fs::write(desk.path("document"), BYTES).expect("written");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }

    fn keygen(&self, name: &str, kind: &[&str], passphrase: &str) {
        let path = self.path(name);
        let rest = ["-q", "-N", passphrase, "-C", "a person", "-f", text(&path)];
        ssh_keygen_works(&[&["-t"], kind, &rest].concat(), Stdio::null());
    }

    fn sign(&self, key: &str, namespace: &str, options: &[&str]) -> String {
        let (key, document) = (self.path(key), self.path("document"));
        let _ = std::fs::remove_file(self.path("document.sig"));
        let arguments = [&["-Y", "sign", "-f", text(&key), "-n", namespace], options, &[text(&document)]].concat();
        ssh_keygen_works(&arguments, Stdio::null());
        self.read("document.sig")
    }

    /// Whether `ssh-keygen -Y verify` takes the signature on the document.
    fn verifies(&self, signer: &PublicKey, namespace: &str, signature: &str) -> bool {
        let (allowed, armored) = (self.path("allowed"), self.path("signature"));
        std::fs::write(&allowed, format!("alice {}\n", signer.to_openssh())).expect("written");
        std::fs::write(&armored, signature).expect("written");
        let document = std::fs::File::open(self.path("document")).expect("opened");
        let arguments = ["-Y", "verify", "-f", text(&allowed), "-I", "alice", "-n", namespace, "-s", text(&armored)];
        ssh_keygen(&arguments, document.into()).status.success()
    }
}

fn open(text: &str, passphrase: Option<&str>) -> Result<SigningKey, KeyError> {
    SigningKey::from_openssh(text, &mut || passphrase.map(|text| text.to_owned().into()))
}

#[test]
fn takes_what_ssh_keygen_signs() {
    let desk = Desk::new();
    desk.keygen("key", &["ed25519"], "");
    let public = PublicKey::from_openssh(&desk.read("key.pub")).expect("a key");
    assert_eq!(public.comment(), "a person");
    for options in [&[][..], &["-O", "hashalg=sha256"], &["-O", "hashalg=sha512"]] {
        let signature = desk.sign("key", SPACE, options);
        let signer = verify(SPACE, BYTES, signature.as_bytes()).expect("valid");
        assert_eq!(signer.public_key(), &public);
    }
    let fingerprint = ssh_keygen(&["-l", "-f", text(&desk.path("key.pub"))], Stdio::null()).stdout;
    assert!(String::from_utf8_lossy(&fingerprint).contains(public.fingerprint()));

    let signature = desk.sign("key", "proposal@countersign", &[]);
    assert!(matches!(verify(SPACE, BYTES, signature.as_bytes()), Err(SignatureError::WrongNamespace { .. })));
    let signature = desk.sign("key", SPACE, &[]);
    assert!(matches!(verify(SPACE, b"{}", signature.as_bytes()), Err(SignatureError::WrongSignature { .. })));
}

#[test]
fn ssh_keygen_takes_what_is_signed_here() {
    let desk = Desk::new();
    let (key, other) = (SigningKey::generate("alice").expect("a key"), SigningKey::generate("bob").expect("a key"));
    let signature = sign(&key, SPACE, BYTES).expect("a signature");
    assert!(desk.verifies(key.public_key(), SPACE, &signature));
    assert!(!desk.verifies(other.public_key(), SPACE, &signature));
    assert!(!desk.verifies(key.public_key(), "denial@countersign", &signature));
    assert!(!desk.verifies(key.public_key(), SPACE, &sign(&key, SPACE, b"{}").expect("a signature")));
}

/// Ed25519 has one signature for one message: the files must be the same, armor and all.
#[test]
fn both_write_the_same_bytes() {
    let desk = Desk::new();
    desk.keygen("key", &["ed25519"], "");
    let key = open(&desk.read("key"), None).expect("a key");
    assert_eq!(sign(&key, SPACE, BYTES).expect("a signature"), desk.sign("key", SPACE, &[]));
}

#[test]
fn opens_encrypted_keys() {
    let desk = Desk::new();
    desk.keygen("key", &["ed25519"], "correct horse");
    let text = desk.read("key");
    let public = PublicKey::from_openssh(&desk.read("key.pub")).expect("a key");
    assert_eq!(open(&text, Some("correct horse")).expect("opened").public_key(), &public);
    assert_eq!(open(&text, Some("correct horse")).expect("opened").public_key().comment(), "a person");
    assert_eq!(open(&text, Some("wrong horse")).map(drop), Err(KeyError::WrongPassphrase));
    assert_eq!(open(&text, Some("")).map(drop), Err(KeyError::WrongPassphrase));
    assert_eq!(open(&text, None).map(drop), Err(KeyError::NeedsPassphrase));
    let asked = std::cell::Cell::new(0);
    let mut ask = || {
        asked.set(asked.get() + 1);
        None
    };
    desk.keygen("plain", &["ed25519"], "");
    assert!(SigningKey::from_openssh(&desk.read("plain"), &mut ask).is_ok());
    assert_eq!(asked.get(), 0);
}

#[test]
fn ssh_keygen_reads_generated_keys() {
    let desk = Desk::new();
    let key = SigningKey::generate("runner@host").expect("a key");
    let path = desk.path("generated");
    std::fs::write(&path, key.to_openssh().expect("text").as_bytes()).expect("written");
    // OpenSSH refuses a private key that others can read.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    let public = ssh_keygen(&["-y", "-f", text(&path)], Stdio::null());
    let public = String::from_utf8(public.stdout).expect("text");
    assert_eq!(PublicKey::from_openssh(&public).as_ref(), Ok(key.public_key()));
    assert!(public.trim_end().ends_with("runner@host"), "{public}");
    let signature = desk.sign("generated", SPACE, &[]);
    assert_eq!(verify(SPACE, BYTES, signature.as_bytes()).expect("valid").public_key(), key.public_key());
}

#[test]
fn other_kinds_of_keys_are_named() {
    for (kind, name) in [
        (&["rsa", "-b", "2048"][..], "ssh-rsa"),
        (&["ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
        (&["ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
    ] {
        let desk = Desk::new();
        desk.keygen("key", kind, "");
        let signature = desk.sign("key", SPACE, &[]);
        let unsupported = SignatureError::UnsupportedAlgorithm(name.to_owned());
        assert_eq!(verify(SPACE, BYTES, signature.as_bytes()), Err(unsupported));
        let unsupported = KeyError::UnsupportedAlgorithm(name.to_owned());
        assert_eq!(PublicKey::from_openssh(&desk.read("key.pub")), Err(unsupported));
        let unsupported = KeyError::UnsupportedAlgorithm(name.to_owned());
        assert_eq!(open(&desk.read("key"), None).map(drop), Err(unsupported));
    }
}
