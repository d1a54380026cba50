use std::fmt::Write as _;

use countersign_model::documents::{RoleGrants, UndoStanding};
use countersign_model::text::{excerpt, visible, visible_lines};
use countersign_model::{Mode, Reversibility, Role, RollbackBy, Verdict};
use countersign_pipeline::{DeniedBefore, MAX_EARLIER, Provenance, Review, TargetReview};
use countersign_sandbox::WASI_IS_INERT;
use serde_json::{Value, json};

use super::{changes_by, guards};
use crate::time::{moment, span};

/// How many lines of a piece of evidence are shown.
const MAX_LINES: usize = 12;

/// The review for programs: the design's keys beside the whole.
pub(crate) fn json(review: &Review) -> anyhow::Result<Value> {
    let mut object = serde_json::to_value(review)?;
    if let (Some(fields), Some(first)) = (object.as_object_mut(), review.targets.first()) {
        fields.insert("plan".to_owned(), json!({ "digest": first.plan, "changes": first.changes }));
        fields.insert("changes".to_owned(), serde_json::to_value(&first.changes)?);
        fields.insert("restores".to_owned(), json!(review.targets.iter().all(|target| target.restores)));
    }
    Ok(object)
}

/// The review in the order in which an approver needs it.
/// `named` is what was typed for the proposal.
pub(crate) fn text(review: &Review, named: &str, now: u64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, review, named, now);
    text.trim_end().to_owned()
}

fn write(text: &mut String, review: &Review, named: &str, now: u64) -> std::fmt::Result {
    writeln!(text, "proposal {}  {}", review.proposal, review.digest)?;
    super::head::write(text, review, now)?;
    if let Some(reason) = &review.denied {
        writeln!(text, "DENIED: {}", visible(reason))?;
    }
    if let Some(exported) = &review.exported {
        provenance(text, exported, now)?;
    }
    if let Some(by) = &review.superseded_by {
        writeln!(text, "SUPERSEDED by {}: this can no longer be approved or run", visible(by))?;
    }
    denied_before(text, &review.denied_before)?;
    if let Some(revision) = &review.revision {
        super::revision::write(text, revision)?;
    }
    if let Some(undoes) = &review.undoes {
        undone(text, undoes)?;
    }
    for target in &review.targets {
        standing(text, target, review.exported.as_ref(), now)?;
        effects(text, target, review.undoes.is_some())?;
    }
    outcome(text, review)?;
    rollback(text, review)?;
    grants(text, review)?;
    history(text, review)?;
    evidence(text, review)?;
    people(text, review, now)?;
    approvals(text, review, now)?;
    words(text, review)?;
    next(text, review, named, now)
}

fn next(text: &mut String, review: &Review, named: &str, now: u64) -> std::fmt::Result {
    if super::head::closed(review, now).is_some() {
        return Ok(());
    }
    let (named, runner) = match &review.exported {
        None => (review.proposal.as_str(), String::new()),
        Some(exported) => (named, format!(" --runner {}", exported.runner)),
    };
    writeln!(text, "\nnext  countersign approve {named}{runner} --key FILE --reason TEXT")?;
    writeln!(text, "  or  countersign deny {named}{runner} --key FILE --reason TEXT")
}

/// What was denied and is like this, with what is alike.
fn denied_before(text: &mut String, all: &[DeniedBefore]) -> std::fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(text, "\nDENIED BEFORE, and like this")?;
    for denied in all {
        let by = denied.by.as_deref().map(|by| format!(" by {}", visible(by))).unwrap_or_default();
        let at = denied.at.map(|at| format!(" at {}", moment(at))).unwrap_or_default();
        writeln!(text, "  {} was denied{by}{at}: {}", visible(&denied.proposal), excerpt(&denied.reason, 500))?;
        match (denied.same_bundle, denied.same_fix) {
            (true, _) => writeln!(text, "      it has the same bundle")?,
            (false, true) => writeln!(text, "      it has the same fix, in another bundle")?,
            (false, false) => {}
        }
        for same in &denied.same_subjects {
            writeln!(
                text,
                "      it would change the same on {}: {}",
                visible(&same.target),
                excerpt(&same.subject, 200)
            )?;
        }
        let more = denied.subjects.saturating_sub(denied.same_subjects.len() as u64);
        if more > 0 {
            writeln!(text, "      and {more} more")?;
        }
    }
    Ok(())
}

