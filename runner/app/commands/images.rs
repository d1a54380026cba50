use bytesize::ByteSize;
use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::environment::Environment;
use crate::output::{CommandResult, Done};
use crate::render::table;

#[derive(Args)]
#[command(after_help = "Example: countersign images --json")]
pub(crate) struct Arguments {}

pub(crate) fn run(global: &Global, _: &Arguments) -> CommandResult {
    let environment = Environment::open(global)?;
    let images = environment.runner.images()?;
    let size = |bytes: u64| match bytes {
        0..1024 => format!("{bytes} bytes"),
        bytes => format!("{bytes} bytes ({})", ByteSize::b(bytes).display().iec()),
    };
    let directory = images.directory.display().to_string();
    let row = |name: &str, value: String| [name.to_owned(), value].to_vec();
    let text = table(&[
        row("directory", countersign_model::text::visible(&directory)),
        row("used", size(images.used)),
        row("cap", size(images.cap)),
        row("free", size(images.free)),
        row("reserve", size(images.reserve)),
    ]);
    let json = json!({
        "directory": directory,
        "used": images.used,
        "cap": images.cap,
        "free": images.free,
        "reserve": images.reserve,
    });
    Ok(Done::new(text, json))
}
