use countersign_capability::{Phase, StepContext};
use countersign_gate::{Allowance, Bounds, Denials, Gate, GatePort, Witness, Work};
use countersign_model::documents::GuardState;
use countersign_model::{Grant, Role, Success, Verdict};

use crate::error::PipelineError;
use crate::guards;
use crate::link::Linked;
use crate::runner::Runner;
use crate::schedule::Attempt;
use crate::target::Target;

/// Asks the check of the target as it stands. It looks with the investigation's identity, whoever asks: a run's
/// credentials are for its writes.
///
/// # Errors
/// When it could not be asked at all. A check that fails is a verdict: it cannot tell.
pub(crate) fn ask(
    runner: &Runner,
    target: &Target,
    linked: &Linked,
    grants: &[Grant],
    context: &StepContext,
    witness: Box<dyn Witness>,
) -> Result<Verdict, PipelineError> {
    let sessions = runner.sessions(target, Phase::Observe)?;
    let work = Work::Observe { denied: Denials::default() };
    let gate = GatePort::new(Gate::new(sessions, work, witness));
    let granted = Bounds::new(runner.registry(), grants)?;
    let ceiling = Bounds::new(runner.registry(), &target.investigation.ceiling)?;
    let ended = linked.run(&gate, Role::Check, Allowance::new(granted, ceiling), context)?;
    Ok(crate::rehearse::verdict(ended, false))
}

/// Refuses a check that passes before the fix, unless its manifest says that it may: its passing afterwards would
/// prove nothing. One that cannot tell does not pass.
pub(crate) fn must_fail_before(verdict: &Verdict, success: Success, target: &str) -> Result<(), PipelineError> {
    if *verdict != Verdict::Healthy || success.may_pass_before {
        return Ok(());
    }
    let what = format!("the check passes on `{target}` before the fix, so its passing afterwards would prove nothing");
    Err(PipelineError::refused(what).with_hint(
        "nothing changed and no use of an approval is spent. If there is nothing to fix, there is nothing to run; if the \
         check cannot see what is wrong, set `may-pass-before = true` under `[steps.check]` in remediation.toml: it is \
         shown to who approves, and the guards alone decide",
    ))
}

pub(crate) fn describe_verdict(verdict: &Verdict) -> String {
    match verdict.reason() {
        None => format!("the check says {}", verdict.name()),
        Some(reason) => format!("the check says {}: {}", verdict.name(), countersign_model::text::excerpt(reason, 300)),
    }
}

pub(crate) fn describe_attempt(attempt: Attempt) -> String {
    match attempt.number {
        1 => "asked at once".to_owned(),
        number => format!("asked again ({number}) after {} ms", attempt.after_ms),
    }
}

pub(crate) fn describe_answer(verdict: &Verdict, failing: Option<&GuardState>) -> String {
    let guards = failing.map_or_else(|| "all guards hold".to_owned(), guards::sentence);
    format!("{}; {guards}", describe_verdict(verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_healthy_passes_before_the_fix() {
        let strict = Success::default();
        let lenient = Success { may_pass_before: true, ..strict };
        let refused = |verdict: &Verdict, success| must_fail_before(verdict, success, "web").is_err();
        assert!(refused(&Verdict::Healthy, strict));
        assert!(!refused(&Verdict::Healthy, lenient));
        for other in [Verdict::Unhealthy("503".to_owned()), Verdict::CannotTell("no answer".to_owned())] {
            assert!(!refused(&other, strict), "{other:?}");
        }
        let error = must_fail_before(&Verdict::Healthy, strict, "web").expect_err("refused");
        assert_eq!(error.exit_code(), 3);
        assert!(error.hint().is_some_and(|hint| hint.contains("may-pass-before = true")));
    }
}
