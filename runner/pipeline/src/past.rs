//! Runs that were recorded before something was held for sensitive, as they may be told by now.

use std::collections::BTreeMap;

use countersign_gate::Sensitive;
use countersign_model::documents::{Denial, OpenSubject, ProposalDocument};
use countersign_model::text::without_digests;
use countersign_model::{Change, Digest, Evidence, Role};
use countersign_record::{JournaledChange, RunRecord};

use crate::error::PipelineError;
use crate::report::{ReportedChange, ReportedConfirmation, RunReport, UndoneRun};
use crate::runner::Runner;
use crate::target::Target;
use crate::withhold::{call_of, reason};

/// As many hexadecimal digits may be a name; more are a digest's.
const LONGEST_TOLD: usize = 32;

/// Said in the place of a run's words.
pub(crate) const SINCE: &str = "withheld: it may quote what is sensitive by now, and was not then";

/// Said in the place of the words of a run on a target that is gone, beside a proposal for others.
const GONE: &str = "withheld: its target is not configured any more, and nobody says what is sensitive there";

/// What follows a subject in the line that says how it is left.
pub(crate) const NOT_AS_BEFORE: &str = " is not as before: ";

/// What is sensitive by the present configuration, against which earlier runs are held.
pub(crate) struct Past<'a> {
    runner: &'a Runner,
    targets: BTreeMap<String, Known>,
}

struct Known {
    sensitive: Sensitive,
    configuration: Digest,
    /// Whether a guard reads what is sensitive, and so may have told it.
    guards: bool,
}

impl<'a> Past<'a> {
    /// `targets` are all that are configured.
    pub(crate) fn of(runner: &'a Runner, targets: &BTreeMap<String, Target>) -> Result<Self, PipelineError> {
        let known = |target: &Target| -> Result<Known, PipelineError> {
            let sensitive = target.sensitive(runner.registry())?;
            let reads = |call: &String| {
                call_of(runner.registry(), call)
                    .map_or(true, |call| sensitive.takes_in(call.capability(), call.subject()))
            };
            let guards = target.guards.iter().filter_map(|guard| guard.call.as_ref()).any(reads);
            Ok(Known { guards, sensitive, configuration: target.digest() })
        };
        let known = targets.iter().map(|(name, target)| Ok((name.clone(), known(target)?)));
        Ok(Self { runner, targets: known.collect::<Result<_, PipelineError>>()? })
    }

    fn takes_in(&self, target: &str, capability: &str, subject: &str) -> bool {
        match self.targets.get(target) {
            Some(known) => known.sensitive.takes_in(capability, subject),
            // Nobody says any more what is sensitive there, so it is what is so anywhere.
            None => self.targets.values().any(|known| known.sensitive.takes_in(capability, subject)),
        }
    }

    /// The journaled change as it may be told.
    pub(crate) fn journaled(&self, target: &str, mut made: JournaledChange) -> JournaledChange {
        if self.takes_in(target, &made.change.capability, &made.change.subject) {
            made.change.withheld = true;
            made.note = made.note.as_deref().map(without_digests);
        }
        made
    }

    /// Why a run ended as it did, as it may be told in a review, which leaves the host.
    pub(crate) fn reason(&self, run: &RunRecord, reason: String) -> String {
        if reason.is_empty() {
            reason
        } else if !self.targets.contains_key(&run.target) {
            GONE.to_owned()
        } else if self.quotes(run) {
            SINCE.to_owned()
        } else {
            reason
        }
    }

    /// Whether what was said in the run may quote what is sensitive by now: it changed that, or its rehearsal planned
    /// to or read it, at a time when nobody held it for that.
    pub(crate) fn quotes(&self, run: &RunRecord) -> bool {
        let bare =
            |change: &Change| !change.withheld && self.takes_in(&run.target, &change.capability, &change.subject);
        let journaled = self.runner.state().runs().changes(&run.id);
        // What can be read no more may have been anything.
        journaled.map_or(true, |made| made.iter().any(|made| bare(&made.change)))
            || self.rehearsed(run, bare).unwrap_or(true)
    }

