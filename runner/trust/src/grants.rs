//! Grants that are the same as others, or narrower.

use countersign_model::documents::RoleGrants;
use countersign_model::text::visible;
use countersign_model::{Grant, Limits, Role};

/// Whether the first grant's scope takes in the second's. It comes from the caller, since a scope's
/// meaning belongs to its capability; the capability, the access and the limits are compared here.
/// An error is a sentence fragment that says why it cannot be told.
pub type Contains<'a> = &'a dyn Fn(&Grant, &Grant) -> Result<bool, String>;

/// Why grants are not inside those that were asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrantMismatch {
    /// One is inside none of them.
    #[error("`{grant}`{} is inside no grant that was asked for", for_role(*.role))]
    NotRequested {
        /// The role it was for; `None` for a narrowing, which is for every role.
        role: Option<Role>,
        /// The grant.
        grant: String,
    },
    /// Several are, and their limits add up to more.
    #[error("with `{grant}`{} the limits add up to more than was asked for", for_role(Some(*.role)))]
    LimitsAddUp {
        /// The role.
        role: Role,
        /// The grant that goes too far.
        grant: String,
    },
    /// It cannot be told.
    #[error("`{grant}` cannot be compared: {why}")]
    Unreadable {
        /// The grant.
        grant: String,
        /// Why.
        why: String,
    },
}

fn for_role(role: Option<Role>) -> String {
    role.map(|role| format!(" for the {role} step")).unwrap_or_default()
}

/// The grants that remain when an approver narrows some: each narrowing takes the place of every
/// requested grant that it is inside of, in every role; several inside one take its place together.
///
/// # Errors
/// When a narrowing is inside no requested grant, or several together go beyond one's limits.
pub fn narrow(
    requested: &RoleGrants,
    narrowings: &[Grant],
    contains: Contains<'_>,
) -> Result<RoleGrants, GrantMismatch> {
    let mut unused: Vec<&Grant> = narrowings.iter().collect();
    let mut narrowed = RoleGrants::new();
    for (role, grants) in requested {
        let mut kept: Vec<Grant> = Vec::new();
        for wide in grants {
            let mut inner = Vec::new();
            for narrowing in narrowings {
                if inside(wide, narrowing, contains)? {
                    inner.push(narrowing);
                }
            }
            unused.retain(|grant| !inner.contains(grant));
            if inner.is_empty() {
                inner.push(wide);
            }
            for grant in inner {
                if !kept.contains(grant) {
                    kept.push(grant.clone());
                }
            }
        }
        narrowed.insert(*role, kept);
    }
    if let Some(grant) = unused.first() {
        return Err(GrantMismatch::NotRequested { role: None, grant: grant.to_string() });
    }
    within(requested, &narrowed, contains)?;
    Ok(narrowed)
}

/// Tests that every granted grant is the same as, or inside, one that was requested for its role,
/// and that those inside one requested grant keep its limits together: two of one call each are as
/// much as one of two.
pub(crate) fn within(
    requested: &RoleGrants,
    granted: &RoleGrants,
    contains: Contains<'_>,
) -> Result<(), GrantMismatch> {
    for (role, granted) in granted {
        // What is left of each requested grant's limits.
        let mut wide: Vec<(&Grant, Limits)> =
            requested.get(role).into_iter().flatten().map(|grant| (grant, grant.limits)).collect();
        let (same, narrower): (Vec<&Grant>, Vec<&Grant>) =
            granted.iter().partition(|grant| wide.iter().any(|(wide, _)| wide == grant));
        // Those that are the same go first, so that each takes the whole of its own.
        for grant in same.into_iter().chain(narrower) {
            place(*role, grant, &mut wide, contains)?;
        }
    }
    Ok(())
}

fn place(
    role: Role,
    grant: &Grant,
    wide: &mut [(&Grant, Limits)],
    contains: Contains<'_>,
) -> Result<(), GrantMismatch> {
    // One that is the same and still whole comes before one that is wider.
    if let Some((_, left)) = wide.iter_mut().find(|(wide, left)| *wide == grant && left.contains(&grant.limits)) {
        *left = less(*left, grant.limits);
        return Ok(());
    }
    let mut found = false;
    for (wide, left) in wide {
        if inside(wide, grant, contains)? {
            found = true;
            if left.contains(&grant.limits) {
                *left = less(*left, grant.limits);
                return Ok(());
            }
        }
    }
    let text = grant.to_string();
    Err(if found {
        GrantMismatch::LimitsAddUp { role, grant: text }
    } else {
        GrantMismatch::NotRequested { role: Some(role), grant: text }
    })
}

/// What is left of limits; a bound that is absent stays absent.
fn less(left: Limits, taken: Limits) -> Limits {
    let minus = |left: Option<u64>, taken: Option<u64>| left.map(|left| left.saturating_sub(taken.unwrap_or(left)));
    Limits { max_calls: minus(left.max_calls, taken.max_calls), max_bytes: minus(left.max_bytes, taken.max_bytes) }
}

/// Whether one grant is the same as another, or inside it.
pub(crate) fn inside(wide: &Grant, narrow: &Grant, contains: Contains<'_>) -> Result<bool, GrantMismatch> {
    if wide == narrow {
        return Ok(true);
    }
    if wide.capability != narrow.capability || wide.access != narrow.access || !wide.limits.contains(&narrow.limits) {
        return Ok(false);
    }
    contains(wide, narrow).map_err(|why| GrantMismatch::Unreadable { grant: narrow.to_string(), why: visible(&why) })
}

#[cfg(test)]
mod tests;
