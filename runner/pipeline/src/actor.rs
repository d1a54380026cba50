//! Who starts a run: a person who signs for it, or the local user whom the kernel knows.

use countersign_model::documents::namespace;
use countersign_record::{RunActor, SignedRunOrder, run_name};
use countersign_trust::{OrderedRun, Refusal, Signatory};

use crate::error::PipelineError;
use crate::order::{self, Order};
use crate::runner::Runner;

/// Who starts a run.
pub struct Actor {
    name: String,
    signed: Option<Signed>,
}

/// What a person signed, for one run.
struct Signed {
    run: String,
    key: String,
    document: Vec<u8>,
    signature: String,
}

impl Actor {
    /// Whoever uses this machine, as the kernel tells it; where the trust policy wants somebody to sign, that is not enough.
    #[must_use]
    pub fn local(user: &str) -> Self {
        Self { name: user.to_owned(), signed: None }
    }

    /// Has a person sign for the run, which gets its name here so that what is signed is good for no other.
    ///
    /// # Errors
    /// When the key's owner may not start it, or it cannot be signed.
    pub fn signing(runner: &Runner, order: &Order<'_>, signatory: &dyn Signatory) -> Result<Self, PipelineError> {
        let run = run_name()?;
        let document = countersign_trust::draft_run_order(&ordered(runner, order, &run), runner.decisive()?)
            .map_err(|error| PipelineError::failed(format!("the order: {error}")).with_hint(error.hint()))?;
        let signature = crate::approve::signed(signatory, namespace::RUN, &document)?;
        let key = signatory.fingerprint().to_owned();
        let mut actor = Self { name: String::new(), signed: Some(Signed { run, key, document, signature }) };
        actor.name = actor.whose(runner, order).map_err(|refusal| order::refused(&refusal, order.proposal))?;
        Ok(actor)
    }

    /// Their name in the trust policy, or which local user it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Refuses a run that they may not start by the trust policy in force.
    pub(crate) fn may_start(&self, runner: &Runner, order: &Order<'_>) -> Result<(), PipelineError> {
        self.whose(runner, order).map(drop).map_err(|refusal| order::refused(&refusal, order.proposal))
    }

    /// As whom they are recorded.
    pub(crate) fn recorded(&self) -> RunActor<'_> {
        let order = self.signed.as_ref().map(|signed| SignedRunOrder {
            run: &signed.run,
            key: &signed.key,
            document: &signed.document,
            signature: &signed.signature,
        });
        RunActor { name: &self.name, order }
    }

    fn whose(&self, runner: &Runner, order: &Order<'_>) -> Result<String, Refusal> {
        match &self.signed {
            Some(Signed { run, document, signature, .. }) => {
                let of = ordered(runner, order, run);
                let who = countersign_trust::verify_run_order(document, signature.as_bytes(), &of, runner.policy())?;
                Ok(who.name().to_owned())
            }
            None if runner.policy().runs_must_be_signed() => Err(Refusal::RunNotSigned),
            None => Ok(self.name.clone()),
        }
    }
}

fn ordered<'a>(runner: &'a Runner, order: &'a Order<'_>, run: &'a str) -> OrderedRun<'a> {
    OrderedRun {
        run,
        proposal: order.proposal,
        target: order.name,
        runner: runner.fingerprint(),
        confirm_within_ms: order.confirm_within,
    }
}
