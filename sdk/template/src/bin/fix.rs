#![no_main]
//! Replaces what is wrong by what is right, and nothing else.

use countersign_sdk::files;

#[derive(serde::Deserialize)]
struct Arguments {
    path: String,
    wrong: String,
    right: String,
}

countersign_sdk::fix!(|arguments: Arguments| {
    let text = files::read_text(&arguments.path)?;
    let count = text.matches(&arguments.wrong).count();
    if count != 1 {
        return Err(format!("`{}` stands there {count} times where once is expected", arguments.wrong).into());
    }
    files::replace(&arguments.path, text.replace(&arguments.wrong, &arguments.right))?;
    Ok(())
});
