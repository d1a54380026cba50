//! Breaking the glass: an approval in place of the quorums, by keys of its own. Somebody is told first; then it is kept, with
//! a review that stays open until a person closes it.

use std::time::Duration;

use countersign_model::Digest;
use countersign_model::documents::{ProposedTarget, Terms};
use countersign_model::text::{excerpt, visible};
use countersign_record::{BrokenGlass, KeptFiles};
use countersign_trust::{Authorized, BreakGlass, PrincipalKind, Signatory, moment};
use serde_json::{Value, json};

use crate::approve::{ApprovalTerms, breaking, draft_approval, still_given, terms};
use crate::command::Printed;
use crate::error::PipelineError;
use crate::propose::proposal_name;
use crate::report::RunReport;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// For how long an approval is good where nothing is said, in milliseconds, if its break-glass lets it.
const VALID_FOR: u64 = 30 * 60_000;
/// The longest reason that a notice quotes, in bytes.
const MAX_QUOTED: usize = 500;

/// How somebody is told that the glass is broken: a program of the operator's, which gets one JSON object on its standard
/// input.
#[derive(Clone, Debug)]
pub struct Notice {
    command: Vec<String>,
    time: Duration,
}

impl Notice {
    /// A notice by this command, which takes at most so many seconds: 1 to 300.
    ///
    /// # Errors
    /// A sentence fragment, where it is no absolute path of a program, or the time is another.
    pub fn new(command: Vec<String>, seconds: u64) -> Result<Self, String> {
        crate::target::command(&command, seconds)?;
        Ok(Self { command, time: Duration::from_secs(seconds) })
    }

    /// Gives it.
    ///
    /// # Errors
    /// A sentence fragment, where the program failed.
    fn give(&self, said: &Value) -> Result<(), String> {
        crate::command::run(&self.command, self.time, Printed::Told, format!("{said}\n").as_bytes())
    }

    /// Tells how a run ended that was begun by breaking the glass. Nothing depends on it: where it fails, that is noted.
    pub fn tell_outcome(&self, runner: &Runner, report: &RunReport) {
        let Some(name) = &report.break_glass else { return };
        let proposal = runner.state().runs().get(&report.run).ok().map(|run| proposal_name(&run.proposal));
        let (run, outcome) = (&report.run, report.outcome.name());
        let said = json!({
            "event": "run-ended",
            "summary": visible(&format!("run {run} on {}, by the break-glass {name}: {outcome}", report.target)),
            "at": runner.now(),
            "break_glass": name,
            "people": report.approvers,
            "proposal": proposal,
            "target": report.target,
            "run": run,
            "outcome": outcome,
            "runner": runner.fingerprint(),
        });
        if let Err(why) = self.give(&said) {
            runner.note(&format!("run {run}: nobody was told how it ended: {why}"));
        }
    }
}

/// What whoever breaks the glass decides.
pub struct GlassTerms<'a> {
    /// Why.
    pub reason: &'a str,
    /// Narrower grants, each inside one that was asked for.
    pub narrow: &'a [countersign_model::Grant],
    /// For how long the approval is good, in milliseconds from now; where nothing is said, half an hour or as long as the
    /// break-glass allows, whichever is shorter.
    pub valid_for: Option<u64>,
}

/// Who broke the glass, and where that is kept.
pub struct Broken {
    /// What the trust policy calls this break-glass.
    pub name: String,
    /// Who signed.
    pub person: String,
    /// Digest of the approval manifest, by which the review is closed too.
    pub approval: Digest,
    /// Everybody who has signed it.
    pub people: Vec<String>,
    /// How many must.
    pub needed: usize,
    /// What was signed.
    pub terms: Terms,
    /// The manifest and the signature.
    pub files: KeptFiles,
}

/// The break-glass that a key breaks.
///
/// # Errors
/// A refusal, where it breaks none, or nobody would be told.
pub fn may_break<'r>(
    runner: &'r Runner,
    notice: Option<&Notice>,
    signatory: &dyn Signatory,
) -> Result<&'r BreakGlass, PipelineError> {
    configured(notice)?;
    let found = runner.policy().break_glass().iter().find(|table| table.has(signatory.fingerprint()));
    found.ok_or_else(|| {
        let who = runner.policy().principal(signatory.fingerprint());
        let hint = match (runner.policy().break_glass().is_empty(), who.kind()) {
            (true, _) => "nothing was signed; the trust policy has no [[break-glass]]: have it approved as ever",
            (false, PrincipalKind::Unlisted) => {
                "nothing was signed; use a key that the trust policy lists under [[break-glass]]: `countersign trust show`"
            }
            (false, _) => {
                "nothing was signed; the glass has keys of its own, under [[break-glass]] of the trust policy: `countersign \
                 trust show`"
            }
        };
        PipelineError::refused(format!("{who} breaks no glass")).with_hint(hint)
    })
}