fn undone(text: &mut String, undoes: &UndoStanding) -> std::fmt::Result {
    let (run, target) = (visible(&undoes.run), visible(&undoes.target));
    writeln!(text, "\nUNDOES run {run} on {target}, committed {}", moment(undoes.committed))?;
    if let Some(by) = &undoes.undone_by {
        writeln!(text, "  UNDONE already, by run {}: this can no longer be approved or run", visible(by))?;
    }
    writeln!(
        text,
        "  it ran {}, by {}, approved by {}",
        visible(&undoes.proposal),
        visible(&undoes.proposer),
        super::names(&undoes.approvers)
    )?;
    writeln!(
        text,
        "  no fix runs: the runner puts back what the run changed, last change first, and then the bundle's"
    )?;
    writeln!(text, "  rollback step does what only it can")?;
    for summary in &undoes.not_undone {
        writeln!(text, "  NOT undone, since nothing undoes it: {}", visible(summary))?;
    }
    Ok(())
}

/// Whose file this is: what it says, and what of that the reviewer knew already.
fn provenance(text: &mut String, exported: &Provenance, now: u64) -> std::fmt::Result {
    let unverified = "NOT VERIFIED: only the file says so";
    writeln!(text, "\nEXPORTED FILE, of {}, {} ago", moment(exported.at), span(now.saturating_sub(exported.at)))?;
    let known = if exported.runner_pinned { "as you named it" } else { unverified };
    writeln!(text, "  runner {}, {known}", exported.runner)?;
    let known = match (exported.policy_pinned, exported.runner_pinned) {
        (true, _) => "as you named it",
        (false, true) => "in force there, as this runner signed it",
        (false, false) => unverified,
    };
    writeln!(text, "  policy {}, {known}", exported.policy)?;
    if !exported.runner_pinned {
        writeln!(
            text,
            "  anybody can make a runner's key: compare the fingerprint with what the operator told you, and"
        )?;
        writeln!(
            text,
            "  name it with `--runner`; until then everything below is what the sender of this file claims"
        )?;
    }
    writeln!(text, "  how the targets stand was looked at when it was exported; it may be otherwise by now")
}

fn standing(text: &mut String, target: &TargetReview, exported: Option<&Provenance>, now: u64) -> std::fmt::Result {
    writeln!(text, "\nTARGET {}", visible(&target.name))?;
    if !target.description.is_empty() {
        writeln!(text, "  {}", visible(&target.description))?;
    }
    if let Some(blocked) = &target.blocked {
        writeln!(text, "  BLOCKED: {}", visible_lines(blocked))?;
    }
    if let Some(exceeded) = &target.exceeded {
        writeln!(text, "  CANNOT BE APPROVED: {}", visible(exceeded))?;
    }
    let when = if exported.is_some() { "at export" } else { "now" };
    writeln!(text, "  check {when}: {}", spoken(&target.check_now))?;
    guards(text, &target.guards_now)?;
    if target.guards_now.is_empty() {
        writeln!(text, "  no guards: a run will be refused")?;
    }
    let ago = span(now.saturating_sub(target.rehearsed));
    match exported {
        None => writeln!(text, "\nDRIFT since the rehearsal, {ago} ago")?,
        Some(_) => writeln!(text, "\nDRIFT between the rehearsal, {ago} ago, and the export")?,
    }
    if target.drift.is_empty() {
        writeln!(text, "  none")?;
    }
    for drift in &target.drift {
        writeln!(text, "  {}", visible(drift))?;
    }
    Ok(())
}

