//! What the log says, put together by change and by who asked for it.

use std::collections::{BTreeMap, BTreeSet};

use countersign_pipeline::Runner;
use countersign_trust::Policy;
use serde_json::{Map, Value, json};

use crate::time::moment;

/// Lines of one kind.
pub(super) struct Section {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line>,
}

/// One line, and the entry that proves it.
pub(super) struct Line {
    pub(super) index: Option<u64>,
    pub(super) fields: Map<String, Value>,
}

/// An entry of the log.
struct Entry {
    index: u64,
    body: Value,
}

impl Entry {
    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn at(&self) -> u64 {
        self.body.get("at").and_then(Value::as_u64).unwrap_or_default()
    }

    /// These fields, where it has them, and when it was.
    fn line(&self, keys: &[&str]) -> Line {
        let mut fields = Map::from_iter([("at".to_owned(), moment(self.at()).into())]);
        for key in keys {
            if let Some(value) = self.body.get(*key) {
                fields.insert(key.replace('-', "_"), value.clone());
            }
        }
        Line { index: Some(self.index), fields }
    }
}

/// The entries that a report is about, and what they refer to.
#[derive(Default)]
pub(super) struct Collected {
    since: u64,
    /// By proposal; of any time, since a change may have been proposed long before.
    proposals: BTreeMap<String, Entry>,
    approvals: Vec<Entry>,
    /// Signatures on standing approvals, of any time.
    standing: Vec<Entry>,
    denials: Vec<Entry>,
    refusals: Vec<Entry>,
    /// Every run that ever began: one of before may be open still.
    began: Vec<Entry>,
    /// By run, the last.
    outcomes: BTreeMap<String, Entry>,
    /// How many of what a run left were closed since, by run.
    resolved: BTreeMap<String, u64>,
    /// Every signature that ever broke the glass: of one of before the review may be open still.
    broken: Vec<Entry>,
    /// The words that closed such reviews, by the approval.
    reviewed: BTreeMap<String, Entry>,
}

