use countersign_bundle::Bundle;
use countersign_capability::{Phase, StepContext};
use countersign_gate::{Allowance, Bounds, Denials, Gate, GatePort, Rehearsal, Sessions, Step, Witness, Work};
use countersign_model::documents::{DOCUMENT_VERSION, Denial, RehearsalDocument, RoleGrants};
use countersign_model::{
    Digest, Fault, FaultKind, Plan, Reply, Reversibility, Role, RollbackBy, Stop, Success, Verdict,
};
use countersign_sandbox::{Ended, Output};
use countersign_trust::Activity;
use serde_json::{Map, Value};

use crate::error::PipelineError;
use crate::link::Linked;
use crate::reader::Reader;
use crate::runner::Runner;
use crate::target::Target;
use crate::undo::Undo;
use crate::witness::{EvidenceWitness, Purpose, Recorded, Unwitnessed};

/// What is rehearsed, on what, for whom.
pub struct RehearsalRequest<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// The target's name.
    pub name: &'a str,
    /// The target.
    pub target: &'a Target,
    /// Valid arguments.
    pub arguments: &'a Map<String, Value>,
    /// What the steps are granted.
    pub grants: &'a RoleGrants,
    /// Who asks, for the evidence.
    pub principal: &'a str,
    /// The steps' time, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// The steps' seed.
    pub seed: u64,
}

/// A rehearsal that this runner made and signed.
pub struct Rehearsed {
    document: RehearsalDocument,
    digest: Digest,
}

impl Rehearsed {
    /// What was found.
    #[must_use]
    pub const fn document(&self) -> &RehearsalDocument {
        &self.document
    }

