#![no_main]
//! Takes the entries out whose time is over, and keeps every other byte.

use countersign_sdk::files;
use expired_blocks::{Arguments, expired, now};

countersign_sdk::fix!(|arguments: Arguments| {
    let list = files::read_text(&arguments.list)?;
    let now = now();
    let kept: String = list.split_inclusive('\n').filter(|line| expired(line, now).is_none()).collect();
    if kept.len() == list.len() {
        return Err("no entry has expired".into());
    }
    for address in list.lines().filter_map(|line| expired(line, now)) {
        println!("no longer blocked: {address}");
    }
    files::replace(&arguments.list, kept)?;
    Ok(())
});
