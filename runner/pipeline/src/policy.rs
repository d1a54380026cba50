//! The trust policy in force: a file that the operator's configuration names, taken once, when those have signed it who
//! must; the state remembers it from then on, and never takes a lower one.

use countersign_capability::Registry;
use countersign_model::documents::namespace;
use countersign_record::{AcceptedPolicy, State};
use countersign_trust::{
    Difference, Policy, PolicyPins, PolicyRefusal, PublicKey, Roots, SignedPolicy, in_force, signatures_needed,
    signed_by, succeed,
};

use crate::error::PipelineError;
use crate::runner::Runner;

/// The trust policy that the configuration names, and what it says of it.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// The file, with the signatures beside it; nothing of them is verified.
    pub signed: SignedPolicy,
    /// What the configuration pins.
    pub pins: PolicyPins,
    /// Whether the policy that was accepted last stays in force where this one is not taken: for what must go on
    /// whatever stands in that file.
    pub lenient: bool,
}

/// The trust policy in force: the one in the file, which is accepted now where it is new.
///
/// # Errors
/// A failure, where it may not follow those that were accepted here, or one of its grants makes no sense.
pub(crate) fn enforce(
    state: &State,
    registry: &Registry,
    file: &PolicyFile,
    now: u64,
) -> Result<Policy, PipelineError> {
    match accept(state, registry, file, now) {
        Err(refused) if file.lenient => {
            let policy = self::now(state, &file.pins).map_err(|_| refused)?;
            tracing::warn!("the trust policy that the configuration names is not taken; the one accepted before stays");
            Ok(policy)
        }
        policy => policy,
    }
}

fn accept(state: &State, registry: &Registry, file: &PolicyFile, now: u64) -> Result<Policy, PipelineError> {
    let known = accepted(state)?;
    if known.last().is_none_or(|newest| newest.document != file.signed.document) {
        // A clock that was set back is told before anything hangs on the time.
        let now = state.clock().decide_at(now)?;
        let policy = succeed(&file.signed, &known, &file.pins, now).map_err(|refusal| unaccepted(&refusal))?;
        sensible(registry, &policy)?;
        let new = AcceptedPolicy {
            serial: policy.serial(),
            document: file.signed.document.clone(),
            signatures: valid(&file.signed),
            at: now,
        };
        state.policies().add(&new)?;
    }
    let policy = self::now(state, &file.pins)?;
    sensible(registry, &policy)?;
    // No time before it was issued is believed. That the clock is ahead of it is no error.
    if let Err(error) = state.clock().decide_at(policy.issued()) {
        tracing::debug!(%error, "the time of the trust policy was not taken note of");
    }
    Ok(policy)
}

/// The policy that was accepted last.
pub(crate) fn now(state: &State, pins: &PolicyPins) -> Result<Policy, PipelineError> {
    in_force(&accepted(state)?, pins).map_err(|refusal| unaccepted(&refusal))
}

/// Every policy that was accepted here, oldest first.
fn accepted(state: &State) -> Result<Vec<SignedPolicy>, PipelineError> {
    let signed = |policy: AcceptedPolicy| SignedPolicy {
        document: policy.document,
        signatures: policy.signatures.into_iter().map(String::into_bytes).collect(),
    };
    Ok(state.policies().accepted()?.into_iter().map(signed).collect())
}

/// The signatures that are valid, whoever made them: what is kept can be verified.
fn valid(signed: &SignedPolicy) -> Vec<String> {
    let verifies =
        |signature: &&Vec<u8>| countersign_trust::verify(namespace::TRUST_POLICY, &signed.document, signature).is_ok();
    let text = |signature: &Vec<u8>| String::from_utf8(signature.clone()).ok();
    signed.signatures.iter().filter(verifies).filter_map(text).collect()
}

/// Refuses grants whose capability is not known or whose scope makes no sense: such a rule would say nothing.
fn sensible(registry: &Registry, policy: &Policy) -> Result<(), PipelineError> {
    for (place, grant) in policy.grants() {
        let known = registry.get(&grant.capability).and_then(|capability| capability.normalize(grant));
        known.map_err(|fault| {
            PipelineError::failed(format!("the trust policy cannot be used: {place}: {}", fault.what))
                .with_hint("nothing changed; correct it, and have it signed again")
        })?;
    }
    Ok(())
}

fn unaccepted(refusal: &PolicyRefusal) -> PipelineError {
    PipelineError::failed(format!("the trust policy is not taken: {refusal}")).with_hint(refusal.hint())
}

/// A policy that is to become the one in force.
pub struct Draft {
    /// The policy.
    pub policy: Policy,
    /// What it says otherwise than the one in force; none where it is that one.
    pub differences: Vec<Difference>,
    /// Whose signatures it needs, by the one in force and by its own roots.
    pub needs: Vec<NeededSignatures>,
    /// Why it would not be taken for another reason than missing signatures.
    pub refusal: Option<PolicyRefusal>,
}

/// Signatures of some roots that a policy needs.
pub struct NeededSignatures {
    /// Whose.
    pub whose: Roots,
    /// How many of them.
    pub needed: usize,
    /// All of them.
    pub roots: Vec<PublicKey>,
    /// The fingerprints of those who have signed.
    pub signed: Vec<String>,
}

impl NeededSignatures {
    /// How many are missing.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.needed.saturating_sub(self.signed.len())
    }
}

impl Draft {
    /// Whether it could be installed as it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.refusal.is_none() && self.needs.iter().all(|needs| needs.missing() == 0)
    }
}

/// Tests a draft of the next trust policy, and tells what differs and who must sign it. Changes nothing.
///
/// # Errors
/// When it is no policy that could ever be in force.
pub fn draft_policy(runner: &Runner, signed: &SignedPolicy, pins: &PolicyPins) -> Result<Draft, PipelineError> {
    let state = runner.state();
    let policy = Policy::parse(&signed.document).map_err(|error| unaccepted(&error.into()))?;
    sensible(runner.registry(), &policy)?;
    let current = runner.policy();
    let needs = signatures_needed(&policy, Some(current), pins)
        .into_iter()
        .map(|(whose, needed, roots)| {
            let signed = signed_by(signed, roots).map_err(|refusal| unaccepted(&refusal))?;
            Ok(NeededSignatures { whose, needed, roots: roots.to_vec(), signed })
        })
        .collect::<Result<_, PipelineError>>()?;
    let refusal = match succeed(signed, &accepted(&state)?, pins, runner.decisive()?) {
        Ok(_) | Err(PolicyRefusal::TooFew { .. }) => None,
        Err(refusal) => Some(refusal),
    };
    let differences = current.differences(&policy);
    Ok(Draft { policy, differences, needs, refusal })
}

/// Accepts a policy, which is in force from then on; what puts it where the configuration names it comes before.
///
/// # Errors
/// Why it may not be in force. The one before it stays then.
pub fn installable(runner: &Runner, signed: &SignedPolicy, pins: &PolicyPins) -> Result<Policy, PipelineError> {
    let policy = succeed(signed, &accepted(&runner.state())?, pins, runner.decisive()?).map_err(|refusal| {
        PipelineError::refused(format!("the trust policy is not taken: {refusal}")).with_hint(refusal.hint())
    })?;
    sensible(runner.registry(), &policy)?;
    Ok(policy)
}
