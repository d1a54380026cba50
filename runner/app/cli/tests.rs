#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use clap::Command;

use crate::docs::{commands, parses};

#[test]
fn clap_finds_nothing_wrong() {
    super::command().debug_assert();
}

/// `--help` of every command ends with an example that can be typed.
#[test]
fn every_help_has_an_example() {
    let mut command = super::command();
    command.build();
    let everything = std::iter::once(&command).chain(command.get_subcommands().filter(|sub| sub.get_name() != "help"));
    for command in everything {
        let name = command.get_name();
        let examples = examples(command);
        assert!(!examples.is_empty(), "`{name} --help` shows no example");
        let mut shown = name == "countersign";
        for example in &examples {
            let words = parses(example).unwrap_or_else(|why| panic!("`{name} --help`: {why}"));
            shown |= words.iter().any(|word| word == name);
        }
        assert!(shown, "no example of `{name} --help` uses it: {examples:?}");
    }
}

fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines: Vec<&str> = help.lines().map(|line| line.trim_start().trim_start_matches("Example: ")).collect();
    commands(&lines)
}