fn effects(text: &mut String, target: &TargetReview, undoing: bool) -> std::fmt::Result {
    writeln!(text, "\nEFFECTS on {}, plan {}", visible(&target.name), target.plan)?;
    let (back, forward): (Vec<_>, Vec<_>) =
        target.changes.iter().partition(|reviewed| reviewed.change.role == Role::Rollback);
    let by = if undoing { super::undoing } else { super::step };
    changes_by(text, &forward, by)?;
    if !back.is_empty() {
        writeln!(text, "  and if it is rolled back, after the host's undo:")?;
        changes_by(text, &back, by)?;
    }
    let withheld = target.changes.iter().filter(|reviewed| reviewed.change.withheld.is_some()).count();
    if withheld > 0 {
        let which = if withheld == 1 { "1 change is".to_owned() } else { format!("{withheld} changes are") };
        writeln!(
            text,
            "  NOTE: {which} of what the operator holds to be sensitive: what it would write is signed unseen"
        )?;
    }
    writeln!(text, "\nPREFLIGHT, when it was rehearsed")?;
    super::preflight::write(text, &target.preflight)?;
    writeln!(text, "\nIRREVERSIBLE")?;
    // Each stands above, with all that it says.
    for (changes, when) in [(&forward, ""), (&back, ", if it is rolled back")] {
        let numbers: Vec<_> = (1..)
            .zip(changes)
            .filter(|(_, reviewed)| reviewed.change.reversibility == Reversibility::Irreversible)
            .map(|(at, _): (usize, _)| format!("{at}."))
            .collect();
        if !numbers.is_empty() {
            writeln!(text, "  above{when}: {}", numbers.join(" "))?;
        }
    }
    if target.irreversible.is_empty() {
        writeln!(text, "  nothing")?;
    }
    Ok(())
}

/// A verdict, with its reason marked as what it is: the step's own words.
fn spoken(verdict: &Verdict) -> String {
    match verdict.reason() {
        None => verdict.name().to_owned(),
        Some(reason) => format!("{} (the step's own words, unverified: \"{}\")", verdict.name(), excerpt(reason, 200)),
    }
}

fn outcome(text: &mut String, review: &Review) -> std::fmt::Result {
    writeln!(text, "\nSUCCESS means")?;
    match review.mode {
        Mode::Exact => writeln!(text, "  exactly this plan was done, in this order, and nothing else;")?,
        Mode::Scoped => writeln!(text, "  ANYTHING inside the grants was done (mode scoped);")?,
    }
    if let Some(undoes) = &review.undoes {
        writeln!(
            text,
            "  every subject equals what it was before run {}, read back from the target;",
            visible(&undoes.run)
        )?;
    }
    for target in &review.targets {
        let (success, name) = (target.success, visible(&target.name));
        let what = match review.undoes {
            Some(_) => format!("no guard on {name} may be worse than before,"),
            None => format!("the check and every guard must hold on {name}, all at once,"),
        };
        let (within, every) = (span(success.within_ms), span(success.every_ms));
        let held = match success.hold_ms {
            0 => String::new(),
            hold => format!(", and at every look for {} after that", span(hold)),
        };
        writeln!(text, "  {what} at one look within {within} (a look every {every}){held}")?;
    }
    if review.undoes.is_some() {
        writeln!(text, "  the check is shown and not required: it was written to see the fix, which goes")?;
        writeln!(text, "  validators are not asked: what is put back is what was there before, good or bad")?;
    } else if review.success.may_pass_before {
        writeln!(text, "  the check MAY PASS BEFORE the fix, as its author asks: its passing then proves nothing")?;
    }
    for target in &review.targets {
        for validator in target.validators.iter().filter(|_| review.undoes.is_none()) {
            writeln!(
                text,
                "  validator `{}` must accept what is written, before anything irreversible (it is not asked in the \
                 rehearsal)",
                visible(validator)
            )?;
        }
        if target.validators.is_empty() && review.undoes.is_none() {
            writeln!(text, "  no validator tests what is written on {}", visible(&target.name))?;
        }
        if super::head::passes(review, target) {
            let then = if target.success.may_pass_before {
                "the guards alone decide"
            } else {
                "while it does, a run is refused"
            };
            writeln!(
                text,
                "  NOTE: the check already passes on {}: its passing afterwards proves nothing; {then}",
                visible(&target.name)
            )?;
        }
    }
    for target in &review.targets {
        writeln!(
            text,
            "  in the rehearsal on {}, the check said before {}: {}",
            visible(&target.name),
            if review.undoes.is_some() { "anything was put back" } else { "the fix" },
            spoken(&target.check_before)
        )?;
        writeln!(text, "    and on the overlay after it: {}", spoken(&target.check_after))?;
    }
    writeln!(text, "FAILURE means")?;
    match &review.undoes {
        None => {
            writeln!(
                text,
                "  any trap, limit, denial, deviation, refused validator, or check or guard that does not hold:"
            )?;
        }
        Some(undoes) => writeln!(
            text,
            "  any trap, limit, denial or deviation, a subject that is not as before run {}, or a guard that is worse:",
            visible(&undoes.run)
        )?,
    }
    writeln!(text, "  the target is put back, and each subject is read back and compared with what it was")
}

