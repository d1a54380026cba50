use countersign_capability::{Phase, StepContext};
use countersign_gate::{Allowance, Bounds, Gate, GatePort, Live, Sessions, Step, Witness, Work};
use countersign_model::documents::{Confirmation, Derived, Terms};
use countersign_model::{Change, Grant, Outcome, Reversibility, Role, Success, Verdict};
use countersign_record::{RunStart, Unattended};
use countersign_sandbox::Failure;
use countersign_trust::Authorized;

use crate::actor::Actor;
use crate::approval::Approval;
use crate::check;
use crate::command::Printed;
use crate::drift;
use crate::error::PipelineError;
use crate::guards;
use crate::left::Left;
use crate::link::Linked;
use crate::locks;
use crate::order::{self, Order};
use crate::preflight;
use crate::report::{ReportedChange, ReportedConfirmation, RunReport, UndoneRun};
use crate::runner::Runner;
use crate::schedule::hold;
use crate::target::Target;
use crate::told;
use crate::undo::Undo;
use crate::undoing;
use crate::validators::CommandValidators;
use crate::witness::{LogWitness, Unwitnessed};
use countersign_model::documents::GuardState;

mod confirming;
mod going_on;
mod not_begun;
mod taken_over;

use going_on::late;
pub(crate) use going_on::{over, past};
pub(crate) use not_begun::not_begun;
pub(crate) use taken_over::{TakenUp, Waited};

/// A run under way: its use is spent, its journal is open, and from here on it ends as a [`RunReport`].
pub struct Run<'a> {
    runner: &'a Runner,
    name: &'a str,
    target: &'a Target,
    undo: Option<&'a Undo>,
    approval: Approval,
    linked: Linked,
    /// Why the rollback step cannot be run, where it cannot.
    pub(crate) unlinked: Option<String>,
    /// Whether it is another process's run that is rolled back.
    pub(crate) recovering: bool,
    /// Whether another process began it.
    taken_up: bool,
    gate: GatePort,
    pub(crate) guards_before: Vec<GuardState>,
    pub(crate) guards_after: Vec<GuardState>,
    pub(crate) check: Option<Verdict>,
    context: StepContext,
    id: String,
    /// Who started it; none where that is not recorded.
    actor: Option<String>,
    /// The confirmation that it waits for once it is found good.
    confirmation: Option<Confirmation>,
    /// Why what it changed stays, once that was decided by a person or by silence.
    kept: Option<String>,
    /// The confirmation that it waited for, and what came.
    word: Option<ReportedConfirmation>,
}

impl<'a> Run<'a> {
    /// Holds the target and what the run may change, asks the guards, tests that every subject still is as the plan found it, and opens the journal.
    ///
    /// # Errors
    /// A refusal when a precondition does not hold; nothing changed and no use is spent.
    pub(crate) fn begin(
        runner: &'a Runner,
        (order, actor): (&'a Order<'a>, &Actor),
        authorized: Authorized,
        linked: Linked,
    ) -> Result<Self, PipelineError> {
        let confirmation = confirming::agreed(&authorized.manifest().predicate, order.confirm_within)?;
        // Held before anything is tested: what holds now could otherwise be another run's change away from holding.
        let hold = locks::hold(runner, order, &authorized.manifest().predicate)?;
        told::agrees(runner, order, &authorized)?;
        let guards_before = guards::ask(runner, order.target);
        for guard in &guards_before {
            runner.note(&format!("guard before: {}", guards::describe(guard)));
        }
        let mut sessions = runner.sessions(order.target, Phase::Live)?;
        let plan = &order.rehearsal.plan;
        drift::refuse(order, &drift::drift(runner, &mut sessions, &plan.forward))?;
        preflight::refuse(runner, order, &mut sessions)?;
        let document = order.proposal.document();
        let context = StepContext::new(&document.arguments, document.now, document.seed);
        if order.undo.is_none() {
            let verdict =
                ask_check(runner, order.target, &linked, authorized.grants(Role::Check), &context, Printed::Told);
            runner.note(&format!("before the fix {}", check::describe_verdict(&verdict)));
            check::must_fail_before(&verdict, document.success, order.name)?;
        }
        runner.keeps_images_of(plan)?;
        if order.undo.is_some() {
            runner.has_what_is_put_back(plan)?;
        }
        // Whatever can fail comes before the journal: a run that has begun must end.
        let validators = match order.undo {
            None => CommandValidators::new(runner, order.target)?,
            Some(_) => CommandValidators::none(runner),
        };
        let authorized = order::still_authorized(runner, order, &authorized)?;
        let terms = &authorized.manifest().predicate;
        if let Some(derived) = authorized.derived() {
            runner.state().approvals().add_manifest(&order.proposal.digest(), &derived.bytes)?;
        }
        let start = RunStart {
            proposal: &order.proposal.digest(),
            manifest: &authorized.manifest_digest(),
            target: order.name,
            max_uses: terms.uses,
            sources: authorized.derived().map_or(&[], |derived| &derived.sources),
            standing: authorized.derived().and_then(|derived| derived.standing.as_ref()).map(|used| Unattended {
                standing: &used.standing,
                since: used.not_before,
                targets: &used.targets,
                per_hour: used.per_hour,
                per_day: used.per_day,
            }),
            approvers: authorized.approvers(),
            independent: authorized.independent(),
            at: runner.now(),
            plan,
            guards: &guards_before,
            actor: actor.recorded(),
        };
        let journal = runner.begin_run(start, hold).map_err(|error| not_begun(runner, order, &error))?;
        let id = journal.run().to_owned();
        runner.note(&format!("run {id}: every precondition holds, the journal is open"));

        let mut live = Live::new(journal, terms.mode, plan, Box::new(validators), runner.interruption());
        if let Some(end) = terms.finish_by {
            let (state, clock) = (runner.state(), runner.clock());
            live.until(move || state.clock().has_come(end, clock()).unwrap_or(true).then(|| late(end)));
        }
        runner.under_way().began(&id, order.name, &terms.rollback_owner, live.tally());
        let gate = Gate::new(sessions, Work::Live(Box::new(live)), Box::new(LogWitness::new(runner)));
        Ok(Self {
            runner,
            name: order.name,
            target: order.target,
            undo: order.undo,
            approval: Approval::of(&authorized),
            linked,
            unlinked: None,
            recovering: false,
            taken_up: false,
            gate: GatePort::new(gate),
            guards_before,
            guards_after: Vec::new(),
            check: None,
            context,
            id,
            actor: Some(actor.name().to_owned()),
            confirmation,
            kept: None,
            word: None,
        })
    }

