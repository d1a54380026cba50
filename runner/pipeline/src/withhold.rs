//! What stands in the place of what nobody is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_capability::{AnyCall, Registry};
use countersign_gate::{Sensitive, WITHHELD};
use countersign_model::documents::RehearsalDocument;
use countersign_model::text::{excerpt, without_digests};
use countersign_model::{Change, Digest, Evidence, Image, Role, Selector, Verdict};
use countersign_sandbox::{Ended, Failure, Finding, Output};
use countersign_trust::SigningKey;
use serde_json::Value;

use crate::desk::Desk;
use crate::error::PipelineError;
use crate::runner::Runner;
use crate::stored::Stored;
use crate::target::Target;

/// Said in the place of a check's words once a run changed what is sensitive.
pub(crate) const CHANGED: &str = "withheld: what is sensitive was changed, and it may quote it";

/// Said in the place of what a step chose that had read in a rehearsal what came to be sensitive since.
pub(crate) const SINCE: &str = "withheld: the step had read what is sensitive by now";

/// Said in the place of a check's words where what is sensitive on the target is not at hand.
pub(crate) const UNKNOWN: &str = "withheld: the target is proposed no longer, and nobody said what is sensitive there";

/// How a step ended, without anything that it could choose the words of.
pub(crate) fn words(ended: Ended) -> Ended {
    let said = || WITHHELD.to_owned();
    let result = match ended.result {
        Ok(Output::Done) => Ok(Output::Done),
        Ok(Output::Findings(findings)) if findings.is_empty() => Ok(Output::Findings(findings)),
        Ok(Output::Findings(_)) => {
            Ok(Output::Findings(vec![Finding { summary: format!("findings {WITHHELD}"), detail: String::new() }]))
        }
        Ok(Output::Verdict(verdict)) => Ok(Output::Verdict(reason(&verdict, WITHHELD))),
        Err(failure) => Err(match failure {
            Failure::Returned(_) => Failure::Returned(said()),
            Failure::OutOfMemory(_) => Failure::OutOfMemory(said()),
            // The code that it exits with is a word of its own, too.
            Failure::Trapped(_) | Failure::Exited(_) => Failure::Trapped(said()),
            Failure::Unusable(_) => Failure::Unusable(said()),
            // These are the host's own words; the gate keeps the step's out of its stops.
            // Its process may say of itself what it likes; how it died is the kernel's word.
            Failure::Crashed(_) => Failure::Crashed(said()),
            own @ (Failure::Stopped(_)
            | Failure::OutOfFuel(_)
            | Failure::OutOfTime(_)
            | Failure::Interrupted
            | Failure::Host(_)) => own,
        }),
    };
    Ended { result, ..ended }
}

/// A verdict with this in the place of its reason.
pub(crate) fn reason(verdict: &Verdict, instead: &str) -> Verdict {
    match verdict {
        Verdict::Healthy => Verdict::Healthy,
        Verdict::Unhealthy(_) => Verdict::Unhealthy(instead.to_owned()),
        Verdict::CannotTell(_) => Verdict::CannotTell(instead.to_owned()),
    }
}

/// The call that a text tells, such as a record's.
pub(crate) fn call_of(registry: &Registry, text: &str) -> Result<Box<dyn AnyCall>, String> {
    let (capability, function, selector) = Selector::parse_named(text)?;
    let known = registry.get(&capability).map_err(|fault| fault.what)?;
    let call = known.parse_recorded(&function, &selector).and_then(|call| known.decode(&call));
    call.map_err(|fault| fault.what)
}

/// A change's effect without the digests of contents.
pub(crate) fn digests(effect: &Value) -> Value {
    match effect {
        Value::String(text) => Value::String(without_digests(text)),
        Value::Array(values) => values.iter().map(digests).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), digests(value))).collect(),
        other => other.clone(),
    }
}

/// A change of a step that may tell by all that it chose, down to the subject and the sizes.
pub(crate) fn change(change: &Change) -> Change {
    Change {
        subject: SINCE.to_owned(),
        summary: SINCE.to_owned(),
        before: None,
        after: None,
        kept: None,
        effect: Value::Null,
        withheld: true,
        body: Value::Null,
        ..change.clone()
    }
}

