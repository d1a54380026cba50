//! How results look to people. Everything that a guest or a target wrote is made visible first.

pub(crate) mod head;
pub(crate) mod preflight;
pub(crate) mod rehearsal;
pub(crate) mod review;
pub(crate) mod revision;
pub(crate) mod run;

use std::fmt::Write as _;

use countersign_model::documents::{Denial, RoleGrants};
use countersign_model::text::{exact_lines, excerpt, visible};
use countersign_model::{Grant, Reversibility, Role, Verdict};
use countersign_pipeline::{ChangeReview, GuardState, SignedConfirmation, Sizes};
use serde_json::{Value, json};

/// Columns, parted by two spaces.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            match widths.get_mut(at) {
                Some(width) => *width = (*width).max(cell.chars().count()),
                None => widths.push(cell.chars().count()),
            }
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Grants as programs read them: one flat list with roles.
pub(crate) fn role_grants(grants: &RoleGrants) -> Vec<Value> {
    grants
        .iter()
        .flat_map(|(role, grants)| grants.iter().map(move |grant| json!({ "role": role, "grant": grant })))
        .collect()
}

/// What would have allowed a denied call, where that can be told, to follow why it was denied.
pub(crate) fn remedy(denial: &Denial) -> String {
    denial.grant.as_ref().map_or_else(String::new, |grant| format!("; the grant `{grant}` would allow it"))
}

/// The `error` of a result in which a call was denied.
pub(crate) fn denied_error(denial: &Denial) -> Value {
    let hint = denial.grant.as_ref().map(|grant| format!("the grant `{grant}` would allow it"));
    crate::output::error_object(&format!("`{}` was denied: {}", denial.call, denial.why), hint.as_deref(), 3)
}

/// What is told of a content that nobody is shown.
fn withheld(sizes: Sizes) -> String {
    let size = |size: Option<u64>| size.map_or_else(|| "none".to_owned(), |size| format!("{size} bytes"));
    format!("content WITHHELD, the subject is sensitive: before {}, after {}", size(sizes.before), size(sizes.after))
}

/// What narrower grants give in the place of what was asked for: only where they differ.
pub(crate) fn narrowed(requested: &RoleGrants, given: &RoleGrants) -> Vec<(Role, String)> {
    let none = Vec::new();
    let mut lines = Vec::new();
    for (role, wide) in requested {
        let narrow = given.get(role).unwrap_or(&none);
        let list = |grants: &[Grant], other: &[Grant]| {
            let differing = grants.iter().filter(|grant| !other.contains(grant)).map(ToString::to_string);
            differing.collect::<Vec<_>>().join(", ")
        };
        let (was, now) = (list(wide, narrow), list(narrow, wide));
        if !was.is_empty() || !now.is_empty() {
            let now = if now.is_empty() { "nothing" } else { &now };
            lines.push((*role, format!("was {was}, now {now}")));
        }
    }
    lines
}

/// Names in a row, from a file that may be anybody's.
pub(crate) fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ")
}

/// Changes with their diffs.
pub(crate) fn changes(text: &mut String, changes: &[&ChangeReview]) -> std::fmt::Result {
    changes_by(text, changes, step)
}

/// What a change belongs to: the step in this role makes it.
pub(crate) fn step(role: Role) -> String {
    role.to_string()
}

/// The same in the undoing of a run, whose forward part is no fix.
pub(crate) fn undoing(role: Role) -> String {
    match role {
        Role::Fix => "undo".to_owned(),
        role => step(role),
    }
}

