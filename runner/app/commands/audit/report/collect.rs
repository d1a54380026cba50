//! What the log says, put together by change and by who asked for it.

use std::collections::BTreeMap;

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
pub(super) struct Collected {
    since: u64,
    /// By proposal; of any time, since a change may have been proposed long before.
    proposals: BTreeMap<String, Entry>,
    approvals: Vec<Entry>,
    denials: Vec<Entry>,
    refusals: Vec<Entry>,
    began: Vec<Entry>,
    /// By run, the last.
    outcomes: BTreeMap<String, Entry>,
}

impl Collected {
    /// Reads the whole log.
    pub(super) fn of(runner: &Runner, since: u64) -> anyhow::Result<Self> {
        let mut all = Self {
            since,
            proposals: BTreeMap::new(),
            approvals: Vec::new(),
            denials: Vec::new(),
            refusals: Vec::new(),
            began: Vec::new(),
            outcomes: BTreeMap::new(),
        };
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
            "authorized" if late => self.began.push(entry),
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
                lines: self.began.iter().map(|run| self.change(run)).collect(),
            },
            Section {
                key: "refused",
                title: "Refused",
                lines: lines(&self.refusals, &["run", "proposal", "target", "reason"]),
            },
            Section {
                key: "denied",
                title: "Denied by people",
                lines: lines(&self.denials, &["proposal", "person", "reason"]),
            },
            Section { key: "open", title: "Open", lines: self.open() },
            Section { key: "agents", title: "Who proposed", lines: self.agents(policy) },
        ]
    }

    /// Who approved what on which evidence, and what came of it.
    fn change(&self, run: &Entry) -> Line {
        let mut line = run.line(&["run", "target", "proposal", "manifest", "approvers", "independent"]);
        let fields = &mut line.fields;
        if let Some(proposal) = self.proposals.get(run.text("proposal")) {
            fields.insert("proposer".to_owned(), proposal.text("proposer").into());
            fields.insert("evidence".to_owned(), proposal.body.get("evidence").cloned().unwrap_or_default());
            fields.insert("proposed".to_owned(), moment(proposal.at()).into());
        }
        let signed = self.approvals.iter().filter(|approval| approval.text("manifest") == run.text("manifest"));
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

    /// Runs without an outcome, and those that left something that a person has to close.
    fn open(&self) -> Vec<Line> {
        let unfinished = self.began.iter().filter(|run| !self.outcomes.contains_key(run.text("run")));
        let left = self.outcomes.values().filter(|outcome| {
            outcome.at() >= self.since && ["in-doubt", "rollback-incomplete"].contains(&outcome.text("outcome"))
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
                let runs = self.began.iter().filter(of);
                let ends = runs.filter_map(|run| self.outcomes.get(run.text("run")));
                ends.filter(|end| end.text("outcome") == outcome).count()
            };
            let fields = json!({
                "proposer": proposer,
                "scopes": policy.rules_of(proposer),
                "proposals": proposals.len(),
                "denied": self.denials.iter().filter(of).count(),
                "runs": self.began.iter().filter(of).count(),
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
            let ends = self.began.iter().filter_map(|run| self.outcomes.get(run.text("run")));
            ends.filter(|end| end.text("outcome") == outcome).count()
        };
        json!({
            "proposals": self.proposals.values().filter(late).count(),
            "approvals": approvals.len(),
            "denials": self.denials.len(),
            "refusals": self.refusals.len(),
            "runs": self.began.len(),
            "committed": ended("committed"),
            "rolled_back": ended("rolled-back"),
            "rollback_incomplete": ended("rollback-incomplete"),
            "in_doubt": ended("in-doubt"),
            "median_seconds_to_approve": waited.get(waited.len() / 2),
            "longest_seconds_to_approve": waited.last(),
        })
    }
}
