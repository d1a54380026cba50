//! Signatures and keys against the real `ssh-keygen`.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test's helpers may panic like the test, and say what is skipped"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use countersign_trust::{Demands, KeyError, KeyKind, PublicKey, SignatureError, SigningKey, Unmet, sign, verify};

use authenticator::Authenticator;

#[path = "support/authenticator.rs"]
mod authenticator;

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

/// What hardware and browsers sign is what OpenSSH takes for it.
#[test]
fn ssh_keygen_takes_what_the_software_authenticator_signs() {
    let desk = Desk::new();
    for key in [Authenticator::ed25519(1), Authenticator::ecdsa(1), Authenticator::passkey(1)] {
        for key in [key.clone(), key.clone().verified(), key.for_application("countersign.example.com")] {
            let public = PublicKey::from_openssh(&key.line()).expect("a key");
            std::fs::write(desk.path("key.pub"), public.to_openssh()).expect("written");
            let fingerprint = ssh_keygen(&["-l", "-f", text(&desk.path("key.pub"))], Stdio::null()).stdout;
            assert!(String::from_utf8_lossy(&fingerprint).contains(public.fingerprint()));
            let signature = key.sign(SPACE, BYTES);
            assert!(verify(SPACE, BYTES, signature.as_bytes()).is_ok());
            assert!(desk.verifies(&public, SPACE, &signature), "{}", key.kind());
            assert!(!desk.verifies(&public, "denial@countersign", &signature));
            assert!(!desk.verifies(&public, SPACE, &key.sign(SPACE, b"{}")));
            let other = key.for_application("another");
            assert!(!desk.verifies(&public, SPACE, &other.sign(SPACE, BYTES)));
        }
    }
}

/// OpenSSH's own stand-in for hardware, from its tests: `make setup-test` fetches it. It signs in software what
/// `ssh-keygen` asks it to, and takes any PIN.
fn sk_dummy() -> Option<PathBuf> {
    let place = "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let found =
        [Path::new("/").join(place), root.join("target/openssh-tests").join(place)].into_iter().find(|p| p.exists());
    if found.is_none() {
        eprintln!("skipped: OpenSSH's sk-dummy.so is not here; `make setup-test` fetches it");
    }
    found
}

#[test]
fn takes_what_ssh_keygen_signs_with_hardware() {
    let Some(dummy) = sk_dummy() else { return };
    let pin = Demands { pin: true, ..Demands::default() };
    for (kind, expected) in [("ed25519-sk", KeyKind::SkEd25519), ("ecdsa-sk", KeyKind::SkEcdsa)] {
        for (options, application, meets, meets_pin) in [
            (&[][..], "ssh:", Ok(()), Err(Unmet::Pin)),
            (&["-O", "application=ssh:production"], "ssh:production", Ok(()), Err(Unmet::Pin)),
            (&["-O", "verify-required"], "ssh:", Ok(()), Ok(())),
            (&["-O", "no-touch-required"], "ssh:", Err(Unmet::Touch), Err(Unmet::Touch)),
        ] {
            let desk = Desk::new();
            let provider = ["-w", text(&dummy)];
            desk.keygen("key", &[&[kind], &provider[..], options].concat(), "");
            let public = PublicKey::from_openssh(&desk.read("key.pub")).expect("a key");
            assert_eq!((public.kind(), public.application()), (expected, Some(application)));
            let handle = desk.read("key");
            assert_eq!(open(&handle, None).map(drop), Err(KeyError::Hardware(expected)));
            assert_eq!(PublicKey::of_private(&handle).as_ref(), Ok(&public));
            let signature = desk.sign("key", SPACE, &provider);
            let signer = verify(SPACE, BYTES, signature.as_bytes()).expect("valid");
            assert_eq!(signer.public_key(), &public);
            assert_eq!(Demands::default().satisfied_by(&signer), meets, "{kind} {options:?}");
            assert_eq!(pin.satisfied_by(&signer), meets_pin, "{kind} {options:?}");
            assert!(desk.verifies(&public, SPACE, &signature));
        }
    }
}

/// The public half stands in a private key's file, whatever its passphrase.
#[test]
fn public_halves_are_read_from_private_files() {
    let desk = Desk::new();
    desk.keygen("key", &["ed25519"], "correct horse");
    let public = PublicKey::from_openssh(&desk.read("key.pub")).expect("a key");
    assert_eq!(PublicKey::of_private(&desk.read("key")), Ok(public));
    for bad in ["", "ssh-ed25519 AAAA", &desk.read("key")[..80]] {
        assert!(matches!(PublicKey::of_private(bad), Err(KeyError::NotAKey { .. })), "{bad}");
    }
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
