use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use countersign_bundle::Bundle;
use countersign_capability::Registry;
use countersign_model::Role;
use countersign_model::text::visible;
use countersign_pipeline::{Exported, MAX_EXPORT, Pins, PipelineError};
use countersign_sandbox::{Inspection, WASI_IS_INERT};
use serde_json::{Value, json};

use crate::environment::registry;
use crate::files::{open_bundle, read_bounded};
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "Example: countersign inspect ./bundle")]
pub(crate) struct Arguments {
    /// A bundle's directory, a component's file, or an exported proposal
    path: PathBuf,
}

/// The largest component that is read, in bytes.
const MAX_COMPONENT: u64 = 64 * 1024 * 1024;

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let registry = registry();
    if arguments.path.is_dir() {
        return bundle(&registry, &open_bundle(&arguments.path)?);
    }
    let limit = if is_export(&arguments.path) { MAX_EXPORT as u64 } else { MAX_COMPONENT };
    let bytes = read_bounded(&arguments.path, limit)?;
    if Exported::recognizes(&bytes) {
        let exported = Exported::open(&bytes, Arc::new(registry), crate::time::now, &Pins::default())?;
        return bundle(&crate::environment::registry(), &exported.stored().bundle);
    }
    component(&registry, &bytes)
}

/// Whether a file says that it is an exported proposal, which may be larger than a component.
fn is_export(path: &Path) -> bool {
    read_beginning(path).is_some_and(|bytes| Exported::recognizes(&bytes))
}

fn read_beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = path.is_file().then(|| std::fs::File::open(path).ok()).flatten()?;
    file.take(512).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn component(registry: &Registry, bytes: &[u8]) -> CommandResult {
    let inspection = countersign_sandbox::inspect(registry, bytes)?;
    let role = inspection.role();
    admit_role(&inspection)?;
    let mut text = String::new();
    step(&mut text, role, &inspection)?;
    Ok(Done::new(text.trim_end(), json!({ "steps": { role.name(): step_json(&inspection) } })))
}

fn bundle(registry: &Registry, bundle: &Bundle) -> CommandResult {
    let manifest = bundle.manifest();
    let mut text = format!(
        "bundle   {}\nname     {}\nsays     {} (the author's words)\nmode     {}\nrollback {}\n",
        bundle.digest(),
        visible(manifest.name()),
        visible(manifest.description()),
        manifest.mode().name(),
        match manifest.rollback() {
            countersign_model::RollbackBy::Step => "host undo, then its rollback step",
            countersign_model::RollbackBy::Undo => "host undo",
        },
    );
    list_arguments(&mut text, manifest.arguments_schema())?;
    let mut steps = BTreeMap::new();
    let mut grants = Vec::new();
    for role in Role::ALL {
        let Some(packed) = bundle.step(role) else { continue };
        let inspection = countersign_sandbox::inspect(registry, packed.bytes())
            .with_context(|| format!("the {role} step cannot be used"))?;
        inspection
            .clone()
            .admit(role, &manifest.capabilities(role))
            .map_err(|refusal| PipelineError::refused(format!("the {role} step: {refusal}")))?;
        step(&mut text, role, &inspection)?;
        for grant in manifest.requested(role) {
            writeln!(text, "  asks for  {grant}")?;
            grants.push(json!({ "role": role, "grant": grant }));
        }
        steps.insert(role.name(), step_json(&inspection));
    }
    let json = json!({
        "bundle": bundle.digest(),
        "name": manifest.name(),
        "description": manifest.description(),
        "mode": manifest.mode(),
        "rollback": manifest.rollback(),
        "arguments": manifest.arguments_schema(),
        "steps": steps,
        "grants": grants,
    });
    Ok(Done::new(text.trim_end(), json))
}

/// The arguments that a rehearsal or a proposal gives with `--arg`.
fn list_arguments(text: &mut String, schema: &Value) -> std::fmt::Result {
    let member = |value: &Value, key: &str| value.get(key).cloned().unwrap_or_default();
    let required = member(schema, "required");
    for (name, property) in member(schema, "properties").as_object().into_iter().flatten() {
        let must = required.as_array().is_some_and(|names| names.iter().any(|required| required == name));
        write!(text, "argument  {}  {}", visible(name), if must { "required" } else { "optional" })?;
        let kind = match property.get("type").and_then(Value::as_str) {
            Some("string") | None => "text",
            Some(kind) => kind,
        };
        write!(text, ", {}", visible(kind))?;
        if let Some(default) = property.get("default") {
            write!(text, ", default {}", visible(&default.to_string()))?;
        }
        match property.get("description").and_then(Value::as_str) {
            Some(description) => writeln!(text, ": {}", visible(description))?,
            None => writeln!(text)?,
        }
    }
    Ok(())
}

/// A component on its own has no grants, but its role alone may rule its imports out.
fn admit_role(inspection: &Inspection) -> Result<(), PipelineError> {
    let reads = inspection.reads().into_iter().map(|name| (name, countersign_model::Access::Read));
    let writes = inspection.writes().into_iter().map(|name| (name, countersign_model::Access::Write));
    let everything = reads.chain(writes).collect();
    let admitted = inspection.clone().admit(inspection.role(), &everything);
    admitted.map(|_| ()).map_err(|refusal| PipelineError::refused(refusal.to_string()))
}

fn step(text: &mut String, role: Role, inspection: &Inspection) -> std::fmt::Result {
    writeln!(text, "{:<13} {}", role.name(), inspection.digest())?;
    for import in inspection.imports() {
        writeln!(text, "  imports   {}", visible(import))?;
    }
    if inspection.wasi() {
        writeln!(text, "  its WASI is {WASI_IS_INERT}")?;
    }
    let writes: Vec<_> = inspection.writes().into_iter().collect();
    if !writes.is_empty() {
        writeln!(text, "  can write {}", writes.join(", "))?;
    }
    Ok(())
}

fn step_json(inspection: &Inspection) -> Value {
    json!({
        "digest": inspection.digest(),
        "imports": inspection.imports(),
        "writes": inspection.writes(),
        "wasi": if inspection.wasi() { "inert" } else { "none" },
    })
}
