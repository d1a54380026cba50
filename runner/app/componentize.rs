//! From a project's sources to components.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde_json::Value;
use wit_component::ComponentEncoder;

use crate::output::hinted;
use crate::toolchain::Toolchain;

/// What steps are built for unless their project says otherwise: the component imports what it calls and nothing
/// of WASI.
const PLAIN: &str = "wasm32-unknown-unknown";
/// What an ordinary toolchain builds for: the component imports WASI besides, which is inert here.
const WASI: &str = "wasm32-wasip2";

/// What cargo built.
pub(crate) struct Built {
    /// Each binary's module, by the binary's name.
    pub(crate) modules: BTreeMap<String, PathBuf>,
    /// Packages outside of the project, whose places make a difference to the bytes.
    pub(crate) outside: Vec<String>,
}

/// Builds a Rust project's binaries, for the target that it names.
pub(crate) fn cargo(project: &Path, target: Option<&str>) -> anyhow::Result<Built> {
    let target = target.unwrap_or(PLAIN);
    if ![PLAIN, WASI].contains(&target) {
        let target = countersign_model::text::excerpt(target, 40);
        return Err(hinted(
            format!("steps are not built for `{target}`"),
            format!("`[build]` in remediation.toml takes `target = \"{PLAIN}\"`, as it is without, or `\"{WASI}\"`"),
        ));
    }
    let toolchain = Toolchain::of(project, target)?;
    let mut child = toolchain
        .cargo("build")
        .args(["--release", "--bins", "--target", target, "--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo did not start")?;
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
            format!("if the target is missing: `rustup target add {target}`"),
        ));
    }
    Ok(Built { modules, outside: toolchain.outside().to_vec() })
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
