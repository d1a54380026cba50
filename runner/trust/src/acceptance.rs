//! Which trust policy is in force: who must have signed it, and what may follow it.
//!
//! As in The Update Framework, a new version is signed by the threshold of the roots of the one before it, and by the
//! threshold of its own. What everything hangs on is what the operator's configuration pins.
//!
//! <https://theupdateframework.github.io/specification/latest/#update-root>

use std::collections::BTreeSet;

use countersign_model::Digest;
use countersign_model::documents::namespace;

use crate::demands::Demands;
use crate::manifest::MAX_SIGNATURES;
use crate::policy::{Policy, PolicyError};
use crate::public_key::PublicKey;
use crate::sshsig;
use crate::text::moment;

/// The most versions that are looked at, from the newest back to one that the configuration pins.
pub const MAX_POLICIES: usize = 1000;
/// How many versions back an approval may have been given that is judged by the one in force.
const MAX_EARLIER: usize = 32;
/// How far a policy may be ahead of the clock, in milliseconds.
const MAX_AHEAD: u64 = 60_000;

/// A trust policy and the detached signatures on it; nothing of them is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPolicy {
    /// The exact bytes that were signed.
    pub document: Vec<u8>,
    /// Armored SSH signatures, by anybody.
    pub signatures: Vec<Vec<u8>>,
}

/// What the operator's configuration says of the trust policy.
#[derive(Clone, Debug)]
pub struct PolicyPins {
    /// The keys that must have signed it, each once.
    pub roots: Vec<PublicKey>,
    /// How many of them; at least 1.
    pub threshold: usize,
    /// The lowest serial that is taken.
    pub least_serial: u64,
    /// The digest of a policy that is taken without signatures.
    pub unsigned: Option<Digest>,
}

/// Why a trust policy is not the one in force, and does not become it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyRefusal {
    /// It is none.
    #[error("the trust policy cannot be used: {0}")]
    Policy(#[from] PolicyError),
    /// None that was accepted here is one that the configuration pins.
    #[error(
        "no trust policy that was accepted here is signed by the roots that the configuration pins, or is pinned by its digest"
    )]
    NotPinned,
    /// One that was accepted is not signed as it must have been.
    #[error(
        "the trust policy with the serial {serial} was accepted here, and does not follow the one before it: {why}"
    )]
    Broken {
        /// Its serial.
        serial: u64,
        /// Why.
        why: String,
    },
    /// A later one is in force.
    #[error("its serial is {found}, and {accepted} was accepted here: a lower one is never taken again")]
    LowerSerial {
        /// Its serial.
        found: u64,
        /// The highest that was accepted.
        accepted: u64,
    },
    /// It was accepted before.
    #[error("it was accepted here already, and is in force unless a later one is")]
    Known,
    /// Another one of the same serial is in force.
    #[error("its serial is {serial}, and another policy with that serial was accepted here: `{accepted}`")]
    SameSerial {
        /// The serial.
        serial: u64,
        /// The one that was accepted.
        accepted: Digest,
    },
    /// The configuration wants a later one.
    #[error("its serial is {found}, and the configuration takes none below {least}")]
    BelowLeast {
        /// Its serial.
        found: u64,
        /// The lowest that is taken.
        least: u64,
    },
    /// It is over.
    #[error("it expired at {}, and it is {}", moment(*.at), moment(*.now))]
    Expired {
        /// When, in milliseconds since 1970-01-01 UTC.
        at: u64,
        /// The time.
        now: u64,
    },
    /// It was made in the future.
    #[error("it was issued at {}, and it is {}", moment(*.issued), moment(*.now))]
    Ahead {
        /// When, in milliseconds since 1970-01-01 UTC.
        issued: u64,
        /// The time.
        now: u64,
    },
    /// Too few of those who must have signed it.
    #[error("{needed} of {whose} must sign it, and {} have{}", .signed.len(), listed(.signed))]
    TooFew {
        /// Whose keys.
        whose: Roots,
        /// How many of them.
        needed: usize,
        /// The fingerprints of those who have.
        signed: Vec<String>,
    },
    /// There are more signatures than are looked at.
    #[error("there are {0} signatures on it, more than the {MAX_SIGNATURES} that are looked at")]
    TooManySignatures(usize),
}

/// Whose signatures a policy needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those of the policy that is in force.
    InForce,
    /// Its own.
    Own,
    /// Those that the configuration pins.
    Pinned,
}

