use std::fmt::Write as _;

use countersign_model::text::visible;
use countersign_model::{Digest, Outcome};
use countersign_pipeline::{OpenSubject, RunReport, ShownRun, Way};

use super::{guards, reversibility, verdict, withheld};
use crate::time::moment;

/// A finished run as its operator reads it: what happened, how the target stands, what to do next.
pub(crate) fn text(report: &RunReport) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, report);
    text.trim_end().to_owned()
}

fn write(text: &mut String, report: &RunReport) -> std::fmt::Result {
    writeln!(text, "run {}: {}", report.run, report.outcome)?;
    if let Some(undoes) = &report.undoes {
        writeln!(text, "undoes: run {}", undoes.run)?;
    }
    writeln!(text, "reason: {}", visible(&report.reason))?;
    if !report.independent {
        writeln!(text, "approval not independent: the proposer's key is in no trust policy")?;
    }
    if let Some(standing) = &report.unattended {
        writeln!(text, "unattended: nobody was asked; by the standing approval {}", standing.short())?;
    }
    if let Some(name) = &report.break_glass {
        writeln!(text, "THE GLASS WAS BROKEN: {}, in place of the quorums; its review is open", visible(name))?;
    }
    writeln!(text, "approved by: {}", report.approvers.join(", "))?;
    if let Some(actor) = &report.actor {
        writeln!(text, "started by: {}", visible(actor))?;
    }
    if let Some(confirmation) = &report.confirmation {
        let what = match (&confirmation.by, report.outcome) {
            (Some(by), Outcome::Committed) => format!("given by {by}"),
            (Some(by), _) => format!("by the word of {by}"),
            (None, _) => "nobody confirmed it".to_owned(),
        };
        writeln!(text, "confirmation: {}; it was waited for until {}", visible(&what), moment(confirmation.until))?;
    }
    writeln!(text, "changes:")?;
    let by = if report.undoes.is_some() { super::undoing } else { super::step };
    for change in &report.changes {
        writeln!(
            text,
            "  {}: {} ({})",
            by(change.role),
            visible(&change.summary),
            reversibility(change.reversibility)
        )?;
    }
    if report.changes.is_empty() {
        writeln!(text, "  none")?;
    }
    if let Some(denial) = &report.denied {
        writeln!(text, "denied: {}: {}", visible(&denial.call), visible(&denial.why))?;
        if let Some(grant) = &denial.grant {
            writeln!(text, "  would have been allowed by: {grant}")?;
        }
    }
    if let Some(check) = &report.check {
        let role = if report.undoes.is_some() { " (shown, not required)" } else { "" };
        writeln!(text, "last check{role}: {}", verdict(check))?;
    }
    guards(text, &report.guards)?;
    for kept in &report.left_behind {
        writeln!(text, "left behind on the target, harmless: {}", visible(kept))?;
    }
    for mechanism in &report.lowered {
        writeln!(
            text,
            "steps ran without {}, which this kernel lacks and the configuration lets them",
            mechanism.name()
        )?;
    }
    if let Some(why) = &report.unrecorded {
        writeln!(text, "NOT RECORDED: {}", visible(why))?;
        writeln!(
            text,
            "  what stands here is so, but the state does not say it: the run counts as unfinished and blocks the target"
        )?;
    }
    let owner = visible(&report.rollback_owner);
    match report.outcome {
        Outcome::Committed => match &report.undoes {
            // What was decided while nobody looked was committed as it had been found good.
            None if report.guards.is_empty() => {
                writeln!(
                    text,
                    "target {}: changed as approved; check and guards held when they were last asked",
                    report.target
                )
            }
            None => writeln!(text, "target {}: changed as approved; check and guards hold", report.target),
            Some(undoes) => {
                writeln!(
                    text,
                    "target {}: every subject was read back and is as before run {}; no guard is worse",
                    report.target, undoes.run
                )?;
                for summary in &undoes.not_undone {
                    writeln!(text, "  done by that run, and not undone: {}", visible(summary))?;
                }
                Ok(())
            }
        },
        Outcome::Refused => writeln!(text, "target {}: nothing changed", report.target),
        Outcome::RolledBack => {
            writeln!(text, "target {}: every subject was read back and is as before the run", report.target)?;
            if let Some(undoes) = &report.undoes {
                writeln!(text, "  run {} stands: its undoing was rolled back", undoes.run)?;
            }
            sent(text, report)
        }
        Outcome::RollbackIncomplete | Outcome::InDoubt => {
            writeln!(text, "target {}: NOT as before; {owner} answers for it:", report.target)?;
            for left in &report.left {
                writeln!(text, "  {}", visible(left))?;
            }
            sent(text, report)?;
            if report.unrecorded.is_some() {
                return writeln!(
                    text,
                    "next: `countersign recover`; `countersign show {}` has every change",
                    report.run
                );
            }
            writeln!(
                text,
                "next: look at each and close it; `countersign show {0}` has every change, `countersign show {0} --before \
                 SUBJECT` what a subject was. What a replaced file was is kept beside it, in a file whose name begins with \
                 `.countersign-`, until nothing is open",
                report.run
            )?;
            text.push_str(&open(&report.run, &report.open));
            Ok(())
        }
    }
}

