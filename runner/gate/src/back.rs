//! What a rollback step is held to in `exact` mode.

use std::collections::BTreeSet;

use countersign_model::{Change, Plan, Reversibility, Stop};

use crate::proof::First;

/// The rollback step's part of the plan, with what was done of it.
#[derive(Default)]
pub(crate) struct BackPlan {
    done: BTreeSet<usize>,
}

impl BackPlan {
    /// The rehearsed change that this one is, each of which may be done once, or `None` where it puts a
    /// subject of the plan back to its before-image, which may be done again.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn allow(&self, plan: &Plan, change: &Change) -> Result<Option<usize>, Stop> {
        let rehearsed = plan.back.iter().enumerate().find(|(position, planned)| {
            !self.done.contains(position)
                && planned.capability == change.capability
                && planned.subject == change.subject
                && planned.reversibility == change.reversibility
                && planned.after == change.after
                && planned.effect == change.effect
        });
        if let Some((position, _)) = rehearsed {
            return Ok(Some(position));
        }
        if restores_any(plan.forward.iter(), change) {
            return Ok(None);
        }
        Err(Stop(format!(
            "deviation: the rollback step's `{}` was not rehearsed, or not so often, and restores no before-image",
            change.summary
        )))
    }

    /// Notes that a rehearsed change was done.
    pub(crate) fn did(&mut self, position: usize) {
        self.done.insert(position);
    }

    /// The same in `scoped` mode, where a fix may have done other things than were rehearsed: what it really did may be put
    /// back to its before-image too, and each change of it that nothing undoes may be answered once on its subject. `made`
    /// are the run's changes so far, `fix` those of its fix.
    ///
    /// # Errors
    /// When it is neither that nor what [`BackPlan::allow`] allows.
    pub(crate) fn allow_scoped<'a>(
        &self,
        plan: &Plan,
        fix: impl Iterator<Item = &'a Change> + Clone,
        back: impl Iterator<Item = &'a Change>,
        change: &Change,
    ) -> Result<Option<usize>, Stop> {
        let stop = match self.allow(plan, change) {
            Ok(allowed) => return Ok(allowed),
            Err(stop) => stop,
        };
        let answers = |one: &&Change| {
            change.reversibility == Reversibility::Irreversible
                && one.reversibility == Reversibility::Irreversible
                && one.capability == change.capability
                && one.subject == change.subject
        };
        if restores_any(fix.clone(), change) || back.filter(answers).count() < fix.filter(answers).count() {
            return Ok(None);
        }
        Err(stop)
    }
}

/// Whether a change puts the subject of one of these back to how the first of them found it.
fn restores_any<'a>(changes: impl Iterator<Item = &'a Change> + Clone, change: &Change) -> bool {
    First::of(changes).into_iter().map(|first| first.change).any(|first| {
        first.capability == change.capability && first.subject == change.subject && restores(first, change)
    })
}

/// Whether `change` leaves the content that `first` found, and what else `first` says that it found: an effect may
/// have a `before` and an `after`, such as a file's mode. Without content, effects alone would have to tell.
fn restores(first: &Change, change: &Change) -> bool {
    let of_content = |change: &Change| change.before.is_some() || change.after.is_some();
    change.reversibility != Reversibility::Irreversible
        && of_content(first)
        && of_content(change)
        && change.after == first.before
        && change.effect.get("after") == first.effect.get("before")
}

#[cfg(test)]
mod tests {
    use countersign_model::Image;
    use serde_json::{Value, json};

    use super::*;

    fn signal() -> Change {
        Change {
            capability: "process".to_owned(),
            format: 1,
            subject: "exe=/x".to_owned(),
            reversibility: Reversibility::Irreversible,
            summary: "send HUP".to_owned(),
            before: None,
            after: None,
            kept: None,
            effect: json!({ "signal": "HUP" }),
            withheld: false,
            body: Value::Null,
        }
    }

    fn replace(path: &str, before: &str, after: &str) -> Change {
        Change {
            capability: "files".to_owned(),
            subject: path.to_owned(),
            reversibility: Reversibility::Exact,
            before: Some(Image::of(before.as_bytes())),
            after: Some(Image::of(after.as_bytes())),
            effect: json!({ "op": "replace" }),
            ..signal()
        }
    }

    #[test]
    fn what_was_rehearsed_once_may_be_done_once() {
        let plan = Plan { forward: vec![replace("/a", "old", "new")], back: vec![signal()], ..Plan::default() };
        let mut back = BackPlan::default();
        let position = back.allow(&plan, &signal()).expect("it was rehearsed").expect("it has a place");
        back.did(position);
        assert!(back.allow(&plan, &signal()).is_err(), "a second one was not");
    }

    #[test]
    fn a_subject_is_put_back_with_the_mode_that_it_had() {
        let of_mode = |change: Change, before: &str, after: &str| Change {
            effect: json!({ "before": { "mode": before }, "after": { "mode": after } }),
            ..change
        };
        let plan = Plan { forward: vec![of_mode(replace("/a", "old", "new"), "0600", "0600")], ..Plan::default() };
        let back = BackPlan::default();
        assert_eq!(back.allow(&plan, &of_mode(replace("/a", "new", "old"), "0600", "0600")), Ok(None));
        assert!(back.allow(&plan, &of_mode(replace("/a", "old", "old"), "0600", "0666")).is_err());
    }

    #[test]
    fn a_subject_may_be_put_back_and_no_other_may_be_touched() {
        let plan = Plan { forward: vec![replace("/a", "old", "new")], ..Plan::default() };
        let back = BackPlan::default();
        for _ in 0..2 {
            assert_eq!(back.allow(&plan, &replace("/a", "new", "old")), Ok(None));
        }
        assert!(back.allow(&plan, &replace("/a", "old", "other")).is_err());
        assert!(back.allow(&plan, &replace("/b", "new", "old")).is_err());
        assert!(back.allow(&plan, &signal()).is_err());
    }
}