impl std::fmt::Display for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InForce => "the roots of the policy in force",
            Self::Own => "its own roots",
            Self::Pinned => "the roots that the configuration pins",
        })
    }
}

impl PolicyRefusal {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Policy(_) => "nothing changed; correct it, and sign it again",
            Self::NotPinned => {
                "nothing changed; pin in the configuration, under `[trust]`, roots that signed it, or its `digest`"
            }
            Self::Broken { .. } => {
                "the state is damaged: restore it from a backup, or pin the `digest` of the policy that you mean"
            }
            Self::LowerSerial { .. } | Self::SameSerial { .. } => {
                "nothing changed; give it a higher serial than any that was accepted here, and sign it again"
            }
            Self::Known => "nothing changed, and nothing is to be done: `countersign trust show` has what is in force",
            Self::BelowLeast { .. } => {
                "nothing changed; install the one that the configuration asks for by `least-serial`"
            }
            Self::Expired { .. } => {
                "nothing changed; propose one with a later `expires` and a higher serial, and have that signed"
            }
            Self::Ahead { .. } => "nothing changed; set the clock right, or make it with the time that it is",
            Self::TooFew { .. } => "nothing changed; have more of them sign it with `countersign trust sign`",
            Self::TooManySignatures(_) => "nothing changed; remove the signatures that are not needed",
        }
    }
}

/// The trust policy in force: the last that was accepted, where it hangs on what the configuration pins.
///
/// `accepted` are those that were accepted here, oldest first. The newest that the pinned roots signed, or that is pinned by
/// its digest, is taken by itself; each later one must follow the one before it. What was approved under an earlier one is
/// judged by the one in force as long as each between them follows the one before: pinned by its digest alone, one begins anew.
///
/// # Errors
/// [`PolicyRefusal::NotPinned`], or where one does not follow.
pub fn in_force(accepted: &[SignedPolicy], pins: &PolicyPins) -> Result<Policy, PolicyRefusal> {
    let is_pinned = |signed: &&SignedPolicy| {
        // One that this version cannot read is none that anything could hang on.
        Policy::parse(&signed.document).is_ok_and(|policy| pinned(signed, &policy, pins).is_ok())
    };
    let newest_first = || accepted.iter().rev().take(MAX_POLICIES);
    let above = newest_first().take_while(|signed| !is_pinned(signed)).count();
    let last = newest_first().next().filter(|_| newest_first().nth(above).is_some()).ok_or(PolicyRefusal::NotPinned)?;
    let policy = Policy::parse(&last.document)?;
    least(&policy, pins)?;
    let readable = newest_first().skip(1).filter_map(|signed| Policy::parse(&signed.document).ok());
    if let Some(later) = readable.map(|policy| policy.serial()).find(|serial| *serial >= policy.serial()) {
        let why = format!("the serial {later} was accepted before it");
        return Err(PolicyRefusal::Broken { serial: policy.serial(), why });
    }
    let mut earlier = BTreeSet::new();
    let (mut later, mut later_signed) = (policy.clone(), last);
    for (back, signed) in newest_first().enumerate().skip(1) {
        if back > above.max(MAX_EARLIER) {
            break;
        }
        let followed = Policy::parse(&signed.document).map_err(PolicyRefusal::from).and_then(|before| {
            rises(later.serial(), before.serial())?;
            follows(later_signed, &later, &before).map(|()| before)
        });
        match followed {
            Ok(before) => {
                earlier.insert(before.digest());
                (later, later_signed) = (before, signed);
            }
            // What the configuration takes by itself need not follow anything.
            Err(_) if back > above => break,
            Err(why) => return Err(PolicyRefusal::Broken { serial: later.serial(), why: why.to_string() }),
        }
    }
    Ok(policy.following(earlier))
}

