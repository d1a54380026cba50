//! A committed run that is to be undone: what is known of it, and what must hold before, while and after.
//!
//! Undoing is a run of its own, with a proposal, an approval and a journal. Its forward part is the runner's: what puts
//! the changes back, last first, and then the bundle's rollback step, which does what only it can. If anything fails it
//! is rolled back like every run.

use countersign_bundle::Bundle;
use countersign_capability::Phase;
use countersign_gate::First;
use countersign_model::documents::{ProposalDocument, RoleGrants, UndoStanding, Undoes};
use countersign_model::text::without_digests;
use countersign_model::{Access, Change, Digest, Grant, Image, Outcome, Reversibility, Role, State};
use countersign_record::{ChangeState, JournaledChange, RecordError, RehearsalBlobs, RunRecord, RunState};
use countersign_trust::{Policy, Principal, PrincipalKind};
use serde::Serialize;

use crate::approval::LOST;
use crate::error::PipelineError;
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::target::Target;

/// A run that was committed once, with everything that its undoing needs.
pub struct Undo {
    run: RunRecord,
    undoes: Undoes,
    /// What it made of the target, in order.
    changes: Vec<Change>,
    /// What was proposed for it.
    document: ProposalDocument,
    /// What each of its steps was allowed.
    approved: RoleGrants,
}

/// What a run's digest is over: everything that its undoing goes by.
#[derive(Serialize)]
struct Record<'a> {
    run: &'a str,
    proposal: Digest,
    manifest: Digest,
    target: &'a str,
    changes: Vec<RecordedChange<'a>>,
}

#[derive(Serialize)]
struct RecordedChange<'a> {
    seq: u32,
    role: Role,
    /// The change whole, its body included: that is what is reverted.
    change: &'a Change,
}

impl Undo {
    /// Reads a run that was committed, whether or not it has been undone since.
    ///
    /// # Errors
    /// A refusal, where it was not committed or is itself an undoing, and where something that was recorded of it is
    /// missing or damaged.
    pub fn load(runner: &Runner, name: &str) -> Result<Self, PipelineError> {
        let state = runner.state();
        let run = state.runs().get(name)?;
        committed(&run)?;
        let manifest = run
            .manifest
            .ok_or_else(|| PipelineError::refused(format!("the run `{}` has no approval", run.id)).with_hint(LOST))?;
        let journaled = state.runs().changes(&run.id)?;
        let document = proposal(runner, &run)?;
        let approved = crate::approval::terms_of(runner, &run)?.grants;
        let undoes = Undoes {
            run: run.id.clone(),
            record: record(&run, manifest, &journaled),
            proposer: document.proposer.clone(),
        };
        let done = journaled.into_iter().filter(|journaled| journaled.state != ChangeState::NotApplied);
        let changes = done.map(|journaled| journaled.change).collect();
        Ok(Self { run, undoes, changes, document, approved })
    }

    /// Reads the run that a proposal undoes, and tests that it is the one that was proposed to be undone.
    pub(crate) fn of(runner: &Runner, document: &ProposalDocument) -> Result<Option<Self>, PipelineError> {
        let Some(undoes) = &document.undoes else { return Ok(None) };
        let undo = Self::load(runner, &undoes.run)?;
        let here = document.targets.iter().all(|target| target.name == undo.run.target);
        if undo.undoes != *undoes || undo.run.bundle != document.bundle || !here {
            let what = format!("what is recorded of the run `{}` is not what was proposed to be undone", undoes.run);
            return Err(PipelineError::refused(what).with_hint(again(&undoes.run)));
        }
        Ok(Some(undo))
    }

