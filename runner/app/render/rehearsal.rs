use std::fmt::Write as _;

use countersign_model::Verdict;
use countersign_model::documents::RehearsalDocument;
use countersign_model::text::visible;
use countersign_pipeline::ChangeReview;

use super::{changes, verdict};

/// A rehearsal as an author reads it: what would change, what it needs, whether it comes back.
pub(crate) fn text(document: &RehearsalDocument, planned: &[ChangeReview]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, document, planned);
    text.trim_end().to_owned()
}

fn write(text: &mut String, document: &RehearsalDocument, planned: &[ChangeReview]) -> std::fmt::Result {
    writeln!(text, "rehearsal on {} (nothing was changed)", document.target)?;
    writeln!(text, "check, untouched target: {}", verdict(&document.check_before))?;
    if document.check_before == Verdict::Healthy {
        writeln!(
            text,
            "  the check passes before the fix: passing afterwards would prove nothing, and a proposal is refused"
        )?;
    }
    writeln!(text, "check, on the overlay:   {}", verdict(&document.check_after))?;
    writeln!(text, "\nplan {}", document.plan.digest())?;
    changes(text, &planned.iter().collect::<Vec<_>>())?;
    if let Some(failure) = &document.fix_failure {
        writeln!(text, "  the fix failed: {}", visible(failure))?;
    }
    writeln!(text, "\nrollback")?;
    let rehearsed = if document.rollback_rehearsed { "rehearsed to its end" } else { "host undo only" };
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
    if !document.denied.is_empty() {
        writeln!(text, "\ndenied")?;
        for denial in &document.denied {
            writeln!(text, "  {:<13} {}: {}", denial.role.name(), visible(&denial.call), denial.why)?;
            if let Some(grant) = &denial.grant {
                writeln!(text, "                would be allowed by: {grant}")?;
            }
        }
    }
    writeln!(text, "\nevidence: {} reads recorded", document.evidence.len())
}