/// Whether this policy may follow those that were accepted here, now; gives it read.
///
/// # Errors
/// Why not. Where none that was accepted hangs on the configuration any more, the roots that it pins sign in place of those
/// of the policy in force.
pub fn succeed(
    next: &SignedPolicy,
    accepted: &[SignedPolicy],
    pins: &PolicyPins,
    now: u64,
) -> Result<Policy, PolicyRefusal> {
    let policy = Policy::parse(&next.document)?;
    let highest = accepted.iter().filter_map(|signed| Policy::parse(&signed.document).ok()).max_by_key(Policy::serial);
    if let Some(highest) = &highest {
        let serial = policy.serial();
        if policy.digest() == highest.digest() {
            return Err(PolicyRefusal::Known);
        }
        if serial == highest.serial() {
            return Err(PolicyRefusal::SameSerial { serial, accepted: highest.digest() });
        }
        rises(serial, highest.serial())?;
    }
    least(&policy, pins)?;
    if policy.issued() > now.saturating_add(MAX_AHEAD) {
        return Err(PolicyRefusal::Ahead { issued: policy.issued(), now });
    }
    if now >= policy.expires() {
        return Err(PolicyRefusal::Expired { at: policy.expires(), now });
    }
    match in_force(accepted, pins) {
        _ if pins.unsigned == Some(policy.digest()) => {}
        Ok(current) => follows(next, &policy, &current)?,
        Err(_) => pinned(next, &policy, pins)?,
    }
    Ok(policy)
}

/// Whose signatures a draft needs to become the policy in force, each with how many: of the one in force, if there is one, or
/// those that are pinned; and of its own.
#[must_use]
pub fn signatures_needed<'a>(
    draft: &'a Policy,
    current: Option<&'a Policy>,
    pins: &'a PolicyPins,
) -> [(Roots, usize, &'a [PublicKey]); 2] {
    let old = current.map_or((Roots::Pinned, pins.threshold, pins.roots.as_slice()), |current| {
        (Roots::InForce, current.threshold(), current.roots())
    });
    [old, (Roots::Own, draft.threshold(), draft.roots())]
}

/// The fingerprints of these keys whose signature on the policy is valid, each once.
///
/// # Errors
/// When there are more signatures than are looked at. One that is not valid takes nothing from those that are.
pub fn signed_by(signed: &SignedPolicy, keys: &[PublicKey]) -> Result<Vec<String>, PolicyRefusal> {
    if signed.signatures.len() > MAX_SIGNATURES {
        return Err(PolicyRefusal::TooManySignatures(signed.signatures.len()));
    }
    let signers: BTreeSet<String> = signed
        .signatures
        .iter()
        .filter_map(|signature| sshsig::verify(namespace::TRUST_POLICY, &signed.document, signature).ok())
        // What hardware signed, it signed with somebody present.
        .filter(|signer| Demands::default().satisfied_by(signer).is_ok())
        .filter(|signer| keys.iter().any(|key| key == signer.public_key()))
        .map(|signer| signer.fingerprint().to_owned())
        .collect();
    Ok(signers.into_iter().collect())
}

/// Whether the policy follows that one: signed by the threshold of both.
fn follows(signed: &SignedPolicy, policy: &Policy, before: &Policy) -> Result<(), PolicyRefusal> {
    threshold(signed, Roots::InForce, before.threshold(), before.roots())?;
    threshold(signed, Roots::Own, policy.threshold(), policy.roots())
}

/// Whether the configuration takes it by itself.
fn pinned(signed: &SignedPolicy, policy: &Policy, pins: &PolicyPins) -> Result<(), PolicyRefusal> {
    if pins.unsigned == Some(policy.digest()) {
        return Ok(());
    }
    threshold(signed, Roots::Pinned, pins.threshold, &pins.roots)?;
    threshold(signed, Roots::Own, policy.threshold(), policy.roots())
}

fn threshold(signed: &SignedPolicy, whose: Roots, needed: usize, keys: &[PublicKey]) -> Result<(), PolicyRefusal> {
    let signers = signed_by(signed, keys)?;
    // Nobody's signature is never enough, whatever a caller counts.
    if signers.len() >= needed.max(1) { Ok(()) } else { Err(PolicyRefusal::TooFew { whose, needed, signed: signers }) }
}

fn rises(found: u64, accepted: u64) -> Result<(), PolicyRefusal> {
    if found > accepted { Ok(()) } else { Err(PolicyRefusal::LowerSerial { found, accepted }) }
}

fn least(policy: &Policy, pins: &PolicyPins) -> Result<(), PolicyRefusal> {
    let (found, least) = (policy.serial(), pins.least_serial);
    if found < least { Err(PolicyRefusal::BelowLeast { found, least }) } else { Ok(()) }
}

fn listed(signed: &[String]) -> String {
    if signed.is_empty() { String::new() } else { format!(": {}", signed.join(", ")) }
}

#[cfg(test)]
mod tests;
