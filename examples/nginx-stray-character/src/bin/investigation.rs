#![no_main]
//! Tells which configuration nginx runs, what the line holds, and what the error log says of reloads.

use countersign_sdk::process::{self, Selector};
use countersign_sdk::{Finding, files, http};
use nginx_stray_character::{Arguments, line};

countersign_sdk::investigation!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    let number = arguments.line;
    let text = line(&config, number).map_or("", |(text, _)| text);
    let ends = if text.ends_with(&arguments.stray) { "ends" } else { "does not end" };
    let mut findings = vec![Finding::new(format!("line {number} {ends} with `{}`", arguments.stray), text)];

    let log = files::tail_text(&arguments.error_log, 64 * 1024)?;
    let complaints: Vec<_> = log.lines().filter(|line| line.contains("[emerg]")).collect();
    let recent = complaints.iter().rev().take(10).rev().copied().collect::<Vec<_>>().join("\n");
    findings.push(Finding::new(format!("complaints at the end of the error log: {}", complaints.len()), recent));

    findings.push(match http::get(format!("{}/healthz", arguments.origin)) {
        Ok(health) => Finding::new(format!("/healthz answers {}", health.status), health.text()),
        Err(error) => Finding::new("/healthz does not answer", error.message),
    });

    let master = process::inspect(&arguments.executable, &Selector::pid_file(arguments.pid_file))?;
    findings.push(Finding::new("the master runs", format!("process {}, in state {}", master.pid, master.state)));
    Ok(findings)
});
