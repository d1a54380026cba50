//! The command line: what can be typed, and where it goes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::output;

/// Runs fixes that AI agents write and people countersign.
///
/// An agent investigates read-only, packages a fix as WebAssembly and proposes it with evidence. A person reviews
/// exactly what would change and signs it. The runner grants the fix only what was signed, journals every
/// change, checks the target and rolls back by itself when anything fails.
#[derive(Parser)]
#[command(name = "countersign", version, max_term_width = 120, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Example, from an incident to its fix:
  countersign read web 'files.read /etc/nginx/nginx.conf' --key ~/.ssh/agent
  countersign propose ./bundle --target web --hypothesis 'a stray character' --key ~/.ssh/agent
  countersign review p-0123456789ab
  countersign approve p-0123456789ab --key ~/.ssh/id_ed25519 --reason 'seen, agreed'
  countersign run p-0123456789ab

Exit codes: 0 done (a run: committed); 1 an error before anything changed; 2 usage;
3 refused or denied, nothing changed; 4 rolled back, the target is as before;
5 a person is needed: rollback incomplete or in doubt";

/// What every command takes. Clap does not read the environment: what is set there would stand in every usage line.
#[derive(Args)]
pub(crate) struct Global {
    /// Print one JSON object on stdout, everything else on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The state directory [env: COUNTERSIGN_STATE] [default: /var/lib/countersign for root, else
    /// ~/.local/state/countersign]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The configuration [env: COUNTERSIGN_CONFIG] [default: config.toml in the state directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a state directory, the runner's key, a first configuration and trust policy
    Init(commands::init::Arguments),
    /// Make a remediation project that builds as it stands
    New(commands::new::Arguments),
    /// Build a project's steps and bundle them
    Build(commands::build::Arguments),
    /// Tell what a bundle or component is and what it asks for
    Inspect(commands::inspect::Arguments),
    /// Make one read of a target and record it as evidence
    Read(commands::read::Arguments),
    /// Run a bundle's investigation, recording every read as evidence
    Investigate(commands::investigate::Arguments),
    /// Show what a bundle would change, without changing anything
    Rehearse(commands::rehearse::Arguments),
    /// Rehearse a bundle and propose it to the approvers
    Propose(commands::propose::Arguments),
    /// Show what an approver needs to see, in the order they need it
    Review(commands::review::Arguments),
    /// Sign a proposal's approval
    Approve(commands::approve::Arguments),
    /// Act at once, where the people that the trust policy asks for cannot be had; and review that afterwards
    BreakGlass(commands::break_glass::Arguments),
    /// Sign a proposal's denial, which ends it
    Deny(commands::deny::Arguments),
    /// Write a proposal to one file, to be reviewed and signed on another machine
    Export(commands::export::Arguments),
    /// Take back what people signed on an exported proposal
    Import(commands::import::Arguments),
    /// Run an approved proposal: apply, check, and commit or roll back
    Run(commands::run::Arguments),
    /// Say that a run that waits for a confirmation may stay as it is
    Confirm(commands::confirm::Arguments),
    /// Propose to undo a committed run by an approval of its own; or have one that waits rolled back at once
    Rollback(commands::rollback::Arguments),
    /// Stop new runs at once, or let them begin again
    Pause(commands::pause::Arguments),
    /// List the proposals that wait for a decision or a run
    Pending(commands::pending::Arguments),
    /// Close what a run left otherwise than before: it may stay, or is put back
    Resolve(commands::resolve::Arguments),
    /// List runs, newest first
    Runs(commands::runs::Arguments),
    /// Show one run, change by change
    Show(commands::show::Arguments),
    /// Tell what the images take that are kept for undo, and what there is
    Images(commands::images::Arguments),
    /// Show, propose, sign and install the trust policy, and explain what it says of a proposal
    Trust(commands::trust::Arguments),
    /// Sign what may run without anybody being asked again, and list what may
    Standing(commands::standing::Arguments),
    /// Verify the audit log, prove an entry of it, have it witnessed
    Audit(commands::audit::Arguments),
    /// Roll back what a runner that died left unfinished
    Recover(commands::recover::Arguments),
    /// Print what makes a shell complete this command line
    Completions(commands::completions::Arguments),
    /// Print the manual page, or write one for every command
    Man(commands::man::Arguments),
}

/// The command line as clap knows it: for completions, manual pages and tests.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, and they are no errors.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // What was asked for cannot be parsed, but that one object is wanted can be seen.
            let json = std::env::args_os().any(|argument| argument == "--json");
            output::usage_error(json, &error.render().to_string());
            return ExitCode::from(2);
        }
    };
    crate::progress::log_to_stderr();
    let global = &cli.global;
    if let Err(error) = crate::signals::keep_children() {
        return ExitCode::from(output::finish(global.json, Err(error)));
    }
    let result = match &cli.command {
        Command::Init(arguments) => commands::init::run(global, arguments),
        Command::New(arguments) => commands::new::run(arguments),
        Command::Build(arguments) => commands::build::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Read(arguments) => commands::read::run(global, arguments),
        Command::Investigate(arguments) => commands::investigate::run(global, arguments),
        Command::Rehearse(arguments) => commands::rehearse::run(global, arguments),
        Command::Propose(arguments) => commands::propose::run(global, arguments),
        Command::Review(arguments) => commands::review::run(global, arguments),
        Command::Approve(arguments) => commands::approve::run(global, arguments),
        Command::BreakGlass(arguments) => commands::break_glass::run(global, arguments),
        Command::Deny(arguments) => commands::deny::run(global, arguments),
        Command::Export(arguments) => commands::export::run(global, arguments),
        Command::Import(arguments) => commands::import::run(global, arguments),
        Command::Run(arguments) => commands::run::run(global, arguments),
        Command::Confirm(arguments) => commands::confirm::run(global, arguments),
        Command::Rollback(arguments) => commands::rollback::run(global, arguments),
        Command::Pause(arguments) => commands::pause::run(global, arguments),
        Command::Pending(arguments) => commands::pending::run(global, arguments),
        Command::Resolve(arguments) => commands::resolve::run(global, arguments),
        Command::Runs(arguments) => commands::runs::run(global, arguments),
        Command::Show(arguments) => commands::show::run(global, arguments),
        Command::Images(arguments) => commands::images::run(global, arguments),
        Command::Trust(arguments) => commands::trust::run(global, arguments),
        Command::Standing(arguments) => commands::standing::run(global, arguments),
        Command::Audit(arguments) => commands::audit::run(global, arguments),
        Command::Recover(arguments) => commands::recover::run(global, arguments),
        Command::Completions(arguments) => commands::completions::run(arguments),
        Command::Man(arguments) => commands::man::run(arguments),
    };
    ExitCode::from(output::finish(global.json, result))
}

#[cfg(test)]
mod tests;
