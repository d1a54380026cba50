use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;
use serde_json::json;

use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign man | man -l -
  countersign man ~/.local/share/man/man1")]
pub(crate) struct Arguments {
    /// Where every page goes, one for each command; without it, the first page is printed
    directory: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let mut command = crate::cli::command().disable_help_subcommand(true);
    // Names the subcommands' pages and hands the global options down to them.
    command.build();
    let Some(directory) = &arguments.directory else {
        let page = page(&command)?;
        return Ok(Done::new(page.trim_end(), json!({ "page": page })));
    };
    std::fs::create_dir_all(directory).with_context(|| format!("`{}` cannot be made", directory.display()))?;
    let mut pages = Vec::new();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let path = directory.join(Man::new(command.clone()).get_filename());
        std::fs::write(&path, page(command)?).with_context(|| format!("`{}` cannot be written", path.display()))?;
        pages.push(path.display().to_string());
    }
    Ok(Done::new(pages.join("\n"), json!({ "pages": pages })).acted())
}

fn page(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("Countersign").render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
