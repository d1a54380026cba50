//! From a project's sources to components.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;
use wit_component::ComponentEncoder;

use crate::output::hinted;

/// What steps are built for: the component imports what it calls and nothing of WASI.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Builds a Rust project's binaries and gives each one's module by name.
pub(crate) fn cargo(project: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let project = project.canonicalize().with_context(|| format!("`{}` cannot be found", project.display()))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(&cargo)
        .args(["build", "--release", "--bins", "--target", RUST_TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(&project)
        .env("CARGO_ENCODED_RUSTFLAGS", remapped(&cargo, &project)?)
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` did not start", cargo.display()))?;
    let stdout = child.stdout.take().context("cargo's output was lost")?;
    let mut modules = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let message: Value = match serde_json::from_str(&line?) {
            Ok(message) => message,
            Err(_) => continue,
        };
        if message.get("reason").and_then(Value::as_str) != Some("compiler-artifact") {
            continue;
        }
        let Some(name) = message.pointer("/target/name").and_then(Value::as_str) else { continue };
        let files = message.get("filenames").and_then(Value::as_array).into_iter().flatten();
        for file in files.filter_map(Value::as_str).filter(|file| file.ends_with(".wasm")) {
            modules.insert(name.to_owned(), PathBuf::from(file));
        }
    }
    let status = child.wait().context("cargo was lost")?;
    if !status.success() {
        return Err(hinted(
            format!("the steps of `{}` did not build", project.display()),
            format!("if the target is missing: `rustup target add {RUST_TARGET}`"),
        ));
    }
    Ok(modules)
}

/// Flags that keep this machine's paths out of the modules, so that the same sources give the same
/// bytes. What lies inside the project has relative paths already; its registry's sources and path
/// dependencies outside of it have not.
fn remapped(cargo: &OsStr, project: &Path) -> anyhow::Result<String> {
    let mut pairs: Vec<(PathBuf, String)> = Vec::new();
    if let Some(home) = std::env::var_os("HOME") {
        pairs.push((Path::new(&home).join(".cargo"), "/cargo".to_owned()));
    }
    if let Some(cargo_home) = std::env::var_os("CARGO_HOME") {
        pairs.push((PathBuf::from(cargo_home), "/cargo".to_owned()));
    }
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform", RUST_TARGET])
        .current_dir(project)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{}` did not start: Rust is needed to build this project", cargo.display()))?;
    if !output.status.success() {
        anyhow::bail!("cargo cannot read the project `{}`", project.display());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo's answer cannot be read")?;
    for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(Value::as_str);
        let (Some(name), Some(manifest), None) = (text("name"), text("manifest_path"), text("source")) else {
            continue;
        };
        match Path::new(manifest).parent() {
            Some(root) if !root.starts_with(project) => pairs.push((root.to_path_buf(), format!("/path/{name}"))),
            _ => {}
        }
    }
    let flags = pairs.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    Ok(flags.collect::<Vec<_>>().join("\u{1f}"))
}

/// A component as it is, or a core module made into the component that its own metadata describes.
pub(crate) fn component(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    if wasmparser::Parser::is_component(bytes) {
        return Ok(bytes.to_vec());
    }
    if !wasmparser::Parser::is_core_wasm(bytes) {
        anyhow::bail!("it is not WebAssembly");
    }
    let flat = |error: &dyn std::fmt::Display| anyhow::anyhow!("{error}");
    let mut encoder =
        ComponentEncoder::default().validate(true).module(bytes).map_err(|error| flat(&format!("{error:#}")))?;
    encoder.encode().map_err(|error| flat(&format!("{error:#}")))
}
