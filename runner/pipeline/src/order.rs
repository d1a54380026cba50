use std::time::Duration;

use countersign_bundle::Bundle;
use countersign_model::Digest;
use countersign_model::documents::{Derived, RehearsalDocument, Terms};
use countersign_model::text::excerpt;
use countersign_record::Unfinished;
use countersign_trust::{Authorized, Proposal, Refusal, Request};

use crate::error::{BlockingRun, PipelineError};
use crate::listing::{ShownChange, put_right};
use crate::locks::{self, LOCK_TIMEOUT};
use crate::pause;
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::standing_approval;
use crate::stored::Stored;
use crate::target::{Target, contained, containing, normalize};
use crate::undo::Undo;

/// What somebody orders to be run: a proposal with everything that belongs to it, as read now.
pub struct Order<'a> {
    pub(crate) stored: &'a Stored,
    /// The proposal, its signature verified.
    pub(crate) proposal: &'a Proposal,
    /// The bundle, every digest verified.
    pub(crate) bundle: &'a Bundle,
    /// The rehearsal, this runner's signature verified.
    pub(crate) rehearsal: &'a RehearsalDocument,
    /// The target's name.
    pub(crate) name: &'a str,
    /// The target as it is configured now.
    pub(crate) target: &'a Target,
    /// The run that it undoes.
    pub(crate) undo: Option<&'a Undo>,
    /// How long to wait at most for what another run holds.
    pub(crate) lock_timeout: Duration,
    /// For how long the run waits for a person's confirmation, in milliseconds, where that is ordered besides what is
    /// signed.
    pub(crate) confirm_within: Option<u64>,
}

impl<'a> Order<'a> {
    /// A run of a proposal on one of its targets, as it is configured now.
    ///
    /// # Errors
    /// When the proposal does not name the target.
    pub fn new(stored: &'a Stored, name: &'a str, target: &'a Target) -> Result<Self, PipelineError> {
        let (proposal, bundle, undo) = (&stored.proposal, &stored.bundle, stored.undo.as_ref());
        let (rehearsal, lock_timeout) = (stored.rehearsal(name)?, LOCK_TIMEOUT);
        Ok(Self { stored, proposal, bundle, rehearsal, name, target, undo, lock_timeout, confirm_within: None })
    }

