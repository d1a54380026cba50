use crate::policy::Policy;
use crate::principal::Principal;
use crate::refusal::{Refusal, Signed};
use crate::signer::Signer;
use crate::sshsig;

/// Verifies a signature, and that it was made as the trust policy demands; tells how it was, and whose it is.
pub(crate) fn signed_by(
    policy: &Policy,
    namespace: &str,
    bytes: &[u8],
    signature: &[u8],
) -> Result<(Signer, Principal), Refusal> {
    let on = Signed::in_namespace(namespace);
    let signer = sshsig::verify_knowing(|wire| policy.key(wire), namespace, bytes, signature)
        .map_err(|error| Refusal::Signature { on, error })?;
    policy.demands().satisfied_by(&signer).map_err(|unmet| Refusal::Unmet { on, unmet })?;
    let principal = policy.principal(signer.fingerprint());
    Ok((signer, principal))
}

#[cfg(test)]
mod tests;
