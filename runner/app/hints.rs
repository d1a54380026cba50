//! What to do next where a library says only what is wrong.

use countersign_bundle::{ArgumentsError, BundleError, ManifestError};
use countersign_record::RecordError;
use countersign_sandbox::InspectError;
use countersign_trust::{KeyError, PolicyError};

/// The hint for an error that has none of its own, by the first of its causes that is known here.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<BundleError>() {
            return Some(bundle(error).to_owned());
        }
        if cause.is::<ManifestError>() {
            return Some("correct the project's remediation.toml".to_owned());
        }
        if cause.is::<ArgumentsError>() {
            return Some(
                "`countersign inspect BUNDLE --json` shows which arguments there are; give each as `--arg K=V`"
                    .to_owned(),
            );
        }
        if cause.is::<InspectError>() {
            return Some("build the step with `countersign build`, as `countersign new` sets it up".to_owned());
        }
        if let Some(error) = cause.downcast_ref::<KeyError>() {
            return Some(key(error).to_owned());
        }
        if let Some(hint) = cause.downcast_ref::<PolicyError>().and_then(policy_key) {
            return Some(hint.to_owned());
        }
        if cause.is::<PolicyError>() {
            return Some("correct the trust policy, and have it signed again".to_owned());
        }
        cause.downcast_ref::<RecordError>().and_then(RecordError::hint).map(str::to_owned)
    })
}

const fn bundle(error: &BundleError) -> &'static str {
    match error {
        BundleError::Io { .. } | BundleError::Occupied { .. } => {
            "name a bundle's directory, as `countersign build` makes it"
        }
        BundleError::Manifest(_) => "correct remediation.toml and build the bundle again with `countersign build`",
        _ => "it is not as it was built: build it again with `countersign build`, or get it again from its author",
    }
}

/// What to do about a key that the trust policy cannot list.
const fn policy_key(error: &PolicyError) -> Option<&'static str> {
    match error {
        PolicyError::AgentInHardware { .. } => {
            Some("give the agent an ssh-ed25519 key of its own: `ssh-keygen -t ed25519` makes one")
        }
        PolicyError::SameSecret { .. } => {
            Some("list the key once, as it is used; a second one is made by `ssh-keygen`, with a secret of its own")
        }
        PolicyError::Origins(_) => Some("list each origin once, as the browser's address line has it, without a path"),
        _ => None,
    }
}

const fn key(error: &KeyError) -> &'static str {
    match error {
        KeyError::UnsupportedAlgorithm(_) | KeyError::Weak => {
            "use an ssh-ed25519 key, or one in hardware: `ssh-keygen -t ed25519` and `-t ed25519-sk` make one"
        }
        KeyError::Hardware(_) => {
            "nothing is signed here, which is all that hardware does: name a key that is a file, or none"
        }
        KeyError::NeedsPassphrase | KeyError::WrongPassphrase => "run it on a terminal and give the key's passphrase",
        KeyError::Random | KeyError::Unwritable | KeyError::NotANote => "try again",
        KeyError::TooLarge { .. } | KeyError::NotAKey { .. } => "name a key file as `ssh-keygen -t ed25519` writes it",
    }
}
