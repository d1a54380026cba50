#![no_main]
//! Writes to `c` and puts it back, or does not put it back, or does nothing.

use countersign_sdk::files;
use two_faced::Arguments;

countersign_sdk::rollback!(|arguments: Arguments| {
    if arguments.feels("mode") {
        return Ok(());
    }
    let before = files::read(arguments.path("c"))?;
    files::replace(arguments.path("c"), "on the way back\n")?;
    if !arguments.feels("leave") {
        files::replace(arguments.path("c"), before)?;
    }
    Ok(())
});