fn sent(text: &mut String, report: &RunReport) -> std::fmt::Result {
    for summary in &report.irreversible {
        writeln!(text, "  done on the way, and not to be undone: {}", visible(summary))?;
    }
    Ok(())
}

/// What is open of a run, and the command that closes each.
pub(crate) fn open(run: &str, open: &[OpenSubject]) -> String {
    let mut text = String::new();
    for open in open {
        let (before, found) = (named(open.before), named(open.found));
        let digests =
            if open.before == open.found { String::new() } else { format!(": expected {before}, found {found}") };
        let ways = if open.restorable { "--accept|--restore" } else { "--accept" };
        let subject = shell_words(&visible(&open.subject));
        text.push_str(&format!(
            "  open: {}{digests}\n    countersign resolve {run} {subject} {ways} --key FILE --reason TEXT\n",
            visible(&open.subject)
        ));
    }
    text
}

/// The same in a list of runs: the subjects alone, and the command.
pub(crate) fn open_in_a_line(run: &str, open: &[String]) -> String {
    let subjects: Vec<_> = open.iter().map(|subject| visible(subject)).collect();
    let subjects = subjects.join(", ");
    format!(
        "{run} left open: {subjects}\n  countersign resolve {run} SUBJECT --accept|--restore --key FILE --reason TEXT"
    )
}

fn named(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
}

/// A word as a shell takes it.
fn shell_words(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A run as the journal has it.
pub(crate) fn shown(run: &ShownRun) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_shown(&mut text, run);
    text.trim_end().to_owned()
}

fn write_shown(text: &mut String, run: &ShownRun) -> std::fmt::Result {
    writeln!(text, "run      {}\noutcome  {}", run.run, run.outcome)?;
    if !run.reason.is_empty() {
        writeln!(text, "reason   {}", visible(&run.reason))?;
    }
    writeln!(text, "target   {}\nproposal {}\nstarted  {}", run.target, run.proposal, moment(run.started))?;
    if let Some(ended) = run.ended {
        writeln!(text, "ended    {}", moment(ended))?;
    }
    if !run.approvers.is_empty() {
        writeln!(text, "approved {}", run.approvers.join(", "))?;
        if let Some(standing) = &run.unattended {
            writeln!(text, "         by the standing approval {}: nobody was asked", standing.short())?;
        }
    }
    if let Some(name) = &run.break_glass {
        writeln!(text, "glass    BROKEN: {}, in place of the quorums", visible(name))?;
    }
    if let Some(actor) = &run.actor {
        writeln!(text, "by       {}", visible(actor))?;
    }
    if let Some(undone) = &run.undoes {
        writeln!(text, "undoes   {undone}")?;
    }
    if let Some(by) = &run.undone_by {
        writeln!(text, "undone   by {by}")?;
    }
    if let Some(waiting) = &run.waiting {
        writeln!(text, "waits    since {}, until {}", moment(waiting.since), moment(waiting.until))?;
    }
    writeln!(text, "changes")?;
    let by = if run.undoes.is_some() { super::undoing } else { super::step };
    for change in &run.changes {
        writeln!(
            text,
            "  {:<9} {}: {} ({})",
            change.state,
            if change.resolution.is_some() { "resolution".to_owned() } else { by(change.change.role) },
            visible(&change.change.summary),
            reversibility(change.change.reversibility)
        )?;
        if let Some(sizes) = change.change.withheld {
            writeln!(text, "            {}", withheld(sizes))?;
        }
        if let Some(before) = change.change.before {
            writeln!(text, "            before {before}")?;
        }
        if let Some(after) = change.change.after {
            writeln!(text, "            after  {after}")?;
        }
        if let Some(file) = &change.kept_file {
            writeln!(text, "            kept file: {}", visible(file))?;
        }
        if let Some(place) = &change.kept_at {
            writeln!(text, "            kept at: {}", visible(place))?;
        }
        if let Some(kept) = change.change.kept {
            let (image, from) = (kept.image, kept.from);
            writeln!(text, "            kept   {} ({} bytes, from byte {from} on)", image.digest, image.size)?;
        }
    }
    if run.changes.is_empty() {
        writeln!(text, "  none")?;
    }
    for left in &run.left {
        writeln!(text, "not as before: {}", visible(left))?;
    }
    for said in &run.resolutions {
        let way = said.way.map_or("said something that cannot be read", |way| match way {
            Way::Accept => "accepted",
            Way::Restore => "restored",
        });
        let end = match said.closed {
            Some(true) => String::new(),
            Some(false) => format!(", which failed: {}", visible(said.note.as_deref().unwrap_or_default())),
            None => ", which has not ended".to_owned(),
        };
        let when = said.at.map(|at| format!(" at {}", moment(at))).unwrap_or_default();
        let found = said.found.map(|found| format!(" (it was {found})")).unwrap_or_default();
        writeln!(
            text,
            "{way} by {}{when}: {}{found}: {}{end}",
            visible(&said.by),
            visible(&said.subject),
            visible(&said.reason)
        )?;
    }
    text.push_str(&open(&run.run, &run.open));
    if run.resolved == Some(true) {
        writeln!(text, "resolved: nothing is open any more")?;
    }
    if let Some(hint) = &run.hint {
        writeln!(text, "hint: {}", visible(hint))?;
    }
    Ok(())
}
