use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "\
Examples, where the directory is there (mkdir -p):
  countersign completions bash >~/.local/share/bash-completion/completions/countersign
  countersign completions zsh >/usr/local/share/zsh/site-functions/_countersign
  countersign completions fish >~/.config/fish/completions/countersign.fish")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::cli::command(), "countersign", &mut script);
    let script = String::from_utf8(script)?;
    let json = json!({ "shell": arguments.shell.to_string(), "script": script });
    Ok(Done::new(script.trim_end(), json))
}
