#![no_main]
//! Replaces `a` and `b`, or does something else.

use countersign_sdk::files;
use two_faced::Arguments;

countersign_sdk::fix!(|arguments: Arguments| {
    if arguments.feels("reads") {
        for _ in 0..1100 {
            files::stat(arguments.path("a"))?;
        }
    }
    if arguments.feels("calls") {
        for _ in 0..11_000 {
            files::stat(arguments.path("a"))?;
        }
    }
    if arguments.feels("many") {
        for number in 0..201 {
            files::create(arguments.path(&format!("new-{number}")), "", 0o600)?;
        }
    }
    if arguments.feels("large") {
        for number in 0..2 {
            files::create(arguments.path(&format!("new-{number}")), "a line\n".repeat(40_000), 0o600)?;
        }
    }
    if arguments.feels("gone") {
        files::discard(arguments.path("a"))?;
        return Ok(());
    }
    if arguments.feels("mode") {
        files::set_mode(arguments.path("a"), 0o600)?;
        return Ok(());
    }
    if arguments.feels("cut") {
        files::truncate(arguments.path("log"), 7)?;
    }
    if arguments.feels("closed") {
        files::set_mode(arguments.path("log"), 0o600)?;
    }
    if arguments.feels("discard") {
        files::discard(arguments.path("log"))?;
    }
    files::replace(arguments.path("a"), "fixed\n")?;
    if arguments.feels("endless") {
        loop {
            std::hint::black_box(());
        }
    }
    if arguments.feels("stop") {
        return Ok(());
    }
    files::replace(arguments.path("b"), "fixed too\n")?;
    if arguments.feels("tireless") {
        let mut rounds = 0_u64;
        loop {
            rounds = std::hint::black_box(rounds.wrapping_add(1));
        }
    }
    if arguments.feels("extra") {
        // What comes of it is not told.
        let _ = files::replace(arguments.path("c"), "by the way\n");
    }
    Ok(())
});
