use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use countersign_pipeline::{ImportedPaper, MAX_EXPORT, NotKept};

use crate::cli::Global;
use crate::environment::Environment;
use crate::files::read_bounded;
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "Example: countersign import orders.proposal")]
pub(crate) struct Arguments {
    /// The file that `countersign export` wrote and people signed
    file: PathBuf,
}

pub(crate) fn run(global: &Global, arguments: &Arguments) -> CommandResult {
    let environment = Environment::open_for(global, &arguments.file)?;
    let bytes = read_bounded(&arguments.file, MAX_EXPORT as u64)?;
    let imported = countersign_pipeline::import(&environment.runner, &|name| environment.target(name).ok(), &bytes)?;

    let mut text = format!("proposal  {}", imported.proposal);
    let mut list = |what: &str, papers: &[ImportedPaper]| {
        papers.iter().try_for_each(|paper| {
            let new = if paper.new { "kept" } else { "was kept already" };
            write!(text, "\n{what} {}, by {}: {new}", paper.digest, paper.by)
        })
    };
    list("approval ", &imported.approvals)?;
    list("denial   ", &imported.denials)?;
    for NotKept { what, digest, why } in &imported.not_kept {
        write!(text, "\n{what:<8}  {digest}: not kept: {why}")?;
    }
    if imported.approvals.is_empty() && imported.denials.is_empty() {
        text.push_str("\nnobody has signed it: there was nothing to keep");
    } else if let Some(approval) = &imported.approval {
        let name = &imported.proposal;
        match imported.quorum.saturating_sub(imported.signed) {
            0 => write!(text, "\nnext      {}", super::run::command(environment.runner.policy(), name, None))?,
            missing => write!(
                text,
                "\nnext      {missing} more must approve; this one as it stands: countersign approve {name} --cosign {}",
                approval.short()
            )?,
        }
    }
    Ok(Done::new(text, serde_json::to_value(&imported)?).acted())
}
