use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_bundle::Bundle;
use countersign_capability::{Registry, StepContext};
use countersign_gate::{Allowance, GatePort, Step};
use countersign_model::documents::{ProposalDocument, RoleGrants};
use countersign_model::{Access, Role};
use countersign_sandbox::{Admitted, Ended, Limits};
use countersign_worker::{Mechanism, WorkerError};

use crate::error::PipelineError;
use crate::runner::Runner;
use crate::target::Target;

/// A bundle's steps, inspected, compiled and linked to what their grants name and nothing else, each in a process of its own.
pub struct Linked {
    steps: BTreeMap<Role, countersign_worker::Step>,
    interrupted: Arc<AtomicBool>,
}

impl Linked {
    /// Inspects each step before it compiles it, refuses what its role, its grants or one of the targets does not
    /// allow, and links the rest.
    ///
    /// # Errors
    /// When a step is not a component, or is refused.
    pub fn link(
        runner: &Runner,
        bundle: &Bundle,
        grants: &RoleGrants,
        targets: &[(&str, &Target)],
    ) -> Result<Self, PipelineError> {
        Self::link_roles(runner, bundle, grants, targets, &Role::ALL)
    }

    /// The same of the steps that undo a run: its fix is not run again, and so not linked.
    pub(crate) fn link_undo(
        runner: &Runner,
        bundle: &Bundle,
        grants: &RoleGrants,
        targets: &[(&str, &Target)],
    ) -> Result<Self, PipelineError> {
        Self::link_roles(runner, bundle, grants, targets, &UNDOING)
    }

    /// The same of what puts a run's target back.
    pub(crate) fn link_rollback(
        runner: &Runner,
        bundle: &Bundle,
        grants: &RoleGrants,
        targets: &[(&str, &Target)],
    ) -> Result<Self, PipelineError> {
        Self::link_roles(runner, bundle, grants, targets, &[Role::Rollback])
    }

    /// No step at all.
    pub(crate) fn none() -> Self {
        Self { steps: BTreeMap::new(), interrupted: Arc::default() }
    }

    /// What this kernel lacks of what has to hold a step's process, where the operator said that it may.
    pub(crate) fn lacking(&self) -> Vec<Mechanism> {
        let all: BTreeSet<_> = self.steps.values().flat_map(|step| step.lacking().iter().copied()).collect();
        all.into_iter().collect()
    }

    /// What a proposal's steps are linked to: all of them, or those that undo a run.
    pub(crate) fn link_for(
        runner: &Runner,
        bundle: &Bundle,
        document: &ProposalDocument,
        targets: &[(&str, &Target)],
    ) -> Result<Self, PipelineError> {
        Self::link_roles(runner, bundle, &document.grants, targets, roles(document))
    }

    fn link_roles(
        runner: &Runner,
        bundle: &Bundle,
        grants: &RoleGrants,
        targets: &[(&str, &Target)],
        roles: &[Role],
    ) -> Result<Self, PipelineError> {
        let admitted = admit(runner.registry(), bundle, grants, roles)?;
        for (role, step) in &admitted {
            if step.inspection().wasi()
                && let Some((name, _)) = targets.iter().find(|(_, target)| !target.wasi)
            {
                return Err(refuses_wasi(*role, name));
            }
        }
        // All at once, since each process takes a moment to load its step.
        let mut starting = Vec::new();
        for (role, step) in &admitted {
            let granted = accesses(grants, *role);
            starting.push((*role, runner.workers().start(step, &granted).map_err(|error| not_ready(*role, &error))?));
        }
        let mut steps = BTreeMap::new();
        for (role, step) in starting {
            steps.insert(role, step.ready().map_err(|error| not_ready(role, &error))?);
        }
        let linked = Self { steps, interrupted: runner.interruption() };
        for mechanism in linked.lacking() {
            runner.note(&format!(
                "this kernel has no {}, and the configuration lets steps run without",
                mechanism.name()
            ));
        }
        Ok(linked)
    }

