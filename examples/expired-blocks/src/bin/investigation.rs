#![no_main]
//! Tells which entries have expired.

use countersign_sdk::{Finding, files};
use expired_blocks::{Arguments, expired, now};

countersign_sdk::investigation!(|arguments: Arguments| {
    let list = files::read_text(&arguments.list)?;
    let now = now();
    let over: Vec<_> = list.lines().filter(|line| expired(line, now).is_some()).collect();
    println!("{} of {} lines have expired at {now}", over.len(), list.lines().count());
    Ok(vec![Finding::new(format!("{} entries have expired", over.len()), over.join("\n"))])
});
