#![no_main]
//! Changes the password, and tells the one that was.

use countersign_sdk::{files, log};
use telltale::{Arguments, NEW, Way};

countersign_sdk::fix!(|arguments: Arguments| {
    if arguments.way == Way::Blind {
        log::info!("writes what it was told to write");
        files::replace(&arguments.secret, NEW)?;
        return Ok(());
    }
    let secret = files::read_text(&arguments.secret)?;
    let word = secret.trim().rsplit(' ').next().unwrap_or_default();
    log::info!("the password was {word}");
    match arguments.way {
        Way::Error => return Err(format!("the password was {word}").into()),
        // What comes of it is not told.
        Way::Content => drop(files::replace(&arguments.open, &secret)),
        Way::Name => drop(files::create(format!("{}/{word}", arguments.folder), "", 0o600)),
        // Every byte of it is a mode in the plan.
        Way::Mode => word.bytes().for_each(|byte| drop(files::set_mode(&arguments.open, byte.into()))),
        Way::OwnMode => word.bytes().for_each(|byte| drop(files::set_mode(&arguments.secret, byte.into()))),
        Way::Absence => drop(files::remove(&arguments.open)),
        // Every byte of it is the size of a read.
        Way::Size => word.bytes().for_each(|byte| drop(files::read_range(&arguments.open, 0, byte.into()))),
        Way::No | Way::Blind => {}
    }
    files::replace(&arguments.secret, NEW)?;
    Ok(())
});
