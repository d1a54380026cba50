use crate::public_key::{KeyKind, PublicKey};

/// The key that made a valid signature, and what hardware says of how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    key: PublicKey,
    presence: Option<Presence>,
}

/// What a FIDO authenticator signed beside the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whether somebody was there: a touch of the key, or what a passkey's device takes for one.
    pub user_present: bool,
    /// Whether it was found out who, by a PIN or a finger.
    pub user_verified: bool,
    /// How many signatures the authenticator counts, where it counts. It is shown and decides nothing: many always say 0,
    /// and several runners do not see each other's.
    pub counter: u32,
    /// What a browser signed for; `None` where no browser was between.
    pub origin: Option<String>,
}

impl Signer {
    pub(crate) const fn new(key: PublicKey, presence: Option<Presence>) -> Self {
        Self { key, presence }
    }

    /// The public key; it has no comment, since a signature carries none.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Of which kind the key is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.key.kind()
    }

    /// `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.key.fingerprint()
    }

    /// What hardware says; `None` for a key that is in no hardware.
    #[must_use]
    pub const fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }
}
