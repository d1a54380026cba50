//! Whose signatures stand in this state, as `ssh-keygen -Y verify` takes it.

use std::collections::BTreeMap;

use countersign_model::documents::namespace;
use countersign_trust::{Policy, PrincipalKind};
use serde::Serialize;

use crate::error::PipelineError;
use crate::runner::Runner;

/// What people sign.
const PEOPLES: &[&str] = &[
    namespace::APPROVAL,
    namespace::DENIAL,
    namespace::CONFIRMATION,
    namespace::RESOLUTION,
    namespace::PAUSE,
    namespace::PROPOSAL,
    namespace::RUN,
    namespace::STANDING_APPROVAL,
    namespace::BREAK_GLASS_REVIEW,
    namespace::TRUST_POLICY,
];
/// What the runner signs.
const RUNNERS: &[&str] = &[namespace::REHEARSAL, namespace::EVIDENCE, namespace::STANDING];

/// A key, and what its signatures are for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Signer {
    /// Whose it is: a name in the trust policy. Those with a colon are none: `countersign:root`, of a root that is nobody who
    /// is listed, and `countersign:runner`.
    pub name: String,
    /// The key's fingerprint.
    pub fingerprint: String,
    /// The key's kind and base64, as a `.pub` file has it.
    pub key: String,
    /// What it may be for.
    pub namespaces: Vec<&'static str>,
    /// Whether the trust policy in force has it, unrevoked; the runner's own key always is.
    pub in_force: bool,
}

impl Signer {
    /// Its line in an `allowed_signers` file.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} namespaces=\"{}\" {}", self.name, self.namespaces.join(","), self.key)
    }
}

/// Everybody whose signatures were ever taken here: by name and fingerprint, each key of every trust policy that was
/// accepted, and the runner's.
///
/// # Errors
/// When the policies that were accepted cannot be read.
pub fn signers(runner: &Runner) -> Result<Vec<Signer>, PipelineError> {
    let unread =
        |error: &dyn std::fmt::Display| PipelineError::failed(format!("a trust policy cannot be read: {error}"));
    let mut all = BTreeMap::new();
    // The latest policy last, so that what it says of a key is what is told.
    for accepted in runner.state().policies().accepted()? {
        let policy = Policy::parse(&accepted.document).map_err(|error| unread(&error))?;
        let listed = policy.keys().map(|(principal, key)| {
            let namespaces = match principal.kind() {
                PrincipalKind::Person => PEOPLES,
                PrincipalKind::BreakGlass => &[namespace::APPROVAL],
                PrincipalKind::Agent | PrincipalKind::Unlisted => &[namespace::PROPOSAL],
            };
            (principal.name().to_owned(), key, namespaces)
        });
        let known: Vec<_> = policy.keys().map(|(_, key)| key.fingerprint()).collect();
        let roots = policy.roots().iter().filter(|root| !known.contains(&root.fingerprint()));
        let roots = roots.map(|key| ("countersign:root".to_owned(), key, &[namespace::TRUST_POLICY][..]));
        for (name, key, namespaces) in listed.chain(roots) {
            let signer = Signer {
                fingerprint: key.fingerprint().to_owned(),
                key: key.to_openssh(),
                namespaces: namespaces.to_vec(),
                in_force: false,
                name,
            };
            all.insert((signer.name.clone(), signer.fingerprint.clone()), signer);
        }
    }
    for signer in all.values_mut() {
        let principal = runner.policy().principal(&signer.fingerprint);
        let root = runner.policy().roots().iter().any(|root| root.fingerprint() == signer.fingerprint);
        let listed = principal.kind() != PrincipalKind::Unlisted && principal.name() == signer.name;
        signer.in_force = principal.revoked().is_none() && (listed || (root && signer.name == "countersign:root"));
    }
    let own = runner.key();
    let own = Signer {
        name: "countersign:runner".to_owned(),
        fingerprint: own.fingerprint().to_owned(),
        key: own.public_key().to_openssh(),
        namespaces: RUNNERS.to_vec(),
        in_force: true,
    };
    Ok(all.into_values().chain([own]).collect())
}
