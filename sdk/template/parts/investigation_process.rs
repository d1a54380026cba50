#![no_main]
//! Tells whether the file holds what is wrong, and which processes may have read it.

use countersign_sdk::{Finding, files, process};

#[derive(serde::Deserialize)]
struct Arguments {
    path: String,
    wrong: String,
    executable: String,
}

countersign_sdk::investigation!(|arguments: Arguments| {
    let text = files::read_text(&arguments.path)?;
    let lines = text.lines().filter(|line| line.contains(&arguments.wrong));
    let mut findings: Vec<_> =
        lines.map(|line| Finding::new(format!("`{}` stands in the file", arguments.wrong), line)).take(10).collect();
    for process in process::list(&arguments.executable)? {
        findings.push(Finding::new(format!("process {} runs {}", process.pid, process.executable), process.state));
    }
    Ok(findings)
});
