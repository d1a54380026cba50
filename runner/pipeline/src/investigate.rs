use countersign_bundle::Bundle;
use countersign_capability::{Phase, Port, StepContext};
use countersign_gate::{Allowance, Bounds, Denials, Gate, GatePort, Step, Work};
use countersign_model::documents::{Denial, EvidenceReference, RoleGrants};
use countersign_model::text::excerpt;
use countersign_model::{Reply, Role};
use countersign_record::Entry;
use countersign_sandbox::{Finding, Output};
use countersign_trust::Activity;
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::link::Linked;
use crate::reader::Reader;
use crate::runner::Runner;
use crate::target::Target;
use crate::witness::{EvidenceWitness, Purpose, Recorded};

/// What one read brought back.
pub struct ReadResult {
    /// The call in text, normalized.
    pub call: String,
    /// The evidence that was recorded.
    pub evidence: EvidenceReference,
    /// The reply as people read it; null where it is withheld.
    pub reply: Value,
    /// Why the content is not shown, where it is not.
    pub withheld: Option<String>,
}

/// Makes one read of a target through the gate, within its investigation ceiling, and records it.
///
/// # Errors
/// When the text is no read, the ceiling does not cover it (with the grant that would), or it failed.
pub fn read(
    runner: &Runner,
    name: &str,
    target: &Target,
    reader: &Reader,
    text: &str,
) -> Result<ReadResult, PipelineError> {
    let registry = runner.registry();
    let call = crate::guards::parse_call(registry, text)
        .map_err(|why| PipelineError::failed(why).with_hint("write a read as in 'files.read /etc/hosts'"))?;
    let capability = registry.get(&call.capability)?;
    let least = capability.least_grant(&call)?;
    let asked = RoleGrants::from([(Role::Investigation, vec![least.clone()])]);
    reader.begin(runner, Activity::Investigate, name, &asked)?;
    let recorded = Recorded::default();
    let witness = EvidenceWitness::new(runner, name, reader.name(), Purpose::Read, recorded.clone());
    let sessions = runner.sessions(target, Phase::Observe)?;
    let mut gate = Gate::new(sessions, Work::Observe { denied: Denials::default() }, Box::new(witness));
    let ceiling = Bounds::new(registry, &target.investigation.ceiling)?;
    let granted = Bounds::new(registry, std::slice::from_ref(&least))?;
    gate.begin(Step { role: None, allowance: Allowance::new(granted, ceiling) });
    let mut port = GatePort::new(gate);
    let reply = port.call(call.clone()).map_err(|stop| PipelineError::failed(stop.0))?;
    if let Work::Observe { denied } = port.lock().work()
        && let Some(denial) = denied.list().first()
    {
        return Err(denied_read(runner, name, denial));
    }
    let bytes = match reply {
        Reply::Value(bytes) => bytes,
        Reply::Fault(fault) => {
            // The one fault that another call answers.
            let listing = text.strip_prefix("files.read ").filter(|_| fault.what.contains("is a directory"));
            let hint = listing.map_or_else(
                || "see that what it names is there, and that the runner may read it".to_owned(),
                |path| format!("a directory is listed: 'files.list {}'", excerpt(path, 200)),
            );
            return Err(PipelineError::failed(format!("`{text}` failed: {}", fault.what)).with_hint(hint));
        }
    };
    let evidence = recorded.references().pop().ok_or_else(|| PipelineError::failed("the read was not recorded"))?;
    let call = capability.decode(&call)?;
    let withheld = port.lock().tainted().then(|| {
        let (subject, size) = (excerpt(call.subject(), 200), bytes.len());
        format!("`{subject}` is among what is sensitive on `{name}`: {size} bytes were read, recorded and not shown")
    });
    let reply = if withheld.is_some() { Value::Null } else { call.describe_reply(&bytes) };
    Ok(ReadResult { call: call.text(), evidence, reply, withheld })
}

fn denied_read(runner: &Runner, target: &str, denial: &Denial) -> PipelineError {
    let what = format!("`{}` is denied: the investigation ceiling of `{target}` does not cover it", denial.call);
    let grant = denial.grant.as_ref();
    let hint = match grant.map(|grant| crate::target::normalize(runner.registry(), runner.protected(), grant)) {
        Some(Ok(grant)) => format!("an operator may add it to the ceiling: `{grant}`"),
        Some(Err(why)) => format!("no ceiling can allow it: {why}"),
        None => format!("no ceiling can allow it: {}", denial.why),
    };
    PipelineError::refused(what).with_hint(hint)
}

/// What an investigation found and read.
pub struct Investigated {
    /// What it found; untrusted text.
    pub findings: Vec<Finding>,
    /// How the step ended, where it did not end well; untrusted text.
    pub failure: Option<String>,
    /// Every read, as recorded evidence.
    pub evidence: Vec<EvidenceReference>,
    /// The calls that were denied.
    pub denied: Vec<Denial>,
}

/// Runs a bundle's investigation within its requested grants, cut by the target's ceiling.
///
/// # Errors
/// When the bundle has no investigation or the step is refused.
pub fn investigate(
    runner: &Runner,
    bundle: &Bundle,
    name: &str,
    target: &Target,
    arguments: &Map<String, Value>,
    reader: &Reader,
) -> Result<Investigated, PipelineError> {
    if bundle.step(Role::Investigation).is_none() {
        return Err(PipelineError::failed("the bundle has no investigation")
            .with_hint("look with `countersign read`, or write one under `[steps.investigation]`"));
    }
    let grants = crate::propose::requested(runner, bundle, arguments)?;
    let own = grants.get(&Role::Investigation).cloned().unwrap_or_default();
    reader.begin(runner, Activity::Investigate, name, &RoleGrants::from([(Role::Investigation, own.clone())]))?;
    let linked = Linked::link(runner, bundle, &grants, &[(name, target)])?;
    let recorded = Recorded::default();
    let witness = EvidenceWitness::new(runner, name, reader.name(), Purpose::Step(bundle.steps()), recorded.clone());
    let sessions = runner.sessions(target, Phase::Observe)?;
    let gate = GatePort::new(Gate::new(sessions, Work::Observe { denied: Denials::default() }, Box::new(witness)));
    let registry = runner.registry();
    let ceiling = Bounds::new(registry, &target.investigation.ceiling)?;
    let allowance = Allowance::new(Bounds::new(registry, &own)?, ceiling);
    let context = StepContext::new(arguments, runner.now(), runner.random()?);
    let ended = linked.run(&gate, Role::Investigation, allowance, &context)?;
    let (findings, failure) = match ended.result {
        Ok(Output::Findings(findings)) => (findings, None),
        Ok(_) => (Vec::new(), Some("it gave no findings".to_owned())),
        Err(failure) => (Vec::new(), Some(failure.to_string())),
    };
    let denied = match gate.lock().work() {
        Work::Observe { denied } => denied.list().to_vec(),
        _ => Vec::new(),
    };
    let evidence = recorded.references();
    let entry = Entry::new("investigation")
        .with("bundle", bundle.digest())
        .with("target", name)
        .with("principal", reader.name())
        .with_number("reads", evidence.len() as u64)
        .with_number("denied", denied.len() as u64)
        .with_number("findings", findings.len() as u64)
        .with_flag("failed", failure.is_some());
    runner.state().audit().record(&entry)?;
    Ok(Investigated { findings, failure, evidence, denied })
}
