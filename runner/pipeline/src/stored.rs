use std::collections::{BTreeMap, BTreeSet};

use countersign_bundle::Bundle;
use countersign_model::documents::{EvidenceReference, ProposedTarget, RehearsalDocument};
use countersign_model::{Digest, Reversibility};
use countersign_trust::{Case, Contains, Policy, Proposal, Risk};

use crate::error::PipelineError;
use crate::runner::Runner;
use crate::undo::Undo;

/// A proposal as the state keeps it, everything read once and verified again.
pub struct Stored {
    /// The proposal, its proposer's signature verified.
    pub proposal: Proposal,
    /// The bundle, every digest verified and equal to what the proposal names.
    pub bundle: Bundle,
    /// The run that it undoes, if it does: the very one that was proposed to be undone. Only the host has it.
    pub(crate) undo: Option<Undo>,
    rehearsals: BTreeMap<String, RehearsalDocument>,
}

/// A rehearsal that belongs to a proposal.
pub(crate) enum GivenRehearsal {
    /// As it was signed.
    Whole(RehearsalDocument),
    /// Without what nobody is shown; its runner signed that it is of this proposal.
    Shown(RehearsalDocument),
}

impl Stored {
    /// Finds a proposal by its name or digest and verifies all that belongs to it.
    ///
    /// # Errors
    /// When it is unknown or ambiguous, or anything does not verify.
    pub fn load(runner: &Runner, name: &str) -> Result<Self, PipelineError> {
        let proposal = runner.proposal(name)?;
        let bundle = runner.bundle(&proposal.document().bundle)?;
        let undo = Undo::of(runner, proposal.document())?;
        let stored =
            Self::assemble(proposal, bundle, |target| runner.rehearsal(&target.rehearsal).map(GivenRehearsal::Whole))?;
        Ok(Self { undo, ..stored })
    }

    /// Puts together what belongs to a proposal; `rehearsal` gives the one on a target, its signature verified.
    pub(crate) fn assemble(
        proposal: Proposal,
        bundle: Bundle,
        mut rehearsal: impl FnMut(&ProposedTarget) -> Result<GivenRehearsal, PipelineError>,
    ) -> Result<Self, PipelineError> {
        let document = proposal.document();
        if bundle.steps() != document.steps {
            return Err(PipelineError::refused("the bundle's steps are not those that the proposal names")
                .with_hint("propose it again; nothing changed"));
        }
        let mut rehearsals = BTreeMap::new();
        for target in &document.targets {
            let (planned, rehearsal) = match rehearsal(target)? {
                GivenRehearsal::Whole(rehearsal) => (rehearsal.plan.digest() == target.plan, rehearsal),
                GivenRehearsal::Shown(rehearsal) => (true, rehearsal),
            };
            let fits = rehearsal.bundle == document.bundle
                && rehearsal.arguments == document.arguments
                && rehearsal.target == target.name
                && rehearsal.configuration == target.configuration
                && rehearsal.grants == document.grants
                && planned
                && rehearsal.undoes == document.undoes
                && (rehearsal.now, rehearsal.seed) == (document.now, document.seed);
            if !fits {
                let what = format!("the rehearsal for `{}` is not of what is proposed", target.name);
                return Err(PipelineError::refused(what).with_hint("propose it again"));
            }
            rehearsals.insert(target.name.clone(), rehearsal);
        }
        Ok(Self { proposal, bundle, undo: None, rehearsals })
    }

    /// The rehearsal on one target.
    ///
    /// # Errors
    /// When the proposal does not name the target.
    pub fn rehearsal(&self, target: &str) -> Result<&RehearsalDocument, PipelineError> {
        self.rehearsals.get(target).ok_or_else(|| not_named(target))
    }

    /// The digest of the plan for one target.
    ///
    /// # Errors
    /// When the proposal does not name the target.
    pub fn plan(&self, target: &str) -> Result<Digest, PipelineError> {
        let mut targets = self.proposal.document().targets.iter();
        let found = targets.find(|proposed| proposed.name == target);
        found.map(|proposed| proposed.plan).ok_or_else(|| not_named(target))
    }

    /// Every rehearsal, by target.
    pub fn rehearsals(&self) -> impl Iterator<Item = &RehearsalDocument> {
        self.rehearsals.values()
    }

    /// What the plans say of how much is at stake.
    pub(crate) fn risk(&self) -> Risk {
        let changes = || {
            let of = |rehearsal: &RehearsalDocument| rehearsal.target.clone();
            self.rehearsals().flat_map(move |r| r.plan.forward.iter().map(move |change| (of(r), change)))
        };
        let subjects: BTreeSet<_> =
            changes().map(|(target, change)| (target, &change.capability, &change.subject)).collect();
        Risk {
            irreversible: changes().any(|(_, change)| change.reversibility == Reversibility::Irreversible),
            subjects: subjects.len(),
        }
    }

    /// How many subjects its plans change, on all targets together; at least 1.
    #[must_use]
    pub fn subjects(&self) -> u32 {
        u32::try_from(self.risk().subjects).unwrap_or(u32::MAX).max(1)
    }

    /// The proposal under this trust policy, for the decider.
    pub(crate) fn case<'a>(&'a self, policy: &'a Policy, contains: Contains<'a>) -> Case<'a> {
        Case { proposal: &self.proposal, policy, risk: self.risk(), contains }
    }

    /// The evidence behind it: what is cited, then what was read in the rehearsals besides; each once.
    pub(crate) fn evidence(&self) -> BTreeSet<&EvidenceReference> {
        let read = self.rehearsals().flat_map(|rehearsal| &rehearsal.evidence);
        self.proposal.document().evidence.iter().chain(read).collect()
    }
}

fn not_named(target: &str) -> PipelineError {
    PipelineError::refused(format!("the proposal does not name the target `{target}`"))
        .with_hint("name one of its targets, or propose it for this one")
}
