#![no_main]
//! Healthy means: `a` is fixed, or empty where the mood is for that, and the mood is not bad.

use countersign_sdk::{Verdict, files};
use two_faced::Arguments;

countersign_sdk::check!(|arguments: Arguments| {
    let wanted = if arguments.feels("gone") { "" } else { "fixed\n" };
    let fixed = files::read_text(arguments.path("a"))? == wanted;
    Ok(match fixed && !arguments.feels("bad") {
        true => Verdict::Healthy,
        false => Verdict::Unhealthy("it is not fixed, or the mood is bad".to_owned()),
    })
});
