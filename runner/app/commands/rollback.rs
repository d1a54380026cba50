use clap::{ArgGroup, Args};
use countersign_pipeline::{Undo, UndoDraft};

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::CommandResult;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["key", "agent"])))]
#[command(
    after_help = "Example: countersign rollback r-0123456789ab --key ~/.ssh/other-agent --reason 'the sale is over'

Of a committed run nothing is changed by this: it plans how the run's changes are put back, and proposes that.
`countersign review`, `approve` and `run` then take it like every proposal.

A run that waits for a confirmation is rolled back at once, by somebody whose confirmation would count."
)]
pub(crate) struct Arguments {
    /// The run, committed or waiting for a confirmation
    run: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let runner = &environment.runner;
    if countersign_pipeline::awaits_word(runner, &arguments.run)? {
        let reason = Some(arguments.reason.as_str());
        return super::confirm::said(&environment, &arguments.run, false, reason, &arguments.signer);
    }
    let signatory = arguments.signer.signatory()?;
    let undo = Undo::load(runner, &arguments.run)?;
    let bundle = undo.bundle(runner)?;
    let drafted = countersign_pipeline::draft_undo(
        runner,
        &bundle,
        &UndoDraft {
            undo: &undo,
            target: environment.target(undo.target())?,
            reason: &arguments.reason,
            proposer: &runner.policy().principal(signatory.fingerprint()),
        },
    )?;
    let digest = runner.keep_proposal(&bundle, &drafted, &*signatory)?;
    Ok(super::propose::proposed(runner, digest, &drafted))
}
