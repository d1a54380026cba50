//! Where people approved one proposal and not the same thing: of each term the stricter one.

use std::collections::BTreeSet;

use countersign_model::documents::{ApprovalManifest, Confirmation, Derived, ProposedTarget, RoleGrants, Terms};
use countersign_model::{Digest, Grant};

use crate::grants::{Contains, GrantMismatch, inside, within};

/// The most approvals that go together: as many as one entry of the audit log names.
const MAX_TOGETHER: usize = 32;

/// An approval whose terms are those of its proposal, and the people whose signatures on it count: one at least.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) manifest: ApprovalManifest,
    pub(crate) digest: Digest,
    pub(crate) target: ProposedTarget,
    pub(crate) people: BTreeSet<String>,
}

/// The people of all of them together.
pub(crate) fn together(all: &[Counted]) -> BTreeSet<String> {
    all.iter().flat_map(|one| one.people.iter().cloned()).collect()
}

/// What several manifests of one proposal have in common, as one that names them: the same in the same order make the same bytes.
///
/// # Errors
/// What they have not in common, in a sentence fragment.
pub(crate) fn strictest<'m>(
    all: impl Iterator<Item = (Digest, &'m ApprovalManifest)>,
    contains: Contains<'_>,
) -> Result<(ApprovalManifest, Vec<u8>), String> {
    let mut made: Option<ApprovalManifest> = None;
    let mut digests = Vec::new();
    for (digest, next) in all {
        digests.push(digest);
        if digests.len() > MAX_TOGETHER {
            return Err(format!("there are more than {MAX_TOGETHER} of them"));
        }
        match &mut made {
            None => made = Some(next.clone()),
            Some(made) => tighten(&mut made.predicate, &next.predicate, contains)?,
        }
    }
    let mut made = made.ok_or_else(|| "there are none".to_owned())?;
    made.predicate.reason = format!("of each term the stricter one of {} approvals", digests.len());
    made.predicate.derived = Some(Derived::Approvals(digests));
    let bytes = serde_json::to_vec(&made).map_err(|error| error.to_string())?;
    Ok((made, bytes))
}

/// Leaves of each term what the other one allows too. What both have to have from their proposal is compared with it elsewhere.
fn tighten(terms: &mut Terms, other: &Terms, contains: Contains<'_>) -> Result<(), String> {
    terms.targets.retain(|target| other.targets.contains(target));
    terms.grants = common(&terms.grants, &other.grants, contains)?;
    terms.not_before = terms.not_before.max(other.not_before);
    terms.expires = terms.expires.min(other.expires);
    terms.finish_by = [terms.finish_by, other.finish_by].into_iter().flatten().min();
    terms.uses = terms.uses.min(other.uses);
    terms.confirmation = match (terms.confirmation, other.confirmation) {
        (Some(one), Some(other)) => Some(Confirmation {
            within_ms: one.within_ms.min(other.within_ms),
            silence_keeps: one.silence_keeps && other.silence_keeps,
        }),
        (one, other) => one.or(other),
    };
    if terms.rollback_owner != other.rollback_owner {
        let (one, other) = (&terms.rollback_owner, &other.rollback_owner);
        return Err(format!("one names {one} as rollback owner, and one {other}"));
    }
    for reference in &other.evidence {
        if !terms.evidence.contains(reference) {
            terms.evidence.push(reference.clone());
        }
    }
    Ok(())
}

/// Of the grants of two approvals those that are inside both, role by role.
fn common(one: &RoleGrants, other: &RoleGrants, contains: Contains<'_>) -> Result<RoleGrants, String> {
    let told = |mismatch: GrantMismatch| mismatch.to_string();
    let mut all = RoleGrants::new();
    for (role, grants) in one {
        let others = other.get(role).map_or(&[][..], Vec::as_slice);
        let mut kept: Vec<Grant> = Vec::new();
        for (grants, wider) in [(grants.as_slice(), others), (others, grants.as_slice())] {
            for grant in grants {
                let mut both = false;
                for wide in wider {
                    both = both || inside(wide, grant, contains).map_err(told)?;
                }
                if both && !kept.contains(grant) {
                    kept.push(grant.clone());
                }
            }
        }
        all.insert(*role, kept);
    }
    // Two inside one of the other's must keep its limits together.
    within(one, &all, contains).and_then(|()| within(other, &all, contains)).map_err(told)?;
    Ok(all)
}

#[cfg(test)]
mod tests;
