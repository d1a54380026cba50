//! What is demanded of how a signature was made, beside whose it is.

use std::collections::BTreeSet;
use std::fmt;

use crate::signer::Signer;

/// What a signature must show of how it was made. The least that is ever demanded is the default: what hardware signed,
/// it signed with somebody present, and what a browser signed needs an origin that is listed, so none is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Only hardware that somebody touched counts, so that nobody signs from afar.
    pub touch: bool,
    /// Only hardware that asked who it was counts, by a PIN or a finger; that is a touch too.
    pub pin: bool,
    /// Only hardware keys made for one of these applications count; `None`: for any, which is the one that the listed key
    /// names. Keys in no hardware have none.
    pub applications: Option<BTreeSet<String>>,
    /// The origins at which a browser may have signed.
    pub origins: BTreeSet<String>,
}

/// What a signature does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// Hardware signed, and nobody was present.
    Touch,
    /// Hardware must sign, and it was a key in none.
    Hardware {
        /// Whether it must ask for a PIN too.
        pin: bool,
    },
    /// Hardware signed without asking who it was.
    Pin,
    /// The key was made for something else.
    Application {
        /// For what.
        found: String,
        /// For what it may be.
        allowed: Vec<String>,
    },
    /// A browser signed somewhere else.
    Origin {
        /// Where.
        found: String,
        /// Where it may.
        allowed: Vec<String>,
    },
}

impl Demands {
    /// Both, the stricter of each.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let applications = match (&self.applications, &other.applications) {
            (Some(these), Some(those)) => Some(these & those),
            (these, those) => these.as_ref().or(those.as_ref()).cloned(),
        };
        Self {
            touch: self.touch || other.touch,
            pin: self.pin || other.pin,
            applications,
            origins: &self.origins & &other.origins,
        }
    }

    /// Whether a signature was made as is demanded.
    ///
    /// # Errors
    /// What is missing, the first thing of several.
    pub fn satisfied_by(&self, signer: &Signer) -> Result<(), Unmet> {
        let Some(presence) = signer.presence() else {
            return if self.touch || self.pin { Err(Unmet::Hardware { pin: self.pin }) } else { Ok(()) };
        };
        if !presence.user_present {
            return Err(Unmet::Touch);
        }
        if self.pin && !presence.user_verified {
            return Err(Unmet::Pin);
        }
        let application = signer.public_key().application().unwrap_or_default();
        if let Some(allowed) = &self.applications
            && !allowed.contains(application)
        {
            let allowed = allowed.iter().cloned().collect();
            return Err(Unmet::Application { found: application.to_owned(), allowed });
        }
        if let Some(origin) = &presence.origin
            && !self.origins.contains(origin)
        {
            let allowed = self.origins.iter().cloned().collect();
            return Err(Unmet::Origin { found: origin.clone(), allowed });
        }
        Ok(())
    }
}

impl Unmet {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Touch => "sign with a key that asks for a touch: one made with `-O no-touch-required`, or added to an \
                            ssh-agent that does not ask, is not taken"
                .to_owned(),
            Self::Hardware { pin: false } => {
                "sign with a hardware key that the trust policy lists: `ssh-keygen -t ed25519-sk` makes one".to_owned()
            }
            Self::Hardware { pin: true } | Self::Pin => "sign with a hardware key that asks for its PIN and that the trust \
                                                         policy lists: `ssh-keygen -t ed25519-sk -O verify-required` makes one"
                .to_owned(),
            Self::Application { allowed, .. } => match allowed.first() {
                Some(first) => format!(
                    "sign with a key that was made for it: `ssh-keygen -t ed25519-sk -O application={first}` makes one"
                ),
                None => "no application is allowed: have the trust policy list one".to_owned(),
            },
            Self::Origin { .. } => "sign where the trust policy lists the origin, under [keys], or have it listed there; a key at \
                                    hand signs with `countersign approve --key`"
                .to_owned(),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |allowed: &[String]| match allowed.is_empty() {
            true => "and none is allowed".to_owned(),
            false => format!("expected `{}`", allowed.join("` or `")),
        };
        match self {
            Self::Touch => f.write_str("nobody touched the hardware key that made it"),
            Self::Hardware { pin: false } => f.write_str("a touch is demanded, and no hardware key made it"),
            Self::Hardware { pin: true } => f.write_str("a PIN is demanded, and no hardware key made it"),
            Self::Pin => f.write_str("a PIN is demanded, and the hardware key that made it asked for none"),
            Self::Application { found, allowed } => {
                write!(f, "its hardware key was made for the application `{found}`, {}", list(allowed))
            }
            Self::Origin { found, allowed } => {
                write!(f, "a browser made it at the origin `{found}`, {}", list(allowed))
            }
        }
    }
}

#[cfg(test)]
mod tests;
