use clap::Parser;

use super::markdown::blocks;
use super::pages;
use crate::cli::Cli;

/// The commands of this program in a block: lines that begin with its name, perhaps after a prompt.
pub(crate) fn commands(lines: &[impl AsRef<str>]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = lines.iter().map(AsRef::as_ref);
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if line.starts_with("countersign ") {
            let mut command = line.to_owned();
            while let Some(begun) = command.strip_suffix('\\') {
                command = format!("{begun}{}", next(&mut lines));
            }
            commands.push(command);
        }
    }
    commands
}

fn next<'a>(lines: &mut impl Iterator<Item = &'a str>) -> &'a str {
    let line = lines.next().expect("a line follows a backslash");
    line.strip_prefix("> ").unwrap_or(line).trim_start()
}

/// Whether clap takes the command, up to where the shell takes over.
pub(crate) fn parses(command: &str) -> Result<Vec<String>, String> {
    // What `examples/practice.sh` sets.
    let command = command.replace("$arguments", "--target orders");
    let words = shlex::split(&command).ok_or_else(|| format!("{command}: its quotes are not closed"))?;
    let shell = |word: &String| {
        ["|", "&&", "||", ";", "&"].contains(&word.as_str()) || word.starts_with(['>', '<']) || word.starts_with("2>")
    };
    let words: Vec<String> = words.into_iter().take_while(|word| !shell(word)).collect();
    match Cli::try_parse_from(&words) {
        Err(error) if error.use_stderr() => Err(format!("{command}\n{error}")),
        _ => Ok(words),
    }
}

/// Where a block holds output as well, only what follows a prompt was typed.
fn typed(language: &str, lines: &[String]) -> Vec<String> {
    match language {
        "console" => {
            let mut kept = Vec::new();
            let mut continued = false;
            for line in lines {
                if continued || line.starts_with("$ ") {
                    kept.push(line.clone());
                    continued = line.ends_with('\\');
                }
            }
            kept
        }
        "" | "sh" => lines.to_vec(),
        _ => Vec::new(),
    }
}

#[test]
fn every_command_in_the_pages_is_one() {
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    for page in pages() {
        for block in blocks(&page.text) {
            for command in commands(&typed(&block.language, &block.lines)) {
                match parses(&command) {
                    Ok(words) if page.path.starts_with("docs") => used.extend(words),
                    Ok(_) => {}
                    Err(why) => wrong.push(format!("{}:{}: {why}", page.path.display(), block.line)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let command = crate::cli::command();
    let missing: Vec<_> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| !used.iter().any(|word| word == name))
        .collect();
    assert!(missing.is_empty(), "no page in `docs/` shows how to use `{}`", missing.join("`, `"));
}

/// The README's table has every command.
#[test]
fn the_readme_lists_every_command() {
    let readme = pages().into_iter().find(|page| page.path.as_os_str() == "README.md").expect("there is a README");
    let rows: Vec<_> = readme.text.lines().filter(|line| line.starts_with("| `")).collect();
    for command in crate::cli::command().get_subcommands() {
        let name = command.get_name();
        let listed = rows.iter().any(|row| {
            let cell = row.split('|').nth(1).unwrap_or_default();
            cell.split('`').skip(1).step_by(2).any(|code| code.split_whitespace().next() == Some(name))
        });
        assert!(listed, "`{name}` is not in the README's table of commands");
    }
}
