use std::fmt::Write as _;

use countersign_model::documents::RehearsalDocument;
use countersign_model::text::visible;
use countersign_model::{Role, Success, Verdict};
use countersign_pipeline::ChangeReview;

use super::{changes, verdict};

/// A rehearsal as an author reads it: what would change, what it needs, whether it comes back.
pub(crate) fn text(document: &RehearsalDocument, planned: &[ChangeReview], success: Success) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, document, planned, success);
    text.trim_end().to_owned()
}

fn write(
    text: &mut String,
    document: &RehearsalDocument,
    planned: &[ChangeReview],
    success: Success,
) -> std::fmt::Result {
    writeln!(text, "rehearsal on {} (nothing was changed)", document.target)?;
    writeln!(text, "check, untouched target: {}", verdict(&document.check_before))?;
    if document.check_before == Verdict::Healthy {
        let then = match success.may_pass_before {
            true => "it may, as its author asks, and the guards alone decide",
            false => "a proposal is refused",
        };
        writeln!(text, "  the check passes before the fix: passing afterwards would prove nothing; {then}")?;
    }
    writeln!(text, "check, on the overlay:   {}", verdict(&document.check_after))?;
    writeln!(text, "\nplan {}", document.plan.digest())?;
    let (back, forward): (Vec<_>, Vec<_>) = planned.iter().partition(|change| change.change.role == Role::Rollback);
    changes(text, &forward)?;
    if !back.is_empty() {
        writeln!(text, "  and if it is rolled back, after the host's undo:")?;
        changes(text, &back)?;
    }
    // A denial is told on stderr, with the grant that would allow it.
    if let Some(failure) = document.fix_failure.as_ref().filter(|_| document.denied.is_empty()) {
        writeln!(text, "  the fix failed: {}", visible(failure))?;
    }
    writeln!(text, "\npreflight")?;
    super::preflight::write(text, &document.preflight)?;
    writeln!(text, "\nrollback")?;
    let rehearsed = match (&document.rollback_failure, document.rollback_rehearsed) {
        (Some(_), _) => "rollback step NOT rehearsed to its end",
        (None, true) => "rehearsed to its end",
        (None, false) => "host undo only",
    };
    writeln!(text, "  {rehearsed}; every subject comes back: {}", if document.restores { "yes" } else { "NO" })?;
    for subject in &document.unrestored {
        writeln!(text, "  not restored: {}", visible(subject))?;
    }
    if let Some(failure) = &document.rollback_failure {
        writeln!(text, "  the rollback failed: {}", visible(failure))?;
    }
    writeln!(text, "\nleast grants")?;
    for (role, grants) in &document.least {
        for grant in grants {
            writeln!(text, "  {:<13} {grant}", role.name())?;
        }
    }
    writeln!(text, "\nevidence: {} reads recorded", document.evidence.len())
}
