//! Decides whether a run is authorized: signatures, trust policy and quorum.
//!
//! Everything here is pure: bytes and the time come in, an answer comes out. Nothing reads a disk,
//! a clock or the environment; only [`SigningKey::generate`] asks the system for random bytes.
//!
//! [`Proposal`] and [`Authorized`] are stages of the flow: they can be had only by the checks that
//! they stand for.

#![forbid(unsafe_code)]

mod acceptance;
mod approval;
#[cfg(test)]
#[path = "../tests/support/authenticator.rs"]
mod authenticator;
mod authorize;
mod break_glass;
mod case;
mod confirmation;
mod demands;
mod denial;
mod duration;
mod explain;
#[cfg(test)]
mod fixture;
mod glass_review;
mod grants;
mod key;
mod manifest;
mod pattern;
mod pause;
mod policy;
mod principal;
mod proposal;
mod public_key;
mod refusal;
mod resolution;
mod run_order;
mod runner;
mod security_key;
mod signatory;
mod signed;
mod signer;
mod sshsig;
mod standing;
mod starter;
mod strictest;
mod text;
mod unattended;
mod webauthn;
mod wire;

pub use acceptance::{
    MAX_POLICIES, PolicyPins, PolicyRefusal, Roots, SignedPolicy, in_force, signatures_needed, signed_by, succeed,
};
pub use approval::{
    ApprovalDraft, DraftError, MAX_CONFIRMATION, MAX_REASON, MAX_ROLLBACK_OWNER, MIN_CONFIRMATION, draft,
};
pub use authorize::{
    Authorized, DerivedFrom, Request, SignedApproval, SignedDenial, StandingUse, authorize, not_frozen, still_approved,
    unexpired,
};
pub use break_glass::BreakGlassRefusal;
pub use case::{Case, may};
pub use confirmation::{MAX_CONFIRMATION_DOCUMENT, WaitingRun, draft_confirmation, may_confirm, verify_confirmation};
pub use demands::{Demands, Unmet};
pub use denial::{Denied, MAX_DENIAL, denied, draft_denial, verify_denial};
pub use duration::{DurationError, MAX_DURATION, parse_duration};
pub use explain::{Finding, explain};
pub use glass_review::{MAX_GLASS_REVIEW, draft_glass_review, may_close_glass_review, verify_glass_review};
pub use grants::{Contains, GrantMismatch, narrow};
pub use key::{KeyError, MAX_KEY, PassphraseSource, SigningKey};
pub use manifest::{MAX_MANIFEST, MAX_SIGNATURES, check_manifest, verify_approval};
pub use pause::{MAX_PAUSE, draft_pause, verify_pause};
pub use policy::{
    BreakGlass, Ceiling, Difference, Freeze, MAX_POLICY, POLICY_VERSION, Policy, PolicyEntry, PolicyError, Quorum,
    Risk, Rule, UnattendedBounds,
};
pub use principal::{Activity, Principal, PrincipalKind, Right};
pub use proposal::{MAX_GRANTS, MAX_PROPOSAL, MAX_TARGETS, Proposal, may_propose};
pub use public_key::{KeyKind, PublicKey};
pub use refusal::{Refusal, Signed};
pub use resolution::{MAX_RESOLUTION, draft_resolution, may_resolve, verify_resolution};
pub use run_order::{MAX_RUN_ORDER, OrderedRun, draft_run_order, may_run, verify_run_order};
pub use runner::verify_runner;
pub use signatory::{Signatory, SigningFault};
pub use signer::{Presence, Signer};
pub use sshsig::{MAX_SIGNATURE, SignatureError, ToSign, sign, verify};
pub use standing::{
    MAX_STANDING_APPROVAL, SignedStanding, StandingDraft, check_standing, draft_standing, read_standing,
    verify_standing,
};
pub use starter::StarterPolicy;
pub use text::{length, moment, parse_moment, time};
pub use unattended::{History, Reversal, Standing, standing_open, standing_signers};
pub use wire::wire_string;
