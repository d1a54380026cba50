#![no_main]
//! Wrong, though `nginx -t` likes it: what goes is the location that was to be deployed.

use countersign_sdk::files;
use countersign_sdk::process::{self, Selector, Signal};
use nginx_stray_character_twin::{Arguments, line};

countersign_sdk::fix!(|arguments: Arguments| {
    let config = files::read_text(&arguments.config)?;
    let (broken, start) = line(&config, arguments.line).ok_or("there is no such line")?;
    if !broken.ends_with(&arguments.stray) {
        return Err(format!("the line does not end with `{}`", arguments.stray).into());
    }
    // The line is broken, so the block around it goes.
    let end = start + config[start..].find('}').ok_or("the block does not end")? + 1;
    let start = config[..start].rfind("location").ok_or("the line is in no location")?;
    files::replace(&arguments.config, format!("{}{}", &config[..start], &config[end..]))?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