    fn terms(&self) -> &Terms {
        &self.approval.terms
    }

    /// Runs the fix, or what undoes an earlier run; every change is journaled before it is made.
    ///
    /// # Errors
    /// Why the run has to be rolled back.
    pub(crate) fn apply(&mut self) -> Result<(), String> {
        let ended = match self.undo {
            Some(undo) => undoing::apply(self, undo),
            None => {
                self.runner.note("fix: runs with what was signed and nothing else");
                let ended = self.step(Role::Fix)?;
                ended.result.map(drop).map_err(|failure| failed("fix", &failure))
            }
        };
        let (failure, complete) = self.with_live(|live, _| (live.failure().map(str::to_owned), live.complete()))?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        ended?;
        complete
    }

    /// Runs the validators that nothing irreversible has made run yet.
    ///
    /// # Errors
    /// Why the run has to be rolled back.
    pub(crate) fn validate(&mut self) -> Result<(), String> {
        self.with_live(|live, _| live.validate())?
    }

    /// Asks check and guards until they hold for as long as the terms say; of what undoes a run, proof and guards.
    ///
    /// # Errors
    /// Why the run has to be rolled back.
    pub(crate) fn await_success(&mut self) -> Result<(), String> {
        if let Some(undo) = self.undo {
            return undoing::await_proof(self, undo);
        }
        let success = self.success();
        let mut said = String::new();
        let (runner, finish_by) = (self.runner, self.finish_by());
        hold(
            success,
            || over(runner, finish_by),
            |attempt| {
                let looked = self.look();
                // Only what is news: the same answer forty times tells nobody anything.
                let failing = self.guards_after.iter().find(|guard| !guard.holds);
                let says = self.check.as_ref().map(|verdict| check::describe_answer(verdict, failing));
                if let Some(says) = says.filter(|says| *says != said) {
                    runner.note(&format!("check, {}: {says}", check::describe_attempt(attempt)));
                    said = says;
                }
                looked
            },
        )
    }

    /// Asks check and guards once.
    ///
    /// # Errors
    /// The first that does not hold.
    fn look(&mut self) -> Result<(), String> {
        let verdict = self.ask_check();
        self.guards_after = self.ask_guards();
        self.check = Some(verdict.clone());
        match (verdict, self.guards_after.iter().find(|guard| !guard.holds)) {
            (Verdict::Healthy, None) => Ok(()),
            (Verdict::Healthy, Some(guard)) => Err(guards::sentence(guard)),
            (verdict, _) => Err(check::describe_verdict(&verdict)),
        }
    }

    /// Whether what is said of the target is told: not once a sensitive subject was, or may have been, changed,
    /// since whoever uses it may quote it.
    fn printed(&self) -> Printed {
        let changed = self.with_live(|live, _| live.made().any(|(_, change)| change.withheld));
        if changed.unwrap_or(true) { Printed::Withheld } else { Printed::Told }
    }

