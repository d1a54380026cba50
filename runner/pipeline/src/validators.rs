use std::sync::Arc;

use countersign_capability::AnyScopes;
use countersign_gate::{Sensitive, Validators};
use countersign_model::Access;
use countersign_model::text::excerpt;

use crate::command::Printed;
use crate::error::PipelineError;
use crate::progress::Progress;
use crate::runner::Runner;
use crate::target::{Target, Validator};

/// The target's validators, each with the paths that it tests.
pub(crate) struct CommandValidators {
    validators: Vec<(Validator, Box<dyn AnyScopes>)>,
    progress: Arc<dyn Progress>,
    sensitive: Sensitive,
    printed: Printed,
}

impl CommandValidators {
    pub(crate) fn new(runner: &Runner, target: &Target) -> Result<Self, PipelineError> {
        let files = runner.registry().get("files")?;
        let validators = target
            .validators
            .iter()
            .map(|validator| Ok((validator.clone(), files.scopes(&validator.grants())?)))
            .collect::<Result<_, PipelineError>>()?;
        let sensitive = target.sensitive(runner.registry())?;
        Ok(Self { validators, progress: runner.progress(), sensitive, printed: Printed::Told })
    }

    /// None at all, where what is written is what was there before: it may be just what they refuse.
    pub(crate) fn none(runner: &Runner) -> Self {
        let sensitive = Sensitive::default();
        Self { validators: Vec::new(), progress: runner.progress(), sensitive, printed: Printed::Withheld }
    }
}

impl Validators for CommandValidators {
    fn validate(&mut self, written: &[String]) -> Result<(), String> {
        // From then on any of them may quote it, whatever it was asked for.
        if written.iter().any(|subject| self.sensitive.takes_in("files", subject)) {
            self.printed = Printed::Withheld;
        }
        for (validator, paths) in &self.validators {
            let tested: Vec<_> = written
                .iter()
                .filter(|subject| !paths.reaching(Access::Write, subject).is_empty())
                .map(|subject| format!("`{}`", excerpt(subject, 200)))
                .collect();
            if tested.is_empty() {
                continue;
            }
            let result = crate::command::run(&validator.command, validator.time(), self.printed, b"");
            let said = result.as_ref().err().map_or_else(|| "accepts".to_owned(), |why| format!("refuses ({why})"));
            self.progress.note(&format!(
                "validator `{}` {said} what was written to {}",
                validator.name,
                tested.join(", ")
            ));
            result.map_err(|why| format!("validator `{}` refused what was written: {why}", validator.name))?;
        }
        Ok(())
    }
}
