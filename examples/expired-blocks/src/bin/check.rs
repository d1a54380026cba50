#![no_main]
//! Healthy means: no entry's time is over.

use countersign_sdk::{Verdict, files};
use expired_blocks::{Arguments, expired, now};

countersign_sdk::check!(|arguments: Arguments| {
    let list = files::read_text(&arguments.list)?;
    let now = now();
    let over = list.lines().filter(|line| expired(line, now).is_some()).count();
    Ok(match over {
        0 => Verdict::Healthy,
        over => {
            eprintln!("{over} entries should be gone");
            Verdict::Unhealthy(format!("{over} entries have expired"))
        }
    })
});
