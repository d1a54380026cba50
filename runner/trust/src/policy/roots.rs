//! Who decides on the policy itself.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::text::excerpt;

use super::book::Book;
use super::exceptions::Revocations;
use super::{MAX_NAME, PolicyError, file};
use crate::principal::PrincipalKind;
use crate::public_key::PublicKey;

pub(super) fn read(
    file: &file::Roots,
    book: &Book,
    revocations: &Revocations,
) -> Result<(Vec<PublicKey>, usize), PolicyError> {
    let wrong = PolicyError::Roots;
    let mut roots: BTreeMap<String, PublicKey> = BTreeMap::new();
    let (mut people, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for line in &file.keys {
        let key =
            PublicKey::from_openssh(line).map_err(|error| PolicyError::Key { name: "roots".to_owned(), error })?;
        let fingerprint = key.fingerprint().to_owned();
        if let Some(person) = book.breaks_glass(&key) {
            let person = excerpt(person, MAX_NAME);
            return Err(wrong(format!(
                "`{fingerprint}` is the break-glass key of `{person}`, which does nothing else"
            )));
        }
        if let Some(whose) = book.principal(&fingerprint) {
            if whose.kind() == PrincipalKind::Agent {
                return Err(wrong(format!(
                    "`{fingerprint}` is a key of {whose}, and only people decide on the policy"
                )));
            }
            if !people.insert(whose.name().to_owned()) {
                return Err(wrong(format!("{whose} has two of the keys, and counts once")));
            }
            if let Some(reason) = revocations.of(whose) {
                return Err(wrong(format!("{whose} is revoked: {}", excerpt(reason, 200))));
            }
        }
        if revocations.key(&fingerprint) {
            return Err(wrong(format!("the key `{fingerprint}` is revoked")));
        }
        if !secrets.insert(key.secret()) {
            return Err(wrong(format!("the key `{fingerprint}` stands twice")));
        }
        roots.insert(fingerprint, key);
    }
    let threshold = usize::try_from(file.threshold).ok().filter(|threshold| (1..=roots.len()).contains(threshold));
    let count = roots.len();
    let threshold = threshold.ok_or_else(|| {
        wrong(format!("the threshold is {}, and there are {count} keys: expected 1 to {count}", file.threshold))
    })?;
    Ok((roots.into_values().collect(), threshold))
}