/// Changes with their diffs, and who makes them.
pub(crate) fn changes_by(
    text: &mut String,
    changes: &[&ChangeReview],
    by: impl Fn(Role) -> String,
) -> std::fmt::Result {
    for (at, reviewed) in changes.iter().enumerate() {
        let change = &reviewed.change;
        writeln!(
            text,
            "  {}. {}: {} ({})",
            at + 1,
            by(change.role),
            visible(&change.summary),
            reversibility(change.reversibility)
        )?;
        for (what, digest) in [("before", change.before), ("after", change.after)] {
            if let Some(digest) = digest {
                writeln!(text, "       {what:<6} {digest}")?;
            }
        }
        let diff = exact_lines(&reviewed.diff);
        if let Some(sizes) = change.withheld {
            writeln!(text, "       {}", withheld(sizes))?;
        } else if !diff.is_empty() {
            for line in diff.strip_suffix('\n').unwrap_or(&diff).split('\n') {
                writeln!(text, "       {line}")?;
            }
        }
        if let Some(owner) = &reviewed.runs_as {
            writeln!(text, "       NOTE: its new content will run as {} for whoever starts it", visible(owner))?;
        }
        if let Some(more) = signed_with(&reviewed.effect, &change.summary) {
            writeln!(text, "       signed with it: {}", visible(&more))?;
        }
    }
    if changes.is_empty() {
        writeln!(text, "  none")?;
    }
    Ok(())
}

/// What an effect says beyond the summary: what becomes of modes and owners, attributes that are kept, and all that is in
/// neither form here.
fn signed_with(effect: &Value, summary: &str) -> Option<String> {
    let Some(fields) = effect.as_object() else {
        return (!effect.is_null()).then(|| effect.to_string());
    };
    let mut said = Vec::new();
    let sides = fields.get("before").and_then(Value::as_object).zip(fields.get("after").and_then(Value::as_object));
    if let Some((before, after)) = sides {
        let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (was, is) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
            let nested = is.as_object().is_some_and(|fields| !fields.is_empty());
            match was == is {
                true if nested => said.push(format!("{name} stays {is}")),
                true => {}
                false => said.push(format!("{name} {was} becomes {is}")),
            }
        }
    }
    for (name, value) in fields {
        let told = match (name.as_str(), value) {
            ("op", _) | (_, Value::Null) => true,
            ("before" | "after", _) => sides.is_some(),
            (_, Value::String(value)) => summary.contains(value.as_str()),
            _ => false,
        };
        if !told {
            said.push(format!("{name} {value}"));
        }
    }
    (!said.is_empty()).then(|| said.join(", "))
}

pub(crate) const fn reversibility(reversibility: Reversibility) -> &'static str {
    match reversibility {
        Reversibility::Exact => "exact: undo restores it byte for byte",
        Reversibility::Compensating => "compensating: undo reaches an equivalent state",
        Reversibility::Irreversible => "IRREVERSIBLE: nothing undoes it",
    }
}

pub(crate) fn verdict(verdict: &Verdict) -> String {
    match verdict.reason() {
        None => verdict.name().to_owned(),
        Some(reason) => format!("{}: {}", verdict.name(), excerpt(reason, 300)),
    }
}

pub(crate) fn guards(text: &mut String, guards: &[GuardState]) -> std::fmt::Result {
    for guard in guards {
        match &guard.reason {
            None => writeln!(text, "  guard `{}`: holds", visible(&guard.name))?,
            Some(reason) => {
                writeln!(text, "  guard `{}`: does not hold: {}", visible(&guard.name), visible(reason))?;
            }
        }
    }
    Ok(())
}

/// What an approval says of a confirmation, in words.
pub(crate) fn confirmation(asked: &SignedConfirmation) -> String {
    let within = countersign_trust::length(asked.within_ms);
    let silence = if asked.silence == "keep" { "silence keeps what it changed" } else { "silence rolls it back" };
    format!("to be confirmed within {within}, {silence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_line() {
        let name = "up`: holds\n  guard `two\u{1b}[2J".to_owned();
        for reason in [None, Some("down\nand out".to_owned())] {
            let mut text = String::new();
            let guard = GuardState { name: name.clone(), holds: reason.is_none(), reason };
            guards(&mut text, &[guard]).expect("writing to a string does not fail");
            assert_eq!((text.lines().count(), text.contains('\u{1b}')), (1, false), "{text}");
        }
        assert_eq!(names(&["a\nb".to_owned(), "c".to_owned()]), "a\\u{a}b, c");
    }
}