fn rollback(text: &mut String, review: &Review) -> std::fmt::Result {
    writeln!(text, "\nROLLBACK")?;
    match review.rollback {
        RollbackBy::Step if review.undoes.is_some() => {
            writeln!(
                text,
                "  the host undoes the exact changes, so that the run stands again, then the rollback step runs again"
            )?;
        }
        RollbackBy::Step => writeln!(text, "  the host undoes the exact changes, then the rollback step runs")?,
        RollbackBy::Undo => writeln!(text, "  the host undoes the changes; there is no rollback step")?,
    }
    for target in &review.targets {
        let rehearsed = match (review.rollback, target.rollback_rehearsed) {
            (RollbackBy::Undo, _) => "undo was rehearsed",
            (RollbackBy::Step, true) => "rehearsed to its end",
            (RollbackBy::Step, false) => "NOT rehearsed",
        };
        let restores = if target.restores { "every subject came back" } else { "NOT every subject came back" };
        let (name, owner) = (visible(&target.name), visible(&target.rollback_owner));
        writeln!(text, "  {name}: owner {owner}; {rehearsed}; {restores}")?;
        for subject in &target.unrestored {
            writeln!(text, "    not restored: {}", visible(subject))?;
        }
    }
    Ok(())
}

fn grants(text: &mut String, review: &Review) -> std::fmt::Result {
    writeln!(text, "\nGRANTS asked for, and what the rehearsal used of each")?;
    for reviewed in &review.grants {
        writeln!(text, "  {:<13} {}", reviewed.role.name(), reviewed.grant)?;
        for used in &reviewed.used {
            writeln!(text, "                used: {used}")?;
        }
        if reviewed.used.is_empty() {
            let unused = match reviewed.role {
                Role::Investigation => "for looking before it is proposed: no run uses it",
                _ => "not used",
            };
            writeln!(text, "                {unused}")?;
        }
    }
    for role in &review.wasi {
        writeln!(text, "  {:<13} imports WASI, {WASI_IS_INERT}", role.name())?;
    }
    Ok(())
}

fn history(text: &mut String, review: &Review) -> std::fmt::Result {
    writeln!(text, "\nEARLIER RUNS of this bundle")?;
    let (refused, ran): (Vec<_>, Vec<_>) = review.earlier_runs.iter().partition(|run| run.outcome == "refused");
    for run in ran {
        let (name, outcome, target) = (visible(&run.run), visible(&run.outcome), visible(&run.target));
        writeln!(text, "  {name}  {outcome:<20} {}  {target}", moment(run.started))?;
        if !run.reason.is_empty() {
            writeln!(text, "      {}", excerpt(&run.reason, 200))?;
        }
    }
    if let Some(last) = refused.first() {
        let (when, why) = (moment(last.started), excerpt(&last.reason, 200));
        let least = if refused.len() >= MAX_EARLIER { "at least " } else { "" };
        writeln!(text, "  {least}{} refused, the last: {when}  {}  {why}", refused.len(), visible(&last.target))?;
    }
    if review.earlier_runs.is_empty() {
        writeln!(text, "  none")?;
    }
    Ok(())
}

fn evidence(text: &mut String, review: &Review) -> std::fmt::Result {
    for (cited, title) in
        [(true, "EVIDENCE cited, as the runner recorded it"), (false, "EVIDENCE not cited, read in the rehearsal")]
    {
        writeln!(text, "\n{title}")?;
        let mut none = true;
        for evidence in review.evidence.iter().filter(|evidence| evidence.cited == cited) {
            none = false;
            let record = &evidence.record;
            let failed = if record.failed { ", failed" } else { "" };
            let size = record.bytes.map_or_else(|| "size withheld".to_owned(), |bytes| format!("{bytes} bytes"));
            writeln!(
                text,
                "  {}  {}  {}  {size}{failed}, {} for {}",
                visible(&record.id),
                moment(record.at),
                visible(&record.call),
                visible(&record.purpose),
                visible(&record.principal)
            )?;
            if record.withheld {
                writeln!(text, "      content withheld: it is sensitive, or the step had read what is")?;
            } else if cited {
                let shown = visible_lines(&record.excerpt);
                for line in shown.lines().take(MAX_LINES) {
                    writeln!(text, "      | {line}")?;
                }
                let more = shown.lines().count().saturating_sub(MAX_LINES);
                if more > 0 {
                    writeln!(text, "      … {more} more lines")?;
                }
            }
        }
        if none {
            writeln!(text, "  none")?;
        }
    }
    Ok(())
}

