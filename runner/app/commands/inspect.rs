use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use countersign_bundle::Bundle;
use countersign_capability::Registry;
use countersign_model::Role;
use countersign_model::text::visible;
use countersign_pipeline::PipelineError;
use countersign_sandbox::Inspection;
use serde_json::{Value, json};

use crate::environment::registry;
use crate::files::read_bounded;
use crate::output::{CommandResult, Done};

#[derive(Args)]
#[command(after_help = "Example: countersign inspect ./bundle")]
pub(crate) struct Arguments {
    /// A bundle's directory, or a component's file
    path: PathBuf,
}

/// The largest component that is read, in bytes.
const MAX_COMPONENT: u64 = 64 * 1024 * 1024;

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let registry = registry();
    if arguments.path.is_dir() { bundle(&registry, arguments) } else { component(&registry, arguments) }
}

fn component(registry: &Registry, arguments: &Arguments) -> CommandResult {
    let bytes = read_bounded(&arguments.path, MAX_COMPONENT)?;
    let inspection = countersign_sandbox::inspect(registry, &bytes)?;
    let role = inspection.role();
    admit_role(&inspection)?;
    let mut text = String::new();
    step(&mut text, role, &inspection)?;
    Ok(Done::new(text.trim_end(), json!({ "steps": { role.name(): step_json(&inspection) } })))
}

fn bundle(registry: &Registry, arguments: &Arguments) -> CommandResult {
    let bundle = Bundle::open(&arguments.path)?;
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
    })
}
