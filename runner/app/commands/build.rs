use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use clap::Args;
use countersign_bundle::{Bundle, Manifest};
use countersign_capability::Registry;
use countersign_model::{Access, Role};
use countersign_pipeline::PipelineError;
use serde_json::json;

use crate::componentize::{self, cargo};
use crate::environment::registry;
use crate::files::read_bounded;
use crate::output::{CommandResult, Done, hinted};

#[derive(Args)]
#[command(after_help = "Example: countersign build ./pool-size

Runs the project's own build, with the rights of whoever calls it: build only sources that you trust,
as the agent that wrote them, never as the operator.")]
pub(crate) struct Arguments {
    /// The project
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// Where the bundle goes [default: bundle, in the project]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The largest remediation.toml and module that are read, in bytes.
const MAX_MANIFEST: u64 = 256 * 1024;
const MAX_MODULE: u64 = 64 * 1024 * 1024;

pub(crate) fn run(arguments: &Arguments) -> CommandResult {
    let project = &arguments.directory;
    let file = project.join("remediation.toml");
    if !file.exists() {
        return Err(hinted(
            format!("`{}` has no remediation.toml", project.display()),
            "make a project with `countersign new NAME`",
        ));
    }
    let manifest_bytes = read_bounded(&file, MAX_MANIFEST)?;
    let manifest = Manifest::parse(&manifest_bytes).with_context(|| format!("`{}` cannot be used", file.display()))?;
    let (modules, outside) = modules(project, &manifest)?;
    let registry = registry();
    let mut steps = BTreeMap::new();
    let mut text = String::new();
    let mut digests = BTreeMap::new();
    for (role, path) in modules {
        let component = componentize::component(&read_bounded(&path, MAX_MODULE)?)
            .with_context(|| format!("the {role} step `{}` cannot be made a component", path.display()))?;
        let digest = admit(&registry, &manifest, role, &component)?;
        writeln!(text, "{:<13} {digest}  {} bytes", role.name(), component.len())?;
        digests.insert(role.name(), digest);
        steps.insert(role, component);
    }
    let out = arguments.out.clone().unwrap_or_else(|| project.join("bundle"));
    if let Some(parent) = out.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("`{}` cannot be made", parent.display()))?;
    }
    let bundle = Bundle::write(&out, &manifest_bytes, &steps)?;
    write!(text, "bundle        {}\nin            {}", bundle.digest(), out.display())?;
    for name in &outside {
        write!(
            text,
            "\nNOTE: the package `{name}` lies outside of the project, so the digest depends on where it lies"
        )?;
    }
    let json = json!({
        "bundle": bundle.digest(),
        "directory": out.display().to_string(),
        "steps": digests,
        "outside": outside,
    });
    Ok(Done::new(text, json))
}

/// The module of every step, built where the project says how, and the packages outside of it that went in.
fn modules(project: &Path, manifest: &Manifest) -> anyhow::Result<(BTreeMap<Role, PathBuf>, Vec<String>)> {
    let (mut built, outside) = match manifest.language() {
        None => (BTreeMap::new(), Vec::new()),
        Some("rust") => {
            let built = cargo(project, manifest.build_target())?;
            (built.modules, built.outside)
        }
        Some(other) => {
            let other = countersign_model::text::excerpt(other, 40);
            return Err(hinted(
                format!("the language `{other}` is not built here"),
                "use `language = \"rust\"`, or build the steps yourself and name each with `module`",
            ));
        }
    };
    let mut modules = BTreeMap::new();
    for role in manifest.roles() {
        let path = match manifest.module(role) {
            Some(module) => inside(project, module)?,
            None => built.remove(role.name()).ok_or_else(|| {
                hinted(
                    format!("the {role} step was not built"),
                    format!("write `src/bin/{role}.rs`, or name a module under `[steps.{role}]`"),
                )
            })?,
        };
        modules.insert(role, path);
    }
    Ok((modules, outside))
}

fn inside(project: &Path, module: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(module);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        anyhow::bail!("the module `{}` is not inside the project", countersign_model::text::excerpt(module, 200));
    }
    Ok(project.join(path))
}

/// Imports give the interfaces and remediation.toml their scopes: one without the other is a mistake.
fn admit(
    registry: &Registry,
    manifest: &Manifest,
    role: Role,
    component: &[u8],
) -> anyhow::Result<countersign_model::Digest> {
    let inspection =
        countersign_sandbox::inspect(registry, component).with_context(|| format!("the {role} step cannot be used"))?;
    let asked = manifest.capabilities(role);
    inspection.clone().admit(role, &asked).map_err(|refusal| {
        PipelineError::refused(format!("the {role} step: {refusal}")).with_hint("no bundle was written")
    })?;
    for (capability, access) in &asked {
        let imported = match access {
            Access::Read => inspection.reads(),
            Access::Write => inspection.writes(),
        };
        if !imported.contains(capability) {
            return Err(PipelineError::refused(format!(
                "remediation.toml asks for `{capability}.{access}` for the {role} step, which does not import it"
            ))
            .with_hint(format!("remove the grant from `[steps.{role}]`, or use it; no bundle was written"))
            .into());
        }
    }
    Ok(inspection.digest())
}
