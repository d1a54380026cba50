#![no_main]
//! Healthy means: the password is the new one.

use countersign_sdk::{Verdict, files};
use telltale::{Arguments, NEW};

countersign_sdk::check!(|arguments: Arguments| {
    let secret = files::read_text(&arguments.secret)?;
    Ok(if secret == NEW { Verdict::Healthy } else { Verdict::Unhealthy(format!("it is {}", secret.trim())) })
});
