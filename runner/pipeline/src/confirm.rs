//! A person's word on a run that waits for it: whose counts, how it is signed, kept and read again.

use countersign_model::Digest;
use countersign_model::documents::namespace;
use countersign_record::{Entry, KeptConfirmation, RunRecord, RunState};
use countersign_trust::{Case, Signatory, WaitingRun, draft_confirmation, may_confirm, moment, verify_confirmation};

use crate::approval::Approval;
use crate::error::PipelineError;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::containing;

/// What somebody who has a say in it said of a waiting run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whether what was changed is kept.
    pub keeps: bool,
    /// Who said it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

impl Word {
    /// The word as the run's reason.
    pub(crate) fn says(&self) -> String {
        let why = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        match self.keeps {
            true => format!("confirmed by {}{why}", self.by),
            false => format!("{} had it rolled back while it waited for a confirmation{why}", self.by),
        }
    }
}

/// A word that was kept.
pub struct Said {
    /// The run.
    pub run: String,
    /// Its target.
    pub target: String,
    /// Until when it waited, in milliseconds since 1970-01-01 UTC.
    pub until: u64,
    /// What was said.
    pub word: Word,
}

/// Signs a word on a run and keeps it durably, if the run waits for one and this key's owner has a say in it. From here
/// on the run ends by it, whatever happens to the process that waits.
///
/// # Errors
/// A refusal, when the run does not wait, or waits no more, or the word does not count; or a failure, when it could not
/// be signed or kept. Then nothing was said.
pub fn say(
    runner: &Runner,
    name: &str,
    keeps: bool,
    reason: Option<&str>,
    signatory: &dyn Signatory,
) -> Result<Said, PipelineError> {
    let run = runner.state().runs().get(name)?;
    let until = waits(&run)?;
    let approval = Approval::of_run(runner, &run)?;
    let stored = Stored::load(runner, &run.proposal.to_string())?;
    let contains = containing(runner.registry());
    let policy = runner.policy_now()?;
    let case = stored.case(&policy, &contains);
    let waiting = waiting_run(runner, case, (&run.id, &run.target), &approval);
    let signer = policy.principal(signatory.fingerprint());
    let refused = |refusal: countersign_trust::Refusal| {
        PipelineError::refused(refusal.to_string()).with_hint(refusal.hint("`countersign propose`"))
    };
    may_confirm(&signer, &waiting.case).map_err(refused)?;
    let now = runner.decisive()?;
    // That it is put back is in nobody's way.
    if keeps {
        countersign_trust::unexpired(&policy, now).map_err(refused)?;
    }
    let (_, document) = draft_confirmation(&waiting, keeps, reason, now)
        .map_err(|error| PipelineError::failed(format!("the confirmation: {error}")).with_hint(error.hint()))?;
    let signature = crate::approve::signed(signatory, namespace::CONFIRMATION, &document)?;
    // It is taken only as whoever waits will read it.
    verify_confirmation(&document, signature.as_bytes(), &waiting).map_err(refused)?;
    // To sign may have taken its time: a passphrase was typed, or an agent asked.
    let entry = Entry::new("confirmation").of_run(&run.id).with("person", signer.name()).with_flag("keeps", keeps);
    let entry = entry.with_some("reason", reason).with("document", Digest::of(&document));
    let kept = KeptConfirmation { document, signature };
    if !runner.state().runs().add_confirmation(&run.id, &kept, runner.decisive()?, &[entry])? {
        let run = runner.state().runs().get(&run.id)?;
        return Err(match waits(&run) {
            Err(error) => error,
            Ok(until) => too_late(&run, until),
        });
    }
    if let Err(error) = runner.state().tell_waiting() {
        tracing::debug!(%error, "the run that waits looks by itself");
    }
    let word = Word { keeps, by: signer.name().to_owned(), reason: reason.map(str::to_owned) };
    Ok(Said { run: run.id, target: run.target, until, word })
}

