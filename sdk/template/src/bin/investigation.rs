#![no_main]
//! Tells whether the file holds what is wrong.

use countersign_sdk::{Finding, files};

#[derive(serde::Deserialize)]
struct Arguments {
    path: String,
    wrong: String,
}

countersign_sdk::investigation!(|arguments: Arguments| {
    let text = files::read_text(&arguments.path)?;
    let lines = text.lines().filter(|line| line.contains(&arguments.wrong));
    Ok(lines.map(|line| Finding::new(format!("`{}` stands in the file", arguments.wrong), line)).take(10).collect())
});