    /// The same with another time to wait at most for what another run holds.
    #[must_use]
    pub const fn waiting_for_locks(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// The same where the run commits only once a person has confirmed it, within this many milliseconds. What was
    /// signed may be shortened so, and neither lengthened nor left out.
    #[must_use]
    pub const fn confirmed_within(self, milliseconds: Option<u64>) -> Self {
        Self { confirm_within: milliseconds, ..self }
    }
}

/// Why no run would begin, before its target is looked at.
pub(crate) enum Bar {
    /// What was signed does not allow it.
    Decided(Refusal),
    /// Whatever was signed.
    Other(PipelineError),
}

impl From<PipelineError> for Bar {
    fn from(error: PipelineError) -> Self {
        Self::Other(error)
    }
}

impl Bar {
    pub(crate) fn error(self, proposal: &Proposal) -> PipelineError {
        match self {
            Self::Decided(refusal) => refused(&refusal, proposal),
            Self::Other(error) => error,
        }
    }
}

/// What is said where what was signed allows no run of this proposal.
pub(crate) fn refused(refusal: &Refusal, proposal: &Proposal) -> PipelineError {
    let name = proposal_name(&proposal.digest());
    let approve = format!("an approver runs `countersign review {name}`, then `countersign approve {name}`");
    let hint = match refusal {
        Refusal::NotApproved { .. } => approve,
        Refusal::NotUnattended { .. } => {
            format!("{approve}; `countersign trust explain {name}` tells what each standing approval lacks")
        }
        refusal => refusal.hint(&again(proposal)),
    };
    PipelineError::refused(refusal.to_string()).with_hint(hint)
}

/// What is said where what was signed is not taken, and it is about no proposal.
pub(crate) fn refused_by(refusal: &Refusal) -> PipelineError {
    PipelineError::refused(refusal.to_string()).with_hint(refusal.hint(crate::propose::PROPOSE))
}

/// The command, in backticks, that rehearses and proposes the same again: what undoes a run is never revised.
pub(crate) fn again(proposal: &Proposal) -> String {
    match &proposal.document().undoes {
        Some(undoes) => format!("`countersign rollback {}`", undoes.run),
        None => format!("`countersign propose --revise {}`", proposal_name(&proposal.digest())),
    }
}

/// Whether a run may begin, as far as that can be told without looking at its target; what lists proposals asks this
/// too, so that it never says more.
pub(crate) fn preflight(runner: &Runner, order: &Order<'_>) -> Result<Authorized, Bar> {
    unblocked(runner, order)?;
    // Signatures, quorum, window, uses, digests of everything that was read: all or nothing.
    let authorized = authorize(runner, order)?;
    if let Some(run) = locks::dead_holder(runner, order, &authorized.manifest().predicate)? {
        return Err(blocked(runner, order.name, order.target, &run).into());
    }
    guarded(order)?;
    order.target.can_be_asked(order.name, order.undo.is_none())?;
    // Last, so that what is missing besides is told as ever.
    pause::not_paused(runner)?;
    Ok(authorized)
}

/// Refuses a target that nothing but the agent's own check would test.
fn guarded(order: &Order<'_>) -> Result<(), PipelineError> {
    if !order.target.guards.is_empty() {
        return Ok(());
    }
    let what = format!("the target `{}` has no guards, and a run never commits on its own check alone", order.name);
    Err(PipelineError::refused(what)
        .with_hint(format!("add a `[[targets.{}.guards]]` to the configuration", order.name)))
}

/// Refuses while a run on this target died without an outcome.
pub(crate) fn unblocked(runner: &Runner, order: &Order<'_>) -> Result<(), PipelineError> {
    match runner.unfinished(order.name)? {
        None => Ok(()),
        Some(run) => Err(blocked(runner, order.name, order.target, &run)),
    }
}

/// What is said while an unfinished run blocks this target: its own, or one whose run would change the same subjects.
pub(crate) fn blocked(runner: &Runner, name: &str, target: &Target, run: &Unfinished) -> PipelineError {
    if let Some(error) = held_by_waiting(runner, run.run()) {
        return error;
    }
    let its = run.target();
    let (rollback_owner, blocks) = match its == name {
        true => (target.rollback_owner.clone(), "it".to_owned()),
        false => {
            (owner_of(runner, run.run()), format!("what it changes there, which a run on `{name}` would change too"))
        }
    };
    let owner = excerpt(&rollback_owner, 80);
    let changes: Vec<_> = run.changes().iter().map(|change| ShownChange::unfinished(runner, change)).collect();
    PipelineError::PersonNeeded {
        what: format!(
            "run {} on `{its}` died without an outcome and blocks {blocks}; {owner} answers for `{its}`",
            run.run()
        ),
        hint: Some(put_right(&changes, its)),
        run: Some(Box::new(BlockingRun { run: run.run().to_owned(), target: its.to_owned(), rollback_owner })),
        changes,
    }
}

/// Who answers for a run's target, as was signed.
fn owner_of(runner: &Runner, run: &str) -> String {
    let terms = || crate::approval::terms_of(runner, &runner.state().runs().get(run)?);
    terms().map_or_else(|_| "whoever operates it".to_owned(), |terms| terms.rollback_owner)
}

/// What is said of a target that is held by a run that waits for a person's word; none where the run does something else.
pub(crate) fn held_by_waiting(runner: &Runner, run: &str) -> Option<PipelineError> {
    let record = runner.state().runs().get(run).ok()?;
    let waiting = runner.waiting(&record)?;
    let what = format!("the target `{}` is held by the run {run}, which {}", record.target, waiting.sentence());
    Some(PipelineError::refused(what).with_hint(format!("nothing changed; {}", crate::confirm::next(run))))
}

/// What is said where another proposal took the place of this one.
pub(crate) fn superseded(by: &str) -> PipelineError {
    PipelineError::refused(format!("the proposal was superseded by `{by}`")).with_hint(format!(
        "nothing changed; approvals do not carry over: see `countersign review {by}`, and have that one approved"
    ))
}

/// Refuses a proposal whose place another took, or which would undo what is undone already.
pub(crate) fn stands(runner: &Runner, proposal: &Proposal, undo: Option<&Undo>) -> Result<(), PipelineError> {
    if let Some(by) = runner.revision(&proposal.digest())? {
        return Err(superseded(&proposal_name(&by)));
    }
    undo.map_or(Ok(()), |undo| undo.still_stands(runner))
}

/// Everything that was signed, against everything that was read: all terms hold, or nothing runs.
fn authorize(runner: &Runner, order: &Order<'_>) -> Result<Authorized, Bar> {
    stands(runner, order.proposal, order.undo)?;
    let authorized = decide(runner, order, runner.decisive()?)?.map_err(Bar::Decided)?;
    within_ceilings(runner, order.target, &authorized.manifest().predicate.grants)?;
    if authorized.derived().is_some_and(|derived| derived.standing.is_none()) {
        // Each leaves what the plan needs; what they have in common may be less.
        crate::approve::sufficient(runner.registry(), order.stored, &authorized.manifest().predicate.grants)?;
    }
    crate::break_glass::under_review(runner, &authorized)?;
    Ok(authorized)
}

/// Decides again, directly before a run begins: guards and check were asked since, which takes minutes, and meanwhile
/// it may have been denied or the approval may have expired. What is linked already is by that approval and no other.
pub(crate) fn still_authorized(
    runner: &Runner,
    order: &Order<'_>,
    before: &Authorized,
) -> Result<Authorized, PipelineError> {
    let authorized = authorize(runner, order).map_err(|bar| bar.error(order.proposal))?;
    if authorized.manifest_digest() == before.manifest_digest() {
        return Ok(authorized);
    }
    let what = format!("the approval {} allows the run no more", before.manifest_digest().short());
    Err(PipelineError::refused(what)
        .with_hint("nothing changed and no use is spent; another approval allows it: run it again"))
}

/// Whether a run that is under way may go on by the approval that it began by, where another trust policy was accepted
/// since: what was revoked meanwhile lets nothing stay. For whoever began it: it was by this runner's policy.
pub(crate) fn goes_on(runner: &Runner, proposal: &Digest, approval: &Digest) -> Result<(), PipelineError> {
    if runner.has_newest_policy()? {
        return Ok(());
    }
    may_stay(runner, &Stored::load(runner, &proposal.to_string())?, approval)
}

/// The same whichever policy it began by: whoever takes it over may have been started after another one was accepted.
pub(crate) fn may_stay(runner: &Runner, stored: &Stored, approval: &Digest) -> Result<(), PipelineError> {
    let policy = runner.policy_now()?;
    let manifest = runner.state().approvals().manifest(approval)?;
    let manifest = manifest.ok_or_else(|| PipelineError::failed("the approval that the run began by is missing"))?;
    let contains = containing(runner.registry());
    let loaded = match crate::approve::terms(&manifest)? {
        Terms { derived: Some(Derived::Standing(digest)), targets, .. } => {
            let target = targets.first().map(|target| target.name.as_str()).unwrap_or_default();
            runner.standing_by(&digest, target, runner.now())?
        }
        _ => None,
    };
    let standing = loaded.as_ref().map(|loaded| loaded.judged(&policy, &contains));
    let (approvals, case) = (runner.approvals(&stored.proposal.digest())?, stored.case(&policy, &contains));
    countersign_trust::still_approved(&manifest, &approvals, standing.as_ref(), &case)
        .map_err(|refusal| refused(&refusal, &stored.proposal))
}

/// The decision itself, at this time.
///
/// # Errors
/// When what has to be decided about cannot be read.
pub(crate) fn decide(
    runner: &Runner,
    order: &Order<'_>,
    now: u64,
) -> Result<Result<Authorized, Refusal>, PipelineError> {
    if !runner.has_newest_policy()? {
        return Ok(Err(Refusal::NewerPolicy));
    }
    let (decided, unread) = asked(runner, order, now, countersign_trust::authorize)?;
    Ok(match (decided, unread) {
        (Err(Refusal::NotApproved { .. }), Some(unread)) => Err(unread),
        (decided, _) => decided,
    })
}

/// Has the decider asked about a run, with everything that it needs to know; gives besides why a standing approval of its kind
/// cannot be judged by, if one cannot.
///
/// # Errors
/// When that cannot be read.
pub(crate) fn asked<T>(
    runner: &Runner,
    order: &Order<'_>,
    now: u64,
    judge: impl FnOnce(&Request<'_>) -> T,
) -> Result<(T, Option<Refusal>), PipelineError> {
    let approvals = runner.approvals(&order.proposal.digest())?;
    let denials = runner.denials(&order.proposal.digest())?;
    let registry = runner.registry();
    let document = order.proposal.document();
    let contains = containing(registry);
    let (loaded, unread) = runner.standing_for(document, order.name, now)?;
    let standing: Vec<_> = loaded.iter().map(|loaded| loaded.judged(runner.policy(), &contains)).collect();
    let request = Request {
        case: order.stored.case(runner.policy(), &contains),
        standing: &standing,
        reversal: standing_approval::reversal(order.rehearsal),
        approvals: &approvals,
        denials: &denials,
        target: order.name,
        configuration: order.target.digest(),
        runner: runner.fingerprint(),
        bundle: order.bundle.digest(),
        steps: &order.bundle.steps(),
        arguments: &document.arguments,
        plan: order.rehearsal.plan.digest(),
        // What cannot be counted is taken for used up.
        uses_spent: &|manifest| runner.uses(manifest, order.name).unwrap_or(u32::MAX),
        now,
    };
    Ok((judge(&request), unread))
}

/// Refuses grants that reach past the target's ceilings, or to what is the runner's own.
pub(crate) fn within_ceilings(
    runner: &Runner,
    target: &Target,
    grants: &countersign_model::documents::RoleGrants,
) -> Result<(), PipelineError> {
    let registry = runner.registry();
    for (role, grants) in grants {
        let (ceiling, which) = if role.may_write() {
            (&target.remediation.ceiling, "remediation")
        } else {
            (&target.investigation.ceiling, "investigation")
        };
        for grant in grants {
            normalize(registry, runner.protected(), grant)
                .map_err(|why| PipelineError::refused(why).with_hint("nothing changed; ask for less"))?;
            if !contained(registry, ceiling, grant).map_err(PipelineError::failed)? {
                let what =
                    format!("the {role} step asks for `{grant}`, which the target's {which} ceiling does not contain");
                return Err(PipelineError::refused(what).with_hint(format!(
                    "an operator may add `{grant}` to the {which} ceiling; an approval cannot exceed it"
                )));
            }
        }
    }
    Ok(())
}
