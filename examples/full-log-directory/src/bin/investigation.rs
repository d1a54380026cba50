#![no_main]
//! Tells how full the file system is, which log grew, since when, and what it says.

use countersign_sdk::files::{self, Kind};
use countersign_sdk::{Failure, Finding};
use full_log_directory::{Arguments, level, used};

countersign_sdk::investigation!(|arguments: Arguments| {
    let usage = files::usage(&arguments.directory)?;
    let room = format!("{} of {} bytes are available", usage.bytes.available, usage.bytes.total);
    let mut findings = vec![Finding::new(format!("{} % of the file system are in use", used(&usage)), room)];

    let mut logs = Vec::new();
    for entry in files::list(&arguments.directory)? {
        if entry.kind == Kind::File {
            let path = format!("{}/{}", arguments.directory, entry.name);
            // One that was rotated away meanwhile is no finding.
            if let Ok(stat) = files::stat(&path) {
                logs.push((stat.size, path));
            }
        }
    }
    logs.sort_by(|one, other| other.cmp(one));
    let sizes: Vec<_> = logs.iter().take(20).map(|(size, path)| format!("{size:>15}  {path}")).collect();
    findings.push(Finding::new(format!("{} files, the largest first", logs.len()), sizes.join("\n")));

    let (size, largest) = logs.first().ok_or_else(|| Failure::from("there is no log"))?;
    let beginning = files::read_range(largest, 0, 512)?;
    findings.push(Finding::new(format!("how {largest} begins"), String::from_utf8_lossy(&beginning)));
    findings.push(Finding::new(format!("how it ends, at byte {size}"), files::tail_text(largest, 1024)?));

    let config = files::read_text(&arguments.config)?;
    let level = level(&config).map_or("not set", |(level, _)| level);
    findings.push(Finding::new(format!("the log level is {level}"), ""));
    Ok(findings)
});
