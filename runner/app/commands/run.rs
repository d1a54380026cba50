use std::path::Path;
use std::time::Duration;

use clap::Args;
use countersign_model::Outcome;
use countersign_model::text::visible;
use countersign_pipeline::{Actor, Order, PipelineError, Runner, Stored};
use countersign_trust::{Policy, Signatory};
use serde_json::json;

use crate::cli::Global;
use crate::environment::{Environment, local_user};
use crate::output::{CommandResult, Done};
use crate::render;
use crate::signing::SignerArguments;

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign run p-0123456789ab
  countersign run p-0123456789ab --key ~/.ssh/id_ed25519
  countersign run p-0123456789ab --wait --timeout 1h
  countersign run p-0123456789ab --confirm-within 10m

With `--key` or `--agent` whoever starts it signs for it, and the run names them: a person who may operate or approve, and
who did not propose it. Otherwise it names the local user.")]
pub(crate) struct Arguments {
    /// The proposal
    proposal: String,
    /// The target, where the proposal names several
    #[arg(long)]
    target: Option<String>,
    /// Wait until enough people have approved, and start at the last signature; nothing is held meanwhile
    #[arg(long)]
    wait: bool,
    /// For how long to wait at most [default: until the proposal expires]
    #[arg(long, value_name = "SPAN", requires = "wait", value_parser = crate::time::parse_duration)]
    timeout: Option<u64>,
    /// For how long to wait at most while another run holds the target, or a subject that this one would change; `0s`
    /// refuses at once
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = crate::time::parse_duration_or_none)]
    lock_timeout: u64,
    /// Commit only once somebody has confirmed what was changed (`countersign confirm`), within this time at most: 1s to
    /// 7d. Silence rolls it back, unless the approval says that it keeps it. What was signed may be shortened, and no more
    #[arg(long, value_name = "SPAN", value_parser = crate::time::parse_confirmation)]
    confirm_within: Option<u64>,
    #[command(flatten)]
    signer: SignerArguments,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let mut environment = Environment::open_for(global, Path::new(&arguments.proposal))?;
    let signer = &arguments.signer;
    let signatory = (signer.key.is_some() || signer.agent).then(|| signer.signatory()).transpose()?;
    let mut starter = Starter { signatory, actor: None };
    if arguments.wait {
        let timeout = arguments.timeout.map(Duration::from_millis);
        let wait = |runner: &Runner, order: &Order<'_>, actor: &Actor| {
            countersign_pipeline::await_approval(runner, order, actor, timeout)
        };
        if let Err(refused) = ordered(&environment, arguments, &mut starter, wait)? {
            return Ok(refused);
        }
        // Whatever was read before the last signature is read again.
        environment = environment.again(global)?;
    }
    let report = match ordered(&environment, arguments, &mut starter, countersign_pipeline::remediate)? {
        Ok(report) => report,
        Err(refused) => return Ok(refused),
    };
    environment.tell_outcome(&report);
    Ok(Done::new(render::run::text(&report), report.to_json()).with_code(report.exit_code()).acted())
}

/// The command that starts a run, as the trust policy wants it started.
pub(crate) fn command(policy: &Policy, proposal: &str, target: Option<&str>) -> String {
    let target = target.map(|target| format!(" --target {}", visible(target))).unwrap_or_default();
    let key = if policy.runs_must_be_signed() { " --key FILE" } else { "" };
    format!("countersign run {proposal}{target}{key}")
}

/// Who starts the run: asked to sign once, however long it waits for others' signatures.
struct Starter {
    signatory: Option<Box<dyn Signatory>>,
    actor: Option<Actor>,
}

impl Starter {
    fn of(&mut self, runner: &Runner, order: &Order<'_>) -> Result<&Actor, PipelineError> {
        let actor = match (self.actor.take(), &self.signatory) {
            (Some(actor), _) => actor,
            (None, Some(signatory)) => Actor::signing(runner, order, &**signatory)?,
            (None, None) => Actor::local(&local_user()),
        };
        Ok(self.actor.insert(actor))
    }
}

/// Acts on the proposal, everything that belongs to it read now and signals caught. A refusal is a result too.
fn ordered<T>(
    environment: &Environment,
    arguments: &Arguments,
    starter: &mut Starter,
    act: impl FnOnce(&Runner, &Order<'_>, &Actor) -> Result<T, PipelineError>,
) -> anyhow::Result<Result<T, Done>> {
    let runner = &environment.runner;
    let stored = Stored::load(runner, &arguments.proposal)?;
    let name = match (&arguments.target, stored.proposal.document().targets.as_slice()) {
        (Some(name), _) => name.as_str(),
        (None, [target]) => target.name.as_str(),
        (None, targets) => {
            let command = |name: &str| format!("`{}`", command(runner.policy(), &arguments.proposal, Some(name)));
            let each: Vec<_> = targets.iter().map(|target| command(&target.name)).collect();
            return Err(crate::output::hinted(
                format!("the proposal names {} targets", targets.len()),
                format!("run one at a time: {}", each.join(", ")),
            ));
        }
    };
    let order = Order::new(&stored, name, environment.target(name)?)?.confirmed_within(arguments.confirm_within);
    let order = order.waiting_for_locks(Duration::from_millis(arguments.lock_timeout));
    environment.roll_back_on_signals()?;
    match starter.of(runner, &order).and_then(|actor| act(runner, &order, actor)) {
        Ok(done) => Ok(Ok(done)),
        Err(error @ PipelineError::Refused { .. }) => {
            let run = runner.keep_refusal(&order, starter.actor.as_ref(), &error);
            crate::output::explain(&error);
            let json = json!({
                "run": run,
                "target": name,
                "outcome": Outcome::Refused,
                "actor": starter.actor.as_ref().map(Actor::name),
                "reason": error.to_string(),
                "changes": [],
                "error": crate::output::error_json(&error),
            });
            let text = format!("refused; target {name}: nothing changed, and no use of an approval is spent");
            Ok(Err(Done::new(text, json).with_code(error.exit_code())))
        }
        Err(error) => Err(error.into()),
    }
}