    /// The run's name.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run.id
    }

    /// The target that it changed.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.run.target
    }

    /// The bundle that it ran, as the state keeps it.
    ///
    /// # Errors
    /// When it is missing or was changed.
    pub fn bundle(&self, runner: &Runner) -> Result<Bundle, PipelineError> {
        runner.bundle(&self.run.bundle)
    }

    /// What an approver has to know of it.
    pub(crate) fn standing(&self, policy: &Policy) -> UndoStanding {
        UndoStanding {
            run: self.run.id.clone(),
            target: self.run.target.clone(),
            proposal: proposal_name(&self.run.proposal),
            proposer: policy.principal(&self.undoes.proposer).to_string(),
            approvers: self.run.approvers.clone(),
            committed: self.run.finished.unwrap_or(self.run.started),
            not_undone: self.not_undone(),
            undone_by: self.run.undone_by.clone(),
        }
    }

    /// What a proposal says of it.
    pub(crate) const fn undoes(&self) -> &Undoes {
        &self.undoes
    }

    /// What was proposed for it.
    pub(crate) const fn document(&self) -> &ProposalDocument {
        &self.document
    }

    /// The changes that can be put back, last first.
    pub(crate) fn backwards(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().rev().filter(|change| change.reversibility != Reversibility::Irreversible)
    }

    /// What the run did that nothing undoes, one line each.
    #[must_use]
    pub fn not_undone(&self) -> Vec<String> {
        let sent = self.changes.iter().filter(|change| change.reversibility == Reversibility::Irreversible);
        let told = |change: &Change| match change.withheld {
            true => without_digests(&change.summary),
            false => change.summary.clone(),
        };
        sent.map(told).collect()
    }

    /// Refuses what was undone already, perhaps since this was read.
    pub(crate) fn still_stands(&self, runner: &Runner) -> Result<(), PipelineError> {
        match runner.state().runs().get(&self.run.id)?.undone_by {
            None => Ok(()),
            Some(by) => Err(undone(&self.run.id, &by)),
        }
    }

    /// Refuses whoever proposed the run: nobody rolls back a run of their own.
    pub(crate) fn not_by(&self, proposer: &Principal, policy: &Policy) -> Result<(), PipelineError> {
        let ran = policy.principal(&self.undoes.proposer);
        let listed = ran.kind() != PrincipalKind::Unlisted;
        if proposer.fingerprint() != ran.fingerprint() && !(listed && proposer.name() == ran.name()) {
            return Ok(());
        }
        let what = format!("{proposer} proposed the run `{}`, and nobody rolls back a run of their own", self.run.id);
        Err(PipelineError::refused(what).with_hint(
            "nothing changed; have it proposed by somebody else whom the trust policy lets propose. Its approval is by a \
             third",
        ))
    }

    /// What the undoing may do: each write grant of the run's own under which a change can be put back, and what its
    /// rollback step and its check were allowed.
    pub(crate) fn grants(&self, runner: &Runner) -> Result<RoleGrants, PipelineError> {
        let mut grants = self.approved.clone();
        grants.remove(&Role::Investigation);
        let own: Vec<Grant> = grants.remove(&Role::Fix).unwrap_or_default();
        let mut needed: Vec<Grant> = Vec::new();
        for change in self.backwards() {
            let reaching = own.iter().filter(|grant| grant.capability == change.capability);
            let mut found = None;
            for grant in reaching {
                let scopes = runner.registry().get(&grant.capability)?.scopes(std::slice::from_ref(grant))?;
                if !scopes.reaching(Access::Write, &change.subject).is_empty() {
                    found = Some(grant);
                    break;
                }
            }
            let found = found.ok_or_else(|| {
                PipelineError::refused(format!(
                    "no grant of the run's approval covers what it did to `{}`",
                    change.subject
                ))
                .with_hint("nothing changed; undo it by hand")
            })?;
            if !needed.contains(found) {
                needed.push(found.clone());
            }
        }
        grants.insert(Role::Fix, needed);
        Ok(grants)
    }

    /// Refuses where a subject is not as the run left it, with everything that is not. Touches nothing.
    pub(crate) fn unedited(&self, runner: &Runner, target: &Target) -> Result<(), PipelineError> {
        let mut sessions = runner.sessions(target, Phase::Observe)?;
        let mut blobs = runner.blobs();
        let mut edited = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for change in self.backwards() {
            if !seen.insert((&change.capability, &change.subject)) {
                continue;
            }
            match sessions.probe(&mut blobs, change) {
                // A change that changed nothing is as before and as after; making its revert ready tells.
                Ok(State::After | State::Before) => {}
                Ok(State::Elsewhere(what)) => edited.push(format!("{}: {what}", change.subject)),
                Ok(State::Unknowable) => edited.push(format!("{}: its state cannot be told", change.subject)),
                Err(fault) => edited.push(format!("{}: it cannot be read: {}", change.subject, fault.what)),
            }
        }
        if edited.is_empty() { Ok(()) } else { Err(conflict(&self.run.id, &edited.join("; "))) }
    }

    /// Refuses where an image that is needed is kept no longer.
    pub(crate) fn has_images(&self, runner: &Runner) -> Result<(), PipelineError> {
        let blobs = runner.blobs();
        for change in self.backwards() {
            for image in change.images() {
                self.has_image(&blobs, change, image)?;
            }
        }
        Ok(())
    }

    fn has_image(&self, blobs: &RehearsalBlobs, change: &Change, image: Image) -> Result<(), PipelineError> {
        match blobs.open(&image.digest) {
            Ok(_) => Ok(()),
            Err(error @ (RecordError::NotFound { .. } | RecordError::Damaged { .. })) => {
                let (subject, run) = (&change.subject, &self.run.id);
                let what = format!("`{subject}` cannot be put back as it was before the run `{run}`: {error}");
                Err(PipelineError::refused(what).with_hint(LOST))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// For each subject the change that found it as it was before the run.
    pub(crate) fn first_changes(&self) -> Vec<First<'_>> {
        First::of(self.changes.iter())
    }
}

/// What is said of a run that was undone already.
pub(crate) fn undone(run: &str, by: &str) -> PipelineError {
    PipelineError::refused(format!("the run `{run}` was undone already, by `{by}`"))
        .with_hint(format!("nothing changed; there is nothing left to undo: see `countersign show {by}`"))
}

/// A later edit is never overwritten.
pub(crate) fn conflict(run: &str, edited: &str) -> PipelineError {
    let what = format!("the target is not as the run `{run}` left it: {edited}");
    PipelineError::refused(what).with_hint(
        "nothing was touched: a later edit is never overwritten. If a later run made it, undo that one first \
         (`countersign runs`); otherwise put the subject back to how the run left it, or undo it by hand",
    )
}

fn again(run: &str) -> String {
    format!("nothing changed; propose it again: `countersign rollback {run}`")
}

fn committed(run: &RunRecord) -> Result<(), PipelineError> {
    let id = &run.id;
    let refused = |what: String, hint: String| Err(PipelineError::refused(what).with_hint(hint));
    let show = format!("nothing changed; see `countersign show {id}`");
    match run.state {
        RunState::Finished(Outcome::Committed) => match &run.undoes {
            None => Ok(()),
            Some(undone) => {
                let what = format!("the run `{id}` itself undid `{undone}`");
                refused(what, "nothing changed; to have the fix again, propose it again".to_owned())
            }
        },
        RunState::Finished(Outcome::RolledBack) => {
            refused(format!("the run `{id}` was rolled back already: nothing of it stands"), show)
        }
        RunState::Finished(Outcome::Refused) => {
            refused(format!("the run `{id}` was refused: it changed nothing that could be undone"), show)
        }
        RunState::Finished(outcome @ (Outcome::RollbackIncomplete | Outcome::InDoubt)) => refused(
            format!("the run `{id}` was not committed: it ended `{outcome}`"),
            format!("nothing changed; a person closes what it left: `countersign show {id}` lists it"),
        ),
        RunState::Running | RunState::Unfinished if run.waits().is_some() => refused(
            format!("the run `{id}` is about to be committed"),
            "nothing changed; ask again once it is".to_owned(),
        ),
        RunState::Running => refused(
            format!("the run `{id}` has not ended"),
            "nothing changed; wait until it has, or end it with Ctrl-C, which rolls it back".to_owned(),
        ),
        RunState::Unfinished => refused(
            format!("the run `{id}` died without an outcome: it was not committed"),
            format!("nothing changed; a person has to put right what `countersign show {id}` lists"),
        ),
    }
}

fn record(run: &RunRecord, manifest: Digest, journaled: &[JournaledChange]) -> Digest {
    let changes = journaled
        .iter()
        .map(|journaled| RecordedChange { seq: journaled.seq, role: journaled.role, change: &journaled.change })
        .collect();
    let record = Record { run: &run.id, proposal: run.proposal, manifest, target: &run.target, changes };
    // A struct of strings, numbers and JSON values always serializes.
    Digest::of(&serde_json::to_vec(&record).unwrap_or_default())
}

/// What was proposed for the run. Whether its proposer may still propose does not matter: undoing what somebody did
/// who lost that right must be possible.
pub(crate) fn proposal(runner: &Runner, run: &RunRecord) -> Result<ProposalDocument, PipelineError> {
    let record = runner.state().proposals().get(&run.proposal)?;
    crate::signed::read_proposal(&record.document, record.signature.as_bytes(), &run.proposal).map_err(|why| {
        PipelineError::refused(format!(
            "the proposal `{}` of the run cannot be used: {why}",
            proposal_name(&run.proposal)
        ))
        .with_hint("nothing changed; restore the state directory from a backup, or undo it by hand")
    })
}