    fn rehearsed(&self, run: &RunRecord, bare: impl Fn(&Change) -> bool) -> Result<bool, PipelineError> {
        let (document, _) = self.runner.signed_proposal(&run.proposal)?;
        let document: ProposalDocument =
            serde_json::from_slice(&document).map_err(|error| PipelineError::failed(error.to_string()))?;
        let Some(proposed) = document.targets.iter().find(|target| target.name == run.target) else { return Ok(true) };
        if let Some(known) = self.targets.get(&run.target) {
            if known.configuration == proposed.configuration {
                return Ok(false);
            }
            if known.guards {
                return Ok(true);
            }
        }
        let rehearsal = self.runner.rehearsal(&proposed.rehearsal)?;
        if rehearsal.plan.changes().any(|planned| bare(planned.change)) {
            return Ok(true);
        }
        for reference in &rehearsal.evidence {
            let (record, _) = self.runner.evidence(&reference.id)?;
            if self.read(&record) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self, record: &Evidence) -> bool {
        let call = call_of(self.runner.registry(), &record.call);
        let sensitive = call.map_or(true, |call| self.takes_in(&record.target, call.capability(), call.subject()));
        !record.withheld && sensitive
    }
}

/// The report of a run whose words may quote what is sensitive by now. `made` are its changes as they may be told, those
/// that were or may have been made, in order.
pub(crate) fn report(report: RunReport, made: &[ReportedChange]) -> RunReport {
    let undigested = |lines: Vec<String>| lines.iter().map(|line| without_places(&without_digests(line))).collect();
    let mut guards = [report.guards_before, report.guards];
    for guard in guards.iter_mut().flatten() {
        guard.reason = guard.reason.is_some().then(|| SINCE.to_owned());
    }
    let [guards_before, guards] = guards;
    let mut left: Vec<String> = report.left.iter().map(|line| not_as_before(line, &report.changes)).collect();
    left.dedup();
    let open = report.open.into_iter().map(|open| opened(open, made.iter())).collect();
    RunReport {
        open,
        reason: SINCE.to_owned(),
        changes: told(report.changes, made),
        left,
        irreversible: undigested(report.irreversible),
        denied: report.denied.map(|denied| unquoted(denied.role)),
        undoes: report.undoes.map(|undone| UndoneRun { not_undone: undigested(undone.not_undone), ..undone }),
        check: report.check.map(|check| reason(&check, SINCE)),
        confirmation: report
            .confirmation
            .map(|word| ReportedConfirmation { reason: word.reason.map(|_| SINCE.to_owned()), ..word }),
        guards_before,
        guards,
        ..report
    }
}

/// What is not as before: which subject it is, and nothing of how it stands. The line may have the words of a guard, of
/// a step or of what could not be undone in it.
fn not_as_before(line: &str, changes: &[ReportedChange]) -> String {
    let begins =
        |subject: &&String| line.strip_prefix(subject.as_str()).is_some_and(|rest| rest.starts_with(NOT_AS_BEFORE));
    match changes.iter().map(|change| &change.subject).find(begins) {
        Some(subject) => format!("{subject}{NOT_AS_BEFORE}{SINCE}"),
        None => SINCE.to_owned(),
    }
}

/// What is open of a run whose words may quote what is sensitive by now.
pub(crate) fn opened<'a>(open: OpenSubject, mut made: impl Iterator<Item = &'a ReportedChange>) -> OpenSubject {
    let withheld = made.any(|made| made.subject == open.subject && made.withheld.is_some());
    let told = |digest: Option<Digest>| digest.filter(|_| !withheld);
    OpenSubject { why: SINCE.to_owned(), before: told(open.before), found: told(open.found), ..open }
}

/// A denial of which nothing is told: the call is a step's own words, and so is the grant that would have allowed it.
fn unquoted(role: Role) -> Denial {
    Denial { role, call: SINCE.to_owned(), why: SINCE.to_owned(), grant: None }
}

/// The changes of a report, in which those that are withheld stand as they were made: each in its own place, since a
/// step may write to one subject several times.
fn told(reported: Vec<ReportedChange>, made: &[ReportedChange]) -> Vec<ReportedChange> {
    let same = |one: &ReportedChange, other: &ReportedChange| (one.role, &one.subject) == (other.role, &other.subject);
    let mut told: Vec<ReportedChange> = Vec::new();
    for change in reported {
        let place = told.iter().filter(|known| same(known, &change)).count();
        let of_subject: Vec<_> = made.iter().filter(|made| same(made, &change)).collect();
        // What stands in no place of its own is told as the last one was.
        let made = of_subject.get(place).or(of_subject.last()).filter(|made| made.withheld.is_some());
        told.push(made.map_or(change, |made| (*made).clone()));
    }
    told
}

