#![no_main]
//! Healthy means: the URL answers with 200.

use countersign_sdk::{Verdict, http};

#[derive(serde::Deserialize)]
struct Arguments {
    url: String,
}

countersign_sdk::check!(|arguments: Arguments| {
    let status = http::get(&arguments.url)?.status;
    Ok(match status {
        200 => Verdict::Healthy,
        status => Verdict::Unhealthy(format!("it answers with {status}")),
    })
});
