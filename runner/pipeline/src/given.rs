//! Approvals that were given, and what is left of them.

use std::collections::BTreeSet;

use countersign_model::documents::{ProposalRun, Terms};
use countersign_model::{Digest, Outcome};
use countersign_trust::{Case, Principal, Signatory, SignedApproval};

use crate::approve::{signer, takeable, terms};
use crate::desk::Desk;
use crate::error::PipelineError;
use crate::stored::Stored;
use crate::target::containing;

/// An approval that was given by people whose signatures count.
pub struct Given {
    /// Digest of the manifest's bytes.
    pub approval: Digest,
    /// Who signed it, each once.
    pub approvers: BTreeSet<String>,
    /// What it says.
    pub terms: Terms,
    /// The runs that used it, oldest first.
    pub runs: Vec<ProposalRun>,
    /// Why no run will be by it any more, whatever is left of it: the trust policy is another one, say.
    pub void: Option<String>,
}

impl Given {
    /// The targets on which it is still good for a run, as far as its uses go.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let names = self.terms.targets.iter().map(|target| target.name.as_str());
        names.filter(|name| {
            let used = self.runs.iter().filter(|run| run.target == *name).count();
            u32::try_from(used).is_ok_and(|used| used < self.terms.uses)
        })
    }

    /// Whether enough people have signed it.
    pub(crate) fn is_enough(&self, case: &Case<'_>) -> bool {
        case.enough_for(self.terms.break_glass.as_deref(), &self.approvers).is_ok()
    }

    /// Whether a run may still start by it, once enough people have signed it.
    #[must_use]
    pub fn open(&self, now: u64) -> bool {
        self.void.is_none() && now < self.terms.expires && self.unused().next().is_some()
    }
}

/// The approvals given so far by people whose signatures count. What does not verify is no approval.
///
/// # Errors
/// When the approvals or the runs cannot be read.
pub fn given(desk: &dyn Desk, stored: &Stored) -> Result<Vec<Given>, PipelineError> {
    let proposal = stored.proposal.digest();
    let runs = desk.runs(&proposal)?;
    let mut all = Vec::new();
    for SignedApproval { manifest, signatures } in desk.approvals(&proposal)? {
        let counts = |signature: &Vec<u8>| signer(desk, stored, &manifest, signature).ok();
        let people = signatures.iter().filter_map(counts).map(|person| person.name().to_owned());
        let approvers: BTreeSet<String> = people.collect();
        if approvers.is_empty() {
            continue;
        }
        let approval = Digest::of(&manifest);
        let used =
            runs.iter().filter(|run| run.approval == approval || run.sources.contains(&approval)).cloned().collect();
        let void = takeable(desk, stored, &manifest).err().map(|refusal| refusal.to_string());
        all.push(Given { approval, approvers, terms: terms(&manifest)?, runs: used, void });
    }
    Ok(all)
}

/// Everybody by whose approvals a run could be by now, whatever each of them approved.
#[must_use]
pub fn people(all: &[Given], now: u64) -> BTreeSet<String> {
    // How many broke the glass says nothing of how many a quorum has.
    let counts = |given: &&Given| given.open(now) && given.terms.break_glass.is_none();
    all.iter().filter(counts).flat_map(|given| given.approvers.iter().cloned()).collect()
}

/// How many people must approve a proposal, at least.
#[must_use]
pub fn quorum(desk: &dyn Desk, stored: &Stored) -> usize {
    stored.case(desk.policy(), &containing(desk.registry())).needed()
}

/// The runs of a proposal that committed, oldest first.
///
/// # Errors
/// When they cannot be read.
pub fn committed(desk: &dyn Desk, stored: &Stored) -> Result<Vec<String>, PipelineError> {
    let runs = desk.runs(&stored.proposal.digest())?;
    Ok(runs.into_iter().filter(|run| run.outcome == Outcome::Committed.name()).map(|run| run.run).collect())
}

/// Refuses, before anything is signed, what `once` would refuse afterwards.
///
/// # Errors
/// That refusal, or when the approvals cannot be read.
pub fn may_sign(
    desk: &dyn Desk,
    stored: &Stored,
    manifest: &[u8],
    signatory: &dyn Signatory,
) -> Result<(), PipelineError> {
    let approver = desk.policy().principal(signatory.fingerprint());
    once(desk, stored, manifest, &approver, "nothing was signed")
}

/// Refuses a second approval of one person while one of theirs could still start a run: two are good for two runs,
/// and none can be taken back. Whoever signs what another person signed may have one that waits for others still:
/// signatures add up on one manifest, and both could not agree otherwise. `so_far` is what became of this one.
pub(crate) fn once(
    desk: &dyn Desk,
    stored: &Stored,
    manifest: &[u8],
    approver: &Principal,
    so_far: &str,
) -> Result<(), PipelineError> {
    let (now, approval) = (desk.decisive()?, Digest::of(manifest));
    let contains = containing(desk.registry());
    let case = stored.case(desk.policy(), &contains);
    // Whoever breaks the glass may have signed what waits for others: that is why.
    let breaks = terms(manifest).is_ok_and(|terms| terms.break_glass.is_some());
    let all = given(desk, stored)?;
    let cosigns = all
        .iter()
        .any(|given| given.approval == approval && given.approvers.iter().any(|name| name != approver.name()));
    let in_the_way = all.iter().find(|given| {
        given.approval != approval
            && given.approvers.contains(approver.name())
            && given.open(now)
            && (!(cosigns || breaks) || given.is_enough(&case))
    });
    let Some(given) = in_the_way else { return Ok(()) };
    let left = match given.runs.as_slice() {
        [] => "unused".to_owned(),
        _ => format!("unused on {}", given.unused().collect::<Vec<_>>().join(", ")),
    };
    let until = countersign_trust::moment(given.terms.expires);
    let (name, short) = (approver.name(), given.approval.short());
    let what = format!("{name} has approved this already: {short}, good until {until}, {left}");
    Err(PipelineError::refused(what).with_hint(format!(
        "{so_far}; run it, or let it expire. An approval can be neither taken back nor narrowed: to end this one, deny the \
         proposal"
    )))
}
