#![no_main]
//! Healthy means: `a` is fixed, and the mood is not bad.

use countersign_sdk::{Verdict, files};
use two_faced::Arguments;

countersign_sdk::check!(|arguments: Arguments| {
    let fixed = files::read_text(arguments.path("a"))? == "fixed\n";
    Ok(match fixed && !arguments.feels("bad") {
        true => Verdict::Healthy,
        false => Verdict::Unhealthy("it is not fixed, or the mood is bad".to_owned()),
    })
});