/// A rehearsal as it may leave the host, where the signed one may not: a digest of a content that is withheld, and the
/// chance that keeps it from being guessed, are for nobody.
pub(crate) fn rehearsal(signed: &RehearsalDocument) -> Option<RehearsalDocument> {
    if signed.plan.blind.is_none() && !signed.plan.changes().any(|planned| planned.change.withheld) {
        return None;
    }
    let mut shown = signed.clone();
    shown.plan.blind = None;
    let sizes = |image: &mut Image| image.digest = Digest::of(b"");
    for change in shown.plan.forward.iter_mut().chain(&mut shown.plan.back).filter(|change| change.withheld) {
        change.before.iter_mut().chain(&mut change.after).for_each(sizes);
        change.kept.iter_mut().for_each(|kept| sizes(&mut kept.image));
        change.summary = without_digests(&change.summary);
        change.effect = digests(&change.effect);
        change.body = Value::Null;
    }
    shown.preflight = shown.preflight.into_iter().map(|able| able.map(|why| without_digests(&why))).collect();
    shown.unrestored.iter_mut().for_each(|subject| *subject = without_digests(subject));
    Some(shown)
}

/// What is sensitive by the present configuration of a proposal's targets, and may not have been when something was
/// recorded. Away from the host nothing is: what is exported was looked at by the host.
#[derive(Default)]
pub(crate) struct Since {
    key: Option<Arc<SigningKey>>,
    targets: BTreeMap<String, Sensitive>,
    none: Sensitive,
}

impl Since {
    pub(crate) fn of(runner: &Runner, targets: &[(&str, &Target)]) -> Result<Self, PipelineError> {
        let with_any = targets.iter().filter(|(_, target)| !target.sensitive.is_empty());
        let sensitive = with_any
            .map(|(name, target)| Ok(((*name).to_owned(), target.sensitive(runner.shared_registry().as_ref())?)))
            .collect::<Result<_, PipelineError>>()?;
        Ok(Self { key: Some(runner.key()), targets: sensitive, none: Sensitive::default() })
    }

    pub(crate) fn sensitive(&self, target: &str) -> &Sensitive {
        self.targets.get(target).unwrap_or(&self.none)
    }

    /// A verdict of a rehearsal as it may be told: a step may have read what was not sensitive then.
    pub(crate) fn verdict(&self, target: &str, reconfigured: bool, verdict: &Verdict) -> Verdict {
        if !reconfigured || !self.targets.contains_key(target) {
            return verdict.clone();
        }
        reason(verdict, "withheld: what is sensitive may be more than when it was rehearsed")
    }

    /// Whether a record shows what is sensitive by now.
    fn shows(&self, registry: &Registry, record: &Evidence) -> bool {
        let Some(sensitive) = self.targets.get(&record.target) else { return false };
        let call = call_of(registry, &record.call);
        // What no longer reads as a call names a subject that cannot be told.
        !record.withheld && call.map_or(true, |call| sensitive.takes_in(call.capability(), call.subject()))
    }

    /// The steps that read in a rehearsal what is sensitive by now, when it was not: whatever they chose may tell it.
    pub(crate) fn tellers(&self, desk: &dyn Desk, rehearsal: &RehearsalDocument) -> BTreeSet<Role> {
        let mut tellers = BTreeSet::new();
        if !self.targets.contains_key(&rehearsal.target) {
            return tellers;
        }
        for reference in &rehearsal.evidence {
            match desk.evidence(&reference.id) {
                Ok((record, _)) if !self.shows(desk.registry(), &record) => {}
                Ok((record, _)) if step_of(&record).is_some() => tellers.extend(step_of(&record)),
                // Whose it was, or what it read, is not known.
                Ok(_) | Err(_) => tellers.extend(Role::ALL),
            }
        }
        tellers
    }

    /// Withholds all that a record of one of these steps says: what it asked for is its choice.
    pub(crate) fn told_by(&self, tellers: &BTreeSet<Role>, record: &mut Evidence) {
        if record.withheld || !step_of(record).is_some_and(|role| tellers.contains(&role)) {
            return;
        }
        self.withhold(record);
        record.call = SINCE.to_owned();
        record.bytes = None;
    }

