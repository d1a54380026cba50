//! A FIDO authenticator in software: keys and signatures as hardware and browsers make them, and as they must not be made.
//!
//! It writes every byte by itself, and shares nothing with what is tested.

#![allow(dead_code, reason = "each test that includes it uses a part")]
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use ed25519_dalek::Signer as _;
use sha2::{Digest, Sha256, Sha512};

pub(crate) const PRESENT: u8 = 0x01;
pub(crate) const VERIFIED: u8 = 0x04;
pub(crate) const EXTENDED: u8 = 0x80;

pub(crate) const ORIGIN: &str = "https://countersign.example.org";
pub(crate) const DOMAIN: &str = "countersign.example.org";

#[derive(Clone)]
enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

/// One key, and how it signs.
#[derive(Clone)]
pub(crate) struct Authenticator {
    secret: Secret,
    /// What the key is for.
    pub(crate) application: String,
    /// What it says of who was there.
    pub(crate) flags: u8,
    pub(crate) counter: u32,
    /// The browser that is between, if one is.
    pub(crate) browser: Option<Browser>,
}

/// What a browser says.
#[derive(Clone)]
pub(crate) struct Browser {
    /// What stands in the signature.
    pub(crate) origin: String,
    /// Makes the client data from the challenge and the origin.
    pub(crate) client_data: fn(&str, &str) -> String,
    pub(crate) extensions: Vec<u8>,
}

impl Authenticator {
    /// `ssh-keygen -t ed25519-sk`; each seed is a key.
    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::new(Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32])), "ssh:")
    }

    /// `ssh-keygen -t ecdsa-sk`.
    pub(crate) fn ecdsa(seed: u8) -> Self {
        let secret = p256::ecdsa::SigningKey::from_bytes(&[seed; 32].into()).expect("a secret");
        Self::new(Secret::P256(secret), "ssh:")
    }

    /// A passkey, by a browser at [`ORIGIN`].
    pub(crate) fn passkey(seed: u8) -> Self {
        let mut key = Self::ecdsa(seed).for_application(DOMAIN);
        key.browser = Some(Browser { origin: ORIGIN.to_owned(), client_data, extensions: Vec::new() });
        key
    }

    fn new(secret: Secret, application: &str) -> Self {
        Self { secret, application: application.to_owned(), flags: PRESENT, counter: 7, browser: None }
    }

    pub(crate) fn for_application(mut self, application: &str) -> Self {
        self.application = application.to_owned();
        self
    }

    pub(crate) fn untouched(mut self) -> Self {
        self.flags &= !PRESENT;
        self
    }

    pub(crate) fn verified(mut self) -> Self {
        self.flags |= VERIFIED;
        self
    }

    pub(crate) fn at(mut self, origin: &str) -> Self {
        self.browser.as_mut().expect("a browser").origin = origin.to_owned();
        self
    }

    pub(crate) fn says(mut self, client_data: fn(&str, &str) -> String) -> Self {
        self.browser.as_mut().expect("a browser").client_data = client_data;
        self
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self.secret {
            Secret::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Secret::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// The public key, as SSH's wire format has it.
    pub(crate) fn blob(&self) -> Vec<u8> {
        let kind = self.kind().as_bytes();
        let application = self.application.as_bytes();
        match &self.secret {
            Secret::Ed25519(key) => strings(&[kind, key.verifying_key().as_bytes(), application]),
            Secret::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                strings(&[kind, b"nistp256", point.as_bytes(), application])
            }
        }
    }

    /// The line of a `.pub` file.
    pub(crate) fn line(&self) -> String {
        line(self.kind(), &self.blob())
    }

    /// The armored signature over these bytes.
    pub(crate) fn sign(&self, namespace: &str, bytes: &[u8]) -> String {
        let signature = self.answer(&signed(namespace, "sha512", bytes));
        armor(&sshsig(&self.blob(), namespace, "sha512", &signature))
    }

    /// The signature over what SSH has signed, as SSH's wire format has it.
    pub(crate) fn answer(&self, signed: &[u8]) -> Vec<u8> {
        let Some(browser) = &self.browser else {
            let raw = self.raw(&[], &Sha256::digest(signed));
            return self.wrap(self.kind(), &raw);
        };
        let challenge = Base64UrlUnpadded::encode_string(signed);
        let client_data = (browser.client_data)(&challenge, &browser.origin);
        let raw = self.raw(&browser.extensions, &Sha256::digest(&client_data));
        let spoken = strings(&[browser.origin.as_bytes(), client_data.as_bytes(), &browser.extensions]);
        [self.wrap("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", &raw), spoken].concat()
    }

    /// A raw signature with its kind before it, and flags and counter after it.
    pub(crate) fn wrap(&self, kind: &str, raw: &[u8]) -> Vec<u8> {
        [strings(&[kind.as_bytes(), raw]), vec![self.flags], self.counter.to_be_bytes().to_vec()].concat()
    }

    /// What the hardware signs, and its signature.
    pub(crate) fn raw(&self, extensions: &[u8], message: &[u8]) -> Vec<u8> {
        let signed =
            [&Sha256::digest(&self.application)[..], &[self.flags], &self.counter.to_be_bytes(), extensions, message]
                .concat();
        match &self.secret {
            Secret::Ed25519(key) => key.sign(&signed).to_bytes().to_vec(),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(&signed);
                strings(&[&integer(&signature.r().to_bytes()), &integer(&signature.s().to_bytes())])
            }
        }
    }
}

/// The client data as browsers write it, with the key that one of them adds so that nobody relies on there being no other.
pub(crate) fn client_data(challenge: &str, origin: &str) -> String {
    format!(
        r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{origin}","crossOrigin":false,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template"}}"#
    )
}

/// What SSH has signed.
pub(crate) fn signed(namespace: &str, hash: &str, bytes: &[u8]) -> Vec<u8> {
    let digest = if hash == "sha256" { Sha256::digest(bytes).to_vec() } else { Sha512::digest(bytes).to_vec() };
    [b"SSHSIG".to_vec(), strings(&[namespace.as_bytes(), b"", hash.as_bytes(), &digest])].concat()
}

/// A signature that is not armored.
pub(crate) fn sshsig(key: &[u8], namespace: &str, hash: &str, signature: &[u8]) -> Vec<u8> {
    let fields = strings(&[key, namespace.as_bytes(), b"", hash.as_bytes(), signature]);
    [b"SSHSIG\0\0\0\x01".as_slice(), &fields].concat()
}

/// The line of a `.pub` file for any key's bytes.
pub(crate) fn line(kind: &str, blob: &[u8]) -> String {
    format!("{kind} {}", Base64::encode_string(blob))
}

pub(crate) fn armor(blob: &[u8]) -> String {
    let text = Base64::encode_string(blob);
    let lines: Vec<&str> = text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// SSH's positive integers: no zeros before them, but one where the first bit is set.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    match digits.first() {
        Some(first) if *first >= 0x80 => [vec![0], digits].concat(),
        _ => digits,
    }
}

pub(crate) fn strings(of: &[&[u8]]) -> Vec<u8> {
    let string = |bytes: &&[u8]| [&u32::try_from(bytes.len()).expect("short").to_be_bytes(), *bytes].concat();
    of.iter().flat_map(string).collect()
}