impl Collected {
    /// Reads the whole log.
    pub(super) fn of(runner: &Runner, since: u64) -> anyhow::Result<Self> {
        let mut all = Self { since, ..Self::default() };
        let mut next = 0;
        loop {
            let entries = runner.logged_from(next)?;
            let Some(last) = entries.last() else { return Ok(all) };
            next = last.index.saturating_add(1);
            for logged in entries {
                all.take(Entry {
                    index: logged.index,
                    body: serde_json::from_slice(&logged.bytes).unwrap_or_default(),
                });
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        let late = entry.at() >= self.since;
        match entry.text("kind") {
            "proposal" => _ = self.proposals.insert(entry.text("proposal").to_owned(), entry),
            "approval" => self.approvals.push(entry),
            "standing-approval" => self.standing.push(entry),
            "break-glass" => self.broken.push(entry),
            "break-glass-reviewed" => _ = self.reviewed.insert(entry.text("manifest").to_owned(), entry),
            "authorized" => self.began.push(entry),
            "resolved" if entry.text("outcome") == "closed" => {
                *self.resolved.entry(entry.text("run").to_owned()).or_default() += 1;
            }
            "outcome" => _ = self.outcomes.insert(entry.text("run").to_owned(), entry),
            "denial" if late => self.denials.push(entry),
            "refusal" if late => self.refusals.push(entry),
            _ => {}
        }
    }

    pub(super) fn sections(&self, policy: &Policy) -> Vec<Section> {
        let lines = |entries: &[Entry], keys: &[&str]| entries.iter().map(|entry| entry.line(keys)).collect();
        vec![
            Section {
                key: "changes",
                title: "Approved changes",
                lines: self.late_runs().map(|run| self.change(run)).collect(),
            },
            Section {
                key: "refused",
                title: "Refused",
                lines: lines(&self.refusals, &["run", "proposal", "target", "actor", "reason"]),
            },
            Section {
                key: "denied",
                title: "Denied by people",
                lines: lines(&self.denials, &["proposal", "person", "reason"]),
            },
            Section {
                key: "standing",
                title: "Standing approvals signed",
                lines: self
                    .late_standing()
                    .map(|entry| entry.line(&["proposal", "document", "person", "reason"]))
                    .collect(),
            },
            Section {
                key: "break_glass",
                title: "Broken glass, and its reviews",
                lines: self.late_glass().map(|broken| self.glass(broken)).collect(),
            },
            Section { key: "open", title: "Open", lines: self.open() },
            Section { key: "agents", title: "Who proposed", lines: self.agents(policy) },
        ]
    }

    /// Who approved what on which evidence, and what came of it.
    fn change(&self, run: &Entry) -> Line {
        let mut line =
            run.line(&["run", "target", "proposal", "manifest", "standing", "approvers", "independent", "actor"]);
        let fields = &mut line.fields;
        if let Some(proposal) = self.proposals.get(run.text("proposal")) {
            fields.insert("proposer".to_owned(), proposal.text("proposer").into());
            fields.insert("evidence".to_owned(), proposal.body.get("evidence").cloned().unwrap_or_default());
            fields.insert("proposed".to_owned(), moment(proposal.at()).into());
        }
        // As it stands, as one of several that differ, or once for many.
        let sources = run.body.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let of_run = |approval: &&Entry| {
            let manifest = approval.text("manifest");
            manifest == run.text("manifest") || sources.iter().any(|source| source == manifest)
        };
        let once = self.standing.iter().filter(|standing| standing.text("document") == run.text("standing"));
        if let Some(broken) = self.broken.iter().find(of_run) {
            fields.insert("break_glass".to_owned(), broken.text("break-glass").into());
        }
        let signed = self.approvals.iter().chain(&self.broken).filter(of_run).chain(once);
        let reasons =
            signed.map(|approval| json!({ "person": approval.text("person"), "reason": approval.text("reason") }));
        fields.insert("reasons".to_owned(), Value::Array(reasons.collect()));
        fields.insert("outcome".to_owned(), Value::Null);
        if let Some(outcome) = self.outcomes.get(run.text("run")) {
            fields.insert("outcome".to_owned(), outcome.text("outcome").into());
            fields.insert("ended".to_owned(), moment(outcome.at()).into());
            fields.insert("why".to_owned(), outcome.text("reason").into());
            line.index = Some(outcome.index);
        }
        line
    }

    fn late_standing(&self) -> impl Iterator<Item = &Entry> {
        self.standing.iter().filter(|entry| entry.at() >= self.since)
    }

    /// What broke the glass in the time of the report, and before where nobody has reviewed it yet.
    fn late_glass(&self) -> impl Iterator<Item = &Entry> {
        self.broken.iter().filter(|broken| broken.at() >= self.since || self.is_unreviewed(broken))
    }

    fn is_unreviewed(&self, broken: &Entry) -> bool {
        !self.reviewed.contains_key(broken.text("manifest"))
    }

    /// How many reviews are open: one for each approval, however many people signed it.
    fn unreviewed(&self) -> usize {
        let open = self.broken.iter().filter(|broken| self.is_unreviewed(broken));
        open.map(|broken| broken.text("manifest")).collect::<BTreeSet<_>>().len()
    }

    /// Who broke the glass and why, and who reviewed that.
    fn glass(&self, broken: &Entry) -> Line {
        let mut line = broken.line(&["break-glass", "proposal", "manifest", "person", "reason"]);
        let reviewed = self.reviewed.get(broken.text("manifest"));
        line.fields.insert("reviewed".to_owned(), reviewed.map(|word| moment(word.at())).into());
        if let Some(word) = reviewed {
            line.fields.insert("reviewed_by".to_owned(), word.text("person").into());
            line.fields.insert("found".to_owned(), word.text("reason").into());
        }
        line
    }

    /// The runs that began or ended in the time of the report.
    fn late_runs(&self) -> impl Iterator<Item = &Entry> {
        let ended = |run: &Entry| self.outcomes.get(run.text("run")).is_some_and(|end| end.at() >= self.since);
        self.began.iter().filter(move |run| run.at() >= self.since || ended(run))
    }

    /// Runs without an outcome, and those that left something that no person has closed yet, whenever they began.
    fn open(&self) -> Vec<Line> {
        let unfinished = self.began.iter().filter(|run| !self.outcomes.contains_key(run.text("run")));
        let left = self.outcomes.values().filter(|outcome| {
            let open = outcome.body.get("open").and_then(Value::as_u64).unwrap_or_default();
            open > self.resolved.get(outcome.text("run")).copied().unwrap_or_default()
        });
        let unfinished = unfinished.map(|run| run.line(&["run", "target"]));
        unfinished.chain(left.map(|outcome| outcome.line(&["run", "outcome", "reason", "open"]))).collect()
    }

    /// Each proposer, what the policy in force lets it do, and what became of what it proposed.
    fn agents(&self, policy: &Policy) -> Vec<Line> {
        let mut by: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for proposal in self.proposals.values().filter(|proposal| proposal.at() >= self.since) {
            by.entry(proposal.text("proposer")).or_default().push(proposal);
        }
        let line = |(proposer, proposals): (&str, Vec<&Entry>)| {
            let of =
                |entry: &&Entry| proposals.iter().any(|proposal| proposal.text("proposal") == entry.text("proposal"));
            let ended = |outcome: &str| {
                let runs = self.late_runs().filter(of);
                let ends = runs.filter_map(|run| self.outcomes.get(run.text("run")));
                ends.filter(|end| end.text("outcome") == outcome).count()
            };
            let fields = json!({
                "proposer": proposer,
                "scopes": policy.rules_of(proposer),
                "proposals": proposals.len(),
                "denied": self.denials.iter().filter(of).count(),
                "runs": self.late_runs().filter(of).count(),
                "committed": ended("committed"),
                "rolled_back": ended("rolled-back"),
            });
            let Value::Object(fields) = fields else { return None };
            Some(Line { index: proposals.first().map(|proposal| proposal.index), fields })
        };
        by.into_iter().filter_map(line).collect()
    }

    /// How many there were of what, and how long people took to approve.
    pub(super) fn counts(&self) -> Value {
        let late = |entry: &&Entry| entry.at() >= self.since;
        let approvals: Vec<_> = self.approvals.iter().filter(late).collect();
        let mut waited: Vec<u64> = approvals
            .iter()
            .filter_map(|approval| {
                Some(approval.at().saturating_sub(self.proposals.get(approval.text("proposal"))?.at()) / 1000)
            })
            .collect();
        waited.sort_unstable();
        let ended = |outcome: &str| {
            let ends = self.late_runs().filter_map(|run| self.outcomes.get(run.text("run")));
            ends.filter(|end| end.text("outcome") == outcome).count()
        };
        json!({
            "proposals": self.proposals.values().filter(late).count(),
            "approvals": approvals.len(),
            "denials": self.denials.len(),
            "break_glass": self.broken.iter().filter(late).count(),
            "break_glass_reviews_open": self.unreviewed(),
            "refusals": self.refusals.len(),
            "runs": self.late_runs().count(),
            "unattended": self.late_runs().filter(|run| !run.text("standing").is_empty()).count(),
            "committed": ended("committed"),
            "rolled_back": ended("rolled-back"),
            "rollback_incomplete": ended("rollback-incomplete"),
            "in_doubt": ended("in-doubt"),
            "median_seconds_to_approve": waited.get(waited.len() / 2),
            "longest_seconds_to_approve": waited.last(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    /// A review is open however old it is, and told once it is closed in the time of the report.
    #[test]
    fn broken_glass_is_told_until_somebody_reviewed_it() {
        let mut all = Collected { since: 100, ..Collected::default() };
        let mut take = |body: Value| all.take(Entry { index: 0, body });
        for (manifest, person, at) in [("a", "carol", 1), ("b", "carol", 2), ("b", "dave", 3), ("c", "carol", 150)] {
            take(json!({ "kind": "break-glass", "manifest": manifest, "person": person, "at": at }));
        }
        take(json!({ "kind": "break-glass-reviewed", "manifest": "a", "person": "bob", "at": 50 }));
        let told = |all: &Collected| all.late_glass().map(|one| one.text("manifest").to_owned()).collect::<Vec<_>>();
        assert_eq!((told(&all).join(""), all.unreviewed()), ("bbc".to_owned(), 2));
        for manifest in ["b", "c"] {
            let body = json!({ "kind": "break-glass-reviewed", "manifest": manifest, "person": "bob", "at": 160 });
            all.take(Entry { index: 0, body });
        }
        assert_eq!((told(&all).join(""), all.unreviewed()), ("c".to_owned(), 0));
    }

    /// What is open is open whenever it began, until somebody closes the last of it.
    #[test]
    fn what_is_open_is_told_however_old_it_is() {
        let mut all = Collected { since: 100, ..Collected::default() };
        let mut index = 0;
        let mut take = |all: &mut Collected, body: Value| {
            all.take(Entry { index, body });
            index += 1;
        };
        let open = |all: &Collected| {
            let of = |line: Line| line.fields.get("run").and_then(Value::as_str).map(str::to_owned);
            all.open().into_iter().filter_map(of).collect::<Vec<_>>()
        };
        for run in ["r-1", "r-2"] {
            take(&mut all, json!({ "kind": "authorized", "run": run, "at": 1 }));
        }
        assert_eq!(open(&all), ["r-1", "r-2"]);
        take(
            &mut all,
            json!({ "kind": "outcome", "run": "r-1", "outcome": "rollback-incomplete", "open": 2, "at": 2 }),
        );
        take(&mut all, json!({ "kind": "outcome", "run": "r-2", "outcome": "committed", "open": 0, "at": 150 }));
        take(&mut all, json!({ "kind": "resolved", "run": "r-1", "outcome": "failed", "at": 160 }));
        take(&mut all, json!({ "kind": "resolved", "run": "r-1", "outcome": "closed", "at": 170 }));
        assert_eq!(open(&all), ["r-1"]);
        take(&mut all, json!({ "kind": "resolved", "run": "r-1", "outcome": "closed", "at": 180 }));
        assert_eq!(open(&all), [""; 0]);
        // One that began before and ended within is told; one that did both before is not.
        assert_eq!(all.late_runs().map(|run| run.text("run")).collect::<Vec<_>>(), ["r-2"]);
    }
}