    /// Digest of the signed bytes, by which the record finds them.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// The same as [`propose`](crate::draft) does, for somebody who only wants to see it: as the trust policy lets them.
///
/// # Errors
/// When no rule lets them propose it; and as where it is proposed.
pub fn rehearse_for(
    runner: &Runner,
    reader: &Reader,
    request: &RehearsalRequest<'_>,
) -> Result<Rehearsed, PipelineError> {
    reader.begin(runner, Activity::Propose, request.name, request.grants)?;
    rehearse(runner, request)
}

/// Runs the check on the untouched target, then the fix, the check again, the host's undo and the
/// rollback step on an overlay; records every read as evidence and signs what was found.
///
/// # Errors
/// When a step is refused, or something of the runner's own fails. A step that fails is part of what was found.
pub(crate) fn rehearse(runner: &Runner, request: &RehearsalRequest<'_>) -> Result<Rehearsed, PipelineError> {
    let linked = Linked::link(runner, request.bundle, request.grants, &[(request.name, request.target)])?;
    signed(runner, find(runner, request, &linked, None, true)?)
}

/// The same for what undoes a run: its changes are put back in place of a fix, last first, and then the rollback
/// step runs; what would undo that again is rehearsed as ever.
pub(crate) fn rehearse_undo(
    runner: &Runner,
    request: &RehearsalRequest<'_>,
    undo: &Undo,
) -> Result<Rehearsed, PipelineError> {
    let linked = Linked::link_undo(runner, request.bundle, request.grants, &[(request.name, request.target)])?;
    signed(runner, find(runner, request, &linked, Some(undo), true)?)
}

/// The same once more, of what was proposed already: what it reads is no evidence, and nothing of it is kept.
pub(crate) fn rehearse_again(
    runner: &Runner,
    request: &RehearsalRequest<'_>,
    undo: Option<&Undo>,
) -> Result<RehearsalDocument, PipelineError> {
    let target = [(request.name, request.target)];
    let linked = match undo {
        None => Linked::link(runner, request.bundle, request.grants, &target)?,
        Some(_) => Linked::link_undo(runner, request.bundle, request.grants, &target)?,
    };
    find(runner, request, &linked, undo, false)
}

fn signed(runner: &Runner, document: RehearsalDocument) -> Result<Rehearsed, PipelineError> {
    let digest = runner.sign_and_keep_rehearsal(&document)?;
    Ok(Rehearsed { document, digest })
}

/// What a rehearsal finds; `kept` says whether every read of it is recorded as evidence.
fn find(
    runner: &Runner,
    request: &RehearsalRequest<'_>,
    linked: &Linked,
    undo: Option<&Undo>,
    kept: bool,
) -> Result<RehearsalDocument, PipelineError> {
    let context = StepContext::new(request.arguments, request.now, request.seed);
    let recorded = Recorded::default();
    let stage = Stage { runner, request, linked, undo, context, recorded: recorded.clone(), kept };

    runner.note("rehearsal: the check, on the untouched target");
    let (check_before, denied_before) = stage.check_untouched()?;
    let overlay = stage.on_overlay()?;

    // What nobody will be asked to approve is no reason to use a run's credentials.
    let failed = overlay.fix_failure.is_some() || overlay.rollback_failure.is_some() || !overlay.unrestored.is_empty();
    let denied = !overlay.denied.is_empty() || !denied_before.is_empty();
    let preflight = match !failed && !denied {
        true => crate::preflight::of_plan(runner, request.target, &overlay.plan)?,
        false => Vec::new(),
    };
    let mut denied = denied_before;
    for denial in overlay.denied {
        if !denied.contains(&denial) {
            denied.push(denial);
        }
    }
    Ok(RehearsalDocument {
        version: DOCUMENT_VERSION,
        bundle: request.bundle.digest(),
        arguments: request.arguments.clone(),
        target: request.name.to_owned(),
        configuration: request.target.digest(),
        grants: request.grants.clone(),
        now: request.now,
        seed: request.seed,
        undoes: undo.map(|undo| undo.undoes().clone()),
        plan: overlay.plan,
        preflight,
        check_before,
        check_after: overlay.check_after,
        fix_failure: overlay.fix_failure,
        rollback_failure: overlay.rollback_failure,
        rollback_rehearsed: overlay.rollback_rehearsed,
        restores: overlay.unrestored.is_empty(),
        unrestored: overlay.unrestored,
        denied,
        least: overlay.least,
        evidence: recorded.references(),
        at: runner.now(),
    })
}

struct Stage<'a> {
    runner: &'a Runner,
    request: &'a RehearsalRequest<'a>,
    linked: &'a Linked,
    undo: Option<&'a Undo>,
    context: StepContext,
    recorded: Recorded,
    /// Whether its reads are recorded as evidence.
    kept: bool,
}

/// What the overlay showed.
struct Overlay {
    plan: Plan,
    check_after: Verdict,
    fix_failure: Option<String>,
    rollback_failure: Option<String>,
    rollback_rehearsed: bool,
    unrestored: Vec<String>,
    denied: Vec<Denial>,
    least: RoleGrants,
}

