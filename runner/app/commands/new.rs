use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_model::Access;
use serde_json::json;

use crate::environment::registry;
use crate::files::write_new;
use crate::output::{CommandResult, Done, hinted, hinted_by};
use crate::template::{self, File};

#[derive(Args)]
#[command(after_help = "\
Example: countersign new pool-size --capability files:write --capability process:write

The project's steps read and replace a text in a file.
  http:read      makes its check ask a URL
  process:write  makes its fix send a signal, and adds a rollback step
  process:read   makes its investigation list processes")]
pub(crate) struct Arguments {
    /// The remediation's name, and the directory to make
    name: String,
    /// What its steps are written in
    #[arg(long, default_value = "rust", value_parser = ["rust"])]
    language: String,
    /// What its steps may use, e.g. files:write
    #[arg(long, value_name = "CAPABILITY:ACCESS", default_value = "files:write")]
    capability: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let name = arguments.name.as_str();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 || !name.bytes().all(plain) {
        return Err(hinted(
            format!("`{}` is not a name", countersign_model::text::excerpt(name, 80)),
            "use 1 to 64 lower-case letters, digits and `-`, beginning with a letter",
        ));
    }
    let capabilities = capabilities(&arguments.capability)?;
    let directory = PathBuf::from(name);
    std::fs::create_dir(&directory).map_err(|error| {
        let hint = "choose another name, or a directory that you may write in; nothing was made";
        hinted_by(error, format!("`{name}` cannot be made"), hint)
    })?;
    for File { path, contents } in template::project(name, &capabilities) {
        write(&directory.join(path), contents.as_bytes())?;
    }
    let text = format!("made {name}\nnext countersign build {name}");
    Ok(Done::new(text, json!({ "project": name, "capabilities": arguments.capability })))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    }
    write_new(path, bytes)
}

/// The interfaces that are meant, each of which must exist.
fn capabilities(texts: &[String]) -> anyhow::Result<BTreeSet<(String, Access)>> {
    let registry = registry();
    let known: Vec<String> = registry
        .iter()
        .flat_map(|known| known.accesses().iter().map(|access| format!("{}:{access}", known.name())))
        .collect();
    texts
        .iter()
        .map(|text| {
            let unknown = || {
                let text = countersign_model::text::excerpt(text, 80);
                hinted(format!("`{text}` is no capability and access"), format!("there are: {}", known.join(", ")))
            };
            let (name, access) = text.split_once(':').ok_or_else(unknown)?;
            let access = [Access::Read, Access::Write].into_iter().find(|known| known.name() == access);
            let access = access.filter(|_| known.contains(text)).ok_or_else(unknown)?;
            Ok((name.to_owned(), access))
        })
        .collect()
}
