#![no_main]
//! Five changes, two of them to one file: each step of the way leaves settings that the service can read.

use countersign_sdk::files;
use leaked_secret::{Arguments, DEVELOPMENT, INCLUDE, PRODUCTION};

countersign_sdk::fix!(|arguments: Arguments| {
    let settings = arguments.file("settings.toml");
    let text = files::read_text(&settings)?;
    if !text.contains(INCLUDE) {
        return Err("the settings take no development settings in".into());
    }
    // First it is no longer taken in, and then it goes.
    let text = text.replace(INCLUDE, "");
    files::replace(&settings, &text)?;
    files::remove(arguments.file("development.toml"))?;
    files::replace(&settings, text.replace(DEVELOPMENT, PRODUCTION))?;
    files::set_mode(arguments.file("secrets"), 0o600)?;
    files::create(arguments.file("CHANGES"), "development settings removed\n", 0o644)?;
    Ok(())
});
