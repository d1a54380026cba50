use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;
use serde_json::json;

use crate::files::shown;
use crate::output::{CommandResult, Done, hinted_by};

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
    std::fs::create_dir_all(directory).map_err(|error| {
        let hint = "name a directory that is there, or a new one where you may write";
        hinted_by(error, format!("`{}` cannot be made", shown(directory)), hint)
    })?;
    let mut pages = Vec::new();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let path = directory.join(Man::new(command.clone()).get_filename());
        std::fs::write(&path, page(command)?).map_err(|error| {
            hinted_by(error, format!("`{}` cannot be written", shown(&path)), "name a directory where you may write")
        })?;
        pages.push(path.display().to_string());
    }
    Ok(Done::new(pages.join("\n"), json!({ "pages": pages })).acted())
}

fn page(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("Countersign").render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