/// Whether a run waits for a person's word, and nothing is decided.
///
/// # Errors
/// When there is no such run, or several.
pub fn awaits_word(runner: &Runner, name: &str) -> Result<bool, PipelineError> {
    Ok(waits(&runner.state().runs().get(name)?).is_ok())
}

/// What people do with a run that waits.
pub(crate) fn next(run: &str) -> String {
    format!(
        "`countersign confirm {run} --key FILE` keeps what it changed, `countersign rollback {run} --key FILE --reason TEXT` \
         puts it back at once"
    )
}

/// Until when a run waits.
///
/// # Errors
/// What it does instead.
fn waits(run: &RunRecord) -> Result<u64, PipelineError> {
    let id = &run.id;
    if let (Some(waiting), None) = (run.waits(), run.waits().and_then(|waiting| waiting.kept.as_ref())) {
        return Ok(waiting.until);
    }
    let nothing = format!("nothing was said; `countersign show {id}` has the run");
    let what = match (run.state, &run.rollback, run.waiting.as_ref().and_then(|waiting| waiting.kept.as_ref())) {
        (RunState::Finished(outcome), ..) => {
            let why = run.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let what = format!("the run {id} waits for nobody: it ended {}{why}", outcome.name());
            return Err(PipelineError::refused(what).with_hint(nothing));
        }
        (_, Some(why), _) => format!("the run {id} waits for nobody: it is being rolled back: {why}"),
        (_, _, Some(why)) => format!("the run {id} waits for nobody: it is being committed: {why}"),
        _ => format!("the run {id} does not wait for a confirmation"),
    };
    Err(PipelineError::refused(what).with_hint(nothing))
}

fn too_late(run: &RunRecord, until: u64) -> PipelineError {
    let id = &run.id;
    PipelineError::refused(format!("the run {id} waited for a confirmation until {}, which is over", moment(until)))
        .with_hint(format!("nothing was said; it ends as silence has it: see `countersign show {id}`"))
}

/// Every word that was kept of a run, in order, each with whether it counts, or why not; none where there are as many as
/// were `heard`.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn words(
    runner: &Runner,
    run: &str,
    target: &str,
    approval: &Approval,
    heard: usize,
) -> Result<Option<Vec<Result<Word, String>>>, PipelineError> {
    let kept = runner.state().runs().confirmations(run)?;
    if kept.len() == heard {
        return Ok(None);
    }
    let stored = match Stored::load(runner, &approval.terms.proposal.to_string()) {
        Ok(stored) => stored,
        // Whose word counts cannot be told then.
        Err(error) => return Ok(Some(kept.iter().map(|_| Err(error.to_string())).collect())),
    };
    let contains = containing(runner.registry());
    // As whoever said it asked, however long the run waits by now.
    let policy = runner.policy_now()?;
    let waiting = waiting_run(runner, stored.case(&policy, &contains), (run, target), approval);
    let verified = |said: &KeptConfirmation| {
        verify_confirmation(&said.document, said.signature.as_bytes(), &waiting)
            .map(|(document, by)| Word { keeps: document.keeps, by: by.name().to_owned(), reason: document.reason })
            .map_err(|refusal| refusal.to_string())
    };
    Ok(Some(kept.iter().map(verified).collect()))
}

fn waiting_run<'a>(
    runner: &'a Runner,
    case: Case<'a>,
    (run, target): (&'a str, &'a str),
    approval: &Approval,
) -> WaitingRun<'a> {
    WaitingRun { run, case, approval: approval.digest, target, runner: runner.fingerprint() }
}

/// The people whose word on a run counts.
pub(crate) fn may_say(runner: &Runner, approval: &Approval) -> Vec<String> {
    let Ok(stored) = Stored::load(runner, &approval.terms.proposal.to_string()) else { return Vec::new() };
    let contains = containing(runner.registry());
    stored.case(runner.policy(), &contains).approvers().into_iter().map(str::to_owned).collect()
}