/// Writes the approval manifest that breaks this glass.
///
/// # Errors
/// As for an approval, or when it would reach further than the break-glass does.
pub fn draft_break_glass(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    table: &BreakGlass,
    terms: &GlassTerms<'_>,
) -> Result<Vec<u8>, PipelineError> {
    let terms = ApprovalTerms {
        reason: terms.reason,
        narrow: terms.narrow,
        valid_for: terms.valid_for.unwrap_or(VALID_FOR.min(table.max_validity_ms())),
        finish_within: None,
        confirmation: None,
        break_glass: Some(table.name()),
    };
    draft_approval(runner, stored, targets, &terms)
}

/// Verifies a signature by which the glass is broken, gives notice of it, and keeps both, with a review that is open from then
/// on.
///
/// # Errors
/// A refusal, where nothing was kept: as for an approval; where no notice is configured; or where it cannot be given.
pub fn break_glass(
    runner: &Runner,
    stored: &Stored,
    targets: &[(&str, &Target)],
    notice: Option<&Notice>,
    manifest: &[u8],
    signature: &str,
) -> Result<Broken, PipelineError> {
    let notice = configured(notice)?;
    crate::approve::open(runner, stored)?;
    let person = breaking(runner, stored, manifest, signature.as_bytes())?;
    still_given(runner, stored, targets, [manifest].into_iter())?;
    crate::given::once(runner, stored, manifest, &person, "nothing was kept")?;
    let terms = terms(manifest)?;
    let name = terms.break_glass.as_deref().unwrap_or_default();
    let table = runner.policy().break_glass().iter().find(|table| table.name() == name);
    let Some(table) = table else {
        let what = "the approval names no break-glass of the trust policy";
        return Err(PipelineError::refused(what).with_hint("nothing was kept; approve it with `countersign approve`"));
    };
    let (proposal, approval, now) = (stored.proposal.digest(), Digest::of(manifest), runner.decisive()?);
    let (until, on) = (moment(terms.expires), names(&terms.targets));
    let reason = excerpt(&terms.reason, MAX_QUOTED);
    let said = json!({
        "event": "break-glass",
        "summary": visible(&format!(
            "{} breaks the glass {name} for {} on {}, until {until}: {reason}",
            person.name(),
            proposal_name(&proposal),
            on.join(", ")
        )),
        "at": now,
        "break_glass": name,
        "person": person.name(),
        "key": person.fingerprint(),
        "proposal": proposal_name(&proposal),
        "proposer": stored.proposal.proposer().name(),
        "digest": proposal,
        "approval": approval,
        "targets": on,
        "reason": reason,
        "expires": terms.expires,
        "runner": runner.fingerprint(),
    });
    // Before it counts: what nobody is told of opens nothing.
    notice.give(&said).map_err(|why| {
        PipelineError::refused(format!("nobody was told that the glass is broken: {why}")).with_hint(
            "nothing was kept, and nothing runs by it; correct `command` under [notice] in the configuration, or name another \
             one, such as `[\"/usr/bin/logger\", \"-t\", \"countersign\"]`, and break it again",
        )
    })?;
    let broken = BrokenGlass {
        proposal: &proposal,
        manifest,
        signature,
        name,
        person: person.name(),
        reason: &terms.reason,
        at: now,
        expires: terms.expires,
    };
    let entry = crate::audit::glass_broken(runner, name, &proposal, manifest, signature);
    let state = runner.state();
    let files = state.approvals().break_glass(&broken, &entry)?;
    let people = state.approvals().review(&approval)?.map(|review| review.broken_by).unwrap_or_default();
    Ok(Broken {
        name: table.name().to_owned(),
        person: person.name().to_owned(),
        approval,
        people,
        needed: table.people(),
        terms,
        files,
    })
}

fn names(targets: &[ProposedTarget]) -> Vec<&str> {
    targets.iter().map(|target| target.name.as_str()).collect()
}

/// Refuses where nobody would be told.
fn configured(notice: Option<&Notice>) -> Result<&Notice, PipelineError> {
    notice.ok_or_else(|| {
        PipelineError::refused("nobody would be told that the glass is broken: no notice is configured").with_hint(
            "nothing was kept; an operator names a program under [notice] in the configuration, such as `command = \
             [\"/usr/bin/logger\", \"-t\", \"countersign\"]`",
        )
    })
}

/// Refuses a run by a broken glass that has no open review: then it was not broken here, after a notice.
pub(crate) fn under_review(runner: &Runner, authorized: &Authorized) -> Result<(), PipelineError> {
    if authorized.manifest().predicate.break_glass.is_none() {
        return Ok(());
    }
    let approval = authorized.manifest_digest();
    match runner.state().approvals().review(&approval)? {
        Some(review) if review.closed.is_none() => Ok(()),
        found => {
            let why = if found.is_some() { "its review is closed" } else { "no notice was given of it here" };
            let what = format!("by the approval {} the glass would be broken, and {why}", approval.short());
            Err(PipelineError::refused(what).with_hint(
                "nothing changed; break it with `countersign break-glass approve`, or have it approved as ever",
            ))
        }
    }
}
