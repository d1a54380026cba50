//! What a person is shown of a plan, and how much that may be.

use countersign_capability::Blobs;
use countersign_model::documents::RehearsalDocument;
use countersign_model::{Change, PlannedChange, Role};
use serde::Serialize;
use serde_json::Value;

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::report::ReportedChange;
use crate::withhold::Since;

/// The most changes, and the most bytes of their diffs and terms, that can be reviewed as a whole.
const MAX_CHANGES: usize = 200;
const MAX_SHOWN: usize = 512 * 1024;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// A change with what it does to the content.
#[derive(Debug, Serialize)]
pub struct ChangeReview {
    /// The change as reports list it.
    #[serde(flatten)]
    pub change: ReportedChange,
    /// A unified diff; the target's own text. Empty where the content is withheld.
    pub diff: String,
    /// Everything else that is signed: modes, owners, signals. Without digests where the content is withheld.
    pub effect: Value,
    /// As whom new content runs for whoever starts it, where the file's setuid or setgid bit says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_as: Option<String>,
}

/// Whether a person can be shown the whole plan: nobody signs what they could not have seen.
///
/// # Errors
/// When it is too large.
pub(crate) fn showable(desk: &dyn Desk, rehearsal: &RehearsalDocument) -> Result<(), PipelineError> {
    let too_large = |what: String| {
        PipelineError::refused(format!("the plan is too large to be reviewed as a whole: {what}"))
            .with_hint("make the fix smaller, or several fixes of it")
    };
    let count = rehearsal.plan.changes().count();
    if count > MAX_CHANGES {
        return Err(too_large(format!("{count} changes are more than {MAX_CHANGES}")));
    }
    let mut shown = 0;
    for reviewed in planned_changes(desk, rehearsal)? {
        shown += reviewed.diff.len() + reviewed.change.summary.len() + reviewed.effect.to_string().len();
        if shown > MAX_SHOWN {
            return Err(too_large(format!("its changes are over {MAX_SHOWN} bytes")));
        }
    }
    Ok(())
}

/// Every change of a rehearsal with its diff, forward and then the rollback step's.
///
/// # Errors
/// When an image is missing or too large to be shown.
pub fn planned_changes(desk: &dyn Desk, rehearsal: &RehearsalDocument) -> Result<Vec<ChangeReview>, PipelineError> {
    planned_changes_beside(desk, rehearsal, &Since::default())
}

/// The same, where subjects may have come to be held for sensitive since the rehearsal.
pub(crate) fn planned_changes_beside(
    desk: &dyn Desk,
    rehearsal: &RehearsalDocument,
    since: &Since,
) -> Result<Vec<ChangeReview>, PipelineError> {
    let mut images = desk.images();
    let (sensitive, tellers) = (since.sensitive(&rehearsal.target), since.tellers(desk, rehearsal));
    let shown = |planned: PlannedChange<'_>| {
        if tellers.contains(&planned.role) {
            return change(&mut *images, planned.role, &crate::withhold::change(planned.change));
        }
        let mut shown = planned.change.clone();
        shown.withheld |= sensitive.takes_in(&shown.capability, &shown.subject);
        change(&mut *images, planned.role, &shown)
    };
    rehearsal.plan.changes().map(shown).collect()
}

/// A change with its diff.
///
/// # Errors
/// When it is too large to be shown.
pub(crate) fn change(
    blobs: &mut dyn Blobs,
    role: Role,
    change: &countersign_model::Change,
) -> Result<ChangeReview, PipelineError> {
    let (diff, effect) = if change.withheld {
        (String::new(), crate::withhold::digests(&change.effect))
    } else {
        (crate::diff::of_change(blobs, change).map_err(PipelineError::refused)?, change.effect.clone())
    };
    let runs_as = runs_as(change);
    Ok(ChangeReview { change: ReportedChange::new(role, change), diff, effect, runs_as })
}

/// The user and the group that a file's special bits give to whoever runs it, where its content becomes another.
fn runs_as(change: &Change) -> Option<String> {
    let after = change.effect.get("after").filter(|_| change.after.is_some() && change.before != change.after)?;
    let mode = u32::from_str_radix(after.get("mode")?.as_str()?, 8).ok()?;
    let of = |bit, noun: &str, number: &str| {
        let number = after.get(number).filter(|_| mode & bit != 0)?;
        Some(format!("{noun} {number}"))
    };
    let owners = [of(SETUID, "user", "uid"), of(SETGID, "group", "gid")];
    let owners: Vec<String> = owners.into_iter().flatten().collect();
    (!owners.is_empty()).then(|| owners.join(" and "))
}

/// What became of the content that a change finds, and of what it leaves, between two plans; nothing where one of
/// them holds only a part of it.
pub(crate) fn differences(blobs: &mut dyn Blobs, was: &Change, is: &Change) -> (String, String) {
    let whole =
        |change: &Change| change.images().count() == [change.before, change.after].into_iter().flatten().count();
    if !whole(was) || !whole(is) || was.kept.is_some() || is.kept.is_some() {
        return (String::new(), String::new());
    }
    let mut shown = |old, new, names| {
        crate::diff::between(blobs, old, new, names).unwrap_or_else(|why| format!("not shown: {why}"))
    };
    (
        shown(was.before, is.before, ("found before", "found now")),
        shown(was.after, is.after, ("left before", "left now")),
    )
}
