use std::fmt::Write as _;

use countersign_model::Digest;
use countersign_model::documents::{ChangeDifference, Differs, RevisionStanding, TargetDifference};
use countersign_model::text::{exact_lines, excerpt, visible};

use super::verdict;

/// What differs from the proposal before, for whoever has seen that one.
pub(crate) fn write(text: &mut String, revision: &RevisionStanding) -> std::fmt::Result {
    writeln!(text, "\nREVISES {}, which can no longer be approved or run. What differs:", visible(&revision.revises))?;
    if let Some(reason) = &revision.denied {
        writeln!(text, "  that one was DENIED: {}", visible(reason))?;
    }
    let start = text.len();
    line(text, "bundle", revision.bundle.as_ref(), Digest::to_string)?;
    for argument in &revision.arguments {
        let differs = Differs { was: argument.was.clone(), is: argument.is.clone() };
        line(text, &format!("argument {}", visible(&argument.name)), Some(&differs), |value| {
            excerpt(&value.to_string(), 200)
        })?;
    }
    for grant in &revision.grants {
        let what = if grant.new { "now asked for" } else { "no longer asked for" };
        writeln!(text, "  grant, {what}: {:<13} {}", grant.role.name(), grant.grant)?;
    }
    line(text, "terms", revision.terms.as_ref(), ToString::to_string)?;
    for target in &revision.targets {
        differences(text, target)?;
    }
    line(text, "evidence cited", revision.evidence.as_ref(), |ids| super::names(ids))?;
    if revision.hypothesis.is_some() {
        writeln!(text, "  the hypothesis, which stands with the agent's own words")?;
    }
    for missing in &revision.missing {
        writeln!(text, "  CANNOT BE COMPARED: {}", visible(missing))?;
    }
    if text.len() == start {
        writeln!(text, "  nothing but the time at which it was rehearsed")?;
    }
    Ok(())
}

fn differences(text: &mut String, target: &TargetDifference) -> std::fmt::Result {
    let on = |what: &str| format!("{what} on {}", visible(&target.name));
    line(text, &on("configuration"), target.configuration.as_ref(), Digest::to_string)?;
    line(text, &on("plan"), target.plan.as_ref(), Digest::to_string)?;
    line(text, &on("check before the fix"), target.check_before.as_ref(), verdict)?;
    line(text, &on("check on the overlay"), target.check_after.as_ref(), verdict)?;
    for change in &target.changes {
        one_change(text, change)?;
    }
    Ok(())
}

fn one_change(text: &mut String, change: &ChangeDifference) -> std::fmt::Result {
    line(text, "change", Some(&change.summary), |summary| visible(summary))?;
    for (what, digests) in [("  finds", &change.before), ("  leaves", &change.after)] {
        line(text, what, digests.as_ref(), Digest::to_string)?;
    }
    line(text, "  signed with it", change.effect.as_ref(), |effect| visible(&effect.to_string()))?;
    for diff in [&change.drifted, &change.rewritten] {
        for shown in exact_lines(diff).lines() {
            writeln!(text, "       {shown}")?;
        }
    }
    Ok(())
}

fn line<T>(
    text: &mut String,
    what: &str,
    differs: Option<&Differs<T>>,
    show: impl Fn(&T) -> String,
) -> std::fmt::Result {
    let Some(differs) = differs else { return Ok(()) };
    let side = |value: &Option<T>| value.as_ref().map_or_else(|| "(none)".to_owned(), &show);
    writeln!(text, "  {what}\n       was {}\n       is  {}", side(&differs.was), side(&differs.is))
}
