#![no_main]
//! Healthy means: nginx serves `/healthz`, which only the new configuration has.

use countersign_sdk::{Verdict, http};
use nginx_stray_character_twin::Arguments;

countersign_sdk::check!(|arguments: Arguments| {
    let health = http::get(format!("{}/healthz", arguments.origin))?;
    Ok(match (health.status, health.text().trim()) {
        (200, "ok") => Verdict::Healthy,
        (200, other) => Verdict::Unhealthy(format!("/healthz says `{other}` where `ok` is due")),
        (status, _) => Verdict::Unhealthy(format!("/healthz answers {status}: the new configuration is not served")),
    })
});