    /// Keeps the changes.
    ///
    /// # Errors
    /// Never after the commit is durable; before that the run is rolled back instead.
    pub(crate) fn commit(self) -> Result<RunReport, PipelineError> {
        let reason = match (&self.kept, self.undo) {
            (Some(kept), _) => kept.clone(),
            (None, None) => "check and guards hold".to_owned(),
            (None, Some(undo)) => format!("every subject is as it was before run {}; no guard is worse", undo.run()),
        };
        let mut report = self.report(Outcome::Committed, &reason, Left::default())?;
        match (self.finish(&report), &self.kept) {
            (Ok(()), _) => report.left_behind = self.let_go(),
            // That was decided, and may be durable: whoever recovers commits it, and must find it as it is.
            (Err(why), Some(_)) => report.unrecorded = Some(why),
            (Err(why), None) => return self.roll_back(&format!("the commit could not be recorded: {why}")),
        }
        Ok(report)
    }

    /// Puts the target back: the host's undo first, backwards; then the rollback step; then the proof.
    ///
    /// # Errors
    /// Only when even the journal's lock is lost.
    pub(crate) fn roll_back(mut self, reason: &str) -> Result<RunReport, PipelineError> {
        self.runner.under_way().rolls_back();
        self.runner.note(&format!("rolling back: {reason}"));
        let changed = self.with_live(|live, _| live.changed()).map_err(lost)?;
        let mut left = Left::default();
        let mut in_doubt = false;
        if changed {
            in_doubt = crate::roll_back::put_back(&mut self, reason, &mut left)?;
        } else {
            self.runner.note("nothing was changed, so there is nothing to undo");
        }
        self.await_recovery(&mut left);
        let outcome = match (in_doubt, left.is_empty()) {
            (true, _) => Outcome::InDoubt,
            (false, true) => Outcome::RolledBack,
            (false, false) => Outcome::RollbackIncomplete,
        };
        let mut report = self.report(outcome, reason, left)?;
        match self.finish(&report) {
            Ok(()) => {
                if outcome == Outcome::RolledBack {
                    report.left_behind = self.let_go();
                }
                Ok(report)
            }
            // The target is as the report says; that the record does not say so is a person's business too.
            Err(why) => {
                report.unrecorded = Some(why);
                Ok(report)
            }
        }
    }

    fn finish(&self, report: &RunReport) -> Result<(), String> {
        self.with_live(|live, _| {
            let (json, now) = (report.to_json(), self.runner.now());
            live.journal().finish_leaving(report.outcome, &report.reason, &json, &report.open, now)
        })?
        .map_err(|error| error.to_string())?;
        self.runner.under_way().ended();
        Ok(())
    }

    /// Gives what was put back the time that success was given, and lists the guards that stay worse than before.
    fn await_recovery(&mut self, left: &mut Left) {
        let terms = Success { hold_ms: 0, ..self.success() };
        let recovered = hold(
            terms,
            || None,
            |_| {
                self.guards_after = guards::ask_telling(self.runner, self.target, self.printed());
                let worse = guards::worse(&self.guards_before, &self.guards_after);
                if worse.is_empty() { Ok(()) } else { Err("a guard is worse than before".to_owned()) }
            },
        );
        if recovered.is_err() {
            for guard in guards::worse(&self.guards_before, &self.guards_after) {
                left.guard(&guard.name, format!("{} (it held before the run)", guards::sentence(&guard)));
            }
        }
        for guard in &self.guards_after {
            self.runner.note(&format!("guard after the rollback: {}", guards::describe(guard)));
        }
    }

    /// Runs the fix or the rollback step through the live gate.
    pub(crate) fn step(&self, role: Role) -> Result<countersign_sandbox::Ended, String> {
        self.linked.run(&self.gate, role, self.allowance(role)?, &self.context).map_err(|error| error.to_string())
    }

    /// Runs the rollback step through the live gate, as a part of what is to stay.
    pub(crate) fn step_forward(&self, role: Role) -> Result<countersign_sandbox::Ended, String> {
        let ended = self.linked.run_forward(&self.gate, role, self.allowance(role)?, &self.context);
        ended.map_err(|error| error.to_string())
    }

