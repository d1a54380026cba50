//! Absolute paths in one spelling.

use countersign_model::text::{excerpt, hides};

/// The longest path, in bytes.
const MAX_PATH: usize = 4_095;

/// Says why the text is not the one spelling of an absolute path, if so.
pub(crate) fn check(key: &str, path: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("`{key}={}` {why}", excerpt(path, 120)));
    let Some(segments) = path.strip_prefix('/') else {
        return refuse("must be an absolute path");
    };
    if path.len() > MAX_PATH {
        return refuse("is longer than a path can be");
    }
    if path.contains('*') {
        return refuse("names one file: `*` stands for nothing here");
    }
    if hides(path) {
        return refuse("holds an invisible character");
    }
    if segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return refuse("must be written without `//`, `.`, `..` and a `/` at its end");
    }
    if ["/proc", "/sys"].iter().any(|tree| path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'))) {
        return refuse("is within /proc or /sys");
    }
    if path.ends_with(DELETED) {
        return refuse("ends as the kernel names a deleted file");
    }
    Ok(())
}

/// What the kernel adds to the name of an executable that was deleted or replaced.
pub(crate) const DELETED: &str = " (deleted)";