impl Stage<'_> {
    fn sessions(&self, phase: Phase) -> Result<Sessions, PipelineError> {
        self.runner.sessions(self.request.target, phase)
    }

    fn witness(&self) -> Box<dyn Witness> {
        if !self.kept {
            return Box::new(Unwitnessed);
        }
        Box::new(EvidenceWitness::new(
            self.runner,
            self.request.name,
            self.request.principal,
            Purpose::Step(self.request.bundle.steps()),
            self.recorded.clone(),
        ))
    }

    fn bounds(&self, grants: &[countersign_model::Grant]) -> Result<Bounds, Fault> {
        Bounds::new(self.runner.registry(), grants)
    }

    fn granted(&self, role: Role) -> Result<Bounds, Fault> {
        self.bounds(self.request.grants.get(&role).map(Vec::as_slice).unwrap_or_default())
    }

    fn readable(&self) -> Result<Bounds, Fault> {
        self.bounds(&self.request.target.investigation.ceiling)
    }

    fn allowance(&self, role: Role) -> Result<Allowance, Fault> {
        let writable = self.bounds(&self.request.target.remediation.ceiling)?;
        Ok(Allowance::rehearsed(self.granted(role)?, writable, self.readable()?))
    }

    fn check_untouched(&self) -> Result<(Verdict, Vec<Denial>), PipelineError> {
        let work = Work::Observe { denied: Denials::default() };
        let gate = GatePort::new(Gate::new(self.sessions(Phase::Observe)?, work, self.witness()));
        let allowance = Allowance::new(self.granted(Role::Check)?, self.readable()?);
        let ended = self.linked.run(&gate, Role::Check, allowance, &self.context)?;
        let denied = match gate.lock().work() {
            Work::Observe { denied } => denied.list().to_vec(),
            _ => Vec::new(),
        };
        Ok((verdict(ended, false), denied))
    }

    fn on_overlay(&self) -> Result<Overlay, PipelineError> {
        let rehearsal = Rehearsal::new(Box::new(self.runner.blobs()));
        let work = Work::Rehearse(Box::new(rehearsal));
        let gate = GatePort::new(Gate::new(self.sessions(Phase::Rehearse)?, work, self.witness()));

        let fix_failure = self.forward(&gate)?;
        self.runner.note("rehearsal: the check, on the overlay");
        let check = self.step(&gate, Role::Check)?;
        let check_after = verdict(check, with_rehearsal(&gate, |rehearsal, _| rehearsal.stale())?);

        self.runner.note("rehearsal: undo and rollback, on the overlay");
        let undone = with_rehearsal(&gate, |rehearsal, sessions| rehearsal.undo_exact(sessions))?;
        let mut rollback_failure = undone.err().map(|fault| format!("the host's undo failed: {}", fault.what));
        let mut rollback_rehearsed = false;
        if rollback_failure.is_none() && self.linked.has(Role::Rollback) {
            rollback_failure = failure(&self.step(&gate, Role::Rollback)?);
            rollback_rehearsed = rollback_failure.is_none();
        }
        let unrestored = with_rehearsal(&gate, Rehearsal::unrestored)?;
        let mut plan = with_rehearsal(&gate, |rehearsal, _| rehearsal.plan().clone())?;
        if plan.changes().any(|planned| planned.change.withheld) {
            plan.blind = Some(blind()?);
        }
        let mut overlay = with_rehearsal(&gate, |rehearsal, _| Overlay {
            plan,
            check_after,
            fix_failure,
            rollback_failure,
            rollback_rehearsed,
            unrestored,
            denied: rehearsal.denied().to_vec(),
            least: rehearsal.usage().least(),
        })?;
        if let (Some(_), Some(own)) = (self.undo, self.request.grants.get(&Role::Fix)) {
            // Each of them is needed, as it is: that is how they were chosen.
            overlay.least.insert(Role::Fix, own.clone());
        }
        Ok(overlay)
    }

    /// The plan's forward part, and how it ended where it did not end well.
    fn forward(&self, gate: &GatePort) -> Result<Option<String>, PipelineError> {
        let Some(undo) = self.undo else {
            self.runner.note("rehearsal: the fix, on an overlay");
            return Ok(failure(&self.step(gate, Role::Fix)?));
        };
        self.runner.note(&format!("rehearsal: what puts the changes of run {} back, on an overlay", undo.run()));
        gate.lock().begin_forward(Step { role: Some(Role::Fix), allowance: self.allowance(Role::Fix)? });
        for change in undo.backwards() {
            match gate.lock().revert(change) {
                Ok(Reply::Value(_)) => {}
                Ok(Reply::Fault(fault)) if fault.kind == FaultKind::Changed => {
                    return Err(crate::undo::conflict(undo.run(), &fault.what));
                }
                Ok(Reply::Fault(Fault { what, .. })) | Err(Stop(what)) => {
                    return Err(PipelineError::refused(what).with_hint("nothing changed; undo it by hand"));
                }
            }
        }
        gate.lock().end();
        if !self.linked.has(Role::Rollback) {
            return Ok(None);
        }
        self.runner.note("rehearsal: the rollback step, on the overlay");
        let allowance = self.allowance(Role::Rollback)?;
        Ok(failure(&self.linked.run_forward(gate, Role::Rollback, allowance, &self.context)?))
    }

    fn step(&self, gate: &GatePort, role: Role) -> Result<Ended, PipelineError> {
        self.linked.run(gate, role, self.allowance(role)?, &self.context)
    }
}

