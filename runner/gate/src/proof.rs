use std::collections::BTreeSet;

use countersign_capability::Blobs;
use countersign_model::{Change, Fault, Reversibility, State};

use crate::sensitive::discreet_content;
use crate::sessions::Sessions;

/// What a proof that a subject is as before finds instead, if anything: how it was probed, and who changed it.
fn not_as_before(by: &str, probed: Result<State, Fault>) -> Option<String> {
    Some(match probed {
        Ok(State::Before) => return None,
        Ok(State::After) => format!("it still is as {by} left it"),
        Ok(State::Elsewhere(what)) => what,
        Ok(State::Unknowable) => "it cannot be told".to_owned(),
        Err(fault) => format!("it cannot be read: {}", fault.what),
    })
}

/// For each subject the first change that can be undone, the one whose before-image is the target's own; and whether
/// its probe says nothing of the content, which another change of the subject wrote.
#[derive(Clone, Copy, Debug)]
pub struct First<'a> {
    /// The change.
    pub change: &'a Change,
    content_apart: bool,
}

impl<'a> First<'a> {
    /// The first changes of the subjects of these, which are in order.
    pub fn of(changes: impl Iterator<Item = &'a Change> + Clone) -> Vec<Self> {
        let named = |change: &'a Change| (&change.capability, &change.subject);
        let wrote = |change: &&Change| change.before != change.after;
        let written: BTreeSet<_> = changes.clone().filter(wrote).map(named).collect();
        let mut seen = BTreeSet::new();
        changes
            .filter(|change| change.reversibility != Reversibility::Irreversible)
            .filter(|change| seen.insert(named(change)))
            .map(|change| {
                // As of a mode, which is compared by attributes alone.
                let keeps_content = change.before.is_some() && change.before == change.after;
                Self { change, content_apart: keeps_content && written.contains(&named(change)) }
            })
            .collect()
    }

    /// How the subject is not as before, if it is not: read back from the target, in a rehearsal from the overlay.
    pub fn not_as_before(&self, by: &str, sessions: &mut Sessions, blobs: &mut dyn Blobs) -> Option<String> {
        let Self { change, content_apart } = self;
        let probed = not_as_before(by, sessions.probe(blobs, change));
        if probed.is_some() || !content_apart {
            return probed;
        }
        match sessions.image(blobs, change) {
            Ok(found) if found == change.before => None,
            Ok(found) => Some(discreet_content(sessions.hides(change), found, change.before)),
            Err(fault) => Some(format!("its content cannot be read: {}", fault.what)),
        }
    }
}
