#![no_main]
//! Healthy means: the service takes an order.

use countersign_sdk::{Verdict, http};
use pool_size::Arguments;

countersign_sdk::check!(|arguments: Arguments| {
    let order = http::get(format!("{}/orders", arguments.origin))?;
    Ok(match order.status {
        200 => Verdict::Healthy,
        status => Verdict::Unhealthy(format!("/orders answers {status}: {}", order.text().trim())),
    })
});
