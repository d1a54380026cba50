use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_capability::LogLine;
use countersign_gate::{ReadRecord, Witness};
use countersign_model::documents::{EvidenceReference, namespace};
use countersign_model::text::{excerpt, visible_lines};
use countersign_model::{Change, Digest, Evidence, Fault, FaultKind, Role};
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
        let bytes = record.reply.unwrap_or_else(|fault| fault.what.as_bytes());
        let shown = match record.reply {
            _ if record.withheld => String::new(),
            Ok(bytes) => cut(&described(&record.call.describe_reply(bytes))),
            Err(fault) => cut(&fault.what),
        };
        let id = format!("ev-{}", random_hex().map_err(|error| Fault::new(FaultKind::Other, error.to_string()))?);
        let digest = Digest::of(bytes);
        let evidence = Evidence {
            target: self.target.clone(),
            principal: self.principal.clone(),
            purpose: self.purpose(record.role),
            call: record.text(),
            digest: if record.withheld { self.key.keyed_digest(&id, &digest) } else { digest },
            bytes: record.veiled.is_none().then_some(bytes.len() as u64),
            excerpt: shown,
            withheld: record.withheld,
            failed: record.reply.is_err(),
            at: (self.clock)(),
            id,
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

    fn tainted(&mut self, role: Option<Role>, call: &str) {
        tell_tainted(self.progress.as_ref(), role, call);
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

/// Passes log lines and changes on and keeps nothing of reads: a run's reads are not evidence.
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

    fn tainted(&mut self, role: Option<Role>, call: &str) {
        tell_tainted(self.0.as_ref(), role, call);
    }

    fn changed(&mut self, change: &Change) {
        self.0.note(&format!("  changed: {}", change.summary));
    }
}

/// Says once why a step is heard no more.
fn tell_tainted(progress: &dyn Progress, role: Option<Role>, call: &str) {
    if let Some(role) = role {
        progress.note(&format!(
            "the {role} step reads what is sensitive, `{}`: from here on its words are withheld",
            excerpt(call, 300)
        ));
    }
}

/// For guards, which are the operator's own, for a review, in which a step says nothing but its verdict, and for what was
/// rehearsed and witnessed already.
pub(crate) struct Unwitnessed;

impl Witness for Unwitnessed {
    fn read(&mut self, _: &ReadRecord<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn log(&mut self, _: Option<Role>, _: LogLine) {}
}