    /// Whether there is a step in this role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.steps.contains_key(&role)
    }

    /// Runs one step to its end through a gate. The words of one that has read what is sensitive are not in its answer.
    pub(crate) fn run(
        &self,
        gate: &GatePort,
        role: Role,
        allowance: Allowance,
        context: &StepContext,
    ) -> Result<Ended, PipelineError> {
        let step = self.step(role)?;
        gate.lock().begin(Step { role: Some(role), allowance });
        // What puts a target back goes on, whoever would rather see it end.
        Ok(end(step, gate, context, &|| role != Role::Rollback && self.interrupted.load(Ordering::Relaxed)))
    }

    /// The same where what the step changes is the forward part of the plan: a rollback step that undoes a run.
    pub(crate) fn run_forward(
        &self,
        gate: &GatePort,
        role: Role,
        allowance: Allowance,
        context: &StepContext,
    ) -> Result<Ended, PipelineError> {
        let step = self.step(role)?;
        gate.lock().begin_forward(Step { role: Some(role), allowance });
        Ok(end(step, gate, context, &|| self.interrupted.load(Ordering::Relaxed)))
    }

    fn step(&self, role: Role) -> Result<&countersign_worker::Step, PipelineError> {
        self.steps.get(&role).ok_or_else(|| PipelineError::failed(format!("the bundle has no {role} step")))
    }
}

fn end(
    step: &countersign_worker::Step,
    gate: &GatePort,
    context: &StepContext,
    interrupted: &dyn Fn() -> bool,
) -> Ended {
    let ended = step.run(&mut gate.clone(), context.clone(), &Limits::default(), interrupted);
    let mut gate = gate.lock();
    gate.end();
    if gate.tainted() { crate::withhold::words(ended) } else { ended }
}

/// Why a step cannot be run. Nothing of it has run.
fn not_ready(role: Role, error: &WorkerError) -> PipelineError {
    let what = format!("the {role} step: {error}");
    match error {
        WorkerError::Unconfined(missing) => {
            let names: Vec<_> = missing.iter().map(|mechanism| format!("\"{}\"", mechanism.name())).collect();
            PipelineError::refused(what).with_hint(format!(
                "nothing changed. Use a kernel that has it (Linux 5.13 or later, and `landlock` among what \
                 /sys/kernel/security/lsm lists); or an operator may let steps run without, by `without = [{}]` under \
                 `[sandbox]` in the configuration: each run's record says so",
                names.join(", ")
            ))
        }
        WorkerError::CompileTime(_) => PipelineError::failed(what).with_hint(
            "nothing changed. An operator may give it more time by `compile-within` under `[sandbox]` in the configuration",
        ),
        WorkerError::Start(_) => PipelineError::failed(what).with_hint(
            "the step did nothing. Give this process the capabilities, the memory and the number of processes that the error \
             speaks of, and try again",
        ),
        _ => PipelineError::failed(what),
    }
}

/// The steps that undo a run.
const UNDOING: [Role; 2] = [Role::Rollback, Role::Check];

/// The steps that a proposal would run: all of them, or those that undo a run.
pub(crate) const fn roles(document: &ProposalDocument) -> &'static [Role] {
    match document.undoes {
        None => &Role::ALL,
        Some(_) => &UNDOING,
    }
}

/// Inspects these steps of a bundle and refuses what its role or its grants do not allow. Compiles nothing.
pub(crate) fn admit(
    registry: &Registry,
    bundle: &Bundle,
    grants: &RoleGrants,
    roles: &[Role],
) -> Result<Vec<(Role, Admitted)>, PipelineError> {
    let mut admitted = Vec::new();
    for role in roles.iter().copied() {
        let Some(step) = bundle.step(role) else { continue };
        let in_step = |error: &dyn std::fmt::Display| format!("the {role} step: {error}");
        let inspection = countersign_sandbox::inspect(registry, step.bytes())
            .map_err(|error| PipelineError::failed(in_step(&error)))?;
        let step = inspection.admit(role, &accesses(grants, role)).map_err(|refusal| {
            PipelineError::refused(in_step(&refusal)).with_hint("nothing was compiled, and nothing changed")
        })?;
        admitted.push((role, step));
    }
    Ok(admitted)
}

/// Said of a step of an ordinary toolchain where the operator wants none.
fn refuses_wasi(role: Role, target: &str) -> PipelineError {
    let what = format!("the {role} step imports WASI, and the target `{target}` refuses that");
    PipelineError::refused(what).with_hint(
        "build it for `wasm32-unknown-unknown` with the SDK, or an operator may set `wasi = true` for the target; \
         nothing was compiled, and nothing changed",
    )
}

/// Which interfaces a role's grants open.
fn accesses(grants: &RoleGrants, role: Role) -> BTreeSet<(String, Access)> {
    let own = grants.get(&role).map(Vec::as_slice).unwrap_or_default();
    // Many grants open few interfaces.
    let interfaces: BTreeSet<_> = own.iter().map(|grant| (grant.capability.as_str(), grant.access)).collect();
    interfaces.into_iter().map(|(capability, access)| (capability.to_owned(), access)).collect()
}
