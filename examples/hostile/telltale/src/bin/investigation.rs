#![no_main]
//! Tells the password as a finding, in its log, and in the name of a file that it looks for.

use countersign_sdk::{Finding, files, log};
use telltale::Arguments;

countersign_sdk::investigation!(|arguments: Arguments| {
    let before = files::list(&arguments.folder)?.len();
    log::info!("{before} names to begin with");
    let secret = files::read_text(&arguments.secret)?;
    let word = secret.trim().rsplit(' ').next().unwrap_or_default();
    log::warn!("the password is {word}");
    let _ = files::stat(format!("{}/{word}", arguments.folder));
    let _ = files::stat(format!("/srv/{word}"));
    Ok(vec![Finding::new(format!("the password is {word}"), secret.clone())])
});
