#![no_main]
//! Healthy means: production settings alone, and secrets that nobody else can read.

use countersign_sdk::{Verdict, files};
use leaked_secret::{Arguments, INCLUDE, PRODUCTION};

countersign_sdk::check!(|arguments: Arguments| {
    let settings = files::read_text(arguments.file("settings.toml"))?;
    let secrets = files::stat(arguments.file("secrets"))?;
    Ok(if settings.contains(INCLUDE) || !settings.contains(PRODUCTION) {
        Verdict::Unhealthy("the settings are not those of production".to_owned())
    } else if secrets.mode & 0o077 != 0 {
        Verdict::Unhealthy(format!("others can reach the secrets: mode {:03o}", secrets.mode & 0o777))
    } else {
        Verdict::Healthy
    })
});