    /// Puts an earlier run's changes back through the live gate, in this order, with what a fix was granted.
    pub(crate) fn revert<'c>(&self, changes: impl Iterator<Item = &'c Change>) -> Result<(), String> {
        let allowance = self.allowance(Role::Fix)?;
        let mut gate = self.gate.lock();
        gate.begin_forward(Step { role: Some(Role::Fix), allowance });
        for change in changes {
            gate.revert(change).map_err(|stop| stop.0)?;
        }
        gate.end();
        Ok(())
    }

    fn allowance(&self, role: Role) -> Result<Allowance, String> {
        let bounds = |grants: &[countersign_model::Grant]| {
            Bounds::new(self.runner.registry(), grants).map_err(|fault| fault.what)
        };
        let ceiling = bounds(&self.target.remediation.ceiling)?;
        Ok(Allowance::new(bounds(self.approval.grants(role))?, ceiling))
    }

    /// When check and guards are asked: as was signed, cut by the operator's own terms.
    pub(crate) fn success(&self) -> Success {
        self.target.success(self.terms().success)
    }

    pub(crate) fn ask_check(&self) -> Verdict {
        let printed = self.printed();
        ask_check(self.runner, self.target, &self.linked, self.approval.grants(Role::Check), &self.context, printed)
    }

    pub(crate) fn ask_guards(&self) -> Vec<GuardState> {
        guards::ask_telling(self.runner, self.target, self.printed())
    }

    pub(crate) const fn runner(&self) -> &'a Runner {
        self.runner
    }

    pub(crate) fn has_rollback_step(&self) -> bool {
        self.linked.has(Role::Rollback)
    }

    /// The live half of the gate, between steps.
    pub(crate) fn with_live<T>(&self, f: impl FnOnce(&mut Live, &mut Sessions) -> T) -> Result<T, String> {
        match self.gate.lock().parts() {
            (Work::Live(live), sessions) => Ok(f(live, sessions)),
            _ => Err("the run's journal was lost".to_owned()),
        }
    }

    /// Lets go of what was kept on the target for undo; gives what could not be removed.
    fn let_go(&self) -> Vec<String> {
        self.with_live(Live::settle).unwrap_or_else(|why| vec![why])
    }

    fn report(&self, outcome: Outcome, reason: &str, left: Left) -> Result<RunReport, PipelineError> {
        let (changes, denied) = self
            .with_live(|live, _| {
                let changes = live.made().map(|(role, change)| ReportedChange::new(role, change)).collect::<Vec<_>>();
                (changes, live.denied().cloned())
            })
            .map_err(lost)?;
        let (left, open) = left.into_parts();
        let irreversible = if outcome == Outcome::Committed { Vec::new() } else { irreversible(&changes) };
        Ok(RunReport {
            run: self.id.clone(),
            target: self.name.to_owned(),
            outcome,
            reason: reason.to_owned(),
            changes,
            left,
            open,
            unrecorded: None,
            left_behind: Vec::new(),
            irreversible,
            denied,
            check: self.check.clone(),
            guards_before: self.guards_before.clone(),
            guards: self.guards_after.clone(),
            approvers: self.approval.approvers.clone(),
            independent: self.approval.independent,
            unattended: match self.terms().derived {
                Some(Derived::Standing(standing)) => Some(standing),
                _ => None,
            },
            rollback_owner: self.terms().rollback_owner.clone(),
            lowered: self.linked.lacking(),
            undoes: self.undo.map(|undo| UndoneRun { run: undo.run().to_owned(), not_undone: undo.not_undone() }),
            confirmation: self.word.clone(),
            break_glass: self.terms().break_glass.clone(),
            actor: self.actor.clone(),
        })
    }
}

/// Why a run is rolled back whose step failed.
pub(crate) fn failed(step: &str, failure: &Failure) -> String {
    match failure {
        Failure::Interrupted => countersign_gate::INTERRUPTED.to_owned(),
        failure => format!("the {step} failed: {failure}"),
    }
}

/// A run that can no longer be told to an end blocks its target until a person has looked.
pub(crate) fn lost(what: String) -> PipelineError {
    PipelineError::PersonNeeded {
        what: format!("the run cannot be brought to an end: {what}"),
        hint: Some("its changes are in the journal: see `countersign runs` and `countersign show RUN`".to_owned()),
        run: None,
        changes: Vec::new(),
    }
}

pub(crate) fn irreversible(changes: &[ReportedChange]) -> Vec<String> {
    let sent = changes.iter().filter(|change| change.reversibility == Reversibility::Irreversible);
    sent.map(|change| change.summary.clone()).collect()
}

/// What the check says of the target now; one that cannot be asked cannot tell.
fn ask_check(
    runner: &Runner,
    target: &Target,
    linked: &Linked,
    granted: &[Grant],
    context: &StepContext,
    printed: Printed,
) -> Verdict {
    let told = printed == Printed::Told;
    let witness: Box<dyn Witness> = if told { Box::new(LogWitness::new(runner)) } else { Box::new(Unwitnessed) };
    let asked = check::ask(runner, target, linked, granted, context, witness)
        .map(|verdict| if told { verdict } else { crate::withhold::reason(&verdict, crate::withhold::CHANGED) });
    asked.unwrap_or_else(|error| Verdict::CannotTell(error.to_string()))
}
