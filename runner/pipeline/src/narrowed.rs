//! Narrowed grants are rehearsed for real before an approval of them is signed or kept: what an approver leaves must still do
//! exactly what the plan shows.

use countersign_model::documents::{Denial, RehearsalDocument, RoleGrants};
use countersign_model::{Digest, Grant};

use crate::approve::terms;
use crate::error::PipelineError;
use crate::order::again;
use crate::rehearse::{RehearsalRequest, rehearse_again};
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::{Target, contains};

/// How many denied calls are told.
const MAX_TOLD: usize = 5;

/// Rehearses a proposal on every target with what an approval manifest grants, where that is less than was asked for: with the
/// same arguments, time and seed. Changes nothing, and keeps nothing. One process tries a manifest once, which it perhaps
/// drafts and then keeps. `undone` says what has not become of the approval, for whoever is refused.
///
/// # Errors
/// A refusal, when a call is denied or the plan is another one on any target.
pub(crate) fn rehearse(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    manifest: &[u8],
    undone: &str,
) -> Result<(), PipelineError> {
    let (document, grants) = (stored.proposal.document(), terms(manifest)?.grants);
    let digest = Digest::of(manifest);
    if grants == document.grants || runner.has_tried(&digest) {
        return Ok(());
    }
    for (name, target) in targets {
        runner.note(&format!("rehearsal on `{name}` with what was narrowed"));
        let request = RehearsalRequest {
            bundle: &stored.bundle,
            name,
            target,
            arguments: &document.arguments,
            grants: &grants,
            // Nothing of it is recorded.
            principal: "",
            now: document.now,
            seed: document.seed,
        };
        let found = rehearse_again(runner, &request, stored.undo.as_ref())?;
        judge(runner, stored, &found, &grants, undone)?;
    }
    runner.tried(digest);
    Ok(())
}

fn judge(
    runner: &Runner,
    stored: &Stored,
    found: &RehearsalDocument,
    grants: &RoleGrants,
    undone: &str,
) -> Result<(), PipelineError> {
    let name = &found.target;
    if !found.denied.is_empty() {
        let each = found.denied.iter().take(MAX_TOLD).map(|denial| denied(runner, stored, denial, grants));
        let mut each = each.collect::<Vec<_>>().join("; ");
        let more = found.denied.len().saturating_sub(MAX_TOLD);
        if more > 0 {
            each.push_str(&format!("; and {more} more"));
        }
        let what = format!("narrowed so far, the rehearsal on `{name}` is denied what the plan needs: {each}");
        return Err(PipelineError::refused(what).with_hint(format!("{undone}; narrow less, or deny the proposal")));
    }
    let proposed = stored.rehearsal(name)?;
    let same = proposed.plan.does_the_same_as(&found.plan)
        && found.fix_failure == proposed.fix_failure
        && found.rollback_failure == proposed.rollback_failure
        && found.unrestored == proposed.unrestored;
    if !same {
        let what = format!("rehearsed with what was narrowed, the plan for `{name}` is another one than was proposed");
        return Err(PipelineError::refused(what).with_hint(format!(
            "{undone}; where `countersign review` shows that the target was changed since, rehearse it again with {}; else narrow \
             less, or approve it as it is",
            again(&stored.proposal)
        )));
    }
    Ok(())
}

/// A denied call, and the narrowing that is too narrow for it.
fn denied(runner: &Runner, stored: &Stored, denial: &Denial, grants: &RoleGrants) -> String {
    let Denial { role, call, why, grant } = denial;
    let call = format!("the {role} step `{call}`: {why}");
    let proposed = stored.proposal.document().grants.get(role).map(Vec::as_slice).unwrap_or_default();
    let inside = |wide: &Grant, small: &Grant| {
        let unlimited = Grant { limits: Default::default(), ..wide.clone() };
        contains(runner.registry(), &unlimited, &Grant { limits: Default::default(), ..small.clone() }).unwrap_or(false)
    };
    let wide = grant.as_ref().and_then(|needed| proposed.iter().find(|wide| inside(wide, needed)));
    let Some(wide) = wide else { return call };
    let own = grants.get(role).map(Vec::as_slice).unwrap_or_default();
    let narrow: Vec<_> = own
        .iter()
        .filter(|own| !proposed.contains(own) && inside(wide, own))
        .map(|narrow| format!("`{narrow}`"))
        .collect();
    if narrow.is_empty() {
        call
    } else {
        format!("{call}; {} is too narrow in place of `{wide}`", narrow.join(" and "))
    }
}
