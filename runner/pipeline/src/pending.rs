//! What waits for a decision or a run, by the code that decides when one is to begin.

use std::collections::BTreeMap;

use countersign_model::Digest;
use countersign_record::PendingBounds;
use countersign_trust::Refusal;
use serde::Serialize;

use crate::approval::Approval;
use crate::confirm;
use crate::error::PipelineError;
use crate::given::given;
use crate::listing::ListedWaiting;
use crate::order::{self, Bar, Order};
use crate::propose::proposal_name;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// How many proposals are looked at.
pub const MAX_PENDING: usize = 1000;

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
    /// How many people signed approvals that are good still.
    pub signed: usize,
    /// How many must; 0 where that cannot be told.
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

/// The proposals that wait for a decision or a run.
#[derive(Debug)]
pub struct Pending {
    /// Those of the oldest of each proposer that may, oldest first.
    pub pending: Vec<PendingProposal>,
    /// How many later ones were not looked at.
    pub left_off: u64,
    /// The runs that wait for a person's word, oldest first.
    pub waiting: Vec<WaitingForWord>,
}

/// A run that waits for a person's word, as `pending` lists it.
#[derive(Debug, Serialize)]
pub struct WaitingForWord {
    /// The run's name.
    pub run: String,
    /// Its target.
    pub target: String,
    /// Its proposal's name.
    pub proposal: String,
    /// Since when, until when, and what silence means.
    #[serde(flatten)]
    pub waiting: ListedWaiting,
    /// Whose word counts.
    pub may_confirm: Vec<String>,
}

/// The proposals that wait for a decision or a run, oldest first. `targets` are all that are configured.
///
/// # Errors
/// When the state cannot be read.
pub fn pending(runner: &Runner, targets: &BTreeMap<String, Target>) -> Result<Pending, PipelineError> {
    // Looking is not refused: that nothing is decided by this clock is said of each proposal.
    let now = runner.decisive().unwrap_or_else(|_| runner.now());
    let policy = runner.policy();
    let bounds = PendingBounds { now, longest: policy.max_validity_ms(), uses: policy.max_uses() };
    let mut pending = Vec::new();
    let (summaries, left_off) = runner.state().proposals().pending(bounds, MAX_PENDING)?;
    for summary in summaries {
        let bundle = runner.bundle(&summary.bundle).map(|bundle| bundle.manifest().name().to_owned());
        let mut proposal = PendingProposal {
            name: proposal_name(&summary.digest),
            digest: summary.digest,
            status: "cannot run".to_owned(),
            why: None,
            signed: 0,
            quorum: 0,
            approved_until: None,
            targets: Vec::new(),
            done: Vec::new(),
            remediation: bundle.unwrap_or_default(),
            created: summary.created,
            expires: summary.expires,
        };
        let listed = match Stored::load(runner, &summary.digest.to_string()) {
            Ok(stored) => look(runner, &stored, targets, &mut proposal, now)?,
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
    let mut waiting = Vec::new();
    for run in runner.state().runs().open()? {
        let Some(listed) = runner.waiting(&run) else { continue };
        let may_confirm = Approval::of_run(runner, &run).map(|approval| confirm::may_say(runner, &approval));
        waiting.push(WaitingForWord {
            proposal: proposal_name(&run.proposal),
            run: run.id,
            target: run.target,
            waiting: listed,
            // One whose approval is lost waits for nobody who could be told.
            may_confirm: may_confirm.unwrap_or_default(),
        });
    }
    Ok(Pending { pending, left_off, waiting })
}

/// Fills in how a proposal stands; whether it waits for anything.
fn look(
    runner: &Runner,
    stored: &Stored,
    targets: &BTreeMap<String, Target>,
    proposal: &mut PendingProposal,
    now: u64,
) -> Result<bool, PipelineError> {
    let mut until = None;
    let mut waits = false;
    for target in &stored.proposal.document().targets {
        proposal.targets.push(target.name.clone());
        match standing(runner, stored, &target.name, targets.get(&target.name))? {
            Standing::Approved(expires) => until = until.max(Some(expires)),
            Standing::Waits => waits = true,
            Standing::Done => proposal.done.push(target.name.clone()),
            Standing::Barred(why) => proposal.why = proposal.why.take().or(Some(why)),
        }
    }
    proposal.quorum = crate::given::quorum(runner, stored);
    let all = given(runner, stored)?;
    proposal.signed = crate::given::people(&all, now).len();
    proposal.approved_until = until;
    proposal.status = match (until, &proposal.why, proposal.signed) {
        (Some(_), ..) => "approved".to_owned(),
        (None, Some(_), _) => "cannot run".to_owned(),
        (None, None, signed) if signed > 0 => format!("{signed} of {} signed", proposal.quorum),
        _ if all.iter().any(|given| given.void.is_none() && given.unused().next().is_some()) => {
            "approval expired".to_owned()
        }
        _ => "waits for approval".to_owned(),
    };
    Ok(until.is_some() || (now < proposal.expires && (waits || proposal.why.is_some())))
}

fn standing(runner: &Runner, stored: &Stored, name: &str, target: Option<&Target>) -> Result<Standing, PipelineError> {
    let ran = runner.runs_of(&stored.proposal.digest())?.iter().any(|run| run.target == name);
    let otherwise = |standing: Standing| if ran { Standing::Done } else { standing };
    let Some(target) = target else {
        return Ok(otherwise(Standing::Barred(format!("the target `{name}` is not configured"))));
    };
    let order = Order::new(stored, name, target)?;
    Ok(match order::preflight(runner, &order) {
        Ok(authorized) => Standing::Approved(authorized.manifest().predicate.expires),
        Err(Bar::Decided(refusal)) if refusal.awaits_approval() && !matches!(refusal, Refusal::NotYetValid { .. }) => {
            otherwise(Standing::Waits)
        }
        // An approval that was changed lets nothing run, for one.
        Err(bar) => otherwise(Standing::Barred(bar.error(&stored.proposal).to_string())),
    })
}
