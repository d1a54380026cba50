#![no_main]
//! Tells whether the service takes orders, and what its configuration says of the pool.

use countersign_sdk::{Finding, files, http, process};
use pool_size::{Arguments, pool_size};

countersign_sdk::investigation!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    let size = pool_size(&config).map_or("no value", |range| &config[range]);
    let mut findings = vec![Finding::new(format!("the configuration says `pool-size`: {size}"), &arguments.config)];

    // A service that does not answer is a finding, not a failure to look.
    findings.push(match http::get(format!("{}/healthz", arguments.origin)) {
        Ok(health) => Finding::new(format!("/healthz answers {}", health.status), health.text()),
        Err(error) => Finding::new("/healthz does not answer", error.message),
    });

    let processes = process::list(&arguments.executable)?;
    let line = |process: &process::Process| format!("process {}, in state {}", process.pid, process.state);
    let detail: Vec<_> = processes.iter().map(line).collect();
    findings.push(Finding::new(format!("processes that run it: {}", processes.len()), detail.join("\n")));
    Ok(findings)
});
