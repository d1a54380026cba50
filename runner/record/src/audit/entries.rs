//! The entries of what this crate records by itself. Those of decisions are made by who knows whose they are.

use countersign_model::{Change, Outcome, Role};

use super::Entry;
use crate::evidence::NewEvidence;
use crate::{ChangeState, JournaledChange, Refusal, RunStart};

/// A read that was recorded as evidence.
pub(crate) fn read(new: &NewEvidence<'_>) -> Entry {
    let record: serde_json::Value = serde_json::from_slice(new.record).unwrap_or_default();
    let said = |key: &str| record.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    Entry::new("read")
        .with("evidence", new.id)
        .with("target", new.target)
        .with("principal", new.principal)
        .with_some("call", said("call"))
        .with_some("purpose", said("purpose"))
        .with_keyed("record", Some(&countersign_model::Digest::of(new.record)))
}

/// A proposal became an approved change: from here on a use of its approval is spent.
pub(crate) fn authorized(run: &str, start: &RunStart<'_>) -> Entry {
    let entry = Entry::new("authorized").of_run(run);
    let entry = match start.sources {
        [] => entry,
        sources => entry.with_list("sources", sources.iter().map(|(manifest, _)| manifest)),
    };
    let entry = match &start.standing {
        None => entry,
        Some(unattended) => entry.with("standing", unattended.standing),
    };
    entry
        .with("proposal", start.proposal)
        .with("manifest", start.manifest)
        .with("target", start.target)
        .with_list("approvers", start.approvers)
        .with_flag("independent", start.independent)
        .with("actor", start.actor.name)
        .with_some("key", start.actor.order.map(|order| order.key))
        .with_some("order", start.actor.order.map(|order| countersign_model::Digest::of(order.document)))
        .with_number("changes-planned", start.plan.forward.len() as u64)
}

/// A run was refused before it began.
pub(crate) fn refused(run: &str, refusal: &Refusal<'_>) -> Entry {
    Entry::new("refusal")
        .of_run(run)
        .with("proposal", refusal.proposal)
        .with("target", refusal.target)
        .with("reason", refusal.reason)
        .with_some("actor", refusal.actor)
}

/// A change is about to be applied.
pub(crate) fn intended(run: &str, seq: u32, role: Role, change: &Change, resolution: Option<u32>) -> Entry {
    let entry = Entry::new("change")
        .of_run(run)
        .with_number("change", seq.into())
        .with("role", role.name())
        .with("capability", &change.capability)
        .with("subject", &change.subject)
        .with("reversibility", change.reversibility.name())
        .with_keyed("before", change.before.as_ref().map(|image| &image.digest))
        .with_keyed("after", change.after.as_ref().map(|image| &image.digest));
    match resolution {
        Some(position) => entry.with_number("resolution", position.into()),
        None => entry,
    }
}

/// A run ended.
pub(crate) fn ended(
    run: &str,
    outcome: Outcome,
    reason: &str,
    changes: &[JournaledChange],
    open: usize,
    report: &str,
) -> Entry {
    let count = |of: fn(ChangeState) -> bool| changes.iter().filter(|change| of(change.state)).count() as u64;
    Entry::new("outcome")
        .of_run(run)
        .with("outcome", outcome.name())
        .with("reason", reason)
        .with_number("changes", changes.len() as u64)
        .with_number("changes-undone", count(|state| state == ChangeState::Undone))
        .with_number("changes-standing", count(ChangeState::may_stand))
        .with_number("open", open as u64)
        .with_keyed("report", Some(&countersign_model::Digest::of(report.as_bytes())))
}
