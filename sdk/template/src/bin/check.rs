#![no_main]
//! Healthy means: the file holds what is right, and no longer what is wrong.
//!
//! A better check asks whoever reads the file, e.g. by `http::get` with a grant of `http.read`.

use countersign_sdk::{Verdict, files};

#[derive(serde::Deserialize)]
struct Arguments {
    path: String,
    wrong: String,
    right: String,
}

countersign_sdk::check!(|arguments: Arguments| {
    let text = files::read_text(&arguments.path)?;
    Ok(if !text.contains(&arguments.right) {
        Verdict::Unhealthy(format!("`{}` does not stand in the file", arguments.right))
    } else if !arguments.right.contains(&arguments.wrong) && text.contains(&arguments.wrong) {
        Verdict::Unhealthy(format!("`{}` still stands in the file", arguments.wrong))
    } else {
        Verdict::Healthy
    })
});