    /// Withholds what a record says of a subject that is sensitive by now.
    pub(crate) fn evidence(&self, registry: &Registry, record: &mut Evidence) {
        if self.shows(registry, record) {
            self.withhold(record);
        }
    }

    fn withhold(&self, record: &mut Evidence) {
        record.withheld = true;
        record.excerpt.clear();
        let content = record.digest;
        record.digest = self.key.as_ref().map_or(content, |key| key.keyed_digest(&record.id, &content));
    }

    /// Refuses evidence that shows what is sensitive by now: whoever gets what cites it gets the record as it was signed.
    pub(crate) fn citable(&self, registry: &Registry, record: &Evidence) -> Result<(), PipelineError> {
        if !self.shows(registry, record) {
            return Ok(());
        }
        let what = format!("the evidence `{}` shows what is sensitive by now: it was read before", record.id);
        Err(PipelineError::refused(what).with_hint("read it again, and cite that: nothing of its content is shown"))
    }

    /// Refuses a proposal in which something shows what is sensitive by now.
    pub(crate) fn nothing(&self, runner: &Runner, stored: &Stored) -> Result<(), PipelineError> {
        let again =
            |what: String| PipelineError::refused(what).with_hint("propose it again: its content is withheld then");
        for rehearsal in stored.rehearsals() {
            let sensitive = self.sensitive(&rehearsal.target);
            let shown = |change: &Change| !change.withheld && sensitive.takes_in(&change.capability, &change.subject);
            if let Some(planned) = rehearsal.plan.changes().find(|planned| shown(planned.change)) {
                let subject = excerpt(&planned.change.subject, 200);
                return Err(again(format!("`{subject}` is sensitive by now, and was not when it was rehearsed")));
            }
        }
        let registry = runner.shared_registry();
        for reference in stored.evidence() {
            let (record, _) = Desk::evidence(runner, &reference.id)?;
            self.citable(&registry, &record)?;
        }
        Ok(())
    }
}

/// The step whose read was recorded.
fn step_of(record: &Evidence) -> Option<Role> {
    record.purpose.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_model::Stop;

    use super::*;

    fn after(result: Result<Output, Failure>) -> String {
        let ended = Ended { result, fuel_used: 0, elapsed: Duration::ZERO };
        format!("{:?}", words(ended).result)
    }

    #[test]
    fn nothing_that_a_step_says_is_left() {
        let secret = || "hunter2".to_owned();
        let finding = || Finding { summary: secret(), detail: secret() };
        for result in [
            Ok(Output::Findings(vec![finding(), finding()])),
            Ok(Output::Verdict(Verdict::Unhealthy(secret()))),
            Ok(Output::Verdict(Verdict::CannotTell(secret()))),
            Err(Failure::Returned(secret())),
            Err(Failure::OutOfMemory(secret())),
            Err(Failure::Trapped(secret())),
            Err(Failure::Unusable(secret())),
        ] {
            let after = after(result);
            assert!(after.contains(WITHHELD) && !after.contains("hunter2"), "{after}");
        }
    }

    #[test]
    fn an_effect_keeps_all_but_digests() {
        let digest = countersign_model::Digest::of(b"x");
        let effect = serde_json::json!({ "mode": "0600", "xattrs": { "user.a": digest }, "was": [digest, 7] });
        let shown = serde_json::json!({ "mode": "0600", "xattrs": { "user.a": "sha256:…" }, "was": ["sha256:…", 7] });
        assert_eq!(digests(&effect), shown);
    }

    #[test]
    fn how_it_ended_stays() {
        assert_eq!(after(Ok(Output::Done)), "Ok(Done)");
        assert_eq!(after(Ok(Output::Verdict(Verdict::Healthy))), "Ok(Verdict(Healthy))");
        assert_eq!(after(Ok(Output::Findings(Vec::new()))), "Ok(Findings([]))");
        assert_eq!(
            after(Err(Failure::Stopped(Stop("it was denied".to_owned())))),
            "Err(Stopped(Stop(\"it was denied\")))"
        );
    }
}
