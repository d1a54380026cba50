//! What waits for a decision or a run, by the code that decides when one is to begin.

use std::collections::BTreeMap;

use countersign_model::Digest;
use countersign_trust::Refusal;
use serde::Serialize;

use crate::error::PipelineError;
use crate::given::{Given, given};
use crate::order::{self, Order};
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// How many proposals are looked at.
const MAX_PENDING: usize = 1000;

/// A proposal as `pending` lists it.
#[derive(Debug, Serialize)]
pub struct PendingProposal {
    /// The proposal's name.
    #[serde(rename = "proposal")]
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// `waits for approval`, `1 of 2 signed`, `approved`, `approval expired` or `cannot run`.
    pub status: String,
    /// Why it cannot run as things stand, where no signature would change that.
    pub why: Option<String>,
    /// How many people signed one approval that is good still.
    pub signed: usize,
    /// How many must.
    pub quorum: usize,
    /// Until when a run may begin by an approval, in milliseconds since 1970-01-01 UTC.
    pub approved_until: Option<u64>,
    /// The targets.
    pub targets: Vec<String>,
    /// Those of them on which it ran, and where no approval is left for another run.
    pub done: Vec<String>,
    /// The remediation's name, which its author chose.
    pub remediation: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// From when on it cannot be approved.
    pub expires: u64,
}

/// What a run on one target would meet.
enum Standing {
    /// It may begin, until then.
    Approved(u64),
    /// An approval is missing.
    Waits,
    /// It ran, and no approval is left.
    Done,
    /// No approval would let it begin.
    Barred(String),
}

/// The proposals that wait for a decision or a run, oldest first. `targets` are all that are configured.
///
/// # Errors
/// When the state cannot be read.
pub fn pending(runner: &Runner, targets: &BTreeMap<String, Target>) -> Result<Vec<PendingProposal>, PipelineError> {
    let (now, longest) = (runner.now(), runner.policy().max_validity_ms());
    let mut pending = Vec::new();
    for summary in runner.state().proposals().pending(now, longest, MAX_PENDING)? {
        let bundle = runner.bundle(&summary.bundle).map(|bundle| bundle.manifest().name().to_owned());
        let mut proposal = PendingProposal {
            name: proposal_name(&summary.digest),
            digest: summary.digest,
            status: "cannot run".to_owned(),
            why: None,
            signed: 0,
            quorum: runner.policy().quorum(),
            approved_until: None,
            targets: Vec::new(),
            done: Vec::new(),
            remediation: bundle.unwrap_or_default(),
            created: summary.created,
            expires: summary.expires,
        };
        let listed = match Stored::load(runner, &summary.digest.to_string()) {
            Ok(stored) => look(runner, &stored, targets, &mut proposal)?,
            // What is damaged is told, and hides nothing else.
            Err(error) => {
                proposal.why = Some(error.to_string());
                summary.runs == 0
            }
        };
        if listed {
            pending.push(proposal);
        }
    }
    Ok(pending)
}

/// Fills in how a proposal stands; whether it waits for anything.
fn look(
    runner: &Runner,
    stored: &Stored,
    targets: &BTreeMap<String, Target>,
    proposal: &mut PendingProposal,
) -> Result<bool, PipelineError> {
    let now = runner.now();
    let mut until = None;
    let mut waits = false;
    for target in &stored.proposal.document().targets {
        proposal.targets.push(target.name.clone());
        match standing(runner, stored, &target.name, targets.get(&target.name), now)? {
            Standing::Approved(expires) => until = until.max(Some(expires)),
            Standing::Waits => waits = true,
            Standing::Done => proposal.done.push(target.name.clone()),
            Standing::Barred(why) => proposal.why = proposal.why.take().or(Some(why)),
        }
    }
    let all = given(runner, stored)?;
    let open = |given: &&Given| given.open(now);
    proposal.signed = all.iter().filter(open).map(|given| given.approvers.len()).max().unwrap_or(0);
    proposal.approved_until = until;
    proposal.status = match (until, &proposal.why, proposal.signed) {
        (Some(_), ..) => "approved".to_owned(),
        (None, Some(_), _) => "cannot run".to_owned(),
        (None, None, signed) if signed > 0 => format!("{signed} of {} signed", proposal.quorum),
        _ if all.iter().any(|given| given.unused().next().is_some()) => "approval expired".to_owned(),
        _ => "waits for approval".to_owned(),
    };
    Ok(until.is_some() || (now < proposal.expires && (waits || proposal.why.is_some())))
}

fn standing(
    runner: &Runner,
    stored: &Stored,
    name: &str,
    target: Option<&Target>,
    now: u64,
) -> Result<Standing, PipelineError> {
    let ran = runner.runs_of(&stored.proposal.digest())?.iter().any(|run| run.target == name);
    let otherwise = |standing: Standing| if ran { Standing::Done } else { standing };
    let Some(target) = target else {
        return Ok(otherwise(Standing::Barred(format!("the target `{name}` is not configured"))));
    };
    let order = Order {
        proposal: &stored.proposal,
        bundle: &stored.bundle,
        rehearsal: stored.rehearsal(name)?,
        name,
        target,
        undo: stored.undo.as_ref(),
    };
    if let Err(error) = order::stands(runner, order.proposal, order.undo) {
        return Ok(otherwise(Standing::Barred(error.to_string())));
    }
    let decided = match order::decide(runner, &order, now) {
        Ok(decided) => decided,
        // An approval that was changed lets nothing run.
        Err(error) => return Ok(otherwise(Standing::Barred(error.to_string()))),
    };
    Ok(match decided {
        Ok(authorized) => {
            let terms = &authorized.manifest().predicate;
            match order::within_ceilings(runner, target, &terms.grants) {
                Ok(()) => Standing::Approved(terms.expires),
                Err(error) => otherwise(Standing::Barred(error.to_string())),
            }
        }
        Err(refusal @ Refusal::NotYetValid { .. }) => otherwise(Standing::Barred(refusal.to_string())),
        Err(refusal) if refusal.awaits_approval() => otherwise(Standing::Waits),
        Err(refusal) => otherwise(Standing::Barred(refusal.to_string())),
    })
}
