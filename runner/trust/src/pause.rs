use countersign_model::documents::{DOCUMENT_VERSION, PauseDocument, namespace};
use countersign_model::strict;
use countersign_model::text::excerpt;

use crate::approval::{DraftError, check_reason};
use crate::case::unrevoked;
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind, Right};
use crate::refusal::{Refusal, Signed};
use crate::signed::signed_by;

/// The largest word on a pause that is read, in bytes.
pub const MAX_PAUSE: usize = 64 * 1024;

/// Makes a person's word that new runs are paused, or may begin again, as the exact bytes to sign in
/// [`namespace::PAUSE`]. `at` is in milliseconds since 1970-01-01 UTC.
///
/// # Errors
/// When the reason is empty or longer than [`MAX_REASON`](crate::MAX_REASON).
pub fn draft_pause(runner: &str, paused: bool, reason: &str, at: u64) -> Result<Vec<u8>, DraftError> {
    check_reason(reason)?;
    let (runner, reason) = (runner.to_owned(), reason.to_owned());
    let document = PauseDocument { version: DOCUMENT_VERSION, runner, paused, reason, at };
    serde_json::to_vec(&document).map_err(|_| DraftError::Unwritable)
}

/// Verifies a person's word on a pause of this runner, and tells whose it is. Any one person counts who may operate or
/// approve; whoever only proposes never does.
///
/// # Errors
/// When the signature is not valid, its signer may not pause, or the document cannot be read or is for another runner.
pub fn verify_pause(
    bytes: &[u8],
    signature: &[u8],
    runner: &str,
    policy: &Policy,
) -> Result<(PauseDocument, Principal), Refusal> {
    let on = Signed::Pause;
    let (_, who) = signed_by(policy, namespace::PAUSE, bytes, signature)?;
    unrevoked(&who)?;
    let answers = who.may(Right::Operate) || who.may(Right::Approve);
    if who.kind() != PrincipalKind::Person || !answers {
        return Err(Refusal::MayNotPause { who: who.to_string() });
    }
    let document: PauseDocument = strict::from_slice(bytes, MAX_PAUSE)
        .map_err(|error| Refusal::Unreadable { on, why: excerpt(&error.to_string(), 300) })?;
    if document.version != DOCUMENT_VERSION {
        return Err(Refusal::Version { on, found: document.version, expected: DOCUMENT_VERSION });
    }
    if document.runner != runner {
        let why = format!("it is for the runner `{}`", excerpt(&document.runner, 80));
        return Err(Refusal::Senseless { on, why });
    }
    Ok((document, who))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SigningKey, sshsig};

    const RUNNER: &str = "SHA256:runner";
    const HEAD: &str = "version = 2\nserial = 1\nissued = \"2027-01-01T00:00:00Z\"\nexpires = \"2028-01-01T00:00:00Z\"\n\
        [roots]\nthreshold = 1\nkeys = [\"ROOT\"]\n[approval]\nmax-validity = \"1h\"\n\
        [[quorums]]\nname = \"every run\"\npeople = 1\n";

    #[test]
    fn any_person_with_a_say_counts_and_nobody_else() {
        let key = |name| SigningKey::generate(name).expect("a key");
        let (operator, approver, proposer, agent) = (key("operator"), key("approver"), key("proposer"), key("agent"));
        let person = |name: &str, key: &SigningKey, may: &str| {
            format!(
                "[[people]]\nname = \"{name}\"\nkeys = [\"{}\"]\nmay = [\"{may}\"]\n",
                key.public_key().to_openssh()
            )
        };
        let policy = format!(
            "{}{}{}{}[[agents]]\nname = \"agent\"\nowner = \"operator\"\nkeys = [\"{}\"]\n",
            HEAD.replace("ROOT", &operator.public_key().to_openssh()),
            person("operator", &operator, "operate"),
            person("approver", &approver, "approve"),
            person("proposer", &proposer, "propose"),
            agent.public_key().to_openssh(),
        );
        let policy = Policy::parse(policy.as_bytes()).expect("a policy");
        let bytes = draft_pause(RUNNER, true, "the sale", 1_000).expect("drafted");
        let by = |key: &SigningKey| {
            let signature = sshsig::sign(key, namespace::PAUSE, &bytes).expect("signed");
            verify_pause(&bytes, signature.as_bytes(), RUNNER, &policy)
        };
        for (key, name) in [(&operator, "operator"), (&approver, "approver")] {
            let (document, who) = by(key).expect("it counts");
            assert_eq!((document.paused, document.reason.as_str(), who.name()), (true, "the sale", name));
        }
        for key in [&proposer, &agent, &SigningKey::generate("stranger").expect("a key")] {
            assert!(matches!(by(key), Err(Refusal::MayNotPause { .. })));
        }
    }

    #[test]
    fn it_is_for_this_runner_and_says_why() {
        let key = SigningKey::generate("alice").expect("a key");
        let policy = format!(
            "{}[[people]]\nname = \"alice\"\nkeys = [\"{}\"]\nmay = [\"approve\"]\n",
            HEAD.replace("ROOT", &key.public_key().to_openssh()),
            key.public_key().to_openssh()
        );
        let policy = Policy::parse(policy.as_bytes()).expect("a policy");
        let bytes = draft_pause("SHA256:another", true, "the sale", 1_000).expect("drafted");
        let signed = |namespace| sshsig::sign(&key, namespace, &bytes).expect("signed");
        let verify = |signature: &str| verify_pause(&bytes, signature.as_bytes(), RUNNER, &policy);
        assert!(matches!(verify(&signed(namespace::PAUSE)), Err(Refusal::Senseless { .. })));
        assert!(matches!(verify(&signed(namespace::DENIAL)), Err(Refusal::Signature { .. })));
        assert!(matches!(draft_pause(RUNNER, true, " ", 1_000), Err(DraftError::NoReason)));
    }
}
