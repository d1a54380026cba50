//! Runs that were recorded before something was held for sensitive, as they may be told by now.

use std::collections::BTreeMap;

use countersign_gate::Sensitive;
use countersign_model::documents::ProposalDocument;
use countersign_model::text::without_digests;
use countersign_model::{Change, Digest, Evidence};
use countersign_record::{JournaledChange, RunRecord};

use crate::error::PipelineError;
use crate::report::{ReportedChange, RunReport};
use crate::runner::Runner;
use crate::target::Target;
use crate::withhold::{call_of, reason};

/// As many hexadecimal digits may be a name; more are a digest's.
const LONGEST_TOLD: usize = 32;

/// Said in the place of a run's words.
pub(crate) const SINCE: &str = "withheld: it may quote what is sensitive by now, and was not then";

/// Said in the place of the words of a run on a target that is gone, beside a proposal for others.
const GONE: &str = "withheld: its target is not configured any more, and nobody says what is sensitive there";

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

/// The report of a run whose words may quote what is sensitive by now, with its changes as they may be told.
pub(crate) fn report(report: RunReport, changes: &[&ReportedChange]) -> RunReport {
    let undigested = |lines: Vec<String>| lines.iter().map(|line| without_places(&without_digests(line))).collect();
    let mut guards = [report.guards_before, report.guards];
    for guard in guards.iter_mut().flatten() {
        guard.reason = guard.reason.is_some().then(|| SINCE.to_owned());
    }
    let [guards_before, guards] = guards;
    let told = |reported: ReportedChange| {
        let same = |made: &&&ReportedChange| (made.role, &made.subject) == (reported.role, &reported.subject);
        changes
            .iter()
            .find(same)
            .filter(|made| made.withheld.is_some())
            .map_or(reported.clone(), |made| (*made).clone())
    };
    RunReport {
        reason: SINCE.to_owned(),
        changes: report.changes.into_iter().map(told).collect(),
        left: undigested(report.left),
        irreversible: undigested(report.irreversible),
        check: report.check.map(|check| reason(&check, SINCE)),
        guards_before,
        guards,
        ..report
    }
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
    use super::*;

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
}
