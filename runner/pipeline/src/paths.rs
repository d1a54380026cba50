//! Path patterns of the configuration.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use countersign_capability::Registry;
use countersign_model::text::excerpt;
use countersign_model::{Access, Grant, Selector};

/// The most segments of one sensitive pattern that begin with `*`: each triples what it comes to.
const MAX_STARS: usize = 4;

/// A path pattern of the configuration as a grant, by which subjects are matched.
pub(crate) fn grant(access: Access, path: &str) -> Grant {
    let scope = Selector::word(path.to_owned());
    Grant { capability: "files".to_owned(), access, scope, limits: Default::default() }
}

/// Patterns of what is sensitive as their capability prints them, sorted, each once. Refused where one covers less
/// than it seems to.
pub(crate) fn sensitive(registry: &Registry, paths: &[String]) -> Result<Vec<String>, String> {
    let mut normalized = BTreeSet::new();
    for path in paths {
        let grant = grant(Access::Read, path);
        let known = registry.get(&grant.capability).and_then(|known| known.normalize(&grant));
        let printed = known.map_err(|fault| fault.what)?.scope;
        let path = printed.only_word("one path pattern")?;
        if path.split('/').filter(|segment| stars(segment)).count() > MAX_STARS {
            let path = excerpt(path, 200);
            return Err(format!("`{path}` has more than {MAX_STARS} segments that begin with `*`"));
        }
        covers_what_it_names(path)?;
        normalized.insert(path.to_owned());
    }
    Ok(normalized.into_iter().collect())
}

/// Refuses a pattern through a symbolic link, by which no file is ever reached, and a directory's own name alone.
fn covers_what_it_names(pattern: &str) -> Result<(), String> {
    let shown = excerpt(pattern, 200);
    let mut path = PathBuf::from("/");
    let mut rest = pattern.split('/').filter(|segment| !segment.is_empty()).peekable();
    while let Some(segment) = rest.next_if(|segment| !segment.contains('*')) {
        path.push(segment);
        let named = excerpt(&path.to_string_lossy(), 200);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found.file_type(),
            // What this user cannot look up, no step of it reaches.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(format!("`{named}` could not be looked up: {error}")),
        };
        if found.is_symlink() {
            let leads = fs::canonicalize(&path).map_or_else(
                |_| "nowhere".to_owned(),
                |real| format!("to `{}`: name what is there", excerpt(&real.to_string_lossy(), 200)),
            );
            return Err(format!(
                "`{shown}` covers nothing, since `{named}` is a symbolic link, and files are known by the path without \
                 one; it leads {leads}"
            ));
        }
        if rest.peek().is_none() && found.is_dir() {
            return Err(format!("`{shown}` is a directory, and what is in it is not covered: write `{shown}/**`"));
        }
    }
    Ok(())
}

/// The pattern, and what it comes to where `*` also stands for names that begin with a dot.
pub(crate) fn with_dots(pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for segment in pattern.split('/').skip(1) {
        let mut ways = vec![segment.to_owned()];
        if stars(segment) {
            ways.push(format!(".{segment}"));
            ways.extend(segment.strip_prefix('*').filter(|rest| rest.starts_with('.')).map(str::to_owned));
        }
        found = found.iter().flat_map(|path| ways.iter().map(move |way| format!("{path}/{way}"))).collect();
    }
    found
}

/// Whether a segment begins with a `*` that stands for no dot yet.
fn stars(segment: &str) -> bool {
    segment.starts_with('*') && segment != "**"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_dot_too() {
        assert_eq!(with_dots("/a/b"), ["/a/b"]);
        assert_eq!(with_dots("/a/**"), ["/a/**"], "which takes it in already");
        assert_eq!(with_dots("/a/*/x"), ["/a/*/x", "/a/.*/x"]);
        assert_eq!(with_dots("/a/*.key"), ["/a/*.key", "/a/.*.key", "/a/.key"]);
        assert_eq!(with_dots("/a*b"), ["/a*b"]);
    }

    #[test]
    fn what_is_not_there_yet_may_be_named() {
        assert_eq!(covers_what_it_names("/nowhere/at/all/**"), Ok(()));
        assert_eq!(covers_what_it_names("/**"), Ok(()));
    }
}
