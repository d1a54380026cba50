//! The documentation is held to the code: its commands parse, its links lead somewhere, every command stands in
//! it, and the reference is what the types say.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod commands;
mod controls;
mod excerpts;
mod grants;
mod links;
mod markdown;
mod reference;

pub(crate) use commands::{commands, parses};

use std::fs;
use std::path::{Path, PathBuf};

/// A page of Markdown.
struct Page {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository, in an order that does not change.
fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the repository can be read") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && !["target", "bundle", "snapshots"].contains(&name) {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a page is text");
                let path = path.strip_prefix(root()).expect("it is inside").to_path_buf();
                pages.push(Page { path, text });
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    pages
}