fn with_rehearsal<T>(gate: &GatePort, f: impl FnOnce(&mut Rehearsal, &mut Sessions) -> T) -> Result<T, PipelineError> {
    match gate.lock().parts() {
        (Work::Rehearse(rehearsal), sessions) => Ok(f(rehearsal, sessions)),
        _ => Err(PipelineError::failed("the rehearsal was lost")),
    }
}

/// Chance that nobody can try out.
fn blind() -> Result<String, PipelineError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| PipelineError::failed(error.to_string()))?;
    Ok(hex::encode(bytes))
}

fn failure(ended: &Ended) -> Option<String> {
    ended.result.as_ref().err().map(ToString::to_string)
}

/// What a check said. One that read what nobody can know cannot tell, whatever it says.
pub(crate) fn verdict(ended: Ended, stale: bool) -> Verdict {
    match ended.result {
        Ok(Output::Verdict(Verdict::Healthy)) if stale => {
            Verdict::CannotTell("it used a read that a rehearsal cannot know".to_owned())
        }
        Ok(Output::Verdict(verdict)) => verdict,
        Ok(_) => Verdict::CannotTell("it gave no verdict".to_owned()),
        Err(failure) => Verdict::CannotTell(format!("the check failed: {failure}")),
    }
}

/// Why nobody should be asked to approve what this rehearsal found, if so.
pub(crate) fn unfit(document: &RehearsalDocument, rollback: RollbackBy, success: Success) -> Option<PipelineError> {
    if let Some(denial) = document.denied.first() {
        let more = document.denied.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        let what = format!("the {} step was denied `{}`: {}{more}", denial.role, denial.call, denial.why);
        let hint = match &denial.grant {
            Some(grant) => format!("the grant that would have allowed it: `{grant}`"),
            None => "no grant would have allowed it: the step must do without".to_owned(),
        };
        return Some(PipelineError::refused(what).with_hint(hint));
    }
    if let Some(failure) = &document.fix_failure {
        // What undoes a run has failed before, where a change could not be put back.
        let what = if document.undoes.is_some() { "rollback step, run to undo," } else { "fix" };
        return Some(
            PipelineError::refused(format!("the {what} failed in rehearsal: {failure}"))
                .with_hint("nothing changed; see with `countersign rehearse` what it does, and correct it"),
        );
    }
    if document.plan.forward.is_empty() {
        return Some(
            PipelineError::refused("the fix changes nothing, so there is nothing to approve")
                .with_hint("see whether the target needs it at all"),
        );
    }
    if let Some(failure) = &document.rollback_failure {
        return Some(
            PipelineError::refused(format!("the rollback failed in rehearsal: {failure}"))
                .with_hint("nothing changed; see with `countersign rehearse` what it does, and correct it"),
        );
    }
    if let Some(subject) = document.unrestored.first() {
        let what = format!("the rollback does not put everything back, as the rehearsal shows: {subject}");
        return Some(PipelineError::refused(what).with_hint("a rollback may only put back what the fix changed"));
    }
    let inexact = document.plan.forward.iter().find(|change| change.reversibility != Reversibility::Exact);
    if let (RollbackBy::Undo, Some(change)) = (rollback, inexact) {
        let what = format!("`{}` is {}, which undo alone cannot answer", change.summary, change.reversibility.name());
        let hint = "set `rollback = \"step\"` in remediation.toml and write a rollback step";
        return Some(PipelineError::refused(what).with_hint(hint));
    }
    if let Some(unable) = crate::preflight::unable(document) {
        return Some(unable);
    }
    if document.undoes.is_some() {
        // Its check was written to see the fix, which is there now and shall not be.
        return None;
    }
    crate::check::must_fail_before(&document.check_before, success, &document.target).err()
}
