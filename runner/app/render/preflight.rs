use std::fmt::Write as _;

use countersign_model::Ability;
use countersign_model::text::visible;

/// What a run's credentials could do of a plan's changes forward, which are shown by number: one line for all that they
/// could, and one for each of the others.
pub(crate) fn write(text: &mut String, preflight: &[Ability]) -> std::fmt::Result {
    let able = preflight.iter().filter(|able| **able == Ability::Can).count();
    match (able, preflight.len()) {
        (_, 0) => writeln!(text, "  the remediation identity was not asked what it may")?,
        (0, _) => {}
        (1, 1) => writeln!(text, "  the remediation identity can make the change")?,
        (able, all) if able == all => writeln!(text, "  the remediation identity can make the {all} changes")?,
        (able, all) => writeln!(text, "  the remediation identity can make {able} of the {all} changes")?,
    }
    for (number, able) in (1..).zip(preflight) {
        match able {
            Ability::Can => {}
            Ability::Cannot(why) => writeln!(text, "  {number}. CANNOT be made: {}", visible(why))?,
            Ability::CannotTell(why) => {
                writeln!(text, "  {number}. cannot be told before it is tried: {}", visible(why))?
            }
        }
    }
    Ok(())
}