/// The text without what an image's place has of its digest: the names of its folder and its file.
fn without_places(text: &str) -> String {
    let part = |c: char| c.is_ascii_hexdigit() || c == '/';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(part) {
        let (before, found) = rest.split_at(start);
        let (run, after) = found.split_at(found.find(|c| !part(c)).unwrap_or(found.len()));
        out.push_str(before);
        out.push_str(if run.chars().filter(char::is_ascii_hexdigit).count() < LONGEST_TOLD { run } else { "…" });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use countersign_model::documents::GuardState;
    use countersign_model::{Outcome, Reversibility, Verdict};

    use super::*;
    use crate::report::Sizes;

    #[test]
    fn where_an_image_is_kept_tells_no_digest() {
        let digest = Digest::of(b"hunter2").to_string();
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let (folder, file) = hex.split_at(2);
        for place in
            [format!("/srv/blobs/{folder}/{file}"), format!("row `{hex}` of the table `images`"), digest.clone()]
        {
            let told = without_places(&format!("/etc/a is not as before: kept at {place}; see it"));
            assert!(told.starts_with("/etc/a is not as before: kept at ") && told.ends_with("; see it"), "{told}");
            assert!(!told.contains(file) && !told.contains(&format!("/{folder}")), "{told}");
        }
    }

    fn change(size: u64, withheld: bool) -> ReportedChange {
        let sizes = withheld.then_some(Sizes { before: None, after: Some(size) });
        let digest = (!withheld).then(|| Digest::of(&size.to_le_bytes()));
        ReportedChange {
            role: Role::Fix,
            subject: "/etc/a".to_owned(),
            summary: format!("{size} bytes"),
            reversibility: Reversibility::Exact,
            before: None,
            after: digest,
            kept: None,
            withheld: sizes,
        }
    }

    fn reported() -> RunReport {
        let secret = || "hunter2".to_owned();
        let guard = || vec![GuardState { name: "up".to_owned(), holds: false, reason: Some(secret()) }];
        RunReport {
            run: "r-1".to_owned(),
            target: "web".to_owned(),
            outcome: Outcome::RollbackIncomplete,
            reason: secret(),
            changes: vec![change(1, false), change(2, false)],
            left: vec![
                "the rollback step failed: hunter2".to_owned(),
                "guard `up` does not hold: hunter2 (it held before the run)".to_owned(),
                "/etc/a is not as before: it holds hunter2".to_owned(),
            ],
            open: vec![OpenSubject {
                subject: "/etc/a".to_owned(),
                capability: Some("files".to_owned()),
                why: secret(),
                restorable: true,
                before: Some(Digest::of(b"hunter2")),
                found: Some(Digest::of(b"hunter2")),
            }],
            unrecorded: None,
            left_behind: Vec::new(),
            irreversible: Vec::new(),
            denied: Some(Denial {
                role: Role::Rollback,
                call: "http.get http://127.0.0.1/hunter2".to_owned(),
                why: "no grant covers `hunter2`".to_owned(),
                grant: Some("http.read http://127.0.0.1/hunter2".parse().expect("a grant")),
            }),
            check: Some(Verdict::Unhealthy(secret())),
            guards_before: guard(),
            guards: guard(),
            approvers: Vec::new(),
            independent: true,
            unattended: None,
            actor: None,
            rollback_owner: "alice".to_owned(),
            lowered: Vec::new(),
            undoes: None,
            confirmation: Some(ReportedConfirmation {
                until: 0,
                silence: "keep".to_owned(),
                by: Some("alice".to_owned()),
                reason: Some(secret()),
            }),
            break_glass: None,
        }
    }

    #[test]
    fn nothing_that_was_said_in_the_run_is_left() {
        let told = report(reported(), &[change(1, true), change(2, true)]);
        let json = told.to_json().to_string();
        assert!(!json.contains("hunter2") && !json.contains(&Digest::of(b"hunter2").hex()), "{json}");
        assert_eq!(told.left, [SINCE.to_owned(), format!("/etc/a is not as before: {SINCE}")]);
        assert_eq!(told.denied.map(|denied| denied.role), Some(Role::Rollback));
    }

    #[test]
    fn each_write_to_a_subject_is_told_in_its_own_place() {
        let told = report(reported(), &[change(1, true), change(2, true)]);
        assert_eq!(told.changes, [change(1, true), change(2, true)]);
        // One that the journal has no place for is not told by its digest either.
        let told = report(reported(), &[change(1, true)]);
        assert_eq!(told.changes, [change(1, true), change(1, true)]);
        let told = report(reported(), &[change(1, false), change(2, false)]);
        assert_eq!(told.changes, [change(1, false), change(2, false)]);
    }
}
