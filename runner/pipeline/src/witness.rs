use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_capability::LogLine;
use countersign_gate::{ReadRecord, Witness};
use countersign_model::documents::{EvidenceReference, namespace};
use countersign_model::text::visible_lines;
use countersign_model::{Digest, Evidence, Fault, FaultKind, Role};
use countersign_record::{NewEvidence, State};
use countersign_trust::SigningKey;
use serde_json::Value;

use crate::progress::Progress;
use crate::runner::{Clock, Runner, random_hex};

/// The longest excerpt of a reply, in characters.
const MAX_EXCERPT: usize = 2048;

/// The most reads of one investigation or rehearsal: what a proposal can refer to.
const MAX_READS: usize = 1000;

/// What a read is part of.
pub(crate) enum Purpose {
    /// `countersign read`.
    Read,
    /// A step, with the digests by role.
    Step(BTreeMap<Role, Digest>),
}

/// The evidence recorded so far, shared with whoever started the step.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Vec<EvidenceReference>>>);

impl Recorded {
    pub(crate) fn references(&self) -> Vec<EvidenceReference> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, reference: EvidenceReference) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reference);
    }
}

/// Signs and keeps every read as evidence, before the guest gets the reply.
pub(crate) struct EvidenceWitness {
    state: Arc<State>,
    key: Arc<SigningKey>,
    clock: Clock,
    progress: Arc<dyn Progress>,
    target: String,
    principal: String,
    purpose: Purpose,
    recorded: Recorded,
}

impl EvidenceWitness {
    pub(crate) fn new(runner: &Runner, target: &str, principal: &str, purpose: Purpose, recorded: Recorded) -> Self {
        Self {
            state: runner.state(),
            key: runner.key(),
            clock: runner.clock(),
            progress: runner.progress(),
            target: target.to_owned(),
            principal: principal.to_owned(),
            purpose,
            recorded,
        }
    }

    fn purpose(&self, role: Option<Role>) -> String {
        match (&self.purpose, role) {
            (Purpose::Step(steps), Some(role)) => match steps.get(&role) {
                Some(digest) => format!("{role} {}", digest.short()),
                None => role.name().to_owned(),
            },
            _ => "read".to_owned(),
        }
    }
}

impl Witness for EvidenceWitness {
    fn read(&mut self, record: &ReadRecord<'_>) -> Result<(), Fault> {
        if self.recorded.references().len() >= MAX_READS {
            return Err(Fault::new(FaultKind::Denied, format!("it is over {MAX_READS} reads")));
        }
        let (bytes, shown) = match record.reply {
            Ok(bytes) => (bytes, described(&record.call.describe_reply(bytes))),
            Err(fault) => (fault.what.as_bytes(), fault.what.clone()),
        };
        let evidence = Evidence {
            id: format!("ev-{}", random_hex().map_err(|error| Fault::new(FaultKind::Other, error.to_string()))?),
            target: self.target.clone(),
            principal: self.principal.clone(),
            purpose: self.purpose(record.role),
            call: record.call.text(),
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            excerpt: cut(&shown),
            failed: record.reply.is_err(),
            at: (self.clock)(),
        };
        let failed = |what: String| Fault::new(FaultKind::Other, what);
        let bytes = serde_json::to_vec(&evidence).map_err(|error| failed(error.to_string()))?;
        let signature = countersign_trust::sign(self.key.as_ref(), namespace::EVIDENCE, &bytes)
            .map_err(|error| failed(error.to_string()))?;
        let new = NewEvidence {
            id: &evidence.id,
            target: &evidence.target,
            principal: &evidence.principal,
            at: evidence.at,
            record: &bytes,
            signature: &signature,
        };
        let digest = self.state.evidence().add(new).map_err(|error| failed(error.to_string()))?;
        self.recorded.add(EvidenceReference { id: evidence.id, digest });
        Ok(())
    }

    fn log(&mut self, role: Option<Role>, line: LogLine) {
        self.progress.log(role, &line);
    }
}

/// A reply's content where it has one, else the whole of its description.
fn described(reply: &Value) -> String {
    let content = reply.get("content").or_else(|| reply.get("body")).and_then(Value::as_str);
    content.map_or_else(|| reply.to_string(), str::to_owned)
}

fn cut(text: &str) -> String {
    // Escaping makes a text longer, so it is cut before and after.
    let few: String = text.chars().take(MAX_EXCERPT).collect();
    visible_lines(&few).chars().take(MAX_EXCERPT).collect()
}

/// Passes log lines on and keeps nothing of reads: a run's reads are not evidence.
pub(crate) struct LogWitness(Arc<dyn Progress>);

impl LogWitness {
    pub(crate) fn new(runner: &Runner) -> Self {
        Self(runner.progress())
    }
}

impl Witness for LogWitness {
    fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, role: Option<Role>, line: LogLine) {
        self.0.log(role, &line);
    }
}

/// For guards, which are the operator's own, and for a review, in which a step says nothing but its verdict.
pub(crate) struct Unwitnessed;

impl Witness for Unwitnessed {
    fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}