fn people(text: &mut String, review: &Review, now: u64) -> std::fmt::Result {
    let proposer = &review.proposer;
    writeln!(text, "\nPROPOSER\n  {} ({}), key {}", visible(&proposer.name), proposer.kind, proposer.key)?;
    if proposer.kind == "unlisted" {
        writeln!(text, "  the trust policy does not list this key: a run will be marked \"approval not independent\"")?;
    }
    let left = review.expires.checked_sub(now).filter(|left| *left > 0);
    let left = left.map_or_else(|| "EXPIRED".to_owned(), |left| format!("in {}", span(left)));
    writeln!(text, "\nEXPIRES\n  {} ({left})", moment(review.expires))
}

fn approvals(text: &mut String, review: &Review, now: u64) -> std::fmt::Result {
    let quorum = review.quorum;
    let people = if quorum == 1 { "person" } else { "people" };
    writeln!(
        text,
        "\nAPPROVALS given so far; {quorum} {people} must approve, and where approvals differ the stricter term counts"
    )?;
    let mut requested = RoleGrants::new();
    for reviewed in &review.grants {
        requested.entry(reviewed.role).or_default().push(reviewed.grant.clone());
    }
    for given in &review.approvals {
        let used = match (given.used_by.as_slice(), given.used_up) {
            ([], _) => String::new(),
            (runs, true) => format!(", USED by {}", super::names(runs)),
            (runs, false) => format!(", used by {}, with runs left", super::names(runs)),
        };
        let finish = given.finish_by.map(|end| format!(", finished by {}", moment(end))).unwrap_or_default();
        let expired = if now >= given.expires { ", EXPIRED" } else { "" };
        writeln!(
            text,
            "  {}  by {}, good until {}{expired}{finish}{used}, for {} run{}",
            given.approval.short(),
            super::names(&given.approvers),
            moment(given.expires),
            given.uses,
            if given.uses == 1 { "" } else { "s" }
        )?;
        if let Some(name) = &given.break_glass {
            writeln!(text, "    THE GLASS WAS BROKEN: {}, in place of the quorums", visible(name))?;
        }
        if let Some(why) = &given.void {
            writeln!(text, "    VOID, no run will be by it: {}", visible(why))?;
        }
        if let Some(asked) = &given.confirmation {
            writeln!(text, "    a run by it is {}", super::confirmation(asked))?;
        }
        writeln!(text, "    \"{}\"", excerpt(&given.reason, 200))?;
        let narrowed = given.narrowed.as_ref().map(|narrowed| super::narrowed(&requested, narrowed));
        for (role, line) in narrowed.into_iter().flatten() {
            writeln!(text, "    narrowed: {:<13} {line}", role.name())?;
        }
    }
    if review.approvals.is_empty() {
        writeln!(text, "  none")?;
    }
    Ok(())
}

fn words(text: &mut String, review: &Review) -> std::fmt::Result {
    let words = &review.words;
    writeln!(text, "\nTHE AGENT'S OWN WORDS, unverified")?;
    writeln!(text, "  bundle     {}  {}", visible(&words.name), review.bundle)?;
    let says = if review.undoes.is_some() { "says (of the fix being undone)" } else { "says      " };
    writeln!(text, "  {says} {}", visible(&words.description))?;
    for (name, value) in &words.arguments {
        writeln!(text, "  argument   {}={}", visible(name), visible(&value.to_string()))?;
    }
    writeln!(text, "  {}", if review.undoes.is_some() { "reason" } else { "hypothesis" })?;
    for line in visible_lines(&words.hypothesis).lines() {
        writeln!(text, "    > {line}")?;
    }
    Ok(())
}
