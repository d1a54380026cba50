#![no_main]
//! Replaces what is wrong by what is right, and has the process that reads the file read it again.

use countersign_sdk::files;
use countersign_sdk::process::{self, Selector, Signal};

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Arguments {
    path: String,
    wrong: String,
    right: String,
    executable: String,
    pid_file: String,
}

countersign_sdk::fix!(|arguments: Arguments| {
    let text = files::read_text(&arguments.path)?;
    let count = text.matches(&arguments.wrong).count();
    if count != 1 {
        return Err(format!("`{}` stands there {count} times where once is expected", arguments.wrong).into());
    }
    files::replace(&arguments.path, text.replace(&arguments.wrong, &arguments.right))?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
