//! A person's word that what a run left otherwise than before is put back.

use countersign_capability::Blobs;
use countersign_model::{Change, Role, Stop};
use countersign_record::{ChangeState, Resolving};

use crate::allowance::Bounds;
use crate::keeping::Keeping;
use crate::live::note_mark;
use crate::proof::First;
use crate::sessions::Sessions;

/// The most changes that one subject takes.
const MAX_STEPS: usize = 4;

/// Why a subject was not put back.
#[derive(Debug)]
pub struct NotRestored {
    /// What stood in the way; untrusted text.
    pub why: String,
    /// How the subject was left: as it was found where there is nothing to say.
    pub left: Option<String>,
}

/// Puts the subject back to how the run found it, over whatever stands there now: within the ceiling of the target, each
/// change of it journaled with the image of what it replaces before it is made, and read back afterwards.
///
/// # Errors
/// When it cannot be. What was changed on the way is undone, last first.
pub fn restore(resolving: &mut Resolving, sessions: &mut Sessions, ceiling: &Bounds) -> Result<(), NotRestored> {
    let made: Vec<Change> = made(resolving);
    match steps(resolving, sessions, ceiling, &made) {
        Ok(()) => Ok(()),
        Err(why) => Err(NotRestored { why, left: take_back(resolving, sessions) }),
    }
}

/// What is left of a resolution whose process died: whether the subject is as before the run. Where it is not, whatever the
/// resolution had changed is undone.
///
/// # Errors
/// When the subject is not as before.
pub fn restored(resolving: &mut Resolving, sessions: &mut Sessions) -> Result<(), NotRestored> {
    let made = made(resolving);
    match not_as_before(resolving, sessions, &made) {
        None => Ok(()),
        Some(why) => Err(NotRestored { why, left: take_back(resolving, sessions) }),
    }
}

fn made(resolving: &Resolving) -> Vec<Change> {
    let done = resolving.made().filter(|made| made.state != ChangeState::NotApplied);
    done.map(|made| made.change.clone()).collect()
}

fn steps(resolving: &mut Resolving, sessions: &mut Sessions, ceiling: &Bounds, made: &[Change]) -> Result<(), String> {
    let Some(first) = made.first() else { return Err("the run did not change it".to_owned()) };
    let grant = ceiling.reaching(&first.capability, &first.subject);
    let grant = grant.ok_or("no grant of the target's remediation ceiling lets it be written")?;
    for _ in 0..MAX_STEPS {
        let Some(why) = not_as_before(resolving, sessions, made) else { return Ok(()) };
        tracing::debug!(subject = first.subject, why, "a subject is put back");
        let journal = &mut resolving.journal;
        let mut keeping = Keeping::new(journal.blobs());
        let prepared = sessions.restore(&mut keeping, grant, made);
        keeping.all().map_err(|Stop(why)| why)?;
        let change = prepared.map_err(|fault| fault.what)?;
        let recorded = |error| format!("the journal cannot be written: {error}");
        let seq = journal.intend(Role::Rollback, &change).map_err(recorded)?;
        match sessions.apply(journal.blobs(), &change) {
            Ok(_) => journal.done(seq).map_err(recorded)?,
            Err(fault) => {
                note_mark(journal.failed(seq, fault.reached));
                return Err(fault.what);
            }
        }
    }
    not_as_before(resolving, sessions, made).map_or(Ok(()), Err)
}

fn not_as_before(resolving: &mut Resolving, sessions: &mut Sessions, made: &[Change]) -> Option<String> {
    let blobs: &mut dyn Blobs = resolving.journal.blobs();
    let firsts = First::of(made.iter());
    match firsts.first() {
        None => Some("nothing that the run did to it can be put back".to_owned()),
        Some(first) => first.not_as_before("the run", sessions, blobs),
    }
}

/// Undoes what the resolution changed, last first; says what stays.
fn take_back(resolving: &mut Resolving, sessions: &mut Sessions) -> Option<String> {
    let own: Vec<_> = resolving.own().cloned().collect();
    let mut left = None;
    for made in own.iter().rev().filter(|made| made.state.may_stand()) {
        let journal = &mut resolving.journal;
        match sessions.undo(journal.blobs(), &made.change) {
            Ok(()) => note_mark(journal.undone(made.seq)),
            Err(fault) => {
                note_mark(journal.conflict(made.seq, &fault.what));
                left.get_or_insert(fault.what);
            }
        }
    }
    left
}
